"""R@k on known values, at chance, with ties, and beside torchmetrics and a plain loop; scores of pairs."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torchmetrics.functional.retrieval import retrieval_hit_rate

from lectures_lib.evaluation.retrieval import beats, match_scores, recall_at
from lectures_lib.models.bert import BertConfig
from lectures_lib.models.vilbert import ViLBertConfig, ViLBertForPretraining, with_whole_picture

SCORES = torch.tensor([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0], [2.0, 3.0, 1.0], [0.0, 1.0, 2.0]])


def test_known_values():
    assert [recall_at(SCORES, k) for k in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert recall_at(SCORES, 1, truth=torch.tensor([0, 1, 1, 2])) == 1.0
    assert recall_at(SCORES, 1, truth=torch.tensor([1, 0, 2, 0])) == 0.0


def test_a_model_that_scores_everything_alike_gets_what_guessing_gets():
    same = torch.zeros(5, 8)
    assert [recall_at(same, k) for k in (1, 3, 8)] == pytest.approx([1 / 8, 3 / 8, 1.0])


def test_guessing_gets_k_of_all_candidates():
    scores = torch.randn(20_000, 10, generator=torch.Generator().manual_seed(0))
    assert recall_at(scores, 1) == pytest.approx(0.1, abs=0.01)
    assert recall_at(scores, 5) == pytest.approx(0.5, abs=0.015)


def test_a_tie_counts_with_its_chance_and_only_where_it_matters():
    scores = torch.tensor([[1.0, 1.0, 0.0, 2.0]])  # the true one shares places 2 and 3
    assert [recall_at(scores, k) for k in (1, 2, 3, 4)] == [0.0, 0.5, 1.0, 1.0]


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_without_ties_it_is_torchmetrics_hit_rate(seed, k):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.stack([torch.randperm(6, generator=generator) for _ in range(7)]).float()
    truth = torch.randint(6, (7,), generator=generator)
    target = torch.nn.functional.one_hot(truth, 6)
    theirs = [retrieval_hit_rate(row, t, top_k=k) for row, t in zip(scores, target, strict=True)]
    assert recall_at(scores, k, truth=truth) == pytest.approx(float(torch.stack(theirs).mean()))


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_with_ties_it_is_the_mean_over_all_orders_of_equal_candidates(seed, k):
    """The plain loop: put equal scores in many random orders and count."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(3, (1, 4), generator=generator).double()
    orders = scores + 1e-3 * torch.rand(4000, 4, generator=generator, dtype=torch.float64)
    counted = sum(sorted(row, reverse=True).index(row[0]) < k for row in orders.tolist()) / 4000
    assert recall_at(scores, k) == pytest.approx(counted, abs=0.05)


def test_better_scores_of_the_truth_never_lower_it():
    scores = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
    lifted = scores + torch.tensor([0.5, 0, 0, 0, 0])
    assert all(recall_at(lifted, k) >= recall_at(scores, k) for k in range(1, 6))


def test_one_beats_another_and_ties_count_half():
    scores = torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0], [3.0, 0.0]])
    assert beats(scores, 1) == 0.625


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recall_at(torch.zeros(3), 1), "scores must be (queries, candidates), at least one each, got (3,)"),
        (lambda: recall_at(torch.zeros(0, 3), 1), "got (0, 3)"),
        (lambda: recall_at(SCORES, 0), "k must lie between 1 and the 3 candidates, got 0"),
        (lambda: recall_at(SCORES, 4), "k must lie between 1 and the 3 candidates, got 4"),
        (lambda: recall_at(SCORES.log() * 0, 1), "got NaN in"),
        (lambda: recall_at(SCORES, 1, truth=torch.tensor([0, 1])), "truth must be 4 numbers from 0 to 2, got [0, 1]"),
        (lambda: recall_at(SCORES, 1, truth=torch.tensor([0, 1, 3, 0])), "truth must be 4 numbers from 0 to 2"),
        (lambda: beats(SCORES, 3), "other must lie between 1 and 2, got 3"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def small():
    torch.manual_seed(0)
    text = BertConfig(9, 8, 2, 16, 1, max_length=6, init_std=0.3)
    return ViLBertForPretraining(
        ViLBertConfig(text, 8, 2, 16, 1, 5, n_region_classes=3, d_co=8, n_co_heads=2, n_co_layers=1)
    )


def test_every_pair_gets_the_score_it_gets_alone_whatever_the_batch():
    model = small()
    captions = torch.randint(0, 9, (3, 2, 4), generator=torch.Generator().manual_seed(1))
    features, where = torch.randn(3, 6, 5), torch.rand(3, 6, 5)
    scores = match_scores(model, captions, features, where, batch_size=4)
    assert scores.shape == (3, 2)
    assert model.training
    model.eval()
    for picture in range(3):
        more, at, _ = with_whole_picture(features[picture : picture + 1], where[picture : picture + 1])
        for caption in range(2):
            alone = model(captions[picture, caption][None], more, at).match
            assert_close(scores[picture, caption], alone[0].detach(), atol=1e-5, rtol=1e-4)


def test_candidates_that_do_not_fit_the_pictures_are_refused():
    with pytest.raises(ValueError, match=re.escape("captions must be (3, candidates, time), got (2, 2, 4)")):
        match_scores(small(), torch.zeros(2, 2, 4, dtype=torch.long), torch.randn(3, 6, 5), torch.rand(3, 6, 5))
