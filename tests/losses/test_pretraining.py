"""The losses of pretraining: PyTorch's own as oracle, only what is asked counts, and labels outside are named."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.losses import (
    classification_loss,
    masked_language_loss,
    next_sentence_loss,
    pretraining_loss,
    target_places,
)
from lectures_lib.losses.pretraining import NO_TARGET

TARGETS = torch.tensor([[NO_TARGET, 3, NO_TARGET], [0, NO_TARGET, 6]])


def test_places_count_along_the_rows():
    assert target_places(TARGETS).tolist() == [1, 3, 5]


def test_the_masked_language_loss_is_cross_entropy_over_all_places_that_ignores_those_not_asked():
    torch.manual_seed(0)
    everywhere = torch.randn(2, 3, 7, requires_grad=True)
    expected = F.cross_entropy(everywhere.flatten(0, 1), TARGETS.flatten(), ignore_index=NO_TARGET)
    asked = everywhere.flatten(0, 1)[target_places(TARGETS)]
    for targets in (TARGETS, torch.tensor([3, 0, 6])):
        total, count = masked_language_loss(asked, targets)
        assert count == 3
        assert_close(total / count, expected)
    (ours,) = torch.autograd.grad(total / count, everywhere, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected, everywhere)
    assert_close(ours, theirs)
    assert ours.flatten(0, 1)[[0, 2, 4]].count_nonzero() == 0


def test_no_knowledge_costs_the_logarithm_of_the_choices():
    total, count = next_sentence_loss(torch.zeros(4, 2), torch.tensor([0, 1, 1, 0]))
    assert_close(total / count, torch.tensor(2.0).log())


def test_both_losses_together_are_the_sum_of_their_means():
    hidden, pairs = (torch.tensor(6.0), torch.tensor(3)), (torch.tensor(1.0), torch.tensor(2))
    total, count = pretraining_loss(hidden, pairs)
    assert_close(total / count, torch.tensor(2.0 + 0.5))


@pytest.mark.parametrize(("label", "shown"), [(3, 3), (-1, -1)])
def test_a_label_outside_the_classes_is_named(label, shown):
    with pytest.raises(ValueError, match=f"labels must lie between 0 and 2, the classes of logits, got {shown}"):
        classification_loss(torch.zeros(2, 3), torch.tensor([0, label]))


def test_another_number_of_labels_or_targets_is_refused():
    with pytest.raises(ValueError, match=r"labels must be 2, one a row of logits, got shape \(3,\)"):
        classification_loss(torch.zeros(2, 3), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="targets must be 2, one a row"):
        masked_language_loss(torch.zeros(2, 7), TARGETS)
    with pytest.raises(ValueError, match="labels must lie between 0 and 1.*got 2"):
        next_sentence_loss(torch.zeros(1, 2), torch.tensor([2]))


def test_half_precision_is_summed_in_single():
    total, _ = classification_loss(torch.zeros(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1]))
    assert total.dtype == torch.float32


def test_it_runs_where_tensors_have_no_values():
    total, count = classification_loss(
        torch.zeros(2, 3, device="meta"), torch.zeros(2, dtype=torch.long, device="meta")
    )
    assert (total.device.type, count.device.type) == ("meta", "meta")
