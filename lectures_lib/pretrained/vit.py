"""A Vision Transformer checkpoint in the course's own `ViT`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lectures_lib.models.vit import ViT, ViTConfig
from lectures_lib.pretrained.files import CheckpointFiles, read_json, read_tensors

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
# What the class can do in one way only. Where a configuration says nothing, it means this.
FIXED = {"model_type": "vit", "hidden_act": "gelu", "qkv_bias": True}
SIZES = {  # theirs, ours, and what a silent configuration means
    "image_size": ("image_size", 224),
    "patch_size": ("patch_size", 16),
    "num_channels": ("n_channels", 3),
    "hidden_size": ("d_model", 768),
    "num_attention_heads": ("n_heads", 12),
    "intermediate_size": ("d_feed_forward", 3072),
    "num_hidden_layers": ("n_layers", 12),
    "hidden_dropout_prob": ("dropout", 0.0),
    "layer_norm_eps": ("epsilon", 1e-12),  # the paper's code has 1e-6, and so have the published checkpoints
}
# Files on the Hub have the names that `transformers` used before its version 5.
OLD_NAMES = (
    (r"^vit\.encoder\.layer\.", "vit.layers."),
    (r"\.attention\.attention\.query\.", ".attention.q_proj."),
    (r"\.attention\.attention\.key\.", ".attention.k_proj."),
    (r"\.attention\.attention\.value\.", ".attention.v_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(\.layers\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
)
LAYER = {
    "self_attention.project_out": "attention.o_proj",
    "feed_forward.widen": "mlp.fc1",
    "feed_forward.narrow": "mlp.fc2",
    "add_attention.norm": "layernorm_before",
    "add_feed_forward.norm": "layernorm_after",
}


def vit(folder_or_hub_name: str | Path, *, revision: str = "main") -> tuple[ViT, list[str]]:
    """A Vision Transformer with its classifier, as Hugging Face stores it, in evaluation mode; and its classes' names.

    The folder holds config.json and model.safetensors or pytorch_model.bin; with a name such as
    "google/vit-base-patch16-224" they are fetched from the Hub once and kept. Pictures go in as that checkpoint was
    trained: usually with values from -1 to 1.

    Raises:
        FileNotFoundError: there is no such folder, a file is missing, or the Hub cannot be reached.
        ValueError: the checkpoint is damaged, or asks for something this ViT cannot do; names what.

    Source: Dosovitskiy et al. 2021.
    """
    files = CheckpointFiles(folder_or_hub_name, revision)
    described = read_json(files.get("config.json"))
    config, names = vit_config(described), class_names(described)
    model = ViT(config)
    model.load_state_dict(vit_tensors(read_tensors(files.first(WEIGHTS)), model))
    return model.eval(), names


def vit_config(config: Mapping[str, Any]) -> ViTConfig:
    """Our config from Hugging Face's.

    Raises:
        ValueError: the checkpoint needs something `ViT` cannot do.
    """
    for name, only in FIXED.items():
        if config.get(name, only) != only:
            raise ValueError(f"config.json: {name} must be {only!r}, got {config[name]!r}")
    sizes = {ours: config.get(theirs, silent) for theirs, (ours, silent) in SIZES.items()}
    return ViTConfig(**sizes, n_classes=len(class_names(config)))


def class_names(config: Mapping[str, Any]) -> list[str]:
    """The names of the classes in the order of the logits. Raises ValueError where they are not numbered from 0."""
    names = {int(number): str(name) for number, name in config.get("id2label", {0: "LABEL_0", 1: "LABEL_1"}).items()}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"config.json: id2label must number its {len(names)} classes from 0 without gaps")
    return [names[number] for number in range(len(names))]


def vit_tensors(tensors: Mapping[str, Tensor], model: ViT) -> dict[str, Tensor]:
    """Hugging Face's tensors of a `ViTForImageClassification` under our names, old names or new; a pooler is ignored.

    Queries, keys and values are joined into one matrix, and the convolution's kernel becomes a linear map of a patch.

    Raises:
        ValueError: a tensor is missing, left over, or has another shape than `model` says; names all such.
    """
    theirs = {_new_name(name): tensor for name, tensor in tensors.items() if ".pooler." not in name}
    ours: dict[str, Tensor] = {}

    def take(name: str) -> Tensor:
        if name not in theirs:
            raise ValueError(f"the checkpoint does not fit its config.json: {name} is missing")
        return theirs.pop(name)

    ours["encoder.tokens"] = take("vit.embeddings.cls_token").flatten(0, 1)
    ours["encoder.positions.table"] = take("vit.embeddings.position_embeddings").squeeze(0)
    for kind in ("weight", "bias"):
        kernel = take(f"vit.embeddings.patch_embeddings.projection.{kind}")
        ours[f"encoder.embed_patch.{kind}"] = kernel.flatten(1) if kind == "weight" else kernel
        ours[f"encoder.norm.{kind}"] = take(f"vit.layernorm.{kind}")
        ours[f"head.{kind}"] = take(f"classifier.{kind}")
        for layer in range(model.config.n_layers):
            old, new = f"vit.layers.{layer}.", f"encoder.layers.{layer}."
            parts = [take(f"{old}attention.{part}_proj.{kind}") for part in "qkv"]
            ours[f"{new}self_attention.project_in.{kind}"] = torch.cat(parts)
            for mine, other in LAYER.items():
                ours[f"{new}{mine}.{kind}"] = take(f"{old}{other}.{kind}")
    faults = [f"{name} is left over" for name in theirs]
    faults += [
        f"{name} must have shape {tuple(tensor.shape)}, got {tuple(ours[name].shape)}"
        for name, tensor in model.state_dict().items()
        if tensor.shape != ours[name].shape
    ]
    if faults:
        raise ValueError(f"the checkpoint does not fit its config.json: {'; '.join(faults[:10])}")
    return ours


def _new_name(name: str) -> str:
    for old, new in OLD_NAMES:
        name = re.sub(old, new, name)
    return name
