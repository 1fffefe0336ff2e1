"""Batches of sentence pairs: padded to a rectangle, grouped by length so that little of it is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID

IdPair = tuple[Sequence[int], Sequence[int]]
BATCHES_SORTED_TOGETHER = 50  # long enough for even lengths within a batch, short enough to stay random


@dataclass(frozen=True)
class PairBatch:
    """Some sentence pairs as rectangles of integers, filled up with padding.

    `source` ends with `<eos>`; `target` begins with `<bos>` and ends with `<eos>`. `source_lengths` counts the tokens
    of each source, `<eos>` included; it stays on the CPU, where PyTorch's packed sequences want it.
    """

    source: Int[Tensor, "batch source_time"]
    source_lengths: Int[Tensor, " batch"]
    target: Int[Tensor, "batch target_time"]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def decoder_input(self) -> Int[Tensor, "batch time"]:
        """What the decoder is shown: the target without its last token."""
        return self.target[:, :-1]

    @property
    def decoder_target(self) -> Int[Tensor, "batch time"]:
        """What it should say: the target one step later."""
        return self.target[:, 1:]

    def to(self, device: torch.device) -> PairBatch:
        """The batch on another device; the lengths stay on the CPU."""
        return PairBatch(self.source.to(device), self.source_lengths, self.target.to(device))

    def shard(self, index: int, count: int) -> PairBatch:
        """Every `count`-th pair from `index` on: the part of one process out of `count`."""
        if not 0 <= index < count:
            raise ValueError(f"index must lie between 0 and count - 1 = {count - 1}, got {index}")
        rows = slice(index, None, count)
        return PairBatch(self.source[rows], self.source_lengths[rows], self.target[rows])


def pad(sequences: Sequence[Sequence[int]]) -> Int[Tensor, "batch time"]:
    """Integer sequences of any lengths as one rectangle, filled up with `<pad>` at the right."""
    return pad_sequence([torch.tensor(s, dtype=torch.long) for s in sequences], batch_first=True, padding_value=PAD_ID)


def source_batch(sources: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "batch time"], Int[Tensor, " batch"]]:
    """Sources alone, each ended with `<eos>`, and their lengths: what a decoder starts from.

    Raises:
        ValueError: there is no source, or one of them is empty.
    """
    if not sources:
        raise ValueError("sources must hold at least one sentence, got none")
    for index, ids in enumerate(sources):
        if len(ids) == 0:
            raise ValueError(f"sources[{index}] is empty")
    ended = [[*ids, EOS_ID] for ids in sources]
    return pad(ended), torch.tensor([len(ids) for ids in ended])


def pair_batch(pairs: Sequence[IdPair]) -> PairBatch:
    """A batch of (source, target) integer sequences, which come without begin and end."""
    source, lengths = source_batch([source for source, _ in pairs])
    return PairBatch(source, lengths, pad([[BOS_ID, *target, EOS_ID] for _, target in pairs]))


class BucketedBatches:
    """The batches of every epoch: shuffled, yet with sentences of nearly equal length side by side.

    `batches(epoch)` gives the same batches whenever it is asked for the same epoch, so that a training run that was
    stopped can go on where it was. Shuffle, sort by length within groups of `BATCHES_SORTED_TOGETHER` batches, cut,
    and shuffle the batches.
    """

    def __init__(self, pairs: Sequence[IdPair], *, batch_size: int, seed: int = 0) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not pairs:
            raise ValueError("pairs must hold at least one sentence pair, got none")
        self.pairs = pairs
        self.batch_size = batch_size
        self.seed = seed

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.pairs) // self.batch_size)

    def __call__(self, epoch: int) -> Iterator[PairBatch]:
        """The batches of an epoch, one after the other."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.pairs), generator=generator).tolist()
        group = self.batch_size * BATCHES_SORTED_TOGETHER
        by_length = [i for start in range(0, len(order), group) for i in self._sorted(order[start : start + group])]
        starts = torch.randperm(len(self), generator=generator).tolist()
        for start in starts:
            chosen = by_length[start * self.batch_size : (start + 1) * self.batch_size]
            yield pair_batch([self.pairs[i] for i in chosen])

    def _sorted(self, indices: list[int]) -> list[int]:
        return sorted(indices, key=lambda i: (len(self.pairs[i][1]), len(self.pairs[i][0])))
