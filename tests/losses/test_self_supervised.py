"""Repairing, masked regions, and several tasks in one."""

import math

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.losses.self_supervised import masked_region_loss, repair_loss, uncertainty_weighted


def test_only_damaged_pixels_count_and_every_channel_of_them():
    pictures, clean = torch.zeros(1, 3, 2, 2, requires_grad=True), torch.ones(1, 3, 2, 2)
    changed = torch.tensor([[[[True, False], [False, False]]]])
    total, count = repair_loss(pictures, clean, changed)
    total.backward()
    assert (total.item(), count.item()) == (3, 3)
    assert pictures.grad[0, :, 0, 0].tolist() == [-1, -1, -1]
    assert pictures.grad.count_nonzero() == 3


def test_a_region_costs_how_far_its_distribution_is_from_the_detectors():
    logits, target = torch.randn(2, 3, 5), torch.rand(2, 3, 5).softmax(-1)
    masked = torch.tensor([[True, False, True], [False, False, True]])
    total, count = masked_region_loss(logits, target, masked)
    chance = logits.softmax(-1)
    expected = sum((target[i] * (target[i] / chance[i]).log()).sum() for i in ((0, 0), (0, 2), (1, 2)))
    assert count == 3
    assert_close(total, expected)
    assert_close(masked_region_loss(target.log(), target, masked)[0], torch.tensor(0.0), atol=1e-5, rtol=0)


def test_a_detector_that_is_sure_costs_the_negative_logarithm():
    logits = torch.zeros(1, 1, 4)
    total, _ = masked_region_loss(logits, torch.tensor([[[0, 1.0, 0, 0]]]), torch.tensor([[True]]))
    assert_close(total, torch.tensor(math.log(4)))


def test_a_loss_of_one_leaves_its_scale_at_one_and_larger_losses_raise_it():
    scales = torch.ones(3, requires_grad=True)
    total = uncertainty_weighted(torch.tensor([1.0, 5.0, 0.1]), scales)
    total.backward()
    assert_close(total, torch.tensor(0.5 * 6.1 + 3 * math.log(2)))
    at_rest, hard, easy = scales.grad
    assert_close(at_rest, torch.tensor(0.0))
    assert hard < 0 < easy  # downhill is a larger scale for the hard task


def test_a_task_with_a_larger_scale_counts_less():
    losses = torch.ones(2, requires_grad=True)
    uncertainty_weighted(losses, torch.tensor([1.0, 2.0])).backward()
    assert losses.grad.tolist() == [0.5, 0.125]


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    x, where = torch.zeros(2, 1, 4, 4, device="meta"), torch.zeros(2, 1, 4, 4, dtype=torch.bool, device="meta")
    total, count = repair_loss(x, x, where)
    assert (total.device.type, count.device.type) == ("meta", "meta")
    assert masked_region_loss(x[0], x[0], where[0, :, :, 0])[0].device.type == "meta"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: repair_loss(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4).bool()),
         r"clean must have shape \(2, 3, 4, 4\), got \(2, 1, 4, 4\)"),
        (lambda: repair_loss(*torch.zeros(2, 2, 3, 4, 4), torch.zeros(2, 4, 4).bool()),
         r"changed must have shape \(2, 1, 4, 4\), got \(2, 4, 4\)"),
        (lambda: masked_region_loss(*torch.zeros(2, 2, 3, 4), torch.zeros(2, 4).bool()),
         r"masked must have shape \(2, 3\), got \(2, 4\)"),
        (lambda: uncertainty_weighted(torch.zeros(3), torch.ones(2)), r"scales must have shape \(3,\), got \(2,\)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
