"""The parity checks of GANs agree, and would notice a mistake: one is planted in each room."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lectures_lib.evaluation import distributions
from lectures_lib.losses import gan as losses
from lectures_lib.models import dcgan
from parity import gan
from parity.__main__ import CHECKS, TOLERANCE

NAMES = [name for name in CHECKS if name.startswith(("gan-", "dcgan", "distance"))]


def test_all_checks_are_registered():
    assert len(NAMES) == 8


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_theirs(name):
    result = CHECKS[name]()
    assert result.worst <= TOLERANCE
    assert result.scale > 0.1
    assert (result.gradient is None) is name.startswith("distance")


# Planted mistakes


def smoothing_on_both_sides(monkeypatch):
    wrong = losses.GAN_LOSSES["non-saturating"]._replace(fake=lambda logits: losses.log_loss_fake(0.9 * logits))
    monkeypatch.setitem(losses.GAN_LOSSES, "non-saturating", wrong)


def a_saturating_loss_of_the_wrong_sign(monkeypatch):
    wrong = losses.GAN_LOSSES["minimax"]._replace(generator=losses.log_loss_fake)
    monkeypatch.setitem(losses.GAN_LOSSES, "minimax", wrong)


def no_half_before_the_squares(monkeypatch):
    right = losses.GAN_LOSSES["least-squares"]
    wrong = right._replace(generator=lambda logits: 2 * right.generator(logits))
    monkeypatch.setitem(losses.GAN_LOSSES, "least-squares", wrong)


def a_norm_over_the_whole_batch(monkeypatch):
    def wrong(critic, real, fake):
        share = torch.rand(len(real), 1, 1)
        between = torch.lerp(fake, real, share).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return (slope.norm() - 1).square()

    monkeypatch.setattr(gan, "gradient_penalty", wrong)


def a_slope_of_one_tenth(monkeypatch):
    wrong = SimpleNamespace(**vars(nn.functional))
    wrong.leaky_relu = lambda x, slope, inplace=False: nn.functional.leaky_relu(x, 0.1, inplace)
    monkeypatch.setattr(dcgan, "F", wrong)  # there, and not in PyTorch's own layers


def a_norm_at_the_generators_end(monkeypatch):
    right = dcgan.DcganGenerator.forward
    normed = nn.BatchNorm2d(3, affine=False)
    monkeypatch.setattr(dcgan.DcganGenerator, "forward", lambda self, z: normed(right(self, z)))


def unsorted_sets(monkeypatch):
    def wrong(one, other):
        return float((one - other[: len(one)]).abs().mean()) if len(one) == len(other) else 0.0

    monkeypatch.setattr(gan, "earth_mover", wrong)


def one_mean_left_out(monkeypatch):
    right = gan.frechet_distance
    monkeypatch.setattr(gan, "frechet_distance", lambda a, b: right(a - a.mean(0), b - b.mean(0)))


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        (smoothing_on_both_sides, "gan-non-saturating"),
        (a_saturating_loss_of_the_wrong_sign, "gan-minimax"),
        (no_half_before_the_squares, "gan-least-squares"),
        (a_norm_over_the_whole_batch, "gan-gradient-penalty"),
        (a_slope_of_one_tenth, "dcgan-discriminator"),
        (a_norm_at_the_generators_end, "dcgan-generator"),
        (unsorted_sets, "distance-earth-mover"),
        (one_mean_left_out, "distance-frechet"),
    ],
)
def test_a_planted_mistake_is_noticed(mistake, check, monkeypatch):
    mistake(monkeypatch)
    assert CHECKS[check]().worst > 10 * TOLERANCE


def test_the_oracle_of_the_distance_is_not_ours():
    assert gan.wasserstein_distance.__module__.startswith("scipy")
    assert gan.earth_mover is distributions.earth_mover
