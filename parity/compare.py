"""What a check returns, and how a difference is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Parity:
    """One comparison.

    `forward` and `gradient` are the largest absolute differences, or None where there is nothing to compare (tokens
    have no gradient); `scale` and `gradient_scale` are the largest absolute numbers that were compared.
    """

    model: str
    reference: str
    compared: str
    forward: float
    scale: float
    gradient: float | None = None
    gradient_scale: float | None = None
    dtype: str = "float32"

    @property
    def worst(self) -> float:
        """The larger of both differences, each as a share of its scale where that is above 1."""
        shares = [self.forward / max(1.0, self.scale)]
        if self.gradient is not None:
            shares.append(self.gradient / max(1.0, self.gradient_scale))
        return max(shares)


def compared(
    model: str,
    reference: str,
    what: str,
    forward: Sequence[tuple[Tensor, Tensor]],
    gradients: Mapping[str, tuple[Tensor, Tensor]] | None = None,
) -> Parity:
    """The comparison of (ours, theirs) pairs. Raises ValueError where shapes differ: then nothing is comparable."""
    difference, scale = _largest(enumerate(forward))
    if gradients is None:
        return Parity(model, reference, what, difference, scale)
    return Parity(model, reference, what, difference, scale, *_largest(gradients.items()))


def _largest(pairs) -> tuple[float, float]:
    difference = scale = 0.0
    for name, (ours, theirs) in pairs:
        if ours.shape != theirs.shape:
            raise ValueError(f"{name}: ours has shape {tuple(ours.shape)}, theirs {tuple(theirs.shape)}")
        if not bool(ours.isfinite().all() and theirs.isfinite().all()):
            return float("inf"), 1.0
        ours, theirs = ours.detach(), theirs.detach()
        difference = max(difference, float((ours - theirs).abs().max()))
        scale = max(scale, float(theirs.abs().max()))
    return difference, scale


def weighed_sum(output: Tensor) -> Tensor:
    """A sum in which every number counts differently, so that no error of a gradient can hide in symmetry."""
    weights = torch.arange(output.numel(), dtype=output.dtype).view_as(output).sin()
    return (output * weights).sum()


def named_gradients(module: nn.Module) -> dict[str, Tensor]:
    """The gradients that a module's parameters have."""
    return {name: parameter.grad for name, parameter in module.named_parameters()}


def paired(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Two dictionaries with the same names as one of pairs. Raises ValueError where names differ."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"only one side has {sorted(ours.keys() ^ theirs.keys())}")
    return {name: (ours[name], theirs[name]) for name in ours}


def shaken(module: nn.Module, *, seed: int = 0, size: float = 0.2) -> nn.Module:
    """The module with noise on all weights: biases that begin at 0 and norms that begin at 1 would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return module
