"""Checkpoints: safetensors files, written whole or not at all.

A *weights* file holds a model; a *checkpoint* also holds the optimizer, the random number generators and the history,
which is what a run needs to go on as if it had never stopped.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


def save_weights(model: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a model's weights and, in the file's metadata, its class and config."""
    write_tensors(path, dict(model.state_dict()), {**(metadata or {}), "model": describe(model)})


def load_weights(model: nn.Module, path: str | Path) -> dict[str, str]:
    """Read what `save_weights` wrote into a model of the same class and config; returns the file's metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or is of another model.
    """
    tensors, metadata = read_tensors(path)
    check_model(model, metadata, path)
    _load_state(model, tensors, path)
    return metadata


def average_weights(model: nn.Module, paths: Sequence[str | Path]) -> None:
    """Load the mean of several weights files into a model: the last few of a run, say, which cancels some of its noise.

    Raises:
        FileNotFoundError: one of the files is not there.
        ValueError: there is no file, or one is damaged or of another model; the model keeps its weights then.

    Source: Vaswani et al. 2017, section 6.1.
    """
    if not paths:
        raise ValueError("paths must hold at least one weights file, got none")
    total: dict[str, Tensor] = {}
    for path in paths:
        tensors, metadata = read_tensors(path)
        check_model(model, metadata, path)
        for name, tensor in tensors.items():
            # In double precision the order of the files does not matter.
            total[name] = total.get(name, 0) + tensor.double() if tensor.is_floating_point() else tensor
    mean = {name: t / len(paths) if t.is_floating_point() else t for name, t in total.items()}
    _load_state(model, {name: t.to(model.state_dict()[name].dtype) for name, t in mean.items()}, paths[0])


def describe(model: nn.Module) -> str:
    """A model's class and config in one line, by which a checkpoint knows its own.

    A field of the config marked `metadata={"added": True}` is left out at its default: checkpoints older than the field
    are still known.
    """
    config = getattr(model, "config", None)
    fields = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else {}
    for field in dataclasses.fields(config) if fields else ():
        if field.metadata.get("added") and fields[field.name] == field.default:
            del fields[field.name]
    return f"{type(model).__name__}({', '.join(f'{k}={v!r}' for k, v in fields.items())})"


def check_model(model: nn.Module, metadata: Mapping[str, str], path: str | Path) -> None:
    """Raise ValueError if a file's metadata is not of this model."""
    stored, present = metadata.get("model", "a model without a name"), describe(model)
    if stored != present:
        raise ValueError(f"{path} is a checkpoint of {stored}; the model at hand is {present}")


def _load_state(model: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the model: {error}") from None


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors to a file beside `path` and move it there: a reader finds the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Tied weights share their memory, which safetensors refuses: store each on its own.
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        save_file(own, temporary, metadata=dict(metadata))
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from None


def save_run(path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]) -> None:
    """Write a run's whole state; `progress` is anything JSON can hold."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    stored, rest = optimizer_state(optimizer)
    tensors |= {f"optimizer.{name}": tensor for name, tensor in stored.items()} | random_state()
    metadata = {"model": describe(model), "optimizer": rest, "progress": json.dumps(dict(progress))}
    write_tensors(path, tensors, metadata)


def load_run(path: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Bring model, optimizer and random number generators back to where `save_run` left them; returns `progress`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is of another model, or holds weights only.
    """
    tensors, metadata = read_tensors(path)
    check_model(model, metadata, path)
    if "progress" not in metadata:
        raise ValueError(f"{path} holds weights only: a run cannot go on from it (use load_weights)")
    _load_state(model, tensors_under(tensors, "model."), path)
    restore_optimizer(optimizer, tensors_under(tensors, "optimizer."), metadata["optimizer"])
    restore_random_state(tensors)
    return json.loads(metadata["progress"])


def tensors_under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], str]:
    """An optimizer's state: its tensors, named "0.exp_avg" and so on, and the rest as JSON."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    return tensors, json.dumps({"param_groups": state["param_groups"], "plain": plain})


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], rest: str) -> None:
    """Bring an optimizer back to what `optimizer_state` gave."""
    stored = json.loads(rest)
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in stored["plain"].items()}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for name, tensor in tensors.items():
        index, entry = name.split(".", maxsplit=1)
        state.setdefault(int(index), {})[entry] = _laid_out_as(weights, int(index), tensor)
    optimizer.load_state_dict({"state": state, "param_groups": stored["param_groups"]})


def _laid_out_as(weights: list[Tensor], index: int, tensor: Tensor) -> Tensor:
    """In memory as the weight it belongs to: fused optimizers walk through both side by side (`channels_last`)."""
    if index >= len(weights) or tensor.shape != weights[index].shape:
        return tensor
    return torch.empty_like(weights[index], dtype=tensor.dtype, device=tensor.device).copy_(tensor)


def random_state() -> dict[str, Tensor]:
    """PyTorch's random number generators, by the names a checkpoint has for them."""
    state = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["random.cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random_state(tensors: Mapping[str, Tensor]) -> None:
    """Bring PyTorch's random number generators back to what `random_state` gave."""
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
