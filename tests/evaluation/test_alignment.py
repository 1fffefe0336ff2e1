"""Links from weights, and the alignment error rate against values computed by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lectures_lib.data.scenes import LECTURE, sample_scenes
from lectures_lib.evaluation.alignment import (
    alignment_error_rate,
    best_single_links,
    diagonal_links,
    hard_links,
    random_links,
)

LINKS = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1)


def test_every_row_links_to_its_largest_weight():
    weights = torch.tensor([[0.1, 0.9], [0.6, 0.4], [0.0, 0.0], [0.5, 0.5]])
    assert hard_links(weights) == {(0, 1), (1, 0), (3, 0)}
    assert hard_links(torch.zeros(0, 3)) == set()


def test_the_rate_of_a_small_example_worked_by_hand():
    sure, possible = {(0, 0), (1, 1)}, {(0, 0), (1, 1), (2, 1)}
    predicted = {(0, 0), (2, 1), (3, 3)}  # one sure, two possible, out of 3 predicted and 2 sure
    assert alignment_error_rate([predicted], [sure], [possible]) == pytest.approx(1 - (1 + 2) / (3 + 2))


def test_possible_links_include_the_sure_ones_also_where_they_are_not_listed():
    assert alignment_error_rate([{(0, 0)}], [{(0, 0)}], [set()]) == 0


def test_sentences_are_counted_together_and_not_averaged():
    predicted, sure = [{(0, 0)}, {(0, 1), (1, 0), (2, 2)}], [{(0, 0)}, {(0, 0), (1, 1), (2, 2)}]
    assert alignment_error_rate(predicted, sure) == pytest.approx(1 - 2 * 2 / 8)


@given(predicted=LINKS, sure=LINKS)
def test_the_rate_is_one_minus_f1_and_symmetric_where_all_links_are_sure(predicted, sure):
    rate = alignment_error_rate([predicted], [sure])
    precision, recall = (len(predicted & sure) / len(s) for s in (predicted, sure))
    f1 = 0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)
    assert rate == pytest.approx(1 - f1)
    assert rate == pytest.approx(alignment_error_rate([sure], [predicted]))
    assert alignment_error_rate([sure], [sure]) == 0


@given(targets=st.integers(1, 20), sources=st.integers(1, 20), seed=st.integers(0, 100))
def test_baselines_link_every_word_inside_the_sentence(targets, sources, seed):
    for links in (
        diagonal_links(targets, sources),
        random_links(targets, sources, torch.Generator().manual_seed(seed)),
    ):
        assert sorted(t for t, _ in links) == list(range(targets))
        assert all(0 <= s < sources for _, s in links)


def test_the_diagonal_of_a_square_is_the_diagonal_and_of_a_rectangle_is_stretched():
    assert diagonal_links(3, 3) == {(0, 0), (1, 1), (2, 2)}
    assert diagonal_links(4, 2) == {(0, 0), (1, 0), (2, 1), (3, 1)}


def test_one_link_a_word_is_the_first_gold_link_of_each():
    assert best_single_links({(0, 2), (0, 1), (3, 3)}) == {(0, 1), (3, 3)}
    assert best_single_links(LECTURE.alignment) <= set(LECTURE.alignment)


def test_no_model_that_links_each_word_once_beats_the_best_single_links():
    scenes = sample_scenes(20, seed=0, clauses=2)
    gold = [scene.alignment for scene in scenes]
    floor = alignment_error_rate([best_single_links(links) for links in gold], gold)
    guesses = [diagonal_links(len(s.english_tokens), len(s.chinese_tokens)) for s in scenes]
    assert 0 < floor < alignment_error_rate(guesses, gold)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alignment_error_rate([{(0, 0)}], []), "one entry a sentence, got 1, 0 and 0"),
        (lambda: alignment_error_rate([set()], [set()]), "at least one link"),
        (lambda: hard_links(torch.tensor([[-0.1, 1.1]])), "must not be negative.*-0.1"),
        (lambda: hard_links(torch.tensor([[float("nan"), 1.0]])), "must not be negative or NaN"),
        (lambda: diagonal_links(3, 0), "sources must be at least 1, got 0"),
        (lambda: random_links(3, 0, torch.Generator()), "sources must be at least 1, got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
