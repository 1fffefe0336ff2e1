"""Toy distributions: densities that integrate to one, samples that follow them, modes that can be counted."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.data.toy import Mixture, gaussian, grid, line_mixture, ring

TWO = line_mixture((-1.0, 2.0), 0.5, (0.25, 0.75))


def test_one_gaussian_has_the_density_of_the_textbook():
    x = torch.tensor([[0.0], [1.0], [-3.0]])
    expected = torch.distributions.Normal(1.0, 2.0).log_prob(x.squeeze(1))
    assert_close(gaussian(1, 2).log_density(x), expected)


@pytest.mark.parametrize("mixture", [TWO, gaussian(), TWO.shifted(1)])
def test_a_density_on_a_line_sums_to_one(mixture):
    x = torch.linspace(-12, 12, 4_801).unsqueeze(1)
    assert_close(float(mixture.density(x).sum()) * 0.005, 1.0, atol=1e-4, rtol=0)


def test_a_density_on_a_plane_sums_to_one():
    axis = torch.linspace(-4, 4, 801)
    places = torch.cartesian_prod(axis, axis)
    assert_close(float(ring(5, std=0.2).density(places).sum()) * 0.01**2, 1.0, atol=1e-3, rtol=0)


def test_samples_fall_where_the_density_says():
    points = TWO.sample(40_000, torch.Generator().manual_seed(0)).flatten()
    edges = torch.linspace(-3, 4, 15)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        x = torch.linspace(float(low), float(high), 201).unsqueeze(1)
        expected = float(torch.trapezoid(TWO.density(x), x.squeeze(1)))
        found = float(((points >= low) & (points < high)).float().mean())
        assert abs(found - expected) < 0.01


@settings(max_examples=20, deadline=None)
@given(number=st.integers(0, 10**6), seed=st.integers(0, 5))
def test_a_batch_is_the_same_whenever_it_is_asked_for_and_others_differ(number, seed):
    batches = ring().batches(4, seed=seed)
    assert torch.equal(batches(number), batches(number))
    assert not torch.equal(batches(number), batches(number + 1))
    assert not torch.equal(batches(number), ring().batches(4, seed=seed + 1)(number))


def test_the_grid_has_its_centres_around_the_origin_and_the_ring_at_its_radius():
    centres = torch.tensor(grid(5).centres)
    assert centres.shape == (25, 2)
    assert sorted({x for x, _ in grid(5).centres}) == [-2.0, -1.0, 0.0, 1.0, 2.0]
    assert_close(centres.mean(0), torch.zeros(2))
    assert_close(torch.tensor(ring(7, radius=3).centres).norm(dim=1), torch.full((7,), 3.0))


def test_the_nearest_mode_and_its_distance_in_standard_deviations():
    mode, distance = grid(3, spacing=2, std=0.1).nearest(torch.tensor([[2.1, -2.0], [0.0, 0.3]]))
    assert mode.tolist() == [6, 4]
    assert_close(distance, torch.tensor([1.0, 3.0]), atol=1e-4, rtol=0)


def test_shifting_moves_along_the_first_axis_only():
    assert ring(4).shifted(2).sample(5, torch.Generator().manual_seed(1)).shape == (5, 2)
    assert_close(float(TWO.shifted(3).density(torch.tensor([[4.0]]))), float(TWO.density(torch.tensor([[1.0]]))))
    assert math.isclose(ring(4).shifted(2).centres[0][1], ring(4).centres[0][1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixture((), 1.0), "centres"),
        (lambda: Mixture(((0.0,), (1.0, 2.0)), 1.0), "centres"),
        (lambda: gaussian(0, 0), "std must be positive, got 0"),
        (lambda: line_mixture((0, 1), 1, (0.5, 0.6)), "2 shares that sum to 1"),
        (lambda: line_mixture((0, 1), 1, (1.0,)), "2 shares"),
        (lambda: grid(0), "side"),
        (lambda: ring(0), "modes"),
        (lambda: ring().batches(0), "batch_size must be at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
