"""HiFi-GAN generators of others in the course's own class: Hugging Face's folders, and files of the original."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lectures_lib.models.hifigan import HifiGanConfig, HifiGanGenerator
from lectures_lib.pretrained.files import CheckpointFiles, read_json, read_tensors

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there
# Two ways of storing a normalised weight: its length g and its direction v.
LENGTHS = {".weight_g": ".weight_v", ".parametrizations.weight.original0": ".parametrizations.weight.original1"}
ORIGINAL = {"V1": HifiGanConfig.v1(), "V2": HifiGanConfig.v2(), "V3": HifiGanConfig.v3()}


def hifigan(folder_or_hub_name: str | Path, *, revision: str = "main") -> HifiGanGenerator:
    """A `SpeechT5HifiGan` checkpoint, as Hugging Face stores it, in the course's own generator.

    The folder holds config.json and model.safetensors or pytorch_model.bin; a name such as "microsoft/speecht5_hifigan"
    is fetched from the Hub once and kept. Give a commit as `revision` to get the same weights for ever. Weight
    normalisation is folded; the model is in evaluation mode.

    Raises:
        FileNotFoundError: there is no such folder, a file is missing, or the Hub cannot be reached.
        ValueError: the checkpoint is damaged, or asks for something this generator cannot do; names what.
    """
    files = CheckpointFiles(folder_or_hub_name, revision)
    config = _config(read_json(files.get("config.json")))
    tensors = read_tensors(files.first(WEIGHTS))
    return _loaded(config, tensors, upsampler="upsampler")


def original_hifigan(path: str | Path, config: HifiGanConfig | None = None) -> HifiGanGenerator:
    """The original's generator, stored as a safetensors file under its own names (`ups.0.weight_g`, …).

    Without `config` it must be one of the paper's V1, V2, V3: the one whose names and shapes fit. The published files
    are pickles; convert their "generator" once with `safetensors.torch.save_file`. The model is folded and in
    evaluation mode.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or fits no config; names what does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    tensors = {name.removeprefix("generator."): tensor for name, tensor in read_tensors(path).items()}
    candidates = [config] if config is not None else list(ORIGINAL.values())
    faults = [list(_faults(folded(tensors), _shapes(candidate, "ups"))) for candidate in candidates]
    fits = [candidate for candidate, found in zip(candidates, faults, strict=True) if not found]
    if not fits and config is None:
        raise ValueError(
            f"{path.name} is none of {', '.join(ORIGINAL)} ({'; '.join(map(_few, faults))}); give its config"
        )
    return _loaded(fits[0] if fits else candidates[0], tensors, upsampler="ups")


def folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights without weight normalisation: v · g / |v|, with a length for each index of the first axis.

    Raises:
        ValueError: a length without its direction.

    Source: Salimans and Kingma 2016, equation 2.
    """
    result = dict(tensors)
    for length, direction in LENGTHS.items():
        for name in [name for name in tensors if name.endswith(length)]:
            stem = name.removesuffix(length)
            if stem + direction not in tensors:
                raise ValueError(f"{name} is there, {stem + direction} is missing")
            g, v = result.pop(name), result.pop(stem + direction)
            norm = v.flatten(1).norm(dim=1).view(-1, *[1] * (v.ndim - 1))
            result[stem + ".weight"] = v * (g / norm)
    return result


def _loaded(config: HifiGanConfig, tensors: Mapping[str, Tensor], *, upsampler: str) -> HifiGanGenerator:
    plain = folded(tensors)
    expected = _shapes(config, upsampler)
    if not config.normalise:  # some files hold a mean of zeros and a scale of ones that nobody uses
        plain = {name: tensor for name, tensor in plain.items() if name not in ("mean", "scale")}
    faults = list(_faults(plain, expected))
    if faults:
        raise ValueError(f"the checkpoint does not fit its config: {_few(faults)}")
    model = HifiGanGenerator(config, folded=True)
    model.load_state_dict({our_name(name, config, upsampler): tensor for name, tensor in plain.items()})
    return model.eval()


def our_name(name: str, config: HifiGanConfig, upsampler: str) -> str:
    """Our name of a tensor that others call `ups.0.weight` or `resblocks.4.convs1.2.bias`."""
    parts = name.split(".")
    if parts[0] == upsampler:
        return ".".join(["upsample", *parts[1:]])
    if parts[0] == "resblocks":
        stage, block = divmod(int(parts[1]), len(config.block_kernels))
        kind = "plain" if parts[2] == "convs2" else "dilated"
        return ".".join([f"fusions.{stage}.blocks.{block}.{kind}", *parts[3:]])
    return name.replace("conv_pre", "conv_in").replace("conv_post", "conv_out")


def _shapes(config: HifiGanConfig, upsampler: str) -> dict[str, tuple[int, ...]]:
    """The names that others give the tensors, and their shapes, spelled out from the config."""
    width = config.channels
    layers: dict[str, tuple[tuple[int, ...], int]] = {"conv_pre": ((width, config.mel_bands, 7), width)}
    lists = ("convs1", "convs2") if config.block == 1 else ("convs",)
    for stage, kernel in enumerate(config.upsample_kernels):
        layers[f"{upsampler}.{stage}"] = ((width, width // 2, kernel), width // 2)
        width //= 2
        for block, (size, dilations) in enumerate(zip(config.block_kernels, config.block_dilations, strict=True)):
            prefix = f"resblocks.{stage * len(config.block_kernels) + block}"
            for kind in lists:
                for i in range(len(dilations)):
                    layers[f"{prefix}.{kind}.{i}"] = ((width, width, size), width)
    layers["conv_post"] = ((1, width, 7), 1)
    shapes = {f"{name}.weight": weight for name, (weight, _) in layers.items()}
    shapes |= {f"{name}.bias": (bias,) for name, (_, bias) in layers.items()}
    if config.normalise:
        shapes |= {"mean": (config.mel_bands,), "scale": (config.mel_bands,)}
    return shapes


def _faults(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    yield from (f"{name} is missing" for name in expected if name not in tensors)
    yield from (f"{name} is unknown" for name in tensors if name not in expected)
    for name, tensor in tensors.items():
        if name in expected and tuple(tensor.shape) != expected[name]:
            yield f"{name} must have shape {expected[name]}, got {tuple(tensor.shape)}"
        elif not bool(torch.isfinite(tensor).all()):
            yield f"{name} holds NaN or infinity"


def _few(faults: list[str]) -> str:
    more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
    return f"{'; '.join(faults[:5])}{more}"


def _config(values: Mapping[str, Any]) -> HifiGanConfig:
    """Our config from config.json; what it does not say has Hugging Face's default."""
    kind = values.get("model_type", "speecht5_hifigan")
    if kind not in ("speecht5_hifigan", "hifigan"):
        raise ValueError(f"config.json must be of a SpeechT5HifiGan, got model_type {kind!r}")
    slope = values.get("leaky_relu_slope", 0.1)
    if slope != 0.1:
        raise ValueError(f"leaky_relu_slope must be 0.1, got {slope}")
    try:
        return HifiGanConfig(
            mel_bands=int(values.get("model_in_dim", 80)),
            channels=int(values.get("upsample_initial_channel", 512)),
            upsample_rates=tuple(values.get("upsample_rates", (4, 4, 4, 4))),
            upsample_kernels=tuple(values.get("upsample_kernel_sizes", (8, 8, 8, 8))),
            block_kernels=tuple(values.get("resblock_kernel_sizes", (3, 7, 11))),
            block_dilations=tuple(map(tuple, values.get("resblock_dilation_sizes", ((1, 3, 5),) * 3))),
            normalise=bool(values.get("normalize_before", True)),
        )
    except TypeError as error:
        raise ValueError(f"config.json does not describe a generator: {error}") from None
