"""Training CycleGAN: who moves, what closes the loop, that it learns, repeats, and goes on where it stopped."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lectures_lib.data.unpaired import unpaired_batches
from lectures_lib.models.cyclegan import CycleGanConfig, cyclegan
from lectures_lib.training import cyclegan as training
from lectures_lib.training import save_weights
from lectures_lib.training.cyclegan import (
    CycleHistory,
    CycleRules,
    check_domains,
    cycle_players,
    discriminator_step,
    fit_cyclegan,
    generator_step,
    pretrain_copying,
    translate,
)

SMALL = CycleGanConfig(width=2, n_blocks=1, upsampling="resize", discriminator_width=2, n_layers=1)
STEPS = 8


@pytest.fixture
def on_cpu(monkeypatch):
    """Bit for bit is a promise for the CPU: a GPU may add numbers in another order."""
    monkeypatch.setenv("LECTURES_DEVICE", "cpu")


def pictures(count, seed, side=8):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


X, Y = pictures(7, 1), pictures(9, 2)


def sgd(parameters, lr):
    return torch.optim.SGD(parameters, lr=lr)


def game(rules=None, **options):
    model = cyclegan(SMALL, seed=0)
    for parameter in model.parameters():  # first weights of 0.02 leave slopes too small to compare
        parameter.data.mul_(10)
    return cycle_players(model, rules, optimizer=sgd, learning_rate=0.1, **options)


def weights(model):
    return copy.deepcopy(model.state_dict())


def parameters(*networks):
    return [p for network in networks for p in network.parameters()]


def train(model=None, rules=None, **options):
    model = model or cyclegan(SMALL, seed=0)
    options = {"steps": STEPS, "log_every": 3, "learning_rate": 1e-3, "progress": False, **options}
    return model, fit_cyclegan(model, *unpaired_batches(X, Y, 2), rules, **options)


# One round


@pytest.mark.parametrize("rules", [CycleRules(), CycleRules.paintings(), CycleRules(cycle_weight=0)], ids=str)
def test_the_generators_go_down_the_slope_of_equation_3_and_the_discriminators_stay(rules):
    players = game(rules)
    model, before = players.model, weights(players.model)
    g, f = model.to_y, model.to_x
    fake_y, fake_x = g(X), f(Y)
    loss = ((model.discriminator_y(fake_y) - 1) ** 2).mean() + ((model.discriminator_x(fake_x) - 1) ** 2).mean()
    loss = loss + rules.cycle_weight * ((f(fake_y) - X).abs().mean() + (g(fake_x) - Y).abs().mean())
    share = rules.cycle_weight * rules.identity_share
    loss = loss + share * ((g(Y) - Y).abs().mean() + (f(X) - X).abs().mean())
    slopes = torch.autograd.grad(loss, parameters(*model.generators))
    move = generator_step(players, X, Y, rules)
    names = [name for name in before if name.startswith("to_")]
    for name, slope in zip(names, slopes, strict=True):
        assert_close(model.state_dict()[name], before[name] - 0.1 * slope, atol=1e-5, rtol=1e-4)
    for name in set(before) - set(names):
        assert torch.equal(model.state_dict()[name], before[name])
    assert all(p.grad is None and p.requires_grad for p in parameters(*model.discriminators))
    assert_close(move.fake_x, fake_x.detach(), atol=1e-5, rtol=1e-4)
    assert (move.identity > 0) == (rules.identity_share > 0)
    assert (move.cycle > 0) == (rules.cycle_weight > 0)


def test_the_discriminators_go_down_half_their_least_squares_and_the_generators_stay():
    players = game()
    model, before = players.model, weights(players.model)
    fake_x, fake_y = pictures(9, 3), pictures(7, 4)
    parts = []
    for discriminator, real, fake in ((model.discriminator_x, X, fake_x), (model.discriminator_y, Y, fake_y)):
        parts.append(((discriminator(real) - 1) ** 2).mean() / 2 + (discriminator(fake) ** 2).mean() / 2)
    slopes = torch.autograd.grad(sum(parts), parameters(*model.discriminators))
    move = discriminator_step(players, X, Y, fake_x, fake_y)
    names = [name for name in before if name.startswith("discriminator_")]
    for name, slope in zip(names, slopes, strict=True):
        assert_close(model.state_dict()[name], before[name] - 0.1 * slope, atol=1e-5, rtol=1e-4)
    for name in set(before) - set(names):
        assert torch.equal(model.state_dict()[name], before[name])
    assert_close(move.loss, (sum(parts) / 2).detach())
    assert all(p.grad is None for p in parameters(*model.generators))


def test_each_discriminator_is_shown_its_own_pools_pictures():
    players = game(CycleRules(pool_size=1))
    seen = {}
    for name in ("discriminator_x", "discriminator_y"):
        hook = lambda module, inputs, name=name: seen.setdefault(name, []).append(inputs[0])  # noqa: E731
        getattr(players.model, name).register_forward_pre_hook(hook)
    fakes = [(torch.full((1, 3, 8, 8), n / 50), torch.full((1, 3, 8, 8), -n / 50)) for n in range(30)]
    for fake_x, fake_y in fakes:
        discriminator_step(players, X[:1], Y[:1], fake_x, fake_y)
    for name, sign in (("discriminator_x", 1), ("discriminator_y", -1)):
        shown = [round(float(images[1].mean()) * 50) * sign for images in seen[name]]
        older = sum(number < n for n, number in enumerate(shown))
        assert all(0 <= number <= n for n, number in enumerate(shown))
        assert 5 < older < 25  # a half, by chance


def test_pictures_that_go_together_do_not_know_of_each_other():
    """What lets the step put several batches through a network at once."""
    model = game().model
    together = model.to_y(torch.cat([X, Y]))
    assert_close(together[: len(X)], model.to_y(X), atol=1e-6, rtol=1e-5)
    assert_close(model.discriminator_x(torch.cat([X, Y]))[len(X) :], model.discriminator_x(Y), atol=1e-6, rtol=1e-5)


# The whole training


def test_it_learns_which_way_the_colours_go(on_cpu):
    """x is bright and y is dark, with the same kind of spots: each way is one shift of all colours."""

    def spots(count, seed):
        where = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) < 0.3
        return nn.functional.interpolate(where.float(), scale_factor=2).expand(-1, 3, -1, -1)

    bright, dark = lambda spots: 0.8 - 0.8 * spots, lambda spots: -0.9 + 0.8 * spots
    config = CycleGanConfig(
        width=4, n_blocks=1, upsampling="resize", n_layers=1, n_halvings=1, outer_kernel=3, discriminator_width=8
    )
    model = cyclegan(config, seed=0)
    batches = unpaired_batches(bright(spots(40, 1)), dark(spots(40, 2)), 4)
    held_out = spots(20, 3)
    before = (translate(model.to_y, bright(held_out)) - dark(held_out)).abs().mean()
    history = fit_cyclegan(model, *batches, steps=120, learning_rate=3e-3, log_every=10, progress=False)
    after = (translate(model.to_y, bright(held_out)) - dark(held_out)).abs().mean()
    assert after < 0.5 * before
    assert history.cycle[-1] < 0.5 * history.cycle[0]


def test_both_generators_learn_to_copy_and_the_discriminators_stay(on_cpu):
    model = cyclegan(CycleGanConfig(width=8, n_blocks=1, upsampling="resize", n_layers=1, n_halvings=1), seed=0)
    before = weights(model)
    losses = pretrain_copying(model, *unpaired_batches(X, Y, 4), steps=60, learning_rate=5e-3)
    assert losses[-1] < 0.6 * losses[0]
    assert_close(weights(model.to_x), weights(model.to_y), rtol=0, atol=0)
    assert (translate(model.to_x, X) - X).abs().mean() < 0.7 * losses[0]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("discriminator")


def test_copying_refuses_what_it_cannot_learn():
    with pytest.raises(ValueError, match="steps must be positive, got 0"):
        pretrain_copying(cyclegan(SMALL), lambda n: X, lambda n: Y, steps=0)
    with pytest.raises(ValueError, match="of one size"):
        pretrain_copying(cyclegan(SMALL), lambda n: X, lambda n: pictures(2, 0, side=12), steps=1)
    broken = cyclegan(SMALL)
    nn.init.constant_(broken.to_y.conv_out.bias, math.nan)
    with pytest.raises(ValueError, match="the difference became nan at step 1: try a lower"):
        pretrain_copying(broken, lambda n: X, lambda n: Y, steps=2)


def test_the_learning_rate_stays_and_then_falls_on_a_line():
    _, history = train(log_every=1, rules=CycleRules(constant=0.5), learning_rate=8e-4)
    assert history.learning_rate == pytest.approx([8e-4] * 5 + [6e-4, 4e-4, 2e-4])


def test_the_history_is_complete_and_survives_json():
    rules = CycleRules.paintings()
    _, history = train(rules=rules, validate=lambda model: {"training": float(model.training)}, validate_every=5)
    assert history.step == [3, 6, 8]
    lists = [value for name, value in history.as_dict().items() if name != "validation"]
    assert all(len(value) == 3 and all(map(math.isfinite, value)) for value in lists)
    assert all(0 <= share <= 1 for share in history.accuracy)
    assert history.validation == [(5, {"training": 0.0}), (8, {"training": 0.0})]
    assert CycleHistory.from_dict(history.as_dict()) == history


@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_stopping_and_going_on_gives_the_weights_of_not_stopping_bit_for_bit(on_cpu, tmp_path, stop_at):
    options = dict(rules=CycleRules(pool_size=3, identity_share=0.5), log_every=1)
    whole, history = train(**options)
    path = tmp_path / "run.safetensors"
    train(checkpoint=path, stop_at=stop_at, **options)
    resumed, again = train(cyclegan(SMALL, seed=99), checkpoint=path, **options)
    assert_close(weights(resumed), weights(whole), rtol=0, atol=0)
    for name in ("step", "adversarial", "cycle", "identity", "discriminator", "learning_rate", "fake_accuracy"):
        assert getattr(again, name) == getattr(history, name)


def test_the_same_seed_gives_the_same_weights_and_another_shows_other_pictures_again(on_cpu):
    rules = CycleRules(pool_size=2)
    first, second, third = (train(rules=rules, seed=seed)[0] for seed in (5, 5, 6))
    assert_close(weights(first), weights(second), rtol=0, atol=0)
    assert not torch.equal(first.discriminator_x.to_logits.weight, third.discriminator_x.to_logits.weight)


def test_anothers_checkpoint_is_refused(on_cpu, tmp_path):
    path = tmp_path / "run.safetensors"
    train(checkpoint=path, stop_at=2)
    with pytest.raises(ValueError, match="checkpoint of CycleGan.*the model at hand is.*width=3"):
        train(cyclegan(CycleGanConfig(width=3, n_blocks=1, n_layers=1)), checkpoint=path)
    with pytest.raises(ValueError, match="is of a run with .*pool_size=50.* has .*pool_size=0"):
        train(rules=CycleRules(pool_size=0), checkpoint=path)
    with pytest.raises(ValueError, match="is of a run with .*steps=8.* has .*steps=9"):
        train(steps=9, checkpoint=path)
    save_weights(cyclegan(SMALL), path)
    with pytest.raises(ValueError, match="holds weights only"):
        train(checkpoint=path)


def test_bf16_trains_and_leaves_float32_weights():
    model, history = train(precision="bf16")
    assert math.isfinite(history.adversarial[-1])
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_without_a_pool_no_picture_is_kept():
    players = game(CycleRules(pool_size=0))
    discriminator_step(players, X, Y, pictures(9, 3), pictures(7, 4))
    assert len(players.pool_x) == len(players.pool_y) == 0


def test_first_weights_come_from_their_seed_and_leave_other_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = cyclegan(SMALL, seed=1), cyclegan(SMALL, seed=1)
    assert torch.equal(torch.rand(1), expected)
    assert_close(weights(first), weights(second), rtol=0, atol=0)
    assert not torch.equal(first.to_x.conv_in.weight, first.to_y.conv_in.weight)


def test_a_round_runs_on_the_meta_device(monkeypatch):
    with torch.device("meta"):
        model = cyclegan(SMALL)
    players = cycle_players(model, CycleRules.paintings(), optimizer=sgd)
    x = torch.empty(2, 3, 8, 8, device="meta")
    move = generator_step(players, x, x, CycleRules.paintings())
    discriminator_step(players, x, x, move.fake_x, move.fake_y)
    assert move.fake_x.device.type == "meta"


# Bad input


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(0, 3, 8, 8), Y, r"x must hold at least one picture.* got \(0, 3, 8, 8\)"),
        (X, torch.zeros(3, 8, 8), r"y must hold at least one picture.* got \(3, 8, 8\)"),
        (X, pictures(2, 0, side=12), r"of one size, got \(3, 8, 8\) and \(3, 12, 12\): resize or crop"),
        (X[:, :1], Y[:, :1], "the model's 3 channels, got 1"),
        (X, Y * math.nan, "y must hold finite numbers"),
        (X * 255, Y, r"x must lie in \[-1, 1\]"),
    ],
)
def test_domains_that_do_not_fit_are_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        check_domains(x, y, cyclegan(SMALL))
    with pytest.raises(ValueError, match=message):
        fit_cyclegan(cyclegan(SMALL), lambda n: x, lambda n: y, steps=1, progress=False)


def test_domains_may_hold_different_numbers_of_pictures():
    fit_cyclegan(cyclegan(SMALL), lambda n: X[:1], lambda n: Y[:3], steps=2, progress=False)


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_whose():
    model = cyclegan(SMALL)
    nn.init.constant_(model.discriminator_y.to_logits.bias, math.nan)
    with pytest.raises(ValueError, match="the generators' adversarial loss became nan before round 3: try a lower"):
        train(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(cycle_weight=-1), "cycle_weight must be 0 or more, got -1"),
        (dict(identity_share=math.nan), "identity_share must be 0 or more, got nan"),
        (dict(pool_size=-1), "pool_size must be 0 or more, got -1"),
        (dict(constant=1.5), "constant must lie between 0 and 1, got 1.5"),
    ],
)
def test_rules_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        CycleRules(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "steps must be positive, got 0"),
        (dict(learning_rate=-1), "learning_rate must be positive, got -1"),
        (dict(precision="fp16"), "precision must be one of no, bf16, got 'fp16'"),
        (dict(stop_at=3), "stop_at needs a checkpoint"),
    ],
)
def test_arguments_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        train(**options)


def test_pools_have_seeds_of_their_own():
    players = cycle_players(cyclegan(SMALL), seed=4)
    states = [pool.state()["random"] for pool in (players.pool_x, players.pool_y)]
    assert not torch.equal(*states)
    assert training.LOSS.name == "least-squares"
