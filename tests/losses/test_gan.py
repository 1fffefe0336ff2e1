"""The losses of GANs: closed forms, other implementations, slopes, the penalty's norm, and what they refuse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.losses.gan import GAN_LOSSES, gan_loss, gan_value, gradient_penalty, log_loss_real

LOGITS = torch.tensor([-3.0, 0.0, 2.0])
each_loss = pytest.mark.parametrize("name", GAN_LOSSES)


def logits(seed, count=5):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed)) * 3


@settings(deadline=None)
@given(seed=st.integers(0, 1000), smoothing=st.floats(0, 0.9))
def test_the_log_losses_are_binary_cross_entropy(seed, smoothing):
    real, fake = logits(seed), logits(seed + 1, 7)
    loss = gan_loss("non-saturating")
    targets = torch.full_like(real, 1 - smoothing)
    expected = F.binary_cross_entropy_with_logits(real, targets)
    expected = expected + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    assert_close(loss.discriminator(real, fake, label_smoothing=smoothing), expected, atol=1e-5, rtol=1e-5)
    assert_close(loss.generator(fake), F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake)))


def test_minimax_is_what_the_discriminator_loses_on_generated_samples():
    loss = gan_loss("minimax")
    assert_close(loss.generator(LOGITS), -loss.fake(LOGITS))
    assert_close(loss.generator(LOGITS), torch.log(1 - LOGITS.sigmoid()).mean())


@settings(deadline=None)
@given(seed=st.integers(0, 1000), smoothing=st.floats(0, 0.9))
def test_least_squares_is_half_of_the_mean_squared_error(seed, smoothing):
    real, fake = logits(seed), logits(seed + 1, 7)
    loss = gan_loss("least-squares")
    expected = F.mse_loss(real, torch.full_like(real, 1 - smoothing)) / 2 + F.mse_loss(fake, torch.zeros_like(fake)) / 2
    assert_close(loss.discriminator(real, fake, label_smoothing=smoothing), expected, atol=1e-5, rtol=1e-5)
    assert_close(loss.generator(fake), F.mse_loss(fake, torch.ones_like(fake)) / 2)


def test_wasserstein_and_hinge_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 1.0])
    assert_close(gan_loss("wasserstein").discriminator(real, fake), torch.tensor(-1.25 - 0.5))
    assert_close(gan_loss("hinge").discriminator(real, fake), torch.tensor(0.25 + 1.0))
    for name in ("wasserstein", "hinge"):
        assert_close(gan_loss(name).generator(fake), torch.tensor(0.5))


def test_the_slopes_are_those_of_the_paper():
    """Minimax: -D, gone where the discriminator is sure. Non-saturating: -(1 - D), largest there."""
    for name, expected in (("minimax", -LOGITS.sigmoid()), ("non-saturating", LOGITS.sigmoid() - 1)):
        leaf = LOGITS.clone().requires_grad_()
        (3 * gan_loss(name).generator(leaf)).backward()
        assert_close(leaf.grad, expected)


@each_loss
def test_every_loss_prefers_a_better_discriminator_and_a_better_generator(name):
    loss = gan_loss(name)
    good, bad = torch.tensor([0.8]), torch.tensor([-0.8])
    assert loss.discriminator(good, bad) < loss.discriminator(bad, good)
    assert loss.generator(good) < loss.generator(bad)


@each_loss
def test_logits_of_any_size_and_shape_stay_finite_with_finite_slopes(name):
    far = torch.tensor([[-1e4, 1e4]], requires_grad=True)
    total = gan_loss(name).discriminator(far, far) + gan_loss(name).generator(far)
    total.backward()
    assert total.isfinite()
    assert far.grad.isfinite().all()


@each_loss
def test_every_loss_runs_where_its_logits_are(name):
    far = torch.zeros(3, device="meta")
    assert gan_loss(name).discriminator(far, far).device.type == "meta"
    assert gan_loss(name).accuracy(far, far)[0].device.type == "meta"


def test_weights_weigh_their_part():
    loss, real, fake = gan_loss("hinge"), torch.zeros(2), torch.ones(2)
    assert_close(loss.discriminator(real, fake, real_weight=3, fake_weight=0.5), torch.tensor(3.0 + 1.0))


def test_an_unknown_loss_lists_those_there_are():
    with pytest.raises(ValueError, match="minimax, non-saturating, wasserstein, least-squares, hinge, got 'wgan'"):
        gan_loss("wgan")


def test_smoothing_out_of_range_or_without_labels_is_refused():
    with pytest.raises(ValueError, match=r"label_smoothing must lie in \[0, 1\), got 1"):
        log_loss_real(LOGITS, 1)
    for name in ("wasserstein", "hinge"):
        with pytest.raises(ValueError, match="has no labels to smooth.* got 0.1"):
            gan_loss(name).discriminator(LOGITS, LOGITS, label_smoothing=0.1)


def test_accuracy_counts_sides_of_the_middle_and_halves_for_the_undecided():
    real, fake = torch.tensor([2.0, -1.0, 0.0, 1.0]), torch.tensor([-1.0, 3.0])
    assert [float(share) for share in gan_loss("minimax").accuracy(real, fake)] == [0.625, 0.5]
    assert float(gan_loss("least-squares").accuracy(torch.tensor([0.4]), fake)[0]) == 0.0  # the middle is one half
    shifted = gan_loss("wasserstein").accuracy(real + 100, torch.tensor([-1.0]) + 100)
    assert [float(share) for share in shifted] == [0.75, 1.0]  # a critic's zero means nothing


def test_the_value_is_minus_log_four_where_nobody_knows():
    assert_close(float(gan_value(torch.zeros(5), torch.zeros(3))), -math.log(4), rtol=1e-6, atol=0)


# The gradient penalty


def steep(x):
    """A critic with the slope (3, 4) at every point: the norm is 5."""
    return x.flatten(1) @ torch.tensor([3.0, 4.0])


@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 9))
def test_the_penalty_takes_the_norm_of_each_sample_by_itself(count):
    penalty = gradient_penalty(steep, torch.zeros(count, 2), torch.ones(count, 2))
    assert_close(penalty, torch.tensor(16.0))  # (5 - 1)², however many there are


def test_the_norm_goes_over_all_axes_of_an_image():
    critic = lambda x: 0.5 * x.flatten(1).sum(1)  # noqa: E731  the slope is 0.5 in 12 directions
    penalty = gradient_penalty(critic, torch.zeros(4, 3, 2, 2), torch.ones(4, 3, 2, 2))
    assert_close(penalty, torch.tensor((0.5 * 12**0.5 - 1) ** 2))
    assert_close(gradient_penalty(critic, torch.zeros(4, 12), torch.ones(4, 12), target=0), torch.tensor(3.0))


def test_a_one_sided_penalty_spares_slopes_below_the_target():
    gentle = lambda x: 0.1 * steep(x)  # noqa: E731  the slope is 0.5
    real, fake = torch.zeros(3, 2), torch.ones(3, 2)
    assert_close(gradient_penalty(gentle, real, fake), torch.tensor(0.25))
    assert_close(gradient_penalty(gentle, real, fake, one_sided=True), torch.tensor(0.0))
    assert_close(gradient_penalty(steep, real, fake, one_sided=True), torch.tensor(16.0))


def test_points_lie_between_their_own_two_samples_and_every_sample_has_a_share_of_its_own():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    torch.manual_seed(0)
    gradient_penalty(critic, torch.ones(200, 3), torch.zeros(200, 3))
    share = seen[0]
    assert_close(share, share[:, :1].expand(-1, 3))
    assert 0 <= float(share.min()) < 0.05
    assert 0.95 < float(share.max()) <= 1
    assert abs(float(share.mean()) - 0.5) < 0.1


def test_the_penalty_teaches_the_critic_and_nobody_else():
    critic = torch.nn.Linear(2, 1)
    real, fake = torch.randn(4, 2, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    gradient_penalty(lambda x: critic(x).squeeze(1), real, fake).backward()
    norm = critic.weight.detach().norm()
    assert_close(critic.weight.grad, 2 * (norm - 1) * critic.weight.detach() / norm)
    assert real.grad is None
    assert fake.grad is None


def test_a_flat_critic_has_a_finite_gradient():
    critic = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(critic.weight)
    penalty = gradient_penalty(lambda x: critic(x).squeeze(1), torch.randn(3, 2), torch.randn(3, 2))
    penalty.backward()
    assert_close(penalty.detach(), torch.tensor(1.0))
    assert critic.weight.grad.isfinite().all()


def test_samples_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match=r"shape of real, \(3, 2\), got \(4, 2\)"):
        gradient_penalty(steep, torch.zeros(3, 2), torch.zeros(4, 2))
