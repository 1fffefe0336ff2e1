"""Batches by number: every sample once a turn, the same batch for the same number, and labels that stay with theirs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.data.samples import Labelled, labelled, shuffled

SAMPLES = torch.arange(10.0)[:, None].repeat(1, 3)  # sample n is (n, n, n)
LABELS = torch.arange(10) % 4


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 10), st.integers(0, 5), st.integers(0, 3))
def test_a_turn_shows_no_sample_twice_and_a_number_gives_the_same_batch_again(batch_size, seed, turn):
    batches = shuffled(SAMPLES, batch_size, seed=seed)
    per_turn = 10 // batch_size
    rows = [batches(turn * per_turn + k)[:, 0] for k in range(per_turn)]
    seen = torch.cat(rows).tolist()
    assert len(set(seen)) == len(seen) == per_turn * batch_size
    assert_close(shuffled(SAMPLES, batch_size, seed=seed)(turn * per_turn)[:, 0], rows[0])


def test_every_turn_has_an_order_of_its_own():
    batches = shuffled(SAMPLES, 10)
    assert not torch.equal(batches(0), batches(1))
    assert_close(batches(0), batches(0))


def test_a_label_stays_with_its_sample():
    batches = labelled(SAMPLES, LABELS, 3, seed=1)
    for number in range(9):
        batch = batches(number)
        assert batch.labels.tolist() == [int(n) % 4 for n in batch.samples[:, 0]]


def test_samples_with_labels_come_in_the_order_of_those_without():
    plain, named = shuffled(SAMPLES, 4, seed=2), labelled(SAMPLES, LABELS, 4, seed=2)
    for number in range(5):
        assert_close(named(number).samples, plain(number))


def test_labelled_samples_have_a_length_and_parts():
    whole = Labelled(SAMPLES, LABELS)
    assert len(whole) == 10
    parts = whole.split(4)
    assert [len(part) for part in parts] == [4, 4, 2]
    assert_close(torch.cat([part.samples for part in parts]), SAMPLES)
    assert_close(torch.cat([part.labels for part in parts]), LABELS)
    moved = whole.to("meta")
    assert (moved.samples.device.type, moved.labels.device.type) == ("meta", "meta")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(labels=LABELS[:9]), r"labels must have shape \(10,\), got \(9,\)"),
        (dict(labels=LABELS.float()), "labels must be whole numbers, got torch.float32"),
        (dict(labels=LABELS - 1), "labels must be 0 or more, got -1"),
        (dict(n_classes=3), "labels must lie between 0 and 2, got 3"),
        (dict(n_classes=6), r"labels must have samples of all 6 classes, got none of \[4, 5\]"),
        (dict(batch_size=0), "batch_size must lie between 1 and the 10 samples there are, got 0"),
        (dict(batch_size=11), "batch_size must lie between 1 and the 10 samples there are, got 11"),
        (dict(samples=torch.full((10, 2), math.nan)), "NaN or infinity in 10 of 10 samples"),
    ],
)
def test_data_that_make_no_sense_are_named(change, message):
    options = {"samples": SAMPLES, "labels": LABELS, "batch_size": 2, **change}
    with pytest.raises(ValueError, match=message):
        labelled(**options)
