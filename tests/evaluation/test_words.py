"""Judging word vectors: neighbours, rank correlation, frequency baselines; and steps along a table of positions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch.testing import assert_close

from lectures_lib.data.text import JudgedPair
from lectures_lib.evaluation.positions import shift_map, shift_residual
from lectures_lib.evaluation.words import (
    WordVectors,
    frequency_similarities,
    nearest_by_frequency,
    neighbour_purity,
    spearman,
    word_similarity,
)
from lectures_lib.layers import sinusoidal_positions

WORDS = ("east", "north-east", "north", "west")
VECTORS = WordVectors(WORDS, torch.tensor([[2.0, 0.0], [3.0, 3.0], [0.0, 1.0], [-5.0, 0.0]]))


def test_the_cosine_does_not_see_the_length():
    assert math.isclose(VECTORS.similarity("east", "north-east"), math.sqrt(0.5), rel_tol=1e-6)
    assert math.isclose(VECTORS.similarity("east", "west"), -1.0)


def test_the_nearest_come_first_and_the_word_itself_is_left_out():
    assert [word for word, _ in VECTORS.nearest("east", 3)] == ["north-east", "north", "west"]


def test_an_unknown_word_is_named_with_similar_ones():
    with pytest.raises(ValueError, match="got 'nort'; near: .*'north'"):
        VECTORS.similarity("nort", "east")
    assert "north" in VECTORS
    assert "nort" not in VECTORS


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: WordVectors(["a"], torch.ones(2, 3)), r"vectors must have shape \(1, d\), got \(2, 3\)"),
        (lambda: WordVectors(["a", "b"], torch.tensor([[1.0], [0.0]])), "got zeros for 'b'"),
        (lambda: VECTORS.nearest("east", 4), "count must lie between 1 and 3, got 4"),
        (lambda: spearman([1], [1]), "equally long, at least 2, got 1 and 1"),
        (lambda: spearman([1, 1], [1, 2]), "first must hold different values, got 1 only"),
        (lambda: neighbour_purity(str, {}), "kinds must hold at least one word"),
        (lambda: nearest_by_frequency(["a", "b"], torch.tensor([1])), "counts must have shape"),
        (lambda: frequency_similarities(["a"], torch.tensor([1, 2])), r"counts must have shape \(1,\), got \(2,\)"),
        (lambda: word_similarity(lambda a, b: 0, [JudgedPair("a", "b", 1.0)], {"a"}), "at least 3 pairs .* got 0 of 1"),
        (lambda: shift_map(torch.ones(4, 2), 2, torch.tensor([2])), r"rows and rows \+ 2 must lie between 0 and 3"),
        (lambda: shift_map(torch.ones(4, 2), -2, torch.tensor([1])), "must lie between 0 and 3"),
        (lambda: shift_map(torch.ones(4, 2), 1, torch.tensor([], dtype=torch.long)), "at least one position"),
    ],
)
def test_what_cannot_be_judged_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_rank_correlation_is_scipys_ties_included(pairs):
    first, second = zip(*pairs, strict=True)
    if len(set(first)) > 1 and len(set(second)) > 1:
        assert math.isclose(spearman(first, second), spearmanr(first, second).statistic, abs_tol=1e-9)


def test_rank_correlation_sees_the_order_only():
    assert math.isclose(spearman([1, 2, 3], [1, 10, 1000]), 1.0)
    assert math.isclose(spearman([1, 2, 3], [3, 2, 1]), -1.0)


def test_pairs_with_unknown_words_are_left_out_and_counted():
    judged = [JudgedPair("a", str(i), float(i)) for i in range(8)] + [JudgedPair("a", "unknown", 0.0)]
    known = {"a", *map(str, range(8))}
    agreement = word_similarity(lambda _, second: int(second) ** 3, judged, known)
    assert (agreement.pairs, agreement.of) == (8, 9)
    assert math.isclose(agreement.correlation, 1.0)
    assert agreement.high >= agreement.correlation >= agreement.low > 0.9


def test_the_interval_is_wide_where_there_is_no_relation():
    scores = [3, 1, 4, 1, 5, 9, 2, 6]
    judged = [JudgedPair("a", str(i), float(score)) for i, score in enumerate(scores)]
    agreement = word_similarity(lambda _, second: (int(second) * 5) % 8, judged, {"a", *map(str, range(8))})
    assert agreement.high - agreement.low > 0.5


def test_the_baselines_know_nothing_but_counts():
    alone = frequency_similarities(["the", "a", "cat"], torch.tensor([100, 100, 1]))
    assert alone["alike"]("the", "a") == 0 > alone["alike"]("the", "cat")
    assert alone["frequent"]("the", "a") > alone["frequent"]("the", "cat")
    assert alone["rare"]("the", "a") < alone["rare"]("the", "cat")


def test_the_neighbour_by_frequency_occurs_about_as_often():
    nearest = nearest_by_frequency(["the", "a", "cat", "dog"], torch.tensor([1000, 400, 12, 10]))
    assert nearest == {"the": "a", "a": "the", "cat": "dog", "dog": "cat"}


def test_purity_counts_neighbours_of_the_same_kind_and_words_without_a_kind_as_wrong():
    kinds = {"cat": "animal", "dog": "animal", "red": "colour", "blue": "colour"}
    nearest = {"cat": "dog", "dog": "red", "red": "the", "blue": "red"}
    assert neighbour_purity(nearest.__getitem__, kinds) == 0.5


def rotation(shift, d_model):
    """The matrix of a shift from the addition theorems: each pair of columns turns by its own angle."""
    matrix = torch.zeros(d_model, d_model, dtype=torch.float64)
    for pair in range(d_model // 2):
        angle = torch.tensor(shift / 10_000 ** (2 * pair / d_model), dtype=torch.float64)
        block = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
        matrix[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = block
    return matrix


@pytest.mark.parametrize("shift", [-3, 1, 5])
def test_a_shift_of_the_sinusoids_is_the_rotation_of_the_addition_theorems(shift):
    table, rows = sinusoidal_positions(200, 8), torch.arange(10, 150)
    found = shift_map(table, shift, rows).double()
    assert_close(found, rotation(shift, 8), atol=1e-3, rtol=0)
    assert shift_residual(table, rotation(shift, 8), shift, rows) < 1e-6
    assert shift_residual(table, found, shift, torch.arange(150, 190)) < 1e-6


def test_a_random_table_has_no_such_map():
    table = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    found = shift_map(table, 1, torch.arange(100))
    assert shift_residual(table, found, 1, torch.arange(100, 199)) > 0.8


def test_the_residual_is_relative():
    table = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert math.isclose(shift_residual(table, torch.zeros(2, 2), 1, torch.tensor([0])), 1.0)
