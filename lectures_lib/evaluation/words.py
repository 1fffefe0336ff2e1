"""How good word vectors are: nearest neighbours, agreement with people, and what the words' frequencies would give."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.data.text import JudgedPair

Similarity = Callable[[str, str], float]


class WordVectors:
    """Words with their vectors, compared by the cosine of the angle between them: 1 same direction, 0 at right angles.

    Raises:
        ValueError: there is not one vector for every word, or a vector is all zeros, which has no direction.
    """

    def __init__(self, words: Sequence[str], vectors: Float[Tensor, "*vectors"]) -> None:
        if vectors.ndim != 2 or len(words) != len(vectors):
            raise ValueError(f"vectors must have shape ({len(words)}, d), got {tuple(vectors.shape)}")
        norm = vectors.detach().norm(dim=1, keepdim=True).cpu()
        if not bool((norm > 0).all()):
            raise ValueError(f"vectors must not be zero, got zeros for {words[int(norm.argmin())]!r}")
        self.words = tuple(words)
        self.directions = vectors.detach().cpu() / norm  # (words, d), each of length 1
        self._number = {word: index for index, word in enumerate(self.words)}

    def __contains__(self, word: str) -> bool:
        return word in self._number

    def __getitem__(self, word: str) -> Float[Tensor, " d"]:
        """The direction of a word. Raises ValueError for a word that has no vector; the message names similar ones."""
        if word not in self._number:
            near = difflib.get_close_matches(str(word), self.words, n=3)
            raise ValueError(f"word must be one of {len(self.words):,} known words, got {word!r}; near: {near}")
        return self.directions[self._number[word]]

    def similarity(self, first: str, second: str) -> float:
        """The cosine between two words."""
        return float(self[first] @ self[second])

    def nearest(self, word: str, count: int = 5) -> list[tuple[str, float]]:
        """The words with the highest cosine to `word`, itself left out: (word, cosine), the nearest first."""
        if not 1 <= count < len(self.words):
            raise ValueError(f"count must lie between 1 and {len(self.words) - 1}, got {count}")
        cosines = self.directions @ self[word]
        cosines[self._number[word]] = -math.inf
        best = cosines.topk(count)
        return [(self.words[i], c) for c, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)]


class Agreement(NamedTuple):
    """Spearman's rank correlation with people's judgements, from -1 to 1, and how many of the pairs it stands on."""

    correlation: float
    low: float  # 95 % bootstrap interval over the pairs
    high: float
    pairs: int
    of: int


def spearman(first: Sequence[int | float], second: Sequence[int | float]) -> float:
    """Rank correlation of two lists; equal values share the mean of their ranks.

    Raises:
        ValueError: fewer than two values, lists of different length, or a list whose values are all equal.

    Source: Spearman 1904.
    """
    from scipy.stats import spearmanr

    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"first and second must be equally long, at least 2, got {len(first)} and {len(second)}")
    for name, values in (("first", first), ("second", second)):
        if len(set(values)) == 1:
            raise ValueError(f"{name} must hold different values, got {values[0]} only: they have no ranks")
    return float(spearmanr(first, second).statistic)


def word_similarity(
    similarity: Similarity, judged: Sequence[JudgedPair], known: Container[str], *, resamples: int = 1_000
) -> Agreement:
    """How a similarity of words ranks the pairs, beside how people rank them.

    Pairs with a word that is not in `known` are left out; the result says how many remain. The interval comes from
    drawing that many pairs with replacement, again and again.

    Raises:
        ValueError: fewer than three pairs have both of their words known.
    """
    seen = [pair for pair in judged if pair.first in known and pair.second in known]
    if len(seen) < 3:
        raise ValueError(f"judged must hold at least 3 pairs of known words, got {len(seen)} of {len(judged)}")
    ours = np.array([similarity(pair.first, pair.second) for pair in seen])
    people = np.array([pair.score for pair in seen])
    generator = np.random.default_rng(0)
    drawn = [generator.integers(len(seen), size=len(seen)) for _ in range(resamples)]
    again = [_rank_correlation(ours[rows], people[rows]) for rows in drawn]
    low, high = np.nanpercentile(again, [2.5, 97.5]) if resamples else (math.nan, math.nan)
    correlation = spearman(ours.tolist(), people.tolist())
    return Agreement(correlation, min(float(low), correlation), max(float(high), correlation), len(seen), len(judged))


def frequency_similarities(words: Sequence[str], counts: Int[Tensor, " words"]) -> dict[str, Similarity]:
    """Similarities that know nothing but how often a word occurs: what a vector must beat.

    "alike": equally frequent words are similar; "frequent" and "rare": pairs of frequent (or rare) words are.
    """
    if len(words) != len(counts):
        raise ValueError(f"counts must have shape ({len(words)},), got {tuple(counts.shape)}")
    log = dict(zip(words, counts.double().log().tolist(), strict=True))
    return {
        "alike": lambda first, second: -abs(log[first] - log[second]),
        "frequent": lambda first, second: log[first] + log[second],
        "rare": lambda first, second: -log[first] - log[second],
    }


def neighbour_purity(nearest: Callable[[str], str], kinds: Mapping[str, str]) -> float:
    """The share of words whose nearest neighbour is of the same kind, from 0 to 1.

    `nearest` gives a word's nearest neighbour among all words; one without a kind counts as wrong.
    """
    if not kinds:
        raise ValueError("kinds must hold at least one word, got none")
    return sum(kinds.get(nearest(word)) == kind for word, kind in kinds.items()) / len(kinds)


def nearest_by_frequency(words: Sequence[str], counts: Int[Tensor, " words"]) -> dict[str, str]:
    """For every word the other word that occurs about as often: the frequency baseline of `neighbour_purity`."""
    if len(words) != len(counts) or len(words) < 2:
        raise ValueError(f"counts must have shape ({len(words)},) with two words at least, got {tuple(counts.shape)}")
    log = counts.double().log()
    distance = (log[:, None] - log[None, :]).abs().fill_diagonal_(math.inf)
    return {word: words[i] for word, i in zip(words, distance.argmin(dim=1).tolist(), strict=True)}


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import rankdata

    with np.errstate(invalid="ignore"):  # a draw of equal values has no correlation: nan, left out later
        return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
