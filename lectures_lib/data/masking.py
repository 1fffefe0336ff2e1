"""What BERT is pretrained on: words hidden by the 80/10/10 rule, and pairs of texts that follow each other or do not.

Pure functions of their arguments and a seed or generator: the same call gives the same result.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from lectures_lib.data.wordpiece import SPECIAL_PIECES, TextBatch, WordPiece, rows_by_length
from lectures_lib.losses.pretraining import NO_TARGET

T = TypeVar("T")

SHARE = 0.15  # of the words are asked for
SORTED_TOGETHER = 20  # batches: texts of nearly equal length side by side, for little padding
RULE = (0.8, 0.1, 0.1)  # of those: shown as [MASK], as a random word, as they are


class Masked(NamedTuple):
    """What the model is shown, and what it is asked: the true word, or `NO_TARGET` where nothing is asked."""

    tokens: Int[Tensor, "batch time"]
    targets: Int[Tensor, "batch time"]


def mask_tokens(
    tokens: Int[Tensor, "batch time"],
    words: Bool[Tensor, "*words"],
    *,
    mask: int,
    replacements: tuple[int, int],
    generator: torch.Generator,
    share: int | float = SHARE,
    rule: tuple[int | float, int | float, int | float] = RULE,
) -> Masked:
    """Choose some words of each text to ask for, and hide them by the rule.

    Of each text `share` of the words is chosen, rounded, and at least one: exactly as many each time, as in the
    published code. Of those the first share of `rule` is shown as `mask`, the second as a random token drawn from
    `replacements` (first, last + 1), the third as it is.

    Args:
        words: (batch, time), True where there is a word that may be chosen: no padding, no special token.

    Raises:
        ValueError: `words` has another shape; a share outside [0, 1] (0 for `share` itself too), or `rule` does not add
            up to 1; no replacements.

    Source: Devlin et al. 2019, section 3.1, task 1, and appendix A.1.
    """
    _check(tokens, words, replacements, share, rule)
    order = torch.rand(tokens.shape, generator=generator).masked_fill(~words, 2.0)
    rank = order.argsort(dim=1).argsort(dim=1)  # 0 for the smallest number of a text
    count = words.sum(dim=1, keepdim=True)
    chosen = (rank < (share * count).round().clamp(min=1)) & words
    roll = torch.rand(tokens.shape, generator=generator)
    drawn = torch.randint(*replacements, tokens.shape, generator=generator)
    shown = torch.where(chosen & (roll < rule[0]), mask, tokens)
    shown = torch.where(chosen & (roll >= rule[0]) & (roll < rule[0] + rule[1]), drawn, shown)
    return Masked(shown, torch.where(chosen, tokens, NO_TARGET))


def next_sentence_pairs(
    documents: Sequence[Sequence[T]], *, seed: int, share: int | float = 0.5
) -> list[tuple[T, T, int]]:
    """Every two texts in a row, as (first, second, label): label 0 where the second follows the first.

    With probability `share` the second is exchanged for a text drawn from another document, and the label is 1. A text
    drawn may happen to fit, as in the paper.

    Raises:
        ValueError: `share` is outside [0, 1]; no document has two texts; there is one document only to draw from.

    Source: Devlin et al. 2019, section 3.1, task 2.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    if not any(len(document) > 1 for document in documents):
        raise ValueError("documents must hold at least one of two texts or more, got none")
    filled = [index for index, document in enumerate(documents) if len(document)]
    if share > 0 and len(filled) < 2:
        raise ValueError("documents must be at least two, to draw a text that does not follow, got 1")
    drawing = random.Random(seed)
    pairs = []
    for index, document in enumerate(documents):
        for first, second in zip(document, document[1:], strict=False):
            if drawing.random() >= share:
                pairs.append((first, second, 0))
                continue
            other = index
            while other == index:
                other = filled[int(drawing.random() * len(filled))]
            pairs.append((first, documents[other][int(drawing.random() * len(documents[other]))], 1))
    return pairs


@dataclass(frozen=True)
class MaskedBatch:
    """Pairs of texts with words hidden: what is shown, what is asked, and whether the second text follows the first.

    `targets` has the true word at the places asked and `NO_TARGET` elsewhere; `labels` is 0 where the second follows.
    """

    tokens: Int[Tensor, "batch time"]
    segments: Int[Tensor, "batch time"]
    present: Bool[Tensor, "batch time"]
    targets: Int[Tensor, "batch time"]
    labels: Int[Tensor, " batch"]

    def __len__(self) -> int:
        return len(self.tokens)

    def _fields(self) -> tuple[Tensor, ...]:
        return self.tokens, self.segments, self.present, self.targets, self.labels

    def to(self, device: torch.device) -> MaskedBatch:
        """The batch on another device."""
        return MaskedBatch(*(tensor.to(device) for tensor in self._fields()))

    def shard(self, index: int, count: int) -> MaskedBatch:
        """Every `count`-th pair from `index` on: the part of one process out of `count`.

        Raises:
            ValueError: `index` is not 0 to `count` - 1.
        """
        if not 0 <= index < count:
            raise ValueError(f"index must lie between 0 and count - 1 = {count - 1}, got {index}")
        return MaskedBatch(*(tensor[index::count] for tensor in self._fields()))


class MaskedBatches:
    """The batches of every epoch of some labelled pairs: shuffled, and with other words hidden in every epoch.

    `batches(epoch)` gives the same batches whenever it is asked for the same epoch. (The paper's code hid words once,
    before training; hiding anew is what RoBERTa does.)

    Raises:
        ValueError: there are no pairs, they have no labels, or `batch_size` is below 1.

    Source: Devlin et al. 2019, appendix A.2; Liu et al. 2019, section 4.1.
    """

    def __init__(
        self,
        pairs: TextBatch,
        vocabulary: WordPiece,
        *,
        batch_size: int,
        seed: int = 0,
        share: int | float = SHARE,
        rule: tuple[int | float, int | float, int | float] = RULE,
    ) -> None:
        if pairs.labels is None or not len(pairs):
            raise ValueError("pairs must be at least one, with labels")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.pairs, self.vocabulary = pairs, vocabulary
        self.batch_size, self.seed = batch_size, seed
        self.share, self.rule = share, rule

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.pairs) // self.batch_size)

    def __call__(self, epoch: int) -> Iterator[MaskedBatch]:
        """The batches of an epoch, one after the other."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        for rows in rows_by_length(self.pairs, self.batch_size, generator, sorted_together=SORTED_TOGETHER):
            batch = self.pairs.rows(rows).trimmed()
            shown, targets = mask_tokens(
                batch.tokens,
                self.vocabulary.is_word(batch.tokens),
                mask=self.vocabulary.mask_id,
                replacements=word_range(self.vocabulary),
                generator=generator,
                share=self.share,
                rule=self.rule,
            )
            yield MaskedBatch(shown, batch.segments, batch.present, targets, batch.labels)


def word_range(vocabulary: WordPiece) -> tuple[int, int]:
    """(first, last + 1) of the pieces that may stand for a word at random: those after the special tokens.

    Raises:
        ValueError: the vocabulary has nothing else.
    """
    first = 1 + max(vocabulary.id(piece) for piece in SPECIAL_PIECES)
    if first >= len(vocabulary):
        raise ValueError(f"vocabulary must have words after its special tokens, got {len(vocabulary)} tokens")
    return first, len(vocabulary)


def _check(
    tokens: Tensor, words: Tensor, replacements: tuple[int, int], share: int | float, rule: Sequence[int | float]
) -> None:
    if words.shape != tokens.shape:
        raise ValueError(f"words must have the shape of tokens, {tuple(tokens.shape)}, got {tuple(words.shape)}")
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    if min(rule) < 0 or abs(sum(rule) - 1) > 1e-9:
        raise ValueError(f"rule must be three shares that add up to 1, got {tuple(rule)}")
    if not 0 <= replacements[0] < replacements[1]:
        raise ValueError(f"replacements must be (first, last + 1) of some tokens, got {tuple(replacements)}")
