"""The linear probe: its minimum, what it can and cannot separate, and bad input."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.evaluation.probe import linear_probe, tuned_probe


def blobs(n=200, seed=0, far=2.0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (n,), generator=generator)
    centres = far * torch.eye(3, 5)
    return centres[labels] + torch.randn(n, 5, generator=generator) * torch.tensor([1, 1, 1, 50, 0.01]), labels


def test_at_its_minimum_the_gradient_is_zero():
    features, labels = blobs()
    probe = linear_probe(features, labels, n_classes=3, penalty=0.01)
    x = (features - features.mean(0)) / features.std(0, correction=0)
    weight, bias = probe.weight.clone().requires_grad_(), probe.bias.clone().requires_grad_()
    loss = F.cross_entropy(x @ weight.T + bias, labels) + 0.005 * weight.square().sum()
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        assert_close(gradient, torch.zeros_like(gradient), atol=1e-4, rtol=0)


def test_separable_classes_are_told_apart_and_noise_is_not():
    (features, labels), (others, truth) = blobs(far=8.0), blobs(seed=1, far=8.0)
    assert tuned_probe(features, labels, n_classes=3).accuracy(others, truth) > 0.97
    noise = torch.randn(400, 5, generator=torch.Generator().manual_seed(3))
    coins = torch.randint(0, 2, (400,), generator=torch.Generator().manual_seed(4))
    score = tuned_probe(noise[:200], coins[:200], n_classes=2).accuracy(noise[200:], coins[200:])
    assert 0.35 < score < 0.65


def test_the_scale_of_a_feature_does_not_matter():
    features, labels = blobs()
    one = linear_probe(features, labels, n_classes=3, penalty=0.1)
    other = linear_probe(features * torch.tensor([1, 10, 100, 1e-3, 7]), labels, n_classes=3, penalty=0.1)
    assert_close(one.weight, other.weight, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (torch.tensor([0, 1]), {}, "labels must be 3, one a row"),
        (torch.tensor([0, 1, 2]), {}, r"labels must lie between 0 and 1, got \[0, 1, 2\]"),
        (torch.tensor([0, 1, 1]), {"penalty": 0}, "penalty must be positive, got 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(labels, options, message):
    with pytest.raises(ValueError, match=message):
        linear_probe(torch.randn(3, 2), labels, **({"n_classes": 2, "penalty": 1.0} | options))


def test_a_penalty_is_not_chosen_from_a_handful():
    with pytest.raises(ValueError, match="at least ten rows, to choose a penalty, got 4"):
        tuned_probe(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]), n_classes=2)
