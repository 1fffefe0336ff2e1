"""Folders and files laid out as others store a generator: the same sound here, or a refusal that says why."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from lectures_lib.models.hifigan import HifiGanConfig, HifiGanGenerator
from lectures_lib.pretrained.hifigan import ORIGINAL, folded, hifigan, original_hifigan

SIZES = dict(
    model_in_dim=6, upsample_initial_channel=16, upsample_rates=[4, 2], upsample_kernel_sizes=[8, 4],
    resblock_kernel_sizes=[3, 5], resblock_dilation_sizes=[[1, 3], [1, 2]],
)  # fmt: skip


def write(folder, **options):
    torch.manual_seed(0)
    theirs = SpeechT5HifiGan(SpeechT5HifiGanConfig(**SIZES | options)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
        theirs.mean.normal_()
        theirs.scale.uniform_(0.5, 2)
    theirs.save_pretrained(folder)
    return theirs


@pytest.mark.parametrize("normalised", [False, True])
def test_a_folder_says_here_what_it_said_there(tmp_path, normalised):
    theirs = write(tmp_path, normalize_before=normalised)
    ours = hifigan(tmp_path)
    log_mel = torch.randn(2, 6, 11)
    assert not ours.training
    assert_close(ours(log_mel), theirs(log_mel.transpose(1, 2)), atol=1e-6, rtol=0)


def original_names(model):
    """A trained model of ours under the original's names, weight normalisation in the old form."""
    per_stage = len(model.config.block_kernels)
    names = {}
    for name, tensor in model.state_dict().items():
        for ours, theirs in (("parametrizations.weight.original0", "weight_g"), ("conv_in", "conv_pre")):
            name = name.replace(ours, theirs)
        name = name.replace("parametrizations.weight.original1", "weight_v").replace("conv_out", "conv_post")
        parts = name.replace("upsample.", "ups.").split(".")
        if parts[0] == "fusions":
            kinds = dict(dilated="convs1" if model.config.block == 1 else "convs", plain="convs2")
            parts = ["resblocks", str(int(parts[1]) * per_stage + int(parts[3])), kinds[parts[4]], *parts[5:]]
        names[".".join(parts)] = tensor
    return names


@pytest.mark.parametrize("block", [1, 2])
def test_the_originals_file_gives_the_same_sound(tmp_path, block):
    config = HifiGanConfig(
        mel_bands=4, channels=8, upsample_rates=(4, 2), upsample_kernels=(8, 4), block=block,
        block_kernels=(3, 5), block_dilations=((1, 2), (1, 3)),
    )  # fmt: skip
    torch.manual_seed(0)
    model = HifiGanGenerator(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    tensors = original_names(model)
    assert "ups.0.weight_g" in tensors
    assert f"resblocks.3.convs{1 if block == 1 else ''}.1.weight_v" in tensors
    save_file(tensors, tmp_path / "g.safetensors")
    ours = original_hifigan(tmp_path / "g.safetensors", config)
    log_mel = torch.randn(1, 4, 6)
    assert_close(ours(log_mel), model(log_mel), atol=1e-5, rtol=0)


def test_the_papers_sizes_are_recognised_by_their_shapes(tmp_path):
    model = HifiGanGenerator(HifiGanConfig.v2())
    save_file({f"generator.{n}": t for n, t in original_names(model).items()}, tmp_path / "g.safetensors")
    assert original_hifigan(tmp_path / "g.safetensors").config == ORIGINAL["V2"]


def test_a_file_of_no_known_size_says_what_does_not_fit(tmp_path):
    model = HifiGanGenerator(HifiGanConfig.tiny())
    save_file(original_names(model), tmp_path / "g.safetensors")
    with pytest.raises(ValueError, match=r"g\.safetensors is none of V1, V2, V3 .*give its config"):
        original_hifigan(tmp_path / "g.safetensors")


def test_folding_by_hand_is_what_pytorch_computes():
    torch.manual_seed(0)
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(3, 4, 5))
    torch.nn.init.normal_(layer.parametrizations.weight.original0)
    assert_close(folded(named("up", layer))["up.weight"], layer.weight)
    with pytest.raises(ValueError, match=r"up\.weight_g is there, up\.weight_v is missing"):
        folded({"up.weight_g": torch.ones(1)})


def named(prefix, layer):
    return {f"{prefix}.{name}": tensor for name, tensor in layer.state_dict().items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("conv_pre.bias"), "conv_pre.bias is missing"),
        (lambda t: t.update(extra=torch.ones(1)), "extra is unknown"),
        (lambda t: t.update({"conv_pre.bias": torch.ones(3)}), r"conv_pre.bias must have shape \(16,\), got \(3,\)"),
        (lambda t: t["conv_post.bias"].fill_(torch.nan), "conv_post.bias holds NaN"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, change, message):
    write(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        hifigan(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(model_type="bert"), "got model_type 'bert'"),
        (dict(leaky_relu_slope=0.2), "leaky_relu_slope must be 0.1, got 0.2"),
        (dict(upsample_rates=[4]), "must be as many"),
    ],
)
def test_a_config_that_means_something_else_is_refused(tmp_path, change, message):
    write(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        hifigan(tmp_path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        hifigan(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        original_hifigan(tmp_path / "g.safetensors")
    (tmp_path / "g.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"g\.safetensors holds no weights"):
        original_hifigan(tmp_path / "g.safetensors")
