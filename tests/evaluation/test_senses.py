"""Nearest-sense accuracy: known values, ties, and that lengths do not count."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lectures_lib.evaluation.senses import nearest_sense_accuracy, sense_accuracy


def test_two_far_groups_are_told_apart_and_mixed_ones_are_not():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    assert nearest_sense_accuracy(vectors, ["dog", "dog", "tree", "tree"]) == 1.0
    assert nearest_sense_accuracy(vectors, ["dog", "tree", "dog", "tree"]) == 0.0
    assert nearest_sense_accuracy(vectors, ["dog", "dog", "dog", "tree"]) == 0.5


def test_equal_vectors_get_what_a_blind_choice_would():
    vectors = torch.ones(6, 3) * torch.arange(1, 7).unsqueeze(1)  # of other lengths, in one direction
    assert nearest_sense_accuracy(vectors, ["a", "b"] * 3) == pytest.approx(2 / 5)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 12), st.integers(0, 2**16))
def test_it_is_the_plain_loop_and_lengths_do_not_count(count, seed):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, 4, generator=generator)
    senses = [("a", "b")[int(i)] for i in torch.randint(0, 2, (count,), generator=generator)]
    right = 0
    for i in range(count):
        cosines = [float(torch.cosine_similarity(vectors[i], vectors[j], dim=0)) for j in range(count)]
        cosines[i] = -2
        right += senses[i] == senses[max(range(count), key=cosines.__getitem__)]
    scale = torch.rand(count, 1, generator=generator) + 0.5
    assert nearest_sense_accuracy(vectors * scale, senses) == pytest.approx(right / count)


def test_the_mean_is_over_sentences_not_over_words():
    good, bad = torch.eye(2).repeat(2, 1), torch.ones(2, 2)
    score = sense_accuracy({"good": good, "bad": bad}, {"good": ["a", "b"] * 2, "bad": ["a", "b"]})
    assert score.by_word == {"good": 1.0, "bad": 0.0}
    assert score.accuracy == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("vectors", "senses", "message"),
    [
        (torch.ones(3, 2), ["a", "b"], "vectors must be 2 rows"),
        (torch.ones(1, 2), ["a"], "at least two, got 1"),
        (torch.full((2, 2), float("nan")), ["a", "b"], "finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(vectors, senses, message):
    with pytest.raises(ValueError, match=message):
        nearest_sense_accuracy(vectors, senses)


def test_vectors_and_senses_must_be_of_the_same_words():
    with pytest.raises(ValueError, match="the same words"):
        sense_accuracy({"bark": torch.ones(2, 2)}, {"bank": ["a", "b"]})
