"""The running mean of a generator's weights: its numbers, its norms, and that a run with it resumes."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.samples import shuffled
from lectures_lib.data.toy import ring
from lectures_lib.models.dcgan import DcganConfig, dcgan
from lectures_lib.models.fully_connected_gan import FullyConnectedConfig, fully_connected_gan
from lectures_lib.training.average import WeightAverage
from lectures_lib.training.gan import fit_gan, sample

SMALL = DcganConfig(28, 1, d_latent=4, width=2)
DECAY = 0.6


@pytest.fixture
def on_cpu(monkeypatch):
    """Bit for bit is a promise for the CPU: a GPU may add numbers in another order."""
    monkeypatch.setenv("LECTURES_DEVICE", "cpu")


def digits_like(count=12):
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1


def train(pair, steps=8, **options):
    batches = shuffled(digits_like(), 4, seed=0)
    return fit_gan(*pair, batches, steps=steps, log_every=2, progress=False, average=DECAY, **options)


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_the_mean_follows_with_the_decay_and_faster_at_first():
    generator, _ = fully_connected_gan(FullyConnectedConfig(d_latent=3, d_hidden=4), seed=0)
    weight = generator.layers[0].weight
    mean = WeightAverage(generator, 0.3)
    expected = None
    with torch.no_grad():
        for count in range(6):
            weight.fill_(float(count**2))
            mean.update()
            decay = min(0.3, (1 + count) / (10 + count))
            expected = 0.0 if expected is None else decay * expected + (1 - decay) * count**2
    assert_close(mean.averaged.module.layers[0].weight, torch.full_like(weight, expected))
    assert float(weight[0, 0]) == 25.0  # the network itself goes its own way


def test_the_settled_mean_has_norms_that_fit_its_weights_and_nothing_else_moves():
    generator, _ = dcgan(SMALL, seed=0)
    mean = WeightAverage(generator, DECAY)
    mean.update()
    with torch.no_grad():
        generator.ups[0].weight.mul_(50)
    mean.update()
    before, random = state(mean.averaged.module), torch.get_rng_state()
    settled = mean.settled()
    latent = torch.randn(2_000, 4, generator=torch.Generator().manual_seed(1))
    inner = settled.norms[0](settled.ups[0](latent[:, :, None, None]))
    scale, shift = settled.norms[0].weight, settled.norms[0].bias
    assert_close(inner.mean((0, 2, 3)), shift, atol=0.05, rtol=0)
    assert_close(inner.std((0, 2, 3)), scale, atol=0.05, rtol=0)
    assert_close(state(mean.averaged.module), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)
    assert not settled.training
    assert_close(state(mean.settled()), state(settled), rtol=0, atol=0)  # the same at every call


def test_a_run_returns_the_mean_and_shows_its_samples(on_cpu):
    plain, averaged = dcgan(SMALL, seed=0), dcgan(SMALL, seed=0)
    fit_gan(*plain, shuffled(digits_like(), 4, seed=0), steps=8, progress=False)
    seen = []
    history = train(averaged, sample_every=4, n_samples=3, validate=lambda g: seen.append(state(g)) or {"seen": 1.0})
    assert not torch.allclose(plain[0].ups[0].weight, averaged[0].ups[0].weight)
    # The discriminator played against the generator itself, not against the mean.
    assert_close(state(plain[1]), state(averaged[1]), rtol=0, atol=0)
    assert_close(seen[-1], state(averaged[0]), rtol=0, atol=0)
    fixed = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert_close(history.samples[8], sample(averaged[0], fixed), rtol=0, atol=0)


@pytest.mark.parametrize("stop_at", [1, 5])
def test_stopping_and_going_on_gives_the_mean_of_not_stopping_bit_for_bit(on_cpu, tmp_path, stop_at):
    whole, parts, path = dcgan(SMALL, seed=0), dcgan(SMALL, seed=0), tmp_path / "run.safetensors"
    train(whole)
    train(parts, checkpoint=path, stop_at=stop_at)
    again = dcgan(SMALL, seed=5)
    train(again, checkpoint=path)
    for one, other in zip(whole, again, strict=True):
        assert_close(state(one), state(other), rtol=0, atol=0)


def test_a_checkpoint_without_a_mean_is_refused_where_one_is_wanted(tmp_path):
    path, pair = tmp_path / "run.safetensors", dcgan(SMALL, seed=0)
    fit_gan(*pair, shuffled(digits_like(), 4), steps=1, progress=False, checkpoint=path)
    with pytest.raises(ValueError, match="no mean weights"):
        train(pair, checkpoint=path)


def test_networks_without_norms_have_a_mean_too():
    pair = fully_connected_gan(FullyConnectedConfig(d_latent=3, d_hidden=4), seed=0)
    fit_gan(*pair, ring(4).batches(8, seed=0), steps=3, progress=False, average=DECAY)
    assert all(p.isfinite().all() for p in pair[0].parameters())


@pytest.mark.parametrize("decay", [0, 1, -0.1, 2, float("nan")])
def test_a_decay_that_makes_no_sense_is_named(decay):
    with pytest.raises(ValueError, match="decay must lie between 0 and 1"):
        WeightAverage(dcgan(SMALL, seed=0)[0], decay)
