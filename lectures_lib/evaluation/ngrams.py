"""Language models that count: how often did this token follow those before it? The yardstick for a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

LARGEST = 2**62  # runs of tokens are numbered; the numbers must fit into 64 bits
DISCOUNT = 0.5  # where a text is too short to estimate one


@dataclass(frozen=True)
class _Counts:
    """The runs of one length that occur, sorted, and what is known of each.

    A run's number is its tokens read as digits. `contexts` are the runs without their last token: how often each is
    continued, and by how many different tokens.
    """

    runs: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray
    discount: float


class NGram:
    """Interpolated Kneser–Ney: the probability of a token after the `order` - 1 tokens before it.

    A run's count is lowered by a discount, and what that saves goes to the model of one token less:

    p(w | h) = max(c(hw) - D, 0) / c(h·) + D · kinds(h·) / c(h·) · p(w | h without its first token).

    In the longest runs c counts occurrences; in shorter ones it counts the different tokens that stand before the run,
    for a run that is frequent after one token only says little about others. D is n₁ / (n₁ + 2 n₂) of that length's
    counts, n₁ and n₂ the numbers of runs with count 1 and 2. The shortest model is mixed with an even distribution, so
    that no probability is 0.

    Source: Chen and Goodman 1999, sections 2.7 and 3 (there "interpolated Kneser–Ney", with one discount a length).
    """

    def __init__(self, tokens: Int[Tensor, " length"], *, order: int, vocabulary: int) -> None:
        """Count a text.

        Raises:
            ValueError: `order` is below 1, too large to number its runs, or larger than the text; a token is outside
                the vocabulary.
        """
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        if vocabulary**order >= LARGEST:
            raise ValueError(f"order must be lower for a vocabulary of {vocabulary}, got {order}")
        if len(tokens) < order:
            raise ValueError(f"tokens must be at least order = {order}, got {len(tokens)}")
        _check_tokens(tokens, vocabulary)
        self.order, self.vocabulary = order, vocabulary
        text = tokens.cpu().numpy()
        self._by_length: list[_Counts] = []
        for length in range(1, order + 1):
            occurrences = self._numbered(text, length)
            if length < order:  # what stands before a run makes it one token longer: each different one counts once
                occurrences = np.unique(self._numbered(text, length + 1)) % vocabulary**length
            self._by_length.append(self._counted(*np.unique(occurrences, return_counts=True)))

    def log_probabilities(self, tokens: Int[Tensor, " length"]) -> Float[Tensor, " predicted"]:
        """log p of every token but the first, in nats; near the beginning the contexts are shorter.

        Raises:
            ValueError: there are fewer than two tokens, or one is outside the vocabulary.
        """
        if len(tokens) < 2:
            raise ValueError(f"tokens must be at least 2, got {len(tokens)}")
        _check_tokens(tokens, self.vocabulary)
        text = tokens.cpu().numpy().astype(np.int64)
        p = np.full(len(text) - 1, 1 / self.vocabulary)
        for length, counted in enumerate(self._by_length[: len(text)], start=1):
            reached = max(length - 2, 0)  # the first of `p` with that many tokens before it
            runs = self._numbered(text, length)[(1 if length == 1 else 0) :]
            p[reached:] = self._mixed(counted, runs, p[reached:])
        return torch.from_numpy(np.log(p)).float()

    def bits(self, tokens: Int[Tensor, " length"]) -> float:
        """The mean of -log₂ p over all tokens but the first."""
        return float(-self.log_probabilities(tokens).double().mean() / np.log(2))

    def next_probabilities(self, context: Sequence[int]) -> Float[Tensor, " vocabulary"]:
        """p of every token after `context`, of which the last `order` - 1 tokens count."""
        p = np.full(self.vocabulary, 1 / self.vocabulary)
        every = np.arange(self.vocabulary)
        for length, counted in enumerate(self._by_length, start=1):
            if length - 1 > len(context):
                break
            before = 0
            for token in list(context)[len(context) - (length - 1) :]:
                before = before * self.vocabulary + int(token)
            p = self._mixed(counted, before * self.vocabulary + every, p)
        return torch.from_numpy(p).float()

    def sample(self, count: int, *, start: Sequence[int], generator: torch.Generator | None = None) -> list[int]:
        """Write `count` tokens after `start`, each drawn from its probabilities."""
        text = list(start)
        for _ in range(count):
            text.append(int(torch.multinomial(self.next_probabilities(text), 1, generator=generator)))
        return text[len(start) :]

    def _numbered(self, text: np.ndarray, length: int) -> np.ndarray:
        """The number of every run of this length in the text, in order."""
        runs = np.zeros(len(text) - length + 1, dtype=np.int64)
        for offset in range(length):
            runs = runs * self.vocabulary + text[offset : len(text) - length + 1 + offset]
        return runs

    def _counted(self, runs: np.ndarray, counts: np.ndarray) -> _Counts:
        contexts, first, kinds = np.unique(runs // self.vocabulary, return_index=True, return_counts=True)
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        discount = once / (once + 2 * twice) if once and twice else DISCOUNT
        return _Counts(runs, counts, contexts, np.add.reduceat(counts, first), kinds, discount)

    def _mixed(self, counted: _Counts, runs: np.ndarray, shorter: np.ndarray) -> np.ndarray:
        """p of the last token of each run, given p with one token of context less."""
        count = _looked_up(counted.runs, counted.counts, runs)
        contexts = runs // self.vocabulary
        total = _looked_up(counted.contexts, counted.totals, contexts)
        kinds = _looked_up(counted.contexts, counted.kinds, contexts)
        known = total > 0
        safe = np.where(known, total, 1)
        mixed = np.maximum(count - counted.discount, 0) / safe + counted.discount * kinds / safe * shorter
        return np.where(known, mixed, shorter)


def _looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key among sorted keys; 0 where it is not there."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def _check_tokens(tokens: Tensor, vocabulary: int) -> None:
    if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocabulary:
        raise ValueError(
            f"tokens must lie between 0 and {vocabulary - 1}, got {int(tokens.min())} to {int(tokens.max())}"
        )
