"""The loss of Word2Vec: known values, an oracle, its slopes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.losses.word2vec import negative_sampling_loss


def test_knowing_nothing_costs_log_2_for_the_neighbour_and_for_each_noise_word():
    total, count = negative_sampling_loss(torch.zeros(3), torch.zeros(3, 5))
    assert int(count) == 3
    assert_close(float(total), 3 * 6 * math.log(2), rtol=1e-6, atol=0)


@given(st.integers(0, 1000))
def test_it_is_binary_cross_entropy_with_ones_for_neighbours_and_zeros_for_noise(seed):
    generator = torch.Generator().manual_seed(seed)
    true, noise = torch.randn(4, generator=generator), torch.randn(4, 3, generator=generator)
    scores = torch.cat([true[:, None], noise], dim=1)
    labels = torch.zeros(4, 4)
    labels[:, 0] = 1
    total, _ = negative_sampling_loss(true, noise)
    assert_close(total, F.binary_cross_entropy_with_logits(scores, labels, reduction="sum"))


def test_the_slopes_are_those_the_fast_training_uses():
    true, noise = torch.tensor([0.3], requires_grad=True), torch.tensor([[-0.2, 1.5]], requires_grad=True)
    negative_sampling_loss(true, noise)[0].backward()
    assert_close(true.grad, true.detach().sigmoid() - 1)
    assert_close(noise.grad, noise.detach().sigmoid())


def test_scores_of_any_size_stay_finite():
    total, _ = negative_sampling_loss(torch.tensor([-1e4, 1e4]), torch.tensor([[1e4], [-1e4]]))
    assert_close(float(total), 2e4)


def test_it_runs_where_its_scores_are():
    total, count = negative_sampling_loss(torch.zeros(3, device="meta"), torch.zeros(3, 5, device="meta"))
    assert (total.device.type, count.device.type) == ("meta", "meta")


def test_noise_that_does_not_fit_the_pairs_is_refused():
    with pytest.raises(ValueError, match=r"noise_scores must have shape \(3, k\), got \(2, 5\)"):
        negative_sampling_loss(torch.zeros(3), torch.zeros(2, 5))
