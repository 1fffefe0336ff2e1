"""The divergence of heads: known values, an oracle, bounds, what counts and what does not, bad input."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.attention import attention_weights, look_ahead_mask
from lectures_lib.evaluation.heads import head_divergence, jensen_shannon, mean_divergence

ONE, OTHER, EVEN = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5])


def random_weights(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(dim=-1)


def test_equal_heads_are_0_bits_apart_and_heads_that_share_nothing_1():
    assert float(jensen_shannon(ONE, ONE)) == 0
    assert float(jensen_shannon(ONE, OTHER)) == 1


def test_one_sure_and_one_undecided_head_are_a_known_number_of_bits_apart():
    # entropy of (3/4, 1/4) is 0.811278 bits, from which half of the undecided one's single bit is taken
    assert_close(jensen_shannon(ONE, EVEN), torch.tensor(0.311278), atol=1e-5, rtol=0)


def test_agrees_with_the_mean_of_two_kullback_leibler_divergences():
    first, second = random_weights(0, 7, 5), random_weights(1, 7, 5)
    middle = (first + second) / 2
    by_definition = sum((p * (p / middle).log2()).sum(-1) for p in (first, second)) / 2
    assert_close(jensen_shannon(first, second), by_definition)


@given(seed=st.integers(0, 2**16), keys=st.integers(1, 9))
def test_it_is_symmetric_and_lies_between_0_and_1(seed, keys):
    first, second = random_weights(seed, keys), random_weights(seed + 1, keys)
    there, back = jensen_shannon(first, second), jensen_shannon(second, first)
    assert_close(there, back)
    assert 0 <= float(there) <= 1


def test_the_zeros_of_a_mask_do_no_harm():
    query = torch.randn(2, 3, 4, 5)
    weights = attention_weights(query, torch.randn(2, 3, 4, 5), look_ahead_mask(4))
    assert head_divergence(weights).isfinite().all()


def test_the_matrix_has_every_pair_averaged_over_the_queries_that_count():
    weights = torch.stack([torch.stack([ONE, ONE]), torch.stack([OTHER, ONE]), torch.stack([OTHER, OTHER])])[None]
    expected = torch.tensor([[0.0, 0.5, 1.0], [0.5, 0.0, 0.5], [1.0, 0.5, 0.0]])
    assert_close(head_divergence(weights), expected)
    assert_close(mean_divergence(head_divergence(weights)), 2 / 3)
    first_only = head_divergence(weights, torch.tensor([[True, False]]))
    assert_close(first_only, torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jensen_shannon(ONE, torch.ones(3) / 3), r"the shape of first, \(2,\), got \(3,\)"),
        (lambda: jensen_shannon(ONE, torch.tensor([1.5, -0.5])), "second must not be negative, got -0.5"),
        (lambda: jensen_shannon(torch.tensor([1.0, 1.0]), ONE), "first must sum to 1.*off by 1"),
        (lambda: jensen_shannon(torch.tensor([float("nan"), 1.0]), ONE), "first must sum to 1"),
        (lambda: head_divergence(EVEN.expand(1, 2, 3, 2), torch.ones(1, 2).bool()), r"\(1, 3\), got \(1, 2\)"),
        (lambda: head_divergence(EVEN.expand(1, 2, 3, 2), torch.zeros(1, 3).bool()), "at least one query"),
        (lambda: mean_divergence(torch.zeros(1, 1)), "at least 2 heads, got 1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
