"""A ViT folder written by Hugging Face with random weights: the same logits here, or a readable refusal."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import ViTConfig, ViTForImageClassification

from lectures_lib import pretrained

SIZES = dict(image_size=12, patch_size=4, hidden_size=16, num_attention_heads=2, intermediate_size=24)
SIZES |= dict(num_hidden_layers=2, layer_norm_eps=1e-6, id2label={0: "horse", 1: "zebra", 2: "bus"})


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(3)
    model = ViTForImageClassification(ViTConfig(**SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(tmp_path)
    return tmp_path, model


def change(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)


def rewrite_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def old_names(tensors):
    """The names of the files on the Hub, which are older than `transformers` 5."""
    pairs = [
        ("vit.layers.", "vit.encoder.layer."),
        (".mlp.fc1.", ".intermediate.dense."),
        (".mlp.fc2.", ".output.dense."),
    ]
    pairs += [
        (f".attention.{p}_proj.", f".attention.attention.{q}.")
        for p, q in zip("qkv", ("query", "key", "value"), strict=True)
    ]
    pairs += [(".attention.o_proj.", ".attention.output.dense.")]
    for name in list(tensors):
        new = name
        for today, then in pairs:
            new = new.replace(today, then)
        tensors[new] = tensors.pop(name)


@pytest.mark.parametrize("edit", [lambda tensors: None, old_names])
def test_it_says_what_it_said_before_under_old_names_and_new(checkpoint, edit):
    folder, theirs = checkpoint
    change(folder, edit)
    ours, names = pretrained.vit(folder)
    images = torch.randn(2, 3, 12, 12)
    assert not ours.training
    assert names == ["horse", "zebra", "bus"]
    with torch.no_grad():
        assert_close(ours(images), theirs(images).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("classifier.bias"), "classifier.bias is missing"),
        (lambda t: t.update({"extra.weight": torch.zeros(1)}), "extra.weight is left over"),
        (lambda t: t.update({"classifier.bias": torch.zeros(4)}), r"head.bias must have shape \(3,\), got \(4,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(checkpoint, edit, message):
    folder, _ = checkpoint
    change(folder, edit)
    with pytest.raises(ValueError, match=message):
        pretrained.vit(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(hidden_act="relu"), "hidden_act must be 'gelu', got 'relu'"),
        (dict(model_type="deit"), "model_type must be 'vit', got 'deit'"),
        (dict(id2label={"0": "a", "2": "b"}), "id2label must number its 2 classes from 0 without gaps"),
        (dict(patch_size=5), "image_size must be divisible by patch_size, got 12 and 5"),
    ],
)
def test_what_the_class_cannot_do_is_refused(checkpoint, changes, message):
    folder, _ = checkpoint
    rewrite_config(folder, **changes)
    with pytest.raises(ValueError, match=message):
        pretrained.vit(folder)
