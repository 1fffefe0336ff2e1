"""The next-token loss against its formula and PyTorch's own."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.losses import next_token_loss, smoothed_cross_entropy


def test_knowing_nothing_costs_the_logarithm_of_the_vocabulary():
    total, count = next_token_loss(torch.zeros(2, 3, 50), torch.randint(1, 50, (2, 3)), padding=0)
    assert count == 6
    assert_close(total / count, torch.tensor(math.log(50)))


def test_padding_does_not_count():
    logits, target = torch.randn(2, 3, 9), torch.tensor([[4, 0, 0], [5, 6, 0]])
    total, count = next_token_loss(logits, target, padding=0)
    expected = -sum(logits[i, t].log_softmax(-1)[target[i, t]] for i, t in ((0, 0), (1, 0), (1, 1)))
    assert count == 3
    assert_close(total, expected)


def test_label_smoothing_is_pytorchs():
    logits, target = torch.randn(2, 5, 9), torch.randint(1, 9, (2, 5))
    total, count = next_token_loss(logits, target, padding=0, label_smoothing=0.1)
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(logits.flatten(0, 1), target.flatten())
    assert_close(total / count, theirs)


def test_only_padding_costs_nothing_and_has_finite_gradients():
    logits = torch.randn(1, 2, 5, requires_grad=True)
    total, count = next_token_loss(logits, torch.zeros(1, 2, dtype=torch.long), padding=0)
    total.backward()
    assert (total.item(), count.item()) == (0, 0)
    assert logits.grad.count_nonzero() == 0


def test_shapes_that_do_not_fit_are_shown():
    with pytest.raises(ValueError, match=r"\(2, 3\), got \(2, 4\)"):
        next_token_loss(torch.zeros(2, 3, 5), torch.zeros(2, 4, dtype=torch.long), padding=0)


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    logits = torch.zeros(2, 3, 5, device="meta")
    total, count = next_token_loss(logits, torch.zeros(2, 3, dtype=torch.long, device="meta"), padding=0)
    assert (total.device.type, count.device.type) == ("meta", "meta")


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_the_written_out_gradient_is_the_slope_of_the_loss(smoothing):
    logits = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 6, 3, 3])
    assert torch.autograd.gradcheck(lambda z: smoothed_cross_entropy(z, target, smoothing), logits)


def test_gradients_are_pytorchs_also_where_rows_weigh_differently():
    logits = torch.randn(5, 11, requires_grad=True)
    target, weight = torch.randint(0, 11, (5,)), torch.rand(5)
    ours = torch.autograd.grad((smoothed_cross_entropy(logits, target, 0.1) * weight).sum(), logits)[0]
    theirs = F.cross_entropy(logits, target, reduction="none", label_smoothing=0.1)
    assert_close(ours, torch.autograd.grad((theirs * weight).sum(), logits)[0], atol=1e-6, rtol=1e-5)


def test_huge_logits_neither_overflow_nor_lose_their_gradient():
    logits = torch.tensor([[1e4, 0.0, -1e4]], requires_grad=True)
    smoothed_cross_entropy(logits, torch.tensor([1])).sum().backward()
    assert_close(logits.grad, torch.tensor([[1.0, -1.0, 0.0]]))


@pytest.mark.parametrize("smoothing", [-0.1, 1.5])
def test_smoothing_outside_zero_to_one_is_refused(smoothing):
    with pytest.raises(ValueError, match=f"smoothing must lie in .0, 1., got {smoothing}"):
        smoothed_cross_entropy(torch.zeros(1, 3), torch.tensor([0]), smoothing)


def test_one_target_a_row():
    with pytest.raises(ValueError, match=r"\(2,\), got \(3,\)"):
        smoothed_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1, 2]))
