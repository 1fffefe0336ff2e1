"""Training a conditional GAN: the labels reach both networks, the right ones; it learns to obey, and resumes."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lectures_lib.data.samples import Labelled, labelled, shuffled
from lectures_lib.losses.gan import GAN_LOSSES
from lectures_lib.models.cgan import CONDITIONS, CganConfig, CganGenerator, Told, UntoldDiscriminator, cgan
from lectures_lib.models.dcgan import DcganConfig
from lectures_lib.training import conditional_gan
from lectures_lib.training.average import WeightAverage
from lectures_lib.training.conditional_gan import (
    conditional_discriminator_step,
    conditional_generator_step,
    fit_conditional_gan,
)
from lectures_lib.training.gan import GanRules, Players, check_real, sample

SMALL = DcganConfig(28, 1, d_latent=4, width=2)
CLASSES = 3


def config(condition="channel"):
    return CganConfig(SMALL, n_classes=CLASSES, d_label=2, condition=condition)


@pytest.fixture
def on_cpu(monkeypatch):
    """Bit for bit is a promise for the CPU: a GPU may add numbers in another order."""
    monkeypatch.setenv("LECTURES_DEVICE", "cpu")


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images(count, seed=0):
    return numbers(count, 1, 28, 28, seed=seed).tanh()


def batches(count=12, batch_size=6):
    return labelled(images(count), torch.arange(count) % CLASSES, batch_size, n_classes=CLASSES)


def players(condition="channel", seed=0, lr=0.1):
    pair = cgan(config(condition), seed=seed)
    return Players(*pair, *(torch.optim.SGD(network.parameters(), lr=lr) for network in pair))


def weights(*networks):
    return [{name: tensor.clone() for name, tensor in network.state_dict().items()} for network in networks]


def train(pair=None, steps=6, **options):
    pair = pair or cgan(config(), seed=0)
    options = {"seed": 3, "log_every": 2, "average": 0.6, "progress": False, **options}
    return pair, fit_conditional_gan(*pair, batches(), steps=steps, **options)


# One step


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_discriminator_judges_pairs_and_moves_alone_down_its_own_slope(condition):
    game, other = players(condition), players(condition)
    labels = torch.tensor([0, 2, 1, 1])
    real, latent = Labelled(images(4), labels), Labelled(numbers(4, 4), labels)
    fake = other.generator(latent.samples, labels).detach()
    logits = other.discriminator(real.samples, labels), other.discriminator(fake, labels)
    loss = GAN_LOSSES["non-saturating"].discriminator(*logits)
    slopes = torch.autograd.grad(loss, list(other.discriminator.parameters()))
    before = weights(game.discriminator)[0]
    move = conditional_discriminator_step(game, real, latent, GanRules())
    assert_close(move.loss, loss.detach())
    assert all(p.grad is None for p in game.generator.parameters())
    for (name, parameter), slope in zip(game.discriminator.named_parameters(), slopes, strict=True):
        assert_close(parameter.detach(), before[name] - 0.1 * slope)


def test_the_generator_is_asked_for_its_labels_and_moves_alone():
    game, other = players(), players()
    latent = Labelled(numbers(4, 4), torch.tensor([1, 0, 2, 2]))
    made = other.generator(latent.samples, latent.labels)
    loss = GAN_LOSSES["hinge"].generator(other.discriminator(made, latent.labels))
    slopes = torch.autograd.grad(loss, list(other.generator.parameters()))
    before = weights(game.generator, game.discriminator)
    move = conditional_generator_step(game, latent, GanRules("hinge"))
    assert_close(move.loss, loss.detach())
    for (name, parameter), slope in zip(game.generator.named_parameters(), slopes, strict=True):
        assert_close(parameter.detach(), before[0][name] - 0.1 * slope)
    for name, parameter in game.discriminator.named_parameters():
        assert_close(parameter.detach(), before[1][name], rtol=0, atol=0)
        assert parameter.requires_grad


def test_labels_of_latents_and_of_real_images_must_agree():
    game = players()
    real, latent = Labelled(images(2), torch.tensor([0, 1])), Labelled(numbers(2, 4), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"must have the labels of real, \(0, 1\), got \(0, 2\)"):
        conditional_discriminator_step(game, real, latent, GanRules())


def test_the_tricks_of_other_gans_work_here_too():
    """A gradient penalty, weights that are clipped, noise: none of them had to be written again."""
    pair = cgan(CganConfig(DcganConfig(28, 1, 4, 2, discriminator_norm=False), CLASSES, 2, "projection"), seed=0)
    game = Players(*pair, *(torch.optim.SGD(network.parameters(), lr=1.0) for network in pair))
    rules = GanRules("wasserstein", gradient_penalty=10, clip_weights=0.02, instance_noise=0.1)
    labels = torch.tensor([0, 1, 2])
    conditional_discriminator_step(game, Labelled(images(3), labels), Labelled(numbers(3, 4), labels), rules)
    largest = max(float(p.detach().abs().max()) for p in game.discriminator.parameters())
    assert largest == pytest.approx(0.02)


# The whole training


def test_every_batch_reaches_both_networks_with_its_own_labels(on_cpu, monkeypatch):
    seen = []

    def watch(name, step):
        def watched(players, *rest):
            seen.append((name, rest[0].labels.tolist()))
            return step(players, *rest)

        return watched

    for name in ("conditional_discriminator_step", "conditional_generator_step"):
        monkeypatch.setattr(conditional_gan, name, watch(name.split("_")[1], getattr(conditional_gan, name)))
    train(steps=2)
    expected = [batches()(number).labels.tolist() for number in range(2)]
    assert seen == [(who, labels) for labels in expected for who in ("discriminator", "generator")]


def test_samples_along_the_way_are_of_all_classes_in_turn(on_cpu):
    (generator, _), history = train(sample_every=3, n_samples=5)
    assert list(history.samples) == [0, 3, 6]
    latent = numbers(5, 4, seed=3)
    expected = sample(generator, Labelled(latent, torch.tensor([0, 1, 2, 0, 1])))
    assert_close(history.samples[6], expected)


def test_the_mean_of_a_told_generator_settles_on_all_classes():
    generator, _ = cgan(config(), seed=0)
    mean = WeightAverage(generator, 0.5)
    settled = mean.settled()
    assert not settled.training
    assert float(settled.draw.norms[0].running_mean.abs().max()) > 0  # statistics were taken
    assert_close(settled.embed.weight, generator.embed.weight)


@pytest.mark.parametrize("stop_at", [1, 4])
def test_stopping_and_going_on_gives_the_weights_of_not_stopping_bit_for_bit(on_cpu, tmp_path, stop_at):
    path = tmp_path / "run.safetensors"
    whole, history = train(sample_every=2, n_samples=4)
    train(checkpoint=path, stop_at=stop_at, sample_every=2, n_samples=4)
    resumed, again = train(cgan(config(), seed=9), checkpoint=path, sample_every=2, n_samples=4)
    assert_close(weights(*resumed), weights(*whole), rtol=0, atol=0)
    assert list(again.samples) == list(history.samples)
    assert_close(again.samples[6], history.samples[6], rtol=0, atol=0)


def dark_and_light(count=64):
    """Two classes: images that are dark at the top, and at the bottom."""
    labels = torch.arange(count) % 2
    pictures = torch.full((count, 1, 28, 28), -0.8)
    pictures[labels == 0, :, :14] = 0.8
    pictures[labels == 1, :, 14:] = 0.8
    return pictures + 0.1 * numbers(count, 1, 28, 28), labels


def half_that_is_dark(generator):
    asked = Labelled(numbers(40, 8, seed=5), torch.arange(40) % 2)
    made = sample(generator, asked)
    return asked.labels, (made[:, 0, 14:].mean(dim=(1, 2)) > made[:, 0, :14].mean(dim=(1, 2))).long()


def trained(swap, untold=False):
    """A small generator after a short training on the two classes, their labels exchanged where `swap`."""
    cfg = CganConfig(DcganConfig(28, 1, d_latent=8, width=4), n_classes=2, d_label=2, condition="projection")
    generator, discriminator = cgan(cfg, seed=0)
    if untold:
        torch.manual_seed(0)
        discriminator = UntoldDiscriminator(cfg)
        if swap:  # the generator's own names for the two are exchanged as well
            generator.embed.weight.data = generator.embed.weight.data.flip(0)
    pictures, labels = dark_and_light()
    rates = dict(generator_learning_rate=2e-3, discriminator_learning_rate=1e-3)
    stream = labelled(pictures.clamp(-1, 1), 1 - labels if swap else labels, 16, n_classes=2)
    fit_conditional_gan(generator, discriminator, stream, steps=5 if untold else 150, progress=False, **rates)
    return generator


@pytest.mark.parametrize("swap", [False, True])
def test_a_generator_obeys_where_the_discriminator_is_told(swap):
    asked, seen = half_that_is_dark(trained(swap))
    assert float((asked == (1 - seen if swap else seen)).double().mean()) > 0.95


def test_a_generator_whose_discriminator_is_not_told_cannot_know_which_class_is_which(on_cpu):
    one, other = trained(False, untold=True), trained(True, untold=True)
    assert_close(weights(other.draw), weights(one.draw))  # the very same training, with the names exchanged
    assert_close(other.embed.weight.flip(0), one.embed.weight)


# Bad input


def test_batches_without_labels_are_refused():
    with pytest.raises(ValueError, match=r"batches must give Labelled samples, got Tensor: use .*labelled"):
        fit_conditional_gan(*cgan(config(), seed=0), shuffled(images(8), 4), steps=1)


def test_a_label_beyond_the_classes_stops_the_run_and_is_named():
    stream = labelled(images(8), torch.arange(8), 8)
    with pytest.raises(ValueError, match=r"labels must lie between 0 and 2, got [3-7]"):
        fit_conditional_gan(*cgan(config(), seed=0), stream, steps=1, progress=False)


def test_real_images_are_checked_with_their_labels_on():
    generator, _ = cgan(config(), seed=0)
    for wrong, message in ((torch.zeros(2, 1, 32, 32), "generator's shape"), (images(2) + 9, r"lie in \[-1, 1\]")):
        with pytest.raises(ValueError, match=message):
            check_real(Labelled(wrong, torch.zeros(2, dtype=torch.long)), generator)


def test_told_shares_the_network_and_adds_nothing_to_learn():
    generator = CganGenerator(config())
    labels = torch.tensor([2, 0])
    filled_in = Told(generator, labels)
    assert isinstance(filled_in, nn.Module)
    assert {id(p) for p in filled_in.parameters()} == {id(p) for p in generator.parameters()}
    generator.eval()
    latent = numbers(2, 4)
    assert_close(filled_in(latent), generator(latent, labels))
