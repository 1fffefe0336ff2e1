"""The fully connected GAN: shapes for points and images, an oracle, bad input."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lectures_lib.models.fully_connected_gan import (
    FullyConnectedConfig,
    FullyConnectedDiscriminator,
    FullyConnectedGenerator,
    fully_connected_gan,
)

CONFIGS = {
    "line": FullyConnectedConfig.tiny(1),
    "plane": FullyConnectedConfig.tiny(),
    "digits": FullyConnectedConfig.digits(),
    "spectral": FullyConnectedConfig(spectral_norm=True),
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@each_config
def test_samples_have_their_shape_and_each_gets_a_logit(config):
    generator, discriminator = fully_connected_gan(config, seed=0)
    samples = generator(10 * torch.randn(5, config.d_latent))
    assert samples.shape == (5, *config.sample_shape)
    assert discriminator(samples).shape == (5,)
    assert discriminator.features(samples).shape == (5, config.d_hidden)
    if config.bounded:
        assert float(samples.detach().abs().max()) <= 1


def test_both_are_the_plain_layers_they_say():
    generator, discriminator = fully_connected_gan(FullyConnectedConfig(), seed=0)
    for network, x in ((generator, torch.randn(3, 8)), (discriminator, torch.randn(3, 2))):
        first, second, third = network.layers
        plain = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), third)
        assert_close(network(x), plain(x).squeeze(1) if network is discriminator else plain(x))


@each_config
def test_both_run_on_the_meta_device(config):
    with torch.device("meta"):
        generator, discriminator = FullyConnectedGenerator(config), FullyConnectedDiscriminator(config)
        assert discriminator(generator(torch.randn(2, config.d_latent))).device.type == "meta"


def test_spectral_norm_bounds_the_slope():
    _, discriminator = fully_connected_gan(CONFIGS["spectral"], seed=0)
    for _ in range(30):
        discriminator(torch.randn(4, 2))
    points = torch.randn(100, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(discriminator(points).sum(), points)
    assert float(slope.norm(dim=1).max()) <= 1.02


def test_samples_of_another_shape_are_named():
    _, discriminator = fully_connected_gan(FullyConnectedConfig(), seed=0)
    with pytest.raises(ValueError, match=r"shape \(batch, 2\), got \(4, 3\)"):
        discriminator(torch.zeros(4, 3))


def test_latents_of_another_width_are_refused():
    generator, _ = fully_connected_gan(FullyConnectedConfig(), seed=0)
    with pytest.raises(ValueError, match=r"latent must have shape \(batch, 8\), got \(4, 3\)"):
        generator(torch.zeros(4, 3))


@pytest.mark.parametrize("options", [{"d_latent": 0}, {"n_hidden": 0}, {"sample_shape": ()}, {"sample_shape": (0,)}])
def test_sizes_that_make_no_sense_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FullyConnectedConfig(**options)
