"""Kneser–Ney: beside a plain dictionary of counts, by hand, and as a distribution."""

from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.evaluation.ngrams import DISCOUNT, NGram

PROPERTY = settings(deadline=None, max_examples=40)


def slow_probability(text, order, vocabulary, context, token):
    """The formula with dictionaries, one length after the other."""
    p = 1 / vocabulary
    for length in range(1, order + 1):
        runs = [tuple(text[i : i + length]) for i in range(len(text) - length + 1)]
        if length == order:
            counts = Counter(runs)
        else:
            before = defaultdict(set)
            for i in range(len(text) - length):
                before[tuple(text[i + 1 : i + 1 + length])].add(text[i])
            counts = {run: len(tokens) for run, tokens in before.items()}
        if length - 1 > len(context):
            break
        history = tuple(context[len(context) - length + 1 :])
        once, twice = (sum(1 for c in counts.values() if c == n) for n in (1, 2))
        discount = once / (once + 2 * twice) if once and twice else DISCOUNT
        total = sum(c for run, c in counts.items() if run[:-1] == history)
        kinds = sum(1 for run in counts if run[:-1] == history)
        if total:
            p = max(counts.get((*history, token), 0) - discount, 0) / total + discount * kinds / total * p
    return p


TEXTS = st.lists(st.integers(0, 3), min_size=5, max_size=40)


@PROPERTY
@given(text=TEXTS, order=st.integers(1, 4), context=st.lists(st.integers(0, 3), max_size=5), token=st.integers(0, 3))
def test_probabilities_are_those_of_the_formula(text, order, context, token):
    model = NGram(torch.tensor(text), order=order, vocabulary=4)
    expected = slow_probability(text, order, 4, context, token)
    assert float(model.next_probabilities(context)[token]) == pytest.approx(expected, rel=1e-5)


@PROPERTY
@given(text=TEXTS, order=st.integers(1, 4), other=st.lists(st.integers(0, 3), min_size=2, max_size=12))
def test_scoring_a_text_is_asking_for_each_of_its_tokens(text, order, other):
    model = NGram(torch.tensor(text), order=order, vocabulary=4)
    scores = model.log_probabilities(torch.tensor(other))
    one_by_one = [model.next_probabilities(other[:i])[other[i]].log() for i in range(1, len(other))]
    assert_close(scores, torch.stack(one_by_one), atol=1e-5, rtol=1e-4)


@PROPERTY
@given(text=TEXTS, order=st.integers(1, 4), context=st.lists(st.integers(0, 3), max_size=5))
def test_probabilities_sum_to_one_and_none_is_zero(text, order, context):
    p = NGram(torch.tensor(text), order=order, vocabulary=4).next_probabilities(context)
    assert_close(p.sum(), torch.tensor(1.0))
    assert bool((p > 0).all())


def test_a_bigram_by_hand():
    """a b a b b: after a comes b twice; pairs ab ×2, ba, bb; D = 2 / (2 + 2 · 1) = 1/2."""
    model = NGram(torch.tensor([0, 1, 0, 1, 1]), order=2, vocabulary=2)
    # b stands behind two different tokens, a behind one: 3 in all, D = 1 / (1 + 2) = 1/3.
    shorter_b = (2 - 1 / 3) / 3 + (1 / 3) * 2 / 3 * 0.5
    assert float(model.next_probabilities([0])[1]) == pytest.approx((2 - 0.5) / 2 + 0.5 * 1 / 2 * shorter_b)


def test_a_frequent_token_behind_one_neighbour_only_is_not_expected_elsewhere():
    """The San Francisco of the textbooks: 2 always follows 1, so it is unlikely after anything new."""
    text = torch.tensor([0, 1, 2, 3, 0, 1, 2, 1, 2, 3, 1, 2] * 20 + [4])
    p = NGram(text, order=3, vocabulary=6).next_probabilities([5, 5])
    assert int((text == 2).sum()) > int((text == 0).sum())
    assert p[2] < p[0]


def test_text_with_a_pattern_is_cheaper_the_longer_the_context_until_it_is_known():
    line = torch.randint(4, (3,), generator=torch.Generator().manual_seed(0))
    line = torch.cat([line, torch.tensor([0, 0, 1, 0, 2])]).repeat(50)
    bits = [NGram(line, order=order, vocabulary=4).bits(line) for order in (1, 2, 4)]
    assert bits[0] > bits[1] > bits[2]
    assert bits[2] < 0.2


def test_bits_of_even_noise_are_those_of_its_alphabet():
    noise = torch.randint(8, (40_000,), generator=torch.Generator().manual_seed(1))
    assert NGram(noise[:20_000], order=1, vocabulary=8).bits(noise[20_000:]) == pytest.approx(3.0, abs=0.01)


def test_it_writes_what_it_has_read_and_repeats_with_a_seed():
    model = NGram(torch.tensor([0, 1, 2, 3] * 200), order=3, vocabulary=4)
    texts = [model.sample(60, start=[0, 1], generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert texts[0] == texts[1]
    right = sum(token == (place + 2) % 4 for place, token in enumerate(texts[0]))
    assert right > 50


@pytest.mark.parametrize(
    ("tokens", "options", "message"),
    [
        ([0, 1], dict(order=0, vocabulary=2), "order must be at least 1, got 0"),
        ([0, 1] * 99, dict(order=40, vocabulary=60), "order must be lower for a vocabulary of 60, got 40"),
        ([0, 1], dict(order=3, vocabulary=2), "tokens must be at least order = 3, got 2"),
        ([0, 2], dict(order=1, vocabulary=2), "tokens must lie between 0 and 1, got 0 to 2"),
    ],
)
def test_what_cannot_be_counted_is_refused(tokens, options, message):
    with pytest.raises(ValueError, match=message):
        NGram(torch.tensor(tokens), **options)


def test_what_cannot_be_scored_is_refused():
    model = NGram(torch.tensor([0, 1, 1]), order=2, vocabulary=2)
    with pytest.raises(ValueError, match="tokens must be at least 2, got 1"):
        model.bits(torch.tensor([0]))
    with pytest.raises(ValueError, match="between 0 and 1, got 0 to 5"):
        model.bits(torch.tensor([0, 5]))
