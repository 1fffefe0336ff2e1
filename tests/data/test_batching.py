"""Batches: right padding, little of it, every pair once, the same again."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.data.batching import BucketedBatches, pair_batch, source_batch
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID

sequences = st.lists(st.integers(4, 50), min_size=1, max_size=20)
pair_lists = st.lists(st.tuples(sequences, sequences), min_size=1, max_size=60)


def test_a_batch_of_two_looks_like_this():
    batch = pair_batch([([7, 8, 9], [5]), ([6], [4, 4])])
    assert_close(batch.source, torch.tensor([[7, 8, 9, EOS_ID], [6, EOS_ID, PAD_ID, PAD_ID]]))
    assert_close(batch.source_lengths, torch.tensor([4, 2]))
    assert_close(batch.target, torch.tensor([[BOS_ID, 5, EOS_ID, PAD_ID], [BOS_ID, 4, 4, EOS_ID]]))


def test_the_decoders_target_is_its_input_one_step_later():
    batch = pair_batch([([7], [5, 6, 4])])
    assert_close(batch.decoder_input[:, 1:], batch.decoder_target[:, :-1])


@given(pairs=pair_lists, batch_size=st.integers(1, 8), epoch=st.integers(0, 3))
def test_every_pair_comes_once_an_epoch(pairs, batch_size, epoch):
    batches = list(BucketedBatches(pairs, batch_size=batch_size)(epoch))
    assert len(batches) == len(BucketedBatches(pairs, batch_size=batch_size))
    seen = sorted(tuple(i for i in row.tolist() if i != PAD_ID) for b in batches for row in b.source)
    assert seen == sorted((*source, EOS_ID) for source, _ in pairs)


def test_the_same_epoch_gives_the_same_batches_and_another_epoch_others():
    pairs = [([4 + i % 40] * (1 + i % 9), [5 + i % 40]) for i in range(200)]
    batches = BucketedBatches(pairs, batch_size=8, seed=3)
    first, again, other = (torch.cat([b.source[:, 0] for b in batches(e)]) for e in (0, 0, 1))
    assert_close(first, again)
    assert not torch.equal(first, other)


def test_buckets_waste_little_on_padding():
    lengths = torch.randint(3, 40, (4_000,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = list(BucketedBatches([([5] * n, [5] * n) for n in lengths], batch_size=64)(0))
    places = sum(b.target.numel() for b in batches)
    assert places / sum(n + 2 for n in lengths) < 1.05


def test_shards_are_the_whole_batch_once():
    batch = pair_batch([([4 + i], [5 + i]) for i in range(5)])
    parts = [batch.shard(i, 2) for i in range(2)]
    assert sorted(torch.cat([p.source[:, 0] for p in parts]).tolist()) == [4, 5, 6, 7, 8]
    assert [len(p) for p in parts] == [3, 2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: source_batch([]), "sources must hold at least one"),
        (lambda: source_batch([[5], []]), r"sources\[1\] is empty"),
        (lambda: BucketedBatches([([4], [4])], batch_size=0), "batch_size must be at least 1, got 0"),
        (lambda: BucketedBatches([], batch_size=2), "pairs must hold at least one"),
        (lambda: pair_batch([([4], [4])]).shard(2, 2), "got 2"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
