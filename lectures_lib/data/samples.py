"""Batches of real samples by number: what a GAN is shown.

`RealBatches` is a function of a number, 0, 1, 2, …, and gives the same batch whenever it is asked for the same number:
that is what makes a resumed run equal to one that never stopped.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

RealBatches = Callable[[int], Tensor]


def shuffled(data: Float[Tensor, "*data"], batch_size: int, *, seed: int = 0) -> RealBatches:
    """Batches of a data set, (n, …), in a new order each time round; what does not fill a batch waits for the next.

    Raises:
        ValueError: `batch_size` is below 1 or beyond the data, or the data hold something that is not a number.
    """
    if not 1 <= batch_size <= len(data):
        raise ValueError(f"batch_size must lie between 1 and the {len(data)} samples there are, got {batch_size}")
    if not bool(data.isfinite().all()):
        wrong = int((~data.isfinite().flatten(1).all(dim=1)).sum())
        raise ValueError(f"data must be finite numbers, got NaN or infinity in {wrong} of {len(data)} samples")
    per_round = len(data) // batch_size
    known: dict[int, Tensor] = {}  # the order of the round at hand, so that it is drawn once

    def batch(number: int) -> Tensor:
        turn, place = divmod(number, per_round)
        if turn not in known:
            known.clear()
            known[turn] = torch.randperm(len(data), generator=numbered(seed, turn))
        return data[known[turn][place * batch_size : (place + 1) * batch_size]]

    return batch


def numbered(seed: int, number: int) -> torch.Generator:
    """A random generator of its own for each number under a seed."""
    return torch.Generator().manual_seed(seed * 1_000_003 + number)
