"""Alignment: which source word stands behind which target word, and how far attention is from the truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Link = tuple[int, int]
"""(index of a target word, index of a source word), both from 0."""


def hard_links(weights: Float[Tensor, "target source"]) -> set[Link]:
    """One link a target word, to the source token it looks at most; of equals to the first.

    `weights` has one row a target word, as attention gives them. A row of zeros gets no link.

    Raises:
        ValueError: a weight is negative or not a number.
    """
    if weights.numel() and not bool((weights >= 0).all()):
        raise ValueError(f"weights must not be negative or NaN, got {float(weights.min())} as the smallest")
    if not weights.numel():
        return set()
    best = weights.max(dim=1)
    return {
        (row, column)
        for row, (value, column) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True))
        if value > 0
    }


def alignment_error_rate(
    predicted: Sequence[Iterable[Link]],
    sure: Sequence[Iterable[Link]],
    possible: Sequence[Iterable[Link]] | None = None,
) -> float:
    """1 - (|A∩S| + |A∩P|) / (|A| + |S|) over all sentences together: 0 is perfect, 1 shares no link with the truth.

    A are the predicted links, S the sure ones of the truth, P the possible ones, which include the sure; None: the
    truth has sure links only, and the rate is one minus the F1 score. Each argument has one collection a sentence.

    Raises:
        ValueError: the arguments are not equally long, or there is no link at all.

    Source: Och and Ney 2003, section 6.1.
    """
    possible = sure if possible is None else possible
    if not len(predicted) == len(sure) == len(possible):
        raise ValueError(
            "predicted, sure and possible must have one entry a sentence, "
            f"got {len(predicted)}, {len(sure)} and {len(possible)}"
        )
    found = total = 0
    for a, s, p in zip(map(set, predicted), map(set, sure), map(set, possible), strict=True):
        found += len(a & s) + len(a & (p | s))
        total += len(a) + len(s)
    if total == 0:
        raise ValueError("predicted and sure must hold at least one link, got none")
    return 1 - found / total


def diagonal_links(targets: int, sources: int) -> set[Link]:
    """The baseline that knows no language: each target word with the source word at the same share of the sentence.

    Raises:
        ValueError: there is no source word.
    """
    if sources < 1:
        raise ValueError(f"sources must be at least 1, got {sources}")
    return {(t, min(sources - 1, int((t + 0.5) * sources / targets))) for t in range(targets)}


def random_links(targets: int, sources: int, generator: torch.Generator) -> set[Link]:
    """The baseline that knows nothing: each target word with any source word.

    Raises:
        ValueError: there is no source word.
    """
    if sources < 1:
        raise ValueError(f"sources must be at least 1, got {sources}")
    return set(enumerate(torch.randint(sources, (targets,), generator=generator).tolist()))


def best_single_links(gold: Iterable[Link]) -> set[Link]:
    """One gold link a target word, the first: the best that `hard_links` can do, for a floor below which none gets."""
    first: dict[int, int] = {}
    for target, source in sorted(gold):
        first.setdefault(target, source)
    return set(first.items())
