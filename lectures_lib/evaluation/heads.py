"""How differently the heads of an attention look: the Jensen–Shannon divergence between their weights."""

from __future__ import annotations

from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def jensen_shannon(first: Float[Tensor, "*batch key"], second: Float[Tensor, "*second"]) -> Float[Tensor, "*batch"]:
    """How far apart two distributions are, in bits: 0 where they are equal, 1 where they share nothing.

    The entropy of their mean minus the mean of their entropies. Unlike a Kullback–Leibler divergence it is symmetric,
    and finite where one of the two is 0: that is what a look-ahead mask needs.

    Raises:
        ValueError: the shapes differ, a number is negative, or a row does not sum to 1.

    Source: Lin 1991, equation 4.1 with equal weights.
    """
    if first.shape != second.shape:
        raise ValueError(f"second must have the shape of first, {tuple(first.shape)}, got {tuple(second.shape)}")
    _check_distribution("first", first)
    _check_distribution("second", second)
    middle = (first + second) / 2
    return (_entropy(middle) - (_entropy(first) + _entropy(second)) / 2).clamp(0, 1)


def head_divergence(
    weights: Float[Tensor, "batch heads query key"], queries: Bool[Tensor, "*queries"] | None = None
) -> Float[Tensor, "heads heads"]:
    """The divergence in bits between every two heads, averaged over the queries.

    `queries`, (batch, query), says which queries count: padding does not, nor does a query that sees one key only,
    since there all heads agree of necessity. Without it all count.

    Raises:
        ValueError: `queries` has another shape or picks none, or a row of the weights does not sum to 1.
    """
    batch, heads, query, _ = weights.shape
    if queries is None:
        queries = torch.ones(batch, query, dtype=torch.bool, device=weights.device)
    if queries.shape != (batch, query):
        raise ValueError(f"queries must have shape {(batch, query)}, got {tuple(queries.shape)}")
    rows = weights.transpose(1, 2)[queries]  # (counted queries, heads, key)
    if len(rows) == 0:
        raise ValueError("queries must pick at least one query, got none")
    matrix = weights.new_zeros(heads, heads)
    for one, other in combinations(range(heads), 2):
        matrix[one, other] = matrix[other, one] = jensen_shannon(rows[:, one], rows[:, other]).mean()
    return matrix


def mean_divergence(matrix: Float[Tensor, "heads heads"]) -> float:
    """The mean over all pairs of different heads, in bits.

    Raises:
        ValueError: there is only one head, so there is no pair.
    """
    heads = len(matrix)
    if heads < 2:
        raise ValueError(f"matrix must have at least 2 heads, got {heads}")
    return float(matrix.sum() - matrix.diagonal().sum()) / (heads * (heads - 1))


def _entropy(distribution: Tensor) -> Tensor:
    return torch.special.entr(distribution).sum(dim=-1) / torch.log(torch.tensor(2.0, dtype=distribution.dtype))


def _check_distribution(name: str, distribution: Tensor) -> None:
    if (distribution < 0).any():
        raise ValueError(f"{name} must not be negative, got {float(distribution.min()):g}")
    off = (distribution.sum(dim=-1) - 1).abs().max()
    if not off < 1e-3:
        raise ValueError(f"{name} must sum to 1 over the keys, got a row that is off by {float(off):g}")
