"""Losses over sequences of tokens."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def next_token_loss(
    logits: Float[Tensor, "batch time vocabulary"],
    target: Int[Tensor, "*target"],
    *,
    padding: int,
    label_smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Cross-entropy of every true next token in nats, summed, and how many tokens that is. Padding does not count.

    Raises:
        ValueError: `logits` and `target` do not have the same batch and time.

    Source: Sutskever et al. 2014, equation 1, as a negative logarithm.
    """
    if logits.shape[:2] != target.shape:
        raise ValueError(f"target must have shape {tuple(logits.shape[:2])}, got {tuple(target.shape)}")
    total = F.cross_entropy(
        logits.flatten(0, 1).float(),  # a softmax over thousands of words needs more than bf16's three digits
        target.flatten(),
        ignore_index=padding,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return total, (target != padding).sum()
