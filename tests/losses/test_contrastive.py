"""Contrastive losses beside loops and known values, and the loss that keeps codes diverse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.losses.contrastive import diversity_loss, info_nce_loss, nt_xent_loss, wav2vec2_loss

PROPERTY = settings(deadline=None, max_examples=15)


# NT-Xent


def test_the_loss_of_a_batch_is_that_of_each_view_looking_for_its_partner():
    first, second = torch.randn(3, 5), torch.randn(3, 5)
    views = [*first, *second]
    expected = 0.0
    for i, view in enumerate(views):
        scores = [float(F.cosine_similarity(view, other, dim=0)) / 0.5 for other in views]
        others = sum(math.exp(score) for j, score in enumerate(scores) if j != i)
        expected -= math.log(math.exp(scores[(i + 3) % 6]) / others)
    total, count = nt_xent_loss(first, second)
    assert count == 6
    assert_close(total, torch.tensor(expected))


def test_knowing_nothing_costs_the_logarithm_of_the_strangers_and_knowing_all_next_to_nothing():
    same = torch.ones(4, 3)
    total, count = nt_xent_loss(same, same)
    assert_close(total / count, torch.tensor(math.log(7)))
    apart = torch.eye(4)
    total, count = nt_xent_loss(apart, apart, temperature=0.05)
    assert total / count < 1e-6


@PROPERTY
@given(seed=st.integers(0, 999), factor=st.floats(0.1, 10))
def test_neither_the_length_of_a_vector_nor_which_view_comes_first_matters(seed, factor):
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, 4, 6, generator=generator)
    total, _ = nt_xent_loss(first, second)
    assert_close(nt_xent_loss(second, factor * first)[0], total, atol=1e-4, rtol=1e-4)


def test_the_gradient_pulls_partners_together_and_pushes_strangers_apart():
    first, second = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6)
    total, _ = nt_xent_loss(first, second)
    total.backward()
    assert first.grad.isfinite().all()
    moved = first.detach() - 0.1 * first.grad
    assert nt_xent_loss(moved, second)[0] < total
    assert F.cosine_similarity(moved, second).mean() > F.cosine_similarity(first, second).mean()


# InfoNCE with distractors


def others(rows, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, rows - 1, (rows, n), generator=generator)
    return drawn + (drawn >= torch.arange(rows)[:, None])


def test_every_step_is_asked_to_tell_its_target_from_its_distractors():
    context, targets, chosen = torch.randn(5, 4), torch.randn(5, 4), others(5, 3)
    expected = 0.0
    for row, candidates in enumerate(chosen.tolist()):
        scores = [float(F.cosine_similarity(context[row], targets[i], dim=0)) / 0.1 for i in [row, *candidates]]
        expected += math.log(sum(math.exp(s - scores[0]) for s in scores))
    total, count = info_nce_loss(context, targets, chosen)
    assert count == 5
    assert_close(total, torch.tensor(expected))


def test_a_distractor_that_is_the_truth_itself_does_not_count():
    """fairseq#4530 and others: with few codes in use, punishing such a distractor drives the codes together."""
    context, targets = torch.randn(4, 6), torch.randn(4, 6)
    targets[2] = targets[0]
    chosen = torch.tensor([[2, 1], [3, 0], [0, 3], [1, 2]])
    total, _ = info_nce_loss(context, targets, chosen)
    expected = 0.0
    for row, candidates in enumerate([[1], [3, 0], [3], [1, 2]]):
        scores = F.cosine_similarity(context[row][None], targets[[row, *candidates]]) / 0.1
        expected = expected - scores.log_softmax(0)[0]
    assert_close(total, expected)


def test_where_all_distractors_are_the_truth_the_loss_is_zero_and_its_gradient_finite():
    context = torch.randn(3, 4, requires_grad=True)
    targets = torch.ones(3, 4, requires_grad=True)
    total, _ = info_nce_loss(context, targets, others(3, 2))
    total.backward()
    assert total == 0
    assert context.grad.isfinite().all()
    assert targets.grad.isfinite().all()


# Diversity


def test_all_codes_alike_cost_nothing_and_a_single_code_nearly_all():
    even = torch.full((2, 3, 2, 8), 1 / 8)
    assert_close(diversity_loss(even), torch.tensor(0.0), atol=1e-6, rtol=0)
    single = F.one_hot(torch.zeros(2, 3, 2, dtype=torch.long), 8).float()
    assert_close(diversity_loss(single), torch.tensor(1 - 2 / 16))


def test_steps_that_are_not_masked_do_not_count():
    probabilities = torch.rand(2, 5, 2, 4).softmax(-1)
    masked = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1]]).bool()
    assert_close(diversity_loss(probabilities, masked), diversity_loss(probabilities[masked][None]))


def test_its_gradient_leads_to_more_codes_in_use():
    logits = torch.randn(2, 5, 2, 4, requires_grad=True)
    loss = diversity_loss(logits.softmax(-1))
    loss.backward()
    assert diversity_loss((logits.detach() - logits.grad).softmax(-1)) < loss


# wav2vec 2.0's sum


def test_the_whole_is_the_sum_of_its_weighed_parts():
    context, targets = torch.randn(2, 2, 5, 4)
    probabilities, features = torch.randn(2, 5, 2, 4).softmax(-1), torch.randn(2, 5, 7)
    masked = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 1, 0, 0]]).bool()
    chosen = torch.tensor([[1, 2], [0, 2], [0, 1], [4, 4], [3, 3]])
    total, steps = wav2vec2_loss(context, targets, probabilities, features, masked, chosen)
    contrast, _ = info_nce_loss(context[masked], targets[masked], chosen)
    extra = 0.1 * diversity_loss(probabilities, masked) + 10 * (features**2).mean()
    assert steps == 5
    assert_close(total, contrast + 5 * extra)


# The meta device, and bad input


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    x = torch.zeros(4, 6, device="meta")
    chosen = torch.zeros(4, 2, dtype=torch.long, device="meta")
    for total, count in (nt_xent_loss(x, x), info_nce_loss(x, x, chosen)):
        assert (total.device.type, count.device.type) == ("meta", "meta")
    assert diversity_loss(torch.zeros(2, 3, 2, 4, device="meta")).device.type == "meta"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nt_xent_loss(torch.zeros(3, 4), torch.zeros(2, 4)), r"second must have shape \(3, 4\), got \(2, 4\)"),
        (lambda: nt_xent_loss(torch.zeros(1, 4), torch.zeros(1, 4)), "at least 2 rows .* got 1"),
        (lambda: nt_xent_loss(*torch.zeros(2, 3, 4), temperature=0), "temperature must be positive, got 0"),
        (lambda: info_nce_loss(torch.zeros(3, 4), torch.zeros(2, 4), others(3, 2)), r"targets must have .*\(2, 4\)"),
        (lambda: info_nce_loss(*torch.zeros(2, 3, 4), others(4, 2)), r"distractors must have shape \(3, n\)"),
        (lambda: info_nce_loss(*torch.zeros(2, 3, 4), 3 + others(3, 2)), "distractors must lie between 0 and 2, got"),
        (lambda: info_nce_loss(*torch.zeros(2, 3, 4), others(3, 2), temperature=-1), "temperature .* got -1"),
        (lambda: diversity_loss(torch.zeros(2, 3, 2, 4), torch.zeros(2, 4).bool()), r"masked must have shape \(2, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("shape", [(2, 4), (2, 3)])
def test_no_masked_step_or_a_mask_of_another_shape_is_refused(shape):
    x, features = torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)
    with pytest.raises(ValueError, match="masked must"):
        wav2vec2_loss(x, x, torch.zeros(2, 3, 2, 4), features, torch.zeros(shape).bool(), torch.zeros(0, 2).long())
