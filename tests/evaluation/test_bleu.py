"""BLEU and exact match: known values and refusals."""

import pytest

from lectures_lib.evaluation.bleu import bleu, by_group, exact_match

SENTENCE = "a man is riding a brown horse"


def test_a_perfect_translation_scores_100():
    assert bleu([SENTENCE], [SENTENCE]).score == pytest.approx(100)


def test_no_common_word_scores_near_0():
    assert bleu(["one two three four five six"], [SENTENCE]).score < 6


def test_a_value_worked_out_by_hand():
    # Precisions 5/6, 3/5, 2/4, 1/3, equal lengths: (5/6 · 3/5 · 1/2 · 1/3)^(1/4) of 100.
    score = bleu(["the cat sat on the mat"], ["the cat sat by the mat"], tokenize="none").score
    precisions = (5 / 6) * (3 / 5) * (1 / 4) * (0.5 / 3)  # 4-grams: none match, smoothed to 1/2
    assert score == pytest.approx(100 * precisions**0.25)


def test_case_counts_unless_told_otherwise():
    assert bleu([SENTENCE.upper()], [SENTENCE]).score < 5
    assert bleu([SENTENCE.upper()], [SENTENCE], lowercase=True).score == pytest.approx(100)


def test_the_signature_names_the_tokenisation_and_the_version():
    signature = bleu([SENTENCE], [SENTENCE], lowercase=True).signature
    assert "case:lc" in signature
    assert "tok:13a" in signature
    assert "version:" in signature


def test_exact_match_is_a_share():
    assert exact_match(["a", "b", "c", "d"], ["a", "x", "c", "y"]) == 0.5


def test_groups_come_in_rising_order():
    assert by_group(["c", "a", "b"], [3, 1, 3]) == {1: ["a"], 3: ["c", "b"]}


@pytest.mark.parametrize("score", [bleu, exact_match])
@pytest.mark.parametrize(("ours", "theirs"), [([], []), (["a"], []), (["a"], ["a", "b"])])
def test_lists_that_do_not_pair_are_refused(score, ours, theirs):
    with pytest.raises(ValueError, match=f"got {len(ours)} and {len(theirs)}"):
        score(ours, theirs)


def test_groups_must_be_as_many_as_items():
    with pytest.raises(ValueError, match="got 2 and 1"):
        by_group([1, 2], [1])
