"""Distances of distributions: closed forms, SciPy, what they do where supports are disjoint; counting modes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from torch.testing import assert_close

from lectures_lib.data.toy import gaussian, grid, line_mixture
from lectures_lib.evaluation.distributions import (
    count_modes,
    earth_mover,
    jensen_shannon,
    mean_interval,
    optimal_discriminator,
    paired_effect,
    pushes,
)

X = torch.linspace(-10, 10, 4_001, dtype=torch.float64)


def js(one, other):
    return jensen_shannon(one.log_density(X[:, None]), other.log_density(X[:, None]), 0.005)


def test_the_best_discriminator_is_p_over_p_plus_q():
    p, q = torch.tensor([0.3, 0.2, 0.0]), torch.tensor([0.1, 0.2, 0.5])
    assert_close(optimal_discriminator(p.log(), q.log()), torch.tensor([0.75, 0.5, 0.0]))


def test_the_divergence_of_equals_is_zero_and_that_of_strangers_log_two():
    assert abs(js(gaussian(), gaussian())) < 1e-9
    assert_close(js(gaussian(-5, 0.2), gaussian(5, 0.2)), math.log(2), atol=1e-6, rtol=0)


def test_the_divergence_is_symmetric_and_between():
    one, other = gaussian(0, 1), line_mixture((-1, 2), 0.5)
    assert_close(js(one, other), js(other, one))
    assert 0 < js(one, other) < math.log(2)


def test_the_divergence_is_what_the_best_discriminator_earns():
    """V(D*) = -log 4 + 2 JSD, theorem 1 of Goodfellow et al."""
    one, other = gaussian(0, 1), gaussian(1, 1)
    log_p, log_q = one.log_density(X[:, None]), other.log_density(X[:, None])
    best = optimal_discriminator(log_p, log_q)
    value = float((log_p.exp() * best.log() + log_q.exp() * (1 - best).log()).sum()) * 0.005
    assert_close(value, -math.log(4) + 2 * js(one, other), atol=1e-6, rtol=0)


def test_a_grid_that_misses_the_distribution_is_refused():
    x = torch.linspace(0, 1, 101)
    with pytest.raises(ValueError, match="log_generated must cover its distribution: on this grid it sums to 0.3"):
        jensen_shannon(torch.full((101,), -math.log(1.01)), gaussian().log_density(x[:, None]), 0.01)
    with pytest.raises(ValueError, match="spacing must be positive, got 0"):
        jensen_shannon(x, x, 0)


@settings(deadline=None)
@given(n=st.integers(1, 30), m=st.integers(1, 30), seed=st.integers(0, 999))
def test_the_earth_movers_distance_is_scipys_for_sets_of_any_sizes(n, m, seed):
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.randn(n, generator=generator), 2 * torch.randn(m, generator=generator) + 1
    assert_close(earth_mover(one, other), wasserstein_distance(one.numpy(), other.numpy()), atol=1e-5, rtol=1e-5)


def test_a_shift_costs_itself():
    points = torch.randn(50)
    assert_close(earth_mover(points, points + 3), 3.0, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="at least one number, got 0 and 50"):
        earth_mover(points[:0], points)


@pytest.mark.parametrize(
    ("real", "generated"), [(gaussian(1, 1), gaussian(-1, 1)), (line_mixture((0, 2), 1), gaussian())]
)
def test_pushes_are_minus_the_slopes_of_the_losses_under_the_best_discriminator(real, generated):
    x = torch.linspace(-4, 4, 2_001, dtype=torch.float64)
    found = pushes(real, generated, x)
    point = x.clone().requires_grad_()
    logit = real.log_density(point[:, None]) - generated.log_density(point[:, None])
    best = logit.sigmoid()
    losses = {
        "minimax": torch.log(1 - best),
        "non-saturating": -best.log(),
        "least-squares": 0.5 * (best - 1).square(),
    }
    for name, loss in losses.items():
        (slope,) = torch.autograd.grad(loss.sum(), point, retain_graph=True)
        assert_close(found[name][1:-1], -slope[1:-1], atol=1e-3, rtol=1e-3)


def test_a_wasserstein_critic_pushes_with_one_towards_where_mass_is_missing():
    x = torch.linspace(-8, 8, 801)
    right = pushes(gaussian(3, 0.5), gaussian(-3, 0.5), x)["wasserstein"]
    assert set(right[(x > -3) & (x < 3)].tolist()) == {1.0}
    left = pushes(gaussian(-3, 0.5), gaussian(3, 0.5), x)["wasserstein"]
    assert set(left[(x > -3) & (x < 3)].tolist()) == {-1.0}
    with pytest.raises(ValueError, match="must be on a line, got 2 and 1 axes"):
        pushes(grid(), gaussian(), x)


def test_modes_are_counted_where_good_samples_are():
    mixture = grid(3, spacing=1, std=0.1)
    samples = torch.tensor([[0.0, 0.0], [0.05, 0.0], [1.0, 1.25], [1.0, 1.5], [-1.0, -1.0]])
    modes = count_modes(samples, mixture)
    assert modes.counts.tolist() == [1, 0, 0, 0, 2, 0, 0, 0, 1]
    assert_close(modes.good, 0.8)
    assert (modes.covered(), modes.covered(2)) == (3, 1)


def test_a_planted_collapse_is_noticed():
    mixture, generator = grid(5), torch.Generator().manual_seed(0)
    whole = mixture.sample(2_500, generator)
    assert count_modes(whole, mixture).covered(20) == 25
    assert count_modes(whole[mixture.nearest(whole)[0] < 5], mixture).covered(20) == 5
    assert count_modes(whole + 0.5, mixture).covered(20) == 0


def test_samples_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match=r"shape \(n, 2\) with n > 0, got \(3, 1\)"):
        count_modes(torch.zeros(3, 1), grid())
    with pytest.raises(ValueError, match="got "):
        count_modes(torch.zeros(0, 2), grid())


def test_the_interval_of_a_mean_is_students():
    low, high = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert_close((low + high) / 2, 3.0)
    assert_close(high - 3.0, 2.776445 * math.sqrt(2.5 / 5), rtol=1e-5, atol=0)
    with pytest.raises(ValueError, match="at least two for an interval, got 1"):
        mean_interval([1.0])


def test_a_paired_effect_is_the_interval_of_the_differences():
    treated, untreated = [5.0, 9.0, 1.0, 7.0], [3.0, 6.0, 0.0, 4.0]
    found = paired_effect(treated, untreated)
    assert_close(found.mean, 2.25)
    assert (found.low, found.high) == mean_interval([2.0, 3.0, 1.0, 3.0])
    # The seeds differ more than the treatment does: without the pairs nothing could be said.
    assert found.verdict == "helps"
    assert mean_interval(treated)[0] < mean_interval(untreated)[1]


def test_a_verdict_needs_the_whole_interval_on_one_side_and_knows_which_side_is_better():
    assert paired_effect([1.0, 2.0, 3.0], [0.0, 2.5, 4.0]).verdict == "unclear"
    assert paired_effect([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).verdict == "unclear"
    up, down = ([2.0, 3.1, 4.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [2.0, 3.1, 4.0])
    assert paired_effect(*up).verdict == paired_effect(*down, better="below").verdict == "helps"
    assert paired_effect(*down).verdict == paired_effect(*up, better="below").verdict == "harms"


@pytest.mark.parametrize(
    ("treated", "options", "message"),
    [
        ([1.0, 2.0], {}, "a run for each untreated one, got 2 and 3"),
        ([1.0, 2.0, 3.0], {"better": "more"}, "better must be 'above' or 'below', got 'more'"),
    ],
)
def test_an_effect_without_pairs_is_refused(treated, options, message):
    with pytest.raises(ValueError, match=message):
        paired_effect(treated, [1.0, 2.0, 3.0], **options)
