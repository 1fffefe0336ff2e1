"""wav2vec 2.0 folders written by Hugging Face with random weights: the same numbers here, or a readable refusal."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining

from lectures_lib import pretrained
from lectures_lib.pretrained.wav2vec2 import wav2vec2_config

SIZES = dict(hidden_size=16, num_attention_heads=2, intermediate_size=24, num_hidden_layers=2, vocab_size=4)
SIZES |= dict(conv_dim=(8, 12), conv_kernel=(4, 3), conv_stride=(2, 2), num_conv_pos_embeddings=4)
SIZES |= dict(num_conv_pos_embedding_groups=2, num_codevectors_per_group=5, codevector_dim=6, proj_codevector_dim=7)


def write(folder, kind):
    torch.manual_seed(3)
    model = kind(Wav2Vec2Config(**SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({"<pad>": 0, "A": 1, "B": 2, "|": 3}))
    return model


def change(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def old_names(tensors):
    for name in list(tensors):
        for today, then in (
            ("parametrizations.weight.original0", "weight_g"),
            ("parametrizations.weight.original1", "weight_v"),
        ):
            if name.endswith(today):
                tensors[name.replace(today, then)] = tensors.pop(name)


def without_mask_vector(tensors):
    tensors.pop("wav2vec2.masked_spec_embed")


@pytest.mark.parametrize("edit", [lambda tensors: None, old_names, without_mask_vector])
def test_it_spells_as_it_spelt_before(tmp_path, edit):
    theirs = write(tmp_path, Wav2Vec2ForCTC)
    change(tmp_path, edit)
    ours, letters = pretrained.wav2vec2_for_ctc(tmp_path)
    audio = torch.randn(2, 90)
    assert not ours.training
    assert letters["A"] == 1
    with torch.no_grad():
        assert_close(ours(audio), theirs(audio).logits, atol=1e-5, rtol=1e-5)


def test_it_chooses_the_codes_it_chose_before(tmp_path):
    theirs = write(tmp_path, Wav2Vec2ForPreTraining)
    ours = pretrained.wav2vec2_for_pretraining(tmp_path)
    audio = torch.randn(2, 90)
    masked = torch.zeros(2, ours.config.frames(90), dtype=torch.bool)
    masked[:, 3:9] = True
    with torch.no_grad():
        output, expected = ours(audio, masked), theirs(audio, mask_time_indices=masked)
    assert_close(output.targets, expected.projected_quantized_states, atol=1e-5, rtol=1e-5)
    assert_close(output.context, expected.projected_states, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("lm_head.bias"), "lm_head.bias is missing"),
        (lambda t: t.update({"extra.weight": torch.zeros(1)}), "extra.weight is left over"),
        (lambda t: t.update({"lm_head.bias": torch.zeros(5)}), r"spell.bias must have shape \(4,\), got \(5,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, edit, message):
    write(tmp_path, Wav2Vec2ForCTC)
    change(tmp_path, edit)
    with pytest.raises(ValueError, match=message):
        pretrained.wav2vec2_for_ctc(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(feat_extract_norm="layer"), "feat_extract_norm must be 'group', got 'layer'"),
        (dict(do_stable_layer_norm=True), "do_stable_layer_norm must be False, got True"),
        (dict(conv_stride=[2]), "must be of one length"),
    ],
)
def test_what_the_class_cannot_do_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        wav2vec2_config(Wav2Vec2Config(**SIZES).to_dict() | changes)
