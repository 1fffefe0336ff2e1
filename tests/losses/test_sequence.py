"""The next-token loss against its formula and PyTorch's own."""

import math

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.losses import next_token_loss


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
