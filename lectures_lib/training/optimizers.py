"""Optimizers as `fit` takes them: functions of the parameters and a learning rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def decayed_adamw(
    parameters: Iterable[nn.Parameter],
    lr: int | float,
    *,
    weight_decay: int | float = 0.1,
    betas: tuple[int | float, int | float] = (0.9, 0.95),
    **options: Any,
) -> torch.optim.AdamW:
    """AdamW that pulls matrices towards zero and leaves vectors alone.

    A bias or the gain of a normalisation has nothing to gain from being small. The two groups are called "matrices"
    and "vectors"; tables of embeddings and positions are matrices. Without `options` PyTorch's fused kernel does the
    update in one pass. For other settings give `fit` a partial: `functools.partial(decayed_adamw, weight_decay=0.01)`.

    Raises:
        ValueError: `weight_decay` is negative, or there are no parameters.

    Sources: Loshchilov and Hutter 2019; Brown et al. 2020, appendix B, for the settings.
    """
    if weight_decay < 0:
        raise ValueError(f"weight_decay must be 0 or more, got {weight_decay}")
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if not trained:
        raise ValueError("parameters must hold at least one that is trained, got none")
    groups = [
        {"name": "matrices", "params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"name": "vectors", "params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    options.setdefault("fused", True)
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, betas=betas, **options)
