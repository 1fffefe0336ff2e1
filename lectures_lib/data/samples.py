"""Batches of real samples by number: what a GAN is shown.

`RealBatches` is a function of a number, 0, 1, 2, …, and gives the same batch whenever it is asked for the same number:
that is what makes a resumed run equal to one that never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Labelled:
    """Samples, (n, …), or the random numbers of samples to come, and a label for each, (n,).

    Raises:
        ValueError: not one label a sample.
    """

    samples: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if tuple(self.labels.shape) != (len(self.samples),):
            raise ValueError(f"labels must have shape ({len(self.samples)},), got {tuple(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.samples)

    def to(self, device: torch.device | str) -> Labelled:
        """Both on a device."""
        return Labelled(self.samples.to(device), self.labels.to(device))

    def split(self, size: int) -> list[Labelled]:
        """Parts of at most so many samples, in order."""
        return [Labelled(*part) for part in zip(self.samples.split(size), self.labels.split(size), strict=True)]


RealBatches = Callable[[int], Tensor]
LabelledBatches = Callable[[int], Labelled]


def shuffled(data: Float[Tensor, "*data"], batch_size: int, *, seed: int = 0) -> RealBatches:
    """Batches of a data set, (n, …), in a new order each time round; what does not fill a batch waits for the next.

    Raises:
        ValueError: `batch_size` is below 1 or beyond the data, or the data hold something that is not a number.
    """
    rows = _rows(data, batch_size, seed)
    return lambda number: data[rows(number)]


def labelled(
    samples: Float[Tensor, "*samples"],
    labels: Tensor,
    batch_size: int,
    *,
    n_classes: int | None = None,
    seed: int = 0,
) -> LabelledBatches:
    """As `shuffled`, with the label of each sample, (n,): whole numbers from 0.

    With `n_classes`, every class from 0 to n_classes - 1 must have samples: a network cannot learn to draw what it is
    never shown, and would be asked for it all the same.

    Raises:
        ValueError: as `shuffled`; not one label a sample; labels that are no whole numbers or negative; with
            `n_classes`, a label beyond them or classes without samples.
    """
    everything = Labelled(samples, labels)
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be whole numbers, got {labels.dtype}")
    if bool((labels < 0).any()):
        raise ValueError(f"labels must be 0 or more, got {int(labels.min())}")
    if n_classes is not None:
        present = set(labels.unique().tolist())
        if max(present, default=0) >= n_classes:
            raise ValueError(f"labels must lie between 0 and {n_classes - 1}, got {max(present)}")
        missing = sorted(set(range(n_classes)) - present)
        if missing:
            raise ValueError(f"labels must have samples of all {n_classes} classes, got none of {missing}")
    rows = _rows(samples, batch_size, seed)

    def batch(number: int) -> Labelled:
        chosen = rows(number)
        return Labelled(everything.samples[chosen], everything.labels[chosen])

    return batch


def _rows(data: Tensor, batch_size: int, seed: int) -> Callable[[int], Tensor]:
    """Which rows of the data make the batch of a number."""
    if not 1 <= batch_size <= len(data):
        raise ValueError(f"batch_size must lie between 1 and the {len(data)} samples there are, got {batch_size}")
    if not bool(data.isfinite().all()):
        wrong = int((~data.isfinite().flatten(1).all(dim=1)).sum())
        raise ValueError(f"data must be finite numbers, got NaN or infinity in {wrong} of {len(data)} samples")
    per_round = len(data) // batch_size
    known: dict[int, Tensor] = {}  # the order of the round at hand, so that it is drawn once

    def rows(number: int) -> Tensor:
        turn, place = divmod(number, per_round)
        if turn not in known:
            known.clear()
            known[turn] = torch.randperm(len(data), generator=numbered(seed, turn))
        return known[turn][place * batch_size : (place + 1) * batch_size]

    return rows


def numbered(seed: int, number: int) -> torch.Generator:
    """A random generator of its own for each number under a seed."""
    return torch.Generator().manual_seed(seed * 1_000_003 + number)
