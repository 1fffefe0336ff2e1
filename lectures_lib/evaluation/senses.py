"""Does a vector of a word know which sense the word has? Ask its nearest neighbour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

TIE = 1e-5  # cosines closer than this are the same up to rounding


class SenseScore(NamedTuple):
    """The accuracy over all sentences of all words, and by word, in [0, 1]."""

    accuracy: float
    by_word: dict[str, float]


def nearest_sense_accuracy(vectors: Float[Tensor, "*vectors"], senses: Sequence[str]) -> float:
    """Leave one out: the share of vectors (n, d) whose nearest other vector, by cosine, has the same sense.

    Where several others are equally near, each counts for its share. So equal vectors get what a blind choice among the
    others would get, which is less than a half where the senses are equally frequent: of one's own, one is missing.

    Raises:
        ValueError: not one sense a vector, fewer than two vectors, or a number that is not finite.
    """
    if vectors.ndim != 2 or len(vectors) != len(senses):
        raise ValueError(f"vectors must be {len(senses)} rows, one a sense, got shape {tuple(vectors.shape)}")
    if len(vectors) < 2:
        raise ValueError(f"vectors must be at least two, got {len(vectors)}")
    if not bool(vectors.isfinite().all()):
        raise ValueError("vectors must be finite numbers")
    unit = F.normalize(vectors.double(), dim=1)
    cosine = (unit @ unit.T).fill_diagonal_(-torch.inf)
    nearest = cosine >= cosine.max(dim=1, keepdim=True).values - TIE
    same = torch.tensor([[one == other for other in senses] for one in senses], device=vectors.device)
    return float(((nearest & same).sum(dim=1).double() / nearest.sum(dim=1)).mean())


def sense_accuracy(vectors: Mapping[str, Float[Tensor, "*vectors"]], senses: Mapping[str, Sequence[str]]) -> SenseScore:
    """`nearest_sense_accuracy` of every word among its own sentences, and the mean over all sentences.

    Raises:
        ValueError: no word, or not the same words in both.
    """
    if not vectors or set(vectors) != set(senses):
        raise ValueError(f"vectors and senses must have the same words, got {sorted(vectors)} and {sorted(senses)}")
    by_word = {word: nearest_sense_accuracy(vectors[word], senses[word]) for word in vectors}
    total = sum(len(senses[word]) for word in by_word)
    return SenseScore(sum(score * len(senses[word]) for word, score in by_word.items()) / total, by_word)
