"""A GPT-2 checkpoint, with its byte-level BPE, in the course's own `GPT`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lectures_lib.data.corpus import ByteLevelBPE
from lectures_lib.inference.sample import continue_text
from lectures_lib.models.gpt import EPSILON, GPT, GPTConfig
from lectures_lib.pretrained.files import CheckpointFiles, read_json, read_tensors

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
# What the class can do in one way only. Where a configuration says nothing, it means this.
FIXED = {
    "model_type": "gpt2",
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "layer_norm_epsilon": EPSILON,
}
DEFAULTS = {"n_positions": 1024, "activation_function": "gelu_new", "resid_pdrop": 0.1, "attn_pdrop": 0.1}
# Old files carry the look-ahead mask and the number that stands for -inf along as if they were weights.
BUFFERS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")


@dataclass(frozen=True)
class Writer:
    """A model with the vocabulary it was trained with."""

    model: GPT
    code: ByteLevelBPE

    def write(
        self,
        text: str,
        *,
        max_new_tokens: int = 50,
        temperature: int | float = 1.0,
        top_k: int | None = None,
        top_p: int | float = 1.0,
        seed: int = 0,
    ) -> str:
        """The text and its continuation, up to the end of the document at most. Errors as `inference.sample`'s."""
        generator = torch.Generator(self.model.embed.weight.device).manual_seed(seed)
        options = dict(temperature=temperature, top_k=top_k, top_p=top_p, generator=generator)
        return continue_text(
            self.model, self.code, text, max_new_tokens=max_new_tokens, stop=self.code.end_of_text, **options
        )


def gpt2(folder_or_hub_name: str | Path, *, revision: str = "main") -> Writer:
    """A GPT-2 checkpoint, as Hugging Face stores it, in the course's own `GPT`.

    The folder holds config.json, model.safetensors or pytorch_model.bin, and tokenizer.json or vocab.json with
    merges.txt; with a name such as "openai-community/gpt2" they are fetched from the Hub once and kept. Give a commit
    as `revision` to get the same weights for ever. The model is in evaluation mode.

    Raises:
        FileNotFoundError: there is no such folder, a file is missing, or the Hub cannot be reached.
        ValueError: the checkpoint is damaged, or asks for something this GPT cannot do; names what.

    Source: Radford et al. 2019.
    """
    files = CheckpointFiles(folder_or_hub_name, revision)
    config = read_json(files.get("config.json"))
    model_config = gpt_config(config)
    code = _code(files)
    if len(code) != model_config.vocabulary:
        raise ValueError(
            f"config.json: vocab_size must be {len(code)} as in the vocabulary, got {config['vocab_size']}"
        )
    tensors = gpt_tensors(read_tensors(files.first(WEIGHTS)), config)
    model = GPT(model_config)
    model.load_state_dict(tensors)
    return Writer(model.eval(), code)


def _code(files: CheckpointFiles) -> ByteLevelBPE:
    whole = files.find("tokenizer.json")
    if whole is not None:
        return ByteLevelBPE.from_json(whole)
    return ByteLevelBPE.from_merges(files.first(["vocab.json"]), files.get("merges.txt"))


def gpt_config(config: Mapping[str, Any]) -> GPTConfig:
    """Our configuration for a GPT-2 config.json. Raises ValueError where it asks for something this GPT cannot do."""
    for name in ("vocab_size", "n_embd", "n_head", "n_layer"):
        if not isinstance(config.get(name), int):
            raise ValueError(f"config.json must have the integer {name}, got {config.get(name)!r}")
    for name, value in FIXED.items():
        said = config.get(name, value)
        if said != value:
            raise ValueError(f"config.json: {name} must be {value!r} for this GPT, got {said!r}")
    said = {name: config.get(name, default) for name, default in DEFAULTS.items()}
    if said["activation_function"] not in ACTIVATIONS:
        raise ValueError(
            f"config.json: activation_function must be one of {sorted(ACTIVATIONS)}, "
            f"got {said['activation_function']!r}"
        )
    return GPTConfig(
        vocabulary=config["vocab_size"],
        context=said["n_positions"],
        d_model=config["n_embd"],
        n_heads=config["n_head"],
        n_layers=config["n_layer"],
        d_feed_forward=config.get("n_inner") or 4 * config["n_embd"],
        dropout=said["resid_pdrop"],
        attention_dropout=said["attn_pdrop"],
        activation=ACTIVATIONS[said["activation_function"]],
    )


def gpt_tensors(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """GPT-2's tensors under our names.

    Names may begin with "transformer." or not. GPT-2 stores its matrices as (in, out), we as (out, in).

    Raises:
        ValueError: a tensor is missing, unknown, or has another shape than `config` says; names all such.
    """
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    bare = {name: tensor for name, tensor in bare.items() if not BUFFERS.fullmatch(name)}
    names = _names(config["n_layer"])
    _check(bare, _shapes(gpt_config(config)))
    return {ours: bare[theirs].T.contiguous() if _is_turned(theirs) else bare[theirs] for theirs, ours in names.items()}


def _names(n_layers: int) -> dict[str, str]:
    """Their names → ours."""
    names = {"wte.weight": "embed.weight", "wpe.weight": "positions.table"}
    parts = {
        "ln_1": "add_attention.norm",
        "attn.c_attn": "self_attention.project_in",
        "attn.c_proj": "self_attention.project_out",
        "ln_2": "add_feed_forward.norm",
        "mlp.c_fc": "feed_forward.widen",
        "mlp.c_proj": "feed_forward.narrow",
    }
    for kind in ("weight", "bias"):
        names[f"ln_f.{kind}"] = f"norm.{kind}"
        for layer in range(n_layers):
            names |= {f"h.{layer}.{old}.{kind}": f"layers.{layer}.{new}.{kind}" for old, new in parts.items()}
    return names


def _is_turned(name: str) -> bool:
    return name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))


def _shapes(config: GPTConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, under their names and as they store it."""
    with torch.device("meta"):
        ours = {name: tuple(tensor.shape) for name, tensor in GPT(config).state_dict().items()}
    return {
        theirs: ours[name][::-1] if _is_turned(theirs) else ours[name]
        for theirs, name in _names(config.n_layers).items()
    }


def _check(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    known = {**expected, "lm_head.weight": expected["wte.weight"]}
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    faults += [f"{name} is unknown" for name in tensors if name not in known]
    faults += [
        f"{name} must have shape {known[name]}, got {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in known and tuple(tensor.shape) != known[name]
    ]
    if not faults and "lm_head.weight" in tensors and not torch.equal(tensors["lm_head.weight"], tensors["wte.weight"]):
        faults.append("lm_head.weight must be the same as wte.weight")
    if faults:
        more = f" and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise ValueError(f"the checkpoint does not fit its config.json: {'; '.join(faults[:10])}{more}")
