"""Judging digits: oracles for every measure, and planted faults that each is shown to notice."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.data.digits import digits
from lectures_lib.evaluation.images import (
    checkpoint_path,
    class_probabilities,
    class_shares,
    classify,
    copied_share,
    digit_classifier,
    digit_features,
    frechet_distance,
    kernel_distance,
    neighbours,
    with_interval,
)


def cloud(seed, count=60, width=4, shift=0.0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


@pytest.fixture(scope="module")
def halves():
    """Features of two halves of the training digits, with their images and labels."""
    data = digits("train")
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(0))
    features = digit_features(data.images)
    half = len(order) // 2
    return data, features, order[:half], order[half:]


def blurred(images):
    return F.avg_pool2d(F.pad(images, (2, 2, 2, 2), value=-1.0), 5, stride=1)


# Oracles


def test_the_frechet_distance_is_that_of_the_formula_with_scipys_root():
    one, other = cloud(0), 2 * cloud(1) + 0.5
    means, covariances = zip(*((x.mean(0).numpy(), np.cov(x.numpy().T)) for x in (one, other)), strict=True)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert_close(frechet_distance(one, other), float(expected), atol=1e-8, rtol=1e-6)


def test_a_shift_costs_its_square_and_nothing_costs_nothing():
    one = cloud(0)
    assert abs(frechet_distance(one, one)) < 1e-8
    assert_close(frechet_distance(one, one + 3), 4 * 9.0, atol=1e-6, rtol=1e-6)


def test_the_kernel_distance_is_the_unbiased_estimate_of_the_formula():
    one, other = cloud(0, 20), cloud(1, 20, shift=1.0)

    def kernel(a, b):
        return (a @ b.T / 4 + 1) ** 3

    def without_diagonal(matrix):
        return (matrix.sum() - matrix.trace()) / (20 * 19)

    expected = (
        without_diagonal(kernel(one, one)) + without_diagonal(kernel(other, other)) - 2 * kernel(one, other).mean()
    )
    mean, spread = kernel_distance(one, other, subsets=3, subset_size=20)
    assert_close(mean, float(expected), rtol=1e-9, atol=0)
    assert abs(spread) < 1e-9  # every subset is the whole


def test_the_kernel_distance_repeats_and_leaves_the_random_numbers_alone():
    state = torch.get_rng_state()
    first, second = (kernel_distance(cloud(0), cloud(1), seed=3) for _ in range(2))
    assert first == second
    assert torch.equal(state, torch.get_rng_state())


def test_neighbours_are_those_of_the_definitions_in_loops():
    real, generated, k = cloud(0, 15, 2), cloud(1, 12, 2, shift=0.8), 3
    radius = lambda x, of: sorted((x - y).norm() for y in of)[k]  # noqa: E731  the first is x itself
    inside = [[bool((r - g).norm() <= radius(r, real)) for g in generated] for r in real]
    outside = [[bool((r - g).norm() <= radius(g, generated)) for g in generated] for r in real]
    found = neighbours(real, generated, k=k)
    assert_close(found.precision, sum(any(row[j] for row in inside) for j in range(12)) / 12)
    assert_close(found.coverage, sum(any(row) for row in inside) / 15)
    assert_close(found.density, sum(map(sum, inside)) / (12 * k))
    assert_close(found.recall, sum(any(row) for row in outside) / 15)


def test_an_interval_is_the_value_with_the_spread_of_redrawn_sets_and_the_sizes():
    statistic = lambda a, b: float(a.mean() - b.mean())  # noqa: E731
    one, other = cloud(0, 400, 1), cloud(1, 100, 1)
    found = with_interval(statistic, one, other, repeats=200)
    half = 1.96 * math.sqrt(float(one.var() / 400 + other.var() / 100))
    assert_close(found.value, statistic(one, other))
    assert_close(found.high - found.value, half, rtol=0.2, atol=0)
    assert_close(found.value - found.low, found.high - found.value)
    assert found.samples == (400, 100)
    assert "with 400 and 100 samples" in str(found)


# The eye


def test_the_stored_classifier_knows_digits_it_has_never_seen():
    held_out = digits("test")
    accuracy = float((classify(held_out.images) == held_out.labels).float().mean())
    assert accuracy >= 0.98
    assert checkpoint_path("digit_classifier.safetensors").stat().st_size < 2e6
    assert not digit_classifier().training


def test_features_are_few_enough_to_estimate_their_covariance():
    assert digit_features(digits("test").images[:3]).shape == (3, digit_classifier().num_features)
    assert digit_classifier().num_features <= 64


def test_a_checkpoint_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="no checkpoint nothing"):
        checkpoint_path("nothing")


# Planted faults


def test_a_missing_class_is_noticed(halves):
    data, features, first, second = halves
    without = second[data.labels[second] != 4]
    fair = second[: len(without)]
    assert frechet_distance(features[first], features[without]) > 3 * frechet_distance(features[first], features[fair])
    mean, spread = kernel_distance(features[first], features[without])
    assert mean > 3 * max(spread, abs(kernel_distance(features[first], features[fair])[0]))
    # Those of the missing class have hardly anyone near.
    lost = first[data.labels[first] == 4]
    assert neighbours(features[first], features[without]).recall < neighbours(features[first], features[fair]).recall
    assert neighbours(features[first], features[fair]).coverage - neighbours(
        features[first], features[without]
    ).coverage > 0.5 * len(lost) / len(first)
    assert class_shares(data.labels[without])[4] == 0


def test_blur_is_noticed(halves):
    data, features, first, second = halves
    soft = digit_features(blurred(data.images[second]))
    assert frechet_distance(features[first], soft) > 10 * frechet_distance(features[first], features[second])
    fair = kernel_distance(features[first], features[second])
    assert kernel_distance(features[first], soft)[0] > 10 * max(map(abs, fair))
    assert neighbours(features[first], soft).precision < neighbours(features[first], features[second]).precision - 0.2


def test_a_collapse_to_one_class_keeps_precision_and_loses_coverage(halves):
    data, features, first, second = halves
    ones = second[data.labels[second] == 1]
    fair, lost = (neighbours(features[first], features[rows]) for rows in (second[: len(ones)], ones))
    assert lost.precision > 0.8
    assert lost.coverage < 0.5 * fair.coverage


def test_copies_of_the_data_look_perfect_to_all_of_them(halves):
    """What none of them measures: a generator that has learned the training set by heart."""
    _, features, first, second = halves
    assert abs(frechet_distance(features[first], features[first])) < 1e-6
    assert neighbours(features[first], features[first]).coverage == 1
    assert frechet_distance(features[first], features[second]) > 0.01  # while honest new digits are not at 0


def test_copies_are_noticed_by_the_one_measure_that_asks_for_them(halves):
    _, features, first, second = halves
    fresh = digit_features(digits("test").images)
    seen, unseen = features[first], features[second]
    copies = seen[:500]
    assert copied_share(seen, unseen, copies) > 0.95
    assert copied_share(seen, unseen, copies + 0.01 * copies.std() * torch.randn_like(copies)) > 0.95
    assert copied_share(seen, unseen, fresh) == pytest.approx(0.5, abs=0.1)
    assert copied_share(seen, unseen, unseen[:500]) < 0.05  # and which set is which


def test_a_sample_between_a_training_sample_and_a_held_out_one_counts_half():
    ends = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    points = torch.tensor([[1.0], [0.5], [1.5], [9.0]], dtype=torch.float64)
    assert copied_share(ends[:1], ends[1:], points) == (0.5 + 1 + 0 + 0) / 4


def test_probabilities_are_of_every_class_and_their_largest_is_the_answer():
    images = digits("test").images[:50]
    found = class_probabilities(images)
    assert_close(found.sum(dim=1), torch.ones(50))
    assert found.argmax(dim=1).equal(classify(images))


# Bad input


@pytest.mark.parametrize("judge", [digit_features, classify, class_probabilities])
@pytest.mark.parametrize(
    ("value", "message"), [(255.0, "got values from 255 to 255"), (math.nan, "got values from nan to nan")]
)
def test_images_that_the_classifier_cannot_know_are_refused(judge, value, message):
    with pytest.raises(ValueError, match=rf"images must lie in \[-1, 1\], {message}"):
        judge(torch.full((2, 1, 28, 28), value))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: frechet_distance(cloud(0), cloud(1, width=5)), r"generated must have shape \(n, 4\), got \(60, 5\)"),
        (lambda: frechet_distance(cloud(0), cloud(1, 4)), "generated must have more than 4 samples, got 4"),
        (lambda: kernel_distance(cloud(0), cloud(1), subset_size=61), "between 2 and the 60 samples there are, got 61"),
        (lambda: neighbours(cloud(0), cloud(1), k=0), "k must be at least 1, got 0"),
        (lambda: neighbours(cloud(0, 5), cloud(1)), "real must have more than 5 samples, got 5"),
        (lambda: neighbours(cloud(0), cloud(1) / 0), "generated must be finite numbers, got 240 that are not"),
        (lambda: copied_share(cloud(0, 5), cloud(1), cloud(2)), "at least the 60 samples of held_out, got 5"),
        (lambda: copied_share(cloud(0), cloud(1), cloud(2, 0)), "more than 0 samples, got 0"),
        (lambda: class_shares(torch.tensor([0, 10])), "labels must be at least one of 0 to 9"),
        (lambda: with_interval(frechet_distance, cloud(0), cloud(1), repeats=1), "repeats must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_compared_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
