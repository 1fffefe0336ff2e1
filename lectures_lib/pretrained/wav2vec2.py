"""wav2vec 2.0 checkpoints of the Base kind in the course's own modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lectures_lib.models.wav2vec2 import Wav2Vec2, Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2ForPretraining
from lectures_lib.pretrained.files import CheckpointFiles, read_json, read_tensors

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
# What the class can do in one way only. Where a configuration says nothing, it means this.
FIXED = {
    "model_type": "wav2vec2",
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "hidden_act": "gelu",
    "conv_bias": False,
    "do_stable_layer_norm": False,
    "layer_norm_eps": 1e-5,
    "add_adapter": False,
}
SIZES = {  # theirs, ours, and what a silent configuration means
    "hidden_size": ("d_model", 768),
    "num_attention_heads": ("n_heads", 12),
    "intermediate_size": ("d_feed_forward", 3072),
    "num_hidden_layers": ("n_layers", 12),
    "num_conv_pos_embeddings": ("position_kernel", 128),
    "num_conv_pos_embedding_groups": ("position_groups", 16),
    "num_codevector_groups": ("n_groups", 2),
    "num_codevectors_per_group": ("n_codes", 320),
    "codevector_dim": ("d_code", 256),
    "proj_codevector_dim": ("d_final", 256),
    "hidden_dropout": ("dropout", 0.1),
    "layerdrop": ("layer_drop", 0.1),
}
CONVOLUTIONS = {  # the Base model's
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
}
LAYER = {
    "self_attention.project_out": "attention.out_proj",
    "feed_forward.widen": "feed_forward.intermediate_dense",
    "feed_forward.narrow": "feed_forward.output_dense",
    "add_attention.norm": "layer_norm",
    "add_feed_forward.norm": "final_layer_norm",
}


def wav2vec2_for_ctc(
    folder_or_hub_name: str | Path, *, revision: str = "main"
) -> tuple[Wav2Vec2ForCTC, dict[str, int]]:
    """A checkpoint that spells, such as "facebook/wav2vec2-base-960h", in evaluation mode; and its letters' numbers.

    The folder holds config.json, vocab.json, and model.safetensors or pytorch_model.bin; with a name they are fetched
    from the Hub once and kept. Audio goes in at 16,000 samples a second, with mean 0 and variance 1.

    Raises:
        FileNotFoundError: there is no such folder, a file is missing, or the Hub cannot be reached.
        ValueError: the checkpoint is damaged, or asks for something this wav2vec 2.0 cannot do; names what.

    Source: Baevski et al. 2020.
    """
    files = CheckpointFiles(folder_or_hub_name, revision)
    config = wav2vec2_config(read_json(files.get("config.json")))
    letters = {str(letter): int(number) for letter, number in read_json(files.get("vocab.json")).items()}
    model = Wav2Vec2ForCTC(Wav2Vec2(config), len(letters))
    model.load_state_dict(ctc_tensors(read_tensors(files.first(WEIGHTS)), model))
    return model.eval(), letters


def wav2vec2_for_pretraining(folder_or_hub_name: str | Path, *, revision: str = "main") -> Wav2Vec2ForPretraining:
    """A checkpoint with its quantiser, such as "facebook/wav2vec2-base", in evaluation mode. Files and errors as
    `wav2vec2_for_ctc`, without letters."""
    files = CheckpointFiles(folder_or_hub_name, revision)
    model = Wav2Vec2ForPretraining(wav2vec2_config(read_json(files.get("config.json"))))
    model.load_state_dict(pretraining_tensors(read_tensors(files.first(WEIGHTS)), model))
    return model.eval()


def wav2vec2_config(config: Mapping[str, Any]) -> Wav2Vec2Config:
    """Our config from Hugging Face's.

    Raises:
        ValueError: the checkpoint needs something `Wav2Vec2` cannot do.
    """
    for name, only in FIXED.items():
        if config.get(name, only) != only:
            raise ValueError(f"config.json: {name} must be {only!r}, got {config[name]!r}")
    lists = [config.get(name, silent) for name, silent in CONVOLUTIONS.items()]
    if len({len(each) for each in lists}) != 1:
        raise ValueError(f"config.json: {', '.join(CONVOLUTIONS)} must be of one length, got {lists}")
    sizes = {ours: config.get(theirs, silent) for theirs, (ours, silent) in SIZES.items()}
    return Wav2Vec2Config(tuple(zip(*lists, strict=True)), **sizes)


def ctc_tensors(tensors: Mapping[str, Tensor], model: Wav2Vec2ForCTC) -> dict[str, Tensor]:
    """Hugging Face's tensors of a `Wav2Vec2ForCTC` under our names.

    A checkpoint that was fine-tuned without gaps may lack the mask vector; it is then left as it is in `model`.

    Raises:
        ValueError: a tensor is missing, left over, or has another shape than `model` says; names all such.
    """
    theirs = dict(tensors)
    theirs.setdefault("wav2vec2.masked_spec_embed", model.wav2vec2.mask_vector.detach())
    return _renamed(theirs, model, {"spell": "lm_head"})


def pretraining_tensors(tensors: Mapping[str, Tensor], model: Wav2Vec2ForPretraining) -> dict[str, Tensor]:
    """Hugging Face's tensors of a `Wav2Vec2ForPreTraining` under our names.

    Raises:
        ValueError: a tensor is missing, left over, or has another shape than `model` says; names all such.
    """
    theirs = dict(tensors)
    if "quantizer.codevectors" in theirs:  # (1, groups · codes, width) there
        shape = model.quantizer.codebooks.shape
        if theirs["quantizer.codevectors"].numel() == shape.numel():
            theirs["quantizer.codevectors"] = theirs["quantizer.codevectors"].reshape(shape)
    heads = {"project_context": "project_hid", "project_codes": "project_q", "quantizer.score": "quantizer.weight_proj"}
    return _renamed(theirs, model, heads, {"quantizer.codebooks": "quantizer.codevectors"})


def _renamed(
    theirs: dict[str, Tensor], model: nn.Module, heads: Mapping[str, str], single: Mapping[str, str] | None = None
) -> dict[str, Tensor]:
    config = model.config
    theirs = {_new_name(name): tensor for name, tensor in theirs.items()}
    ours: dict[str, Tensor] = {}
    faults: list[str] = []

    def take(name: str) -> Tensor:
        if name not in theirs:
            faults.append(f"{name} is missing")
            return torch.empty(0)
        return theirs.pop(name)

    base, positions = "wav2vec2.", "positions.convolution"
    for mine, other in {"wav2vec2.mask_vector": "wav2vec2.masked_spec_embed", **(single or {})}.items():
        ours[mine] = take(other)
    for i in range(len(config.convolutions)):
        ours[f"{base}features.convolutions.{i}.weight"] = take(f"{base}feature_extractor.conv_layers.{i}.conv.weight")
    ours[f"{base}{positions}.bias"] = take(f"{base}encoder.pos_conv_embed.conv.bias")
    for part in ("original0", "original1"):
        name = f"parametrizations.weight.{part}"
        ours[f"{base}{positions}.{name}"] = take(f"{base}encoder.pos_conv_embed.conv.{name}")
    pairs = {
        f"{base}features.norm": f"{base}feature_extractor.conv_layers.0.layer_norm",
        f"{base}feature_norm": f"{base}feature_projection.layer_norm",
        f"{base}project": f"{base}feature_projection.projection",
        f"{base}norm": f"{base}encoder.layer_norm",
        **heads,
    }
    for kind in ("weight", "bias"):
        for mine, other in pairs.items():
            ours[f"{mine}.{kind}"] = take(f"{other}.{kind}")
        for layer in range(config.n_layers):
            old, new = f"{base}encoder.layers.{layer}.", f"{base}layers.{layer}."
            parts = [take(f"{old}attention.{part}_proj.{kind}") for part in "qkv"]
            ours[f"{new}self_attention.project_in.{kind}"] = torch.cat(parts)
            for mine, other in LAYER.items():
                ours[f"{new}{mine}.{kind}"] = take(f"{old}{other}.{kind}")
    faults += [f"{name} is left over" for name in theirs]
    faults = faults or [
        f"{name} must have shape {tuple(tensor.shape)}, got {tuple(ours[name].shape)}"
        for name, tensor in model.state_dict().items()
        if tensor.shape != ours[name].shape
    ]
    if faults:
        raise ValueError(f"the checkpoint does not fit its config.json: {'; '.join(faults[:10])}")
    return ours


def _new_name(name: str) -> str:
    """Files on the Hub have the names that PyTorch's weight normalisation had before its version 2."""
    for old, new in (("conv.weight_g", "original0"), ("conv.weight_v", "original1")):
        if name.endswith(old):
            return f"{name.removesuffix(old)}conv.parametrizations.weight.{new}"
    return name
