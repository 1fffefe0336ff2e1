"""Training a GAN: who is updated, what the tricks do, that it learns, repeats, and goes on where it stopped."""

import copy
import dataclasses
import math

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.testing import assert_close

from lectures_lib.data.samples import shuffled
from lectures_lib.data.toy import gaussian, ring
from lectures_lib.losses.gan import GAN_LOSSES, gradient_penalty
from lectures_lib.models.dcgan import DcganConfig, dcgan
from lectures_lib.models.fully_connected_gan import FullyConnectedConfig, fully_connected_gan
from lectures_lib.training import gan
from lectures_lib.training.gan import (
    GanRules,
    Players,
    check_real,
    discriminator_step,
    fit_gan,
    generator_step,
    pretrain_discriminator,
    pretrain_generator,
    sample,
)

REAL = ring(4, std=0.2)
STEPS = 12


@pytest.fixture
def on_cpu(monkeypatch):
    """Bit for bit is a promise for the CPU: a GPU may add numbers in another order."""
    monkeypatch.setenv("LECTURES_DEVICE", "cpu")


def networks(seed=0, **options):
    return fully_connected_gan(FullyConnectedConfig(d_latent=3, d_hidden=8, **options), seed=seed)


def players(seed=0, lr=0.1, **options):
    pair = networks(seed, **options)
    return Players(*pair, *(torch.optim.SGD(network.parameters(), lr=lr) for network in pair))


def weights(*nets):
    return [copy.deepcopy(network.state_dict()) for network in nets]


def train(pair=None, rules=None, **options):
    pair = pair or networks()
    options = {"steps": STEPS, "log_every": 4, "progress": False, **options}
    return pair, fit_gan(*pair, REAL.batches(16, seed=1), rules, **options)


# One step


def test_the_discriminators_step_moves_the_discriminator_alone_down_its_own_slope():
    game, real, latent = players(), REAL.sample(6), torch.randn(6, 3)
    before = weights(game.generator, game.discriminator)
    logits = game.discriminator(real), game.discriminator(game.generator(latent))
    loss = GAN_LOSSES["non-saturating"].discriminator(*logits)
    slopes = torch.autograd.grad(loss, list(game.discriminator.parameters()))
    move = discriminator_step(game, real, latent, GanRules())
    assert_close(dict(game.generator.state_dict()), before[0], rtol=0, atol=0)
    assert all(p.grad is None for p in game.generator.parameters())  # what detach is for
    for (name, old), slope in zip(before[1].items(), slopes, strict=True):
        assert_close(game.discriminator.state_dict()[name], old - 0.1 * slope)
    assert_close(move.loss, loss.detach())
    assert_close(move.gradient_norm, torch.cat([s.flatten() for s in slopes]).norm())


@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_the_generators_step_moves_the_generator_alone_through_the_discriminator(loss):
    game, latent = players(), torch.randn(6, 3)
    before = weights(game.generator, game.discriminator)
    objective = GAN_LOSSES[loss].generator(game.discriminator(game.generator(latent)))
    slopes = torch.autograd.grad(objective, list(game.generator.parameters()))
    move = generator_step(game, latent, GanRules(loss))
    assert_close(dict(game.discriminator.state_dict()), before[1], rtol=0, atol=0)
    assert all(p.grad is None and p.requires_grad for p in game.discriminator.parameters())
    for (name, old), slope in zip(before[0].items(), slopes, strict=True):
        assert_close(game.generator.state_dict()[name], old - 0.1 * slope)
    assert_close(move.loss, objective.detach())


def test_old_gradients_do_not_count():
    first, second = players(), players()
    for p in first.generator.parameters():
        p.grad = torch.full_like(p, 1e3)
    latent = torch.randn(6, 3)
    for game in (first, second):
        generator_step(game, latent, GanRules())
    assert_close(dict(first.generator.state_dict()), dict(second.generator.state_dict()), rtol=0, atol=0)


def test_a_frozen_network_thaws_even_when_something_fails():
    game = players()
    wanted = []

    def fail():
        with gan.frozen(game.discriminator):
            wanted.extend(p.requires_grad for p in game.discriminator.parameters())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not any(wanted)
    assert all(p.requires_grad for p in game.discriminator.parameters())


# The tricks


def test_weights_are_clipped_after_the_move():
    game = players(lr=10.0)
    discriminator_step(game, REAL.sample(6), torch.randn(6, 3), GanRules("wasserstein", clip_weights=0.05))
    largest = max(float(p.detach().abs().max()) for p in game.discriminator.parameters())
    assert_close(largest, 0.05)
    assert any(float(p.detach().abs().max()) > 0.05 for p in game.generator.parameters())


def test_the_gradient_penalty_is_added_with_its_weight_and_left_out_of_the_loss_told():
    game, real, latent = players(), REAL.sample(6), torch.randn(6, 3)
    fake = game.generator(latent).detach()
    torch.manual_seed(5)
    loss = GAN_LOSSES["wasserstein"].discriminator(game.discriminator(real), game.discriminator(fake))
    total = loss + 7 * gradient_penalty(game.discriminator, real, fake)
    slopes = torch.autograd.grad(total, list(game.discriminator.parameters()), allow_unused=True)
    norm = torch.cat([s.flatten() for s in slopes if s is not None]).norm()
    torch.manual_seed(5)
    move = discriminator_step(game, real, latent, GanRules("wasserstein", gradient_penalty=7))
    assert_close(move.gradient_norm, norm, atol=1e-5, rtol=1e-4)
    assert_close(move.loss, loss.detach())


def test_a_one_sided_penalty_leaves_a_gentle_critic_alone():
    real, latent = REAL.sample(6), torch.randn(6, 3)
    plain, spared, punished = (
        discriminator_step(players(), real, latent, GanRules("wasserstein", gradient_penalty=w, one_sided_penalty=one))
        for w, one in ((0, False), (7, True), (7, False))
    )
    assert_close(spared.gradient_norm, plain.gradient_norm)
    assert not torch.allclose(punished.gradient_norm, plain.gradient_norm)


def test_a_penalty_keeps_the_critics_slope_near_one():
    from lectures_lib.experiments.gan_losses_claims import Recipe, critic_estimate

    estimate, true = critic_estimate(gaussian(0, 0.5), gaussian(2, 0.5), 0, Recipe(critic_steps=300))
    assert abs(estimate - true) < 0.3 * true


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (GanRules(real_weight=2), lambda r, f: 2 * r + f),
        (GanRules(fake_weight=0), lambda r, f: r),
    ],
)
def test_the_parts_of_the_discriminators_loss_are_weighed(rules, expected):
    game, real, latent = players(), REAL.sample(6), torch.randn(6, 3)
    loss = GAN_LOSSES["non-saturating"]
    with torch.no_grad():
        parts = loss.real(game.discriminator(real), 0.0), loss.fake(game.discriminator(game.generator(latent)))
    assert_close(discriminator_step(game, real, latent, rules).loss, expected(*parts))


def test_the_generators_loss_is_weighed():
    latent = torch.randn(6, 3)
    once, thrice = (generator_step(players(), latent, GanRules(generator_weight=w)) for w in (1, 3))
    assert_close(thrice.loss, 3 * once.loss)
    assert_close(thrice.gradient_norm, 3 * once.gradient_norm)


def test_label_smoothing_asks_for_less_than_certainty():
    game, real, latent = players(), REAL.sample(6), torch.randn(6, 3)
    with torch.no_grad():
        extra = 0.2 * game.discriminator(real).mean()
    plain = discriminator_step(copy.deepcopy(game), real, latent, GanRules())
    smooth = discriminator_step(game, real, latent, GanRules(label_smoothing=0.2))
    assert_close(smooth.loss, plain.loss + extra)


def test_instance_noise_is_on_everything_the_discriminator_sees():
    seen = []
    game = players()
    game.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    real, latent = torch.zeros(4_000, 2), torch.zeros(4_000, 3)
    discriminator_step(game, real, latent, GanRules(instance_noise=0.5))
    generator_step(game, latent, GanRules(instance_noise=0.5))
    assert len(seen) == 3
    for samples in seen:
        assert_close(float(samples.std(0).mean()), 0.5, atol=0.02, rtol=0)


def test_moves_are_shared_out_as_the_rules_say():
    calls, numbers = [], []

    def d_step(game, real, latent, rules):
        calls.append("D")
        return discriminator_step(game, real, latent, rules)

    def g_step(game, latent, rules):
        calls.append("G")
        return generator_step(game, latent, rules)

    def batches(number):
        numbers.append(number)
        return REAL.batches(8)(number)

    rules = GanRules(discriminator_steps=2, generator_steps=3)
    fit_gan(*networks(), batches, rules, steps=2, discriminator_step=d_step, generator_step=g_step, progress=False)
    assert "".join(calls) == "DDGGG" * 2
    assert numbers == [0, 1, 2, 3]  # every move of the discriminator sees real samples of its own


def test_learning_rates_are_apart():
    pair = networks()
    before = weights(*pair)
    options = dict(generator_learning_rate=1e-9, discriminator_learning_rate=1e-2, optimizer=torch.optim.SGD)
    train(pair, **options)
    moved = [
        max(float((network.state_dict()[name].cpu() - old).abs().max()) for name, old in stored.items())
        for network, stored in zip(pair, before, strict=True)
    ]
    assert moved[0] < 1e-6 < 1e-3 < moved[1]


def test_the_discriminator_can_learn_another_pair_of_kinds_beforehand():
    _, discriminator = networks()
    near, far = ring(4, std=0.2).batches(64), gaussian(0, 1)
    elsewhere = lambda number: torch.cat([far.sample(64), far.sample(64)], dim=1) + 6  # noqa: E731
    losses = pretrain_discriminator(discriminator, near, elsewhere, steps=150, learning_rate=1e-2)
    assert losses[-1] < 0.1 < losses[0]
    with torch.no_grad():
        device = next(discriminator.parameters()).device
        assert (
            float(discriminator(near(999).to(device)).min()) > 0 > float(discriminator(elsewhere(0).to(device)).max())
        )


def test_the_generator_can_be_brought_near_the_data_beforehand():
    from lectures_lib.evaluation.distributions import count_modes

    generator, _ = fully_connected_gan(FullyConnectedConfig(), seed=0)
    losses = pretrain_generator(generator, REAL.batches(128), steps=300, learning_rate=2e-3)
    assert losses[-1] < 0.2 * losses[0]
    modes = count_modes(sample(generator, torch.randn(1_000, 8)), REAL)
    assert modes.covered(50) == 4  # pulled to partners, not to the mean of all
    nn.init.constant_(generator.layers[0].weight, math.nan)
    with pytest.raises(ValueError, match="distance became nan at step 1"):
        pretrain_generator(generator, REAL.batches(4, seed=1), steps=1)


@pytest.mark.parametrize(
    ("unfit", "message"),
    [
        (torch.full((4, 1, 28, 28), math.nan), "finite numbers"),
        (torch.full((4, 1, 28, 28), 2.0), r"lie in \[-1, 1\]"),
        (torch.zeros(4, 1, 32, 32), r"shape \(1, 28, 28\), got \(1, 32, 32\)"),
    ],
)
def test_pretraining_refuses_what_the_game_would_refuse(unfit, message):
    generator, discriminator = dcgan(DcganConfig.tiny(), seed=0)
    fine = torch.zeros(4, 1, 28, 28)
    with pytest.raises(ValueError, match=message):
        pretrain_generator(generator, lambda n: unfit, steps=1)
    for pair in ((unfit, fine), (fine, unfit)):
        with pytest.raises(ValueError, match=message):
            pretrain_discriminator(discriminator, *(lambda n, of=of: of for of in pair), steps=1)


# The whole training


def test_it_learns_where_the_samples_are():
    """On a line: the generator's mean and spread become those of the data."""
    pair = fully_connected_gan(FullyConnectedConfig(sample_shape=(1,), d_hidden=32), seed=0)
    real = gaussian(3, 0.5)
    options = dict(generator_learning_rate=1e-3, discriminator_learning_rate=1e-3, progress=False)
    before = sample(pair[0], torch.randn(2_000, 8))
    fit_gan(*pair, real.batches(128), steps=800, **options)
    made = sample(pair[0], torch.randn(2_000, 8))
    assert abs(float(before.mean()) - 3) > 2
    assert abs(float(made.mean()) - 3) < 0.3
    assert 0.25 < float(made.std()) < 0.8
    assert not pair[0].training
    assert not pair[1].training


@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_every_loss_trains_images_too_and_the_history_is_complete(loss):
    images = torch.rand(40, 1, 28, 28) * 2 - 1
    pair = dcgan(DcganConfig(28, 1, d_latent=4, width=2), seed=0)
    history = fit_gan(
        *pair, shuffled(images, 8), GanRules(loss), steps=5, log_every=2, sample_every=2, n_samples=3, progress=False
    )
    assert history.step == [2, 4, 5]
    assert list(history.samples) == [0, 2, 4, 5]
    assert all(made.shape == (3, 1, 28, 28) for made in history.samples.values())
    for name in ("discriminator_loss", "generator_loss", "discriminator_gradient", "generator_gradient", "seconds"):
        assert len(getattr(history, name)) == 3
        assert all(math.isfinite(value) for value in getattr(history, name))
    assert all(0 <= share <= 1 for share in history.accuracy)


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_another_does_not(on_cpu):
    first, second, third = (train(seed=seed)[0] for seed in (5, 5, 6))
    assert_close(weights(*first), weights(*second), rtol=0, atol=0)
    assert not torch.equal(first[0].layers[0].weight, third[0].layers[0].weight)


@pytest.mark.parametrize("stop_at", [1, 6, 11])
def test_stopping_and_going_on_gives_the_weights_of_not_stopping_bit_for_bit(on_cpu, tmp_path, stop_at):
    rules = GanRules("wasserstein", discriminator_steps=2, gradient_penalty=1.0, instance_noise=0.1)
    options = dict(rules=rules, log_every=1, sample_every=5, n_samples=4)
    whole, history = train(**options)
    path = tmp_path / "run.safetensors"
    train(checkpoint=path, stop_at=stop_at, **options)
    resumed, again = train(networks(seed=99), checkpoint=path, **options)
    assert_close(weights(*resumed), weights(*whole), rtol=0, atol=0)
    assert again.step == list(range(1, STEPS + 1))
    assert again.generator_loss == history.generator_loss
    assert list(again.samples) == list(history.samples)
    assert_close(again.samples[10], history.samples[10], rtol=0, atol=0)


def test_samples_that_are_used_again_are_made_once_and_give_the_moves_of_the_same_latents():
    real, latent = REAL.sample(8), torch.randn(8, 3, generator=torch.Generator().manual_seed(0))

    def moves(again):
        both, made = players(), []
        both.generator.register_forward_hook(lambda *_: made.append(1))
        fake = {"fake": both.make(latent)} if again else {}
        found = [*discriminator_step(both, real, latent, GanRules(), **fake)]
        return [*found, *generator_step(both, latent, GanRules(), **fake)], len(made)

    (twice, made_twice), (once, made_once) = moves(False), moves(True)
    assert (made_twice, made_once) == (2, 1)
    assert_close(once, twice)


def test_a_whole_training_can_use_samples_again_and_refuses_where_it_cannot():
    pair, made = networks(), []
    pair[0].register_forward_hook(lambda *_: made.append(1))
    fit_gan(*pair, ring(4).batches(8, seed=0), GanRules(reuse_samples=True), steps=3, progress=False)
    assert len(made) == 3
    with pytest.raises(ValueError, match="generator_steps must be 1 where samples are used again, got 2"):
        GanRules(reuse_samples=True, generator_steps=2)


def test_batch_norm_and_its_buffers_resume_too(on_cpu, tmp_path):
    images = torch.rand(40, 1, 28, 28) * 2 - 1

    def run(pair, **options):
        fit_gan(*pair, shuffled(images, 8), steps=4, progress=False, **options)
        return weights(*pair)

    new = lambda seed: dcgan(DcganConfig(28, 1, d_latent=4, width=2), seed=seed)  # noqa: E731
    whole = run(new(0))
    run(new(0), checkpoint=tmp_path / "c", stop_at=2)
    assert_close(run(new(1), checkpoint=tmp_path / "c"), whole, rtol=0, atol=0)


def test_a_finished_run_is_not_trained_again_and_anothers_checkpoint_is_refused(on_cpu, tmp_path):
    path = tmp_path / "run.safetensors"
    first, _ = train(checkpoint=path)
    second, _ = train(networks(seed=3), checkpoint=path)
    assert_close(weights(*first), weights(*second), rtol=0, atol=0)
    with pytest.raises(ValueError, match="checkpoint of FullyConnectedGenerator.*the generator at hand is.*n_hidden=3"):
        train(networks(n_hidden=3), checkpoint=path)


def test_bf16_trains_and_leaves_float32_weights():
    pair, history = train(precision="bf16")
    assert math.isfinite(history.generator_loss[-1])
    assert {p.dtype for network in pair for p in network.parameters()} == {torch.float32}


def test_validation_sees_the_generator_in_evaluation_mode():
    modes = []

    def validate(generator):
        modes.append(generator.training)
        return {"value": float(len(modes))}

    _, history = train(validate=validate, validate_every=5)
    assert modes == [False] * 3
    assert history.validation == [(5, {"value": 1.0}), (10, {"value": 2.0}), (12, {"value": 3.0})]


def test_samples_along_the_way_are_of_the_same_latents_and_do_not_disturb_the_run(on_cpu):
    plain, _ = train()
    watched, history = train(sample_every=3, n_samples=5)
    assert_close(weights(*plain), weights(*watched), rtol=0, atol=0)
    latent = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert_close(history.samples[12], sample(watched[0], latent))


# Bad input


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_whose():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x.sum(1) * self.weight * float("nan")

    with pytest.raises(ValueError, match="the discriminator's loss became nan before round 2"):
        train((networks()[0], Broken()), log_every=2)


def test_what_is_not_a_number_never_reaches_a_good_checkpoint(tmp_path):
    class BreaksLater(nn.Module):
        """A discriminator that answers a few calls, three a round, and then no more."""

        def __init__(self):
            super().__init__()
            self.weight, self.calls = nn.Parameter(torch.ones(1)), 0

        def forward(self, x):
            self.calls += 1
            return x.sum(1) * self.weight * (1.0 if self.calls <= 3 * 4 else math.nan)

    generator, path = networks()[0], tmp_path / "run"
    with pytest.raises(ValueError, match="became nan before round 6"):
        train((generator, BreaksLater()), log_every=100, checkpoint=path, checkpoint_every=3)
    stored = safetensors.torch.load_file(path)
    assert all(bool(tensor.isfinite().all()) for tensor in stored.values())


def test_a_gradient_that_is_not_a_number_stops_the_run_though_the_loss_is_one():
    class Cliff(nn.Module):
        """A logit of 0 for everything, whose slope by the weight is infinite: the root of 0."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return 0 * x.sum(1) + self.weight.sqrt()

    with pytest.raises(ValueError, match="the discriminator's gradient became (nan|inf) before round 1"):
        train((networks()[0], Cliff()), log_every=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(discriminator_steps=0), "discriminator_steps must be at least 1, got 0"),
        (dict(generator_steps=-1), "generator_steps must be at least 1, got -1"),
        (dict(discriminator_steps=1.5), "discriminator_steps must be a whole number, got 1.5"),
        (dict(loss="wgan"), "loss must be one of minimax, .* got 'wgan'"),
        (dict(loss="hinge", label_smoothing=0.1), "has no labels to smooth"),
        (dict(label_smoothing=1.5), "label_smoothing must lie in"),
        (dict(fake_weight=-1), "fake_weight must be 0 or more, got -1"),
        (dict(clip_weights=0), "clip_weights must be positive or None, got 0"),
        (dict(instance_noise=float("nan")), "instance_noise must be 0 or more, got nan"),
    ],
)
def test_rules_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        GanRules(**options)
    assert dataclasses.replace(GanRules(), loss="minimax").losses.name == "minimax"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "steps must be positive, got 0"),
        (dict(generator_learning_rate=0), "generator_learning_rate must be positive, got 0"),
        (dict(precision="fp16"), "precision must be one of no, bf16, got 'fp16'"),
        (dict(stop_at=3), "stop_at needs a checkpoint"),
        (dict(n_samples=0), "n_samples must be positive"),
        (dict(checkpoint_every=0), "checkpoint_every must be positive, got 0"),
        (dict(sample_every=-1), "sample_every must be positive, got -1"),
        (dict(validate_every=0), "validate_every must be positive, got 0"),
        (dict(stop_at=0, checkpoint="c"), "stop_at must be positive, got 0"),
    ],
)
def test_arguments_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        train(**options)


@pytest.mark.parametrize(
    ("real", "message"),
    [
        (torch.zeros(4, 1, 32, 32), r"generator's shape \(1, 28, 28\), got \(1, 32, 32\)"),
        (torch.full((4, 1, 28, 28), 255.0), r"must lie in \[-1, 1\].* got 255 to 255"),
        (torch.full((4, 1, 28, 28), math.nan), "finite numbers"),
        (torch.zeros(1, 1, 28, 28), "at least 2 samples a batch while training, got 1"),
    ],
)
def test_real_samples_that_are_not_fit_are_named(real, message):
    pair = dcgan(DcganConfig(28, 1, d_latent=4, width=2), seed=0)
    with pytest.raises(ValueError, match=message):
        fit_gan(*pair, lambda number: real, steps=1, progress=False)


def test_points_may_lie_anywhere():
    check_real(torch.full((3, 2), 100.0), networks()[0])
