"""The losses of models that teach themselves from pictures: repair what was damaged, and weigh several tasks.

Those over pixels, patches or regions return (sum, count), as the losses over sequences do.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def repair_loss(
    pictures: Float[Tensor, "batch channels height width"],
    clean: Float[Tensor, "*clean"],
    changed: Bool[Tensor, "*changed"],
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """|repaired - clean|, summed over the damaged pixels' channels, and how many numbers that is.

    Only what was damaged counts: to copy the rest would be easy. `changed` (batch, 1, height, width) is True there.

    Raises:
        ValueError: `clean` or `changed` does not have the shape that goes with `pictures`.

    Source: Atito et al. 2021, section 3.1, the loss ℓ1 of the reconstruction.
    """
    batch, channels, height, width = pictures.shape
    for name, tensor, shape in (
        ("clean", clean, tuple(pictures.shape)),
        ("changed", changed, (batch, 1, height, width)),
    ):
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
    each = (pictures - clean).abs()
    return (each * changed).sum(), changed.sum() * channels


def masked_region_loss(
    logits: Float[Tensor, "batch regions classes"],
    target: Float[Tensor, "*target"],
    masked: Bool[Tensor, "*masked"],
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """KL(target ‖ softmax(logits)) in nats, summed over the masked regions, and how many those are.

    `target` has a distribution over the classes for each region: what a detector said of it.

    Raises:
        ValueError: `target` or `masked` does not have the shape that goes with `logits`.

    Source: Lu et al. 2019 (arXiv 1908.02265), section 3.2, "masked multi-modal modelling".
    """
    for name, tensor, shape in (("target", target, logits.shape), ("masked", masked, logits.shape[:2])):
        if tensor.shape != shape:
            raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(tensor.shape)}")
    each = F.kl_div(logits.float().log_softmax(dim=-1), target, reduction="none").sum(dim=-1)
    return (each * masked).sum(), masked.sum()


def uncertainty_weighted(losses: Float[Tensor, " tasks"], scales: Float[Tensor, "*scales"]) -> Float[Tensor, ""]:
    """Σ Lᵢ / 2sᵢ² + log(1 + sᵢ²): the losses of several tasks in one, with weights sᵢ that are learned.

    A task that is hard or noisy gets a large s and counts less; the logarithm keeps s from growing for ever.

    Raises:
        ValueError: `scales` is not one number a task.

    Source: Kendall et al. 2018, equation 7, with log(1 + s²) in place of log s, which may become negative.
    """
    if scales.shape != losses.shape:
        raise ValueError(f"scales must have shape {tuple(losses.shape)}, got {tuple(scales.shape)}")
    squares = scales.square()
    return (losses / (2 * squares) + torch.log1p(squares)).sum()
