"""Losses over sequences of tokens."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


def next_token_loss(
    logits: Float[Tensor, "batch time vocabulary"],
    target: Int[Tensor, "*target"],
    *,
    padding: int,
    label_smoothing: int | float = 0.0,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Cross-entropy of every true next token in nats, summed, and how many tokens that is. Padding does not count.

    With `label_smoothing`, as `smoothed_cross_entropy`.

    Raises:
        ValueError: `logits` and `target` do not have the same batch and time, or `label_smoothing` is outside [0, 1].

    Source: Sutskever et al. 2014, equation 1, as a negative logarithm.
    """
    if logits.shape[:2] != target.shape:
        raise ValueError(f"target must have shape {tuple(logits.shape[:2])}, got {tuple(target.shape)}")
    real = target != padding
    # A softmax over thousands of words needs more than bf16's three digits: in float32, whatever the model runs in.
    each = smoothed_cross_entropy(logits.flatten(0, 1).float(), target.flatten(), label_smoothing)
    return (each * real.flatten()).sum(), real.sum()


def smoothed_cross_entropy(
    logits: Float[Tensor, "n vocabulary"], target: Int[Tensor, "*n"], smoothing: int | float = 0.0
) -> Float[Tensor, " n"]:
    """The cross-entropy of each row with a target that has 1 - ε on the true token and ε spread over the vocabulary.

    The true token gets its share of ε too, as in the paper and in PyTorch. The gradient is softmax(logits) minus that
    target; computed from this formula it takes one pass over the logits instead of four.

    Raises:
        ValueError: `target` is not one integer a row, or `smoothing` is outside [0, 1].

    Source: Szegedy et al. 2016, section 7; Vaswani et al. 2017, section 5.4.
    """
    if target.shape != logits.shape[:1]:
        raise ValueError(f"target must have shape {tuple(logits.shape[:1])}, got {tuple(target.shape)}")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must lie in [0, 1], got {smoothing}")
    return _SmoothedCrossEntropy.apply(logits, target, float(smoothing))


class _SmoothedCrossEntropy(torch.autograd.Function):
    """log Σ exp(z) - (1 - ε) z_true - ε mean(z), with its gradient written out."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
        """The loss of each row."""
        normaliser = logits.logsumexp(dim=-1)
        true = logits.gather(1, target.unsqueeze(1)).squeeze(1)
        ctx.save_for_backward(logits, target, normaliser)
        ctx.smoothing = smoothing
        loss = normaliser - (1 - smoothing) * true
        return loss - smoothing * logits.mean(dim=-1) if smoothing else loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """softmax - smoothed target, times the gradient of each row's loss."""
        logits, target, normaliser = ctx.saved_tensors
        result = (logits - normaliser.unsqueeze(1)).exp_()
        if ctx.smoothing:
            result.sub_(ctx.smoothing / logits.shape[-1])
        result.scatter_add_(1, target.unsqueeze(1), torch.full_like(gradient, ctx.smoothing - 1).unsqueeze(1))
        return result.mul_(gradient.unsqueeze(1)), None, None
