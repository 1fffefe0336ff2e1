"""A generator and a discriminator of fully connected layers: for points on a line or a plane, and for small images.

Where samples have two numbers, everything a GAN does can be drawn. On images it is what the convolutions of `dcgan` are
to be measured against. Goodfellow et al. 2014 used fully connected networks too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from lectures_lib.models.checks import check_latent


@dataclass(frozen=True)
class FullyConnectedConfig:
    """Sizes of both networks.

    `sample_shape` is the shape of one sample: (2,) for points of the plane, (1, 28, 28) for digits. `bounded` ends the
    generator in tanh, so that its samples lie in [-1, 1]. `spectral_norm` holds the slope of each of the
    discriminator's layers at most at 1 (Miyato et al. 2018).
    """

    sample_shape: tuple[int, ...] = (2,)
    d_latent: int = 8
    d_hidden: int = 64
    n_hidden: int = 2
    slope: float = 0.2
    bounded: bool = False
    spectral_norm: bool = False

    def __post_init__(self) -> None:
        for name in ("d_latent", "d_hidden", "n_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.sample_shape or min(self.sample_shape) < 1:
            raise ValueError(f"sample_shape must have axes of at least 1, got {self.sample_shape}")

    @classmethod
    def tiny(cls, n_axes: int = 2) -> FullyConnectedConfig:
        """Points of a line (`n_axes` 1) or a plane (2): trains in seconds on two cores."""
        return cls((n_axes,))

    @classmethod
    def digits(cls) -> FullyConnectedConfig:
        """Images of 28 × 28 in [-1, 1]; some twice as many weights as `DcganConfig.tiny()` has."""
        return cls((1, 28, 28), d_latent=64, d_hidden=256, bounded=True)


class FullyConnectedGenerator(nn.Module):
    """From random numbers to samples. There is no paper's size: the networks are the course's own."""

    def __init__(self, config: FullyConnectedConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.d_latent, *[config.d_hidden] * config.n_hidden, math.prod(config.sample_shape)]
        self.layers = nn.ModuleList(nn.Linear(n, m) for n, m in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, latent: Float[Tensor, "batch d_latent"]) -> Float[Tensor, "batch ..."]:
        """Samples of shape (batch, *sample_shape).

        Raises:
            ValueError: latents of another width.
        """
        check_latent(latent, self.config.d_latent)
        x = latent
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), self.config.slope)
        x = self.layers[-1](x)
        return (x.tanh() if self.config.bounded else x).unflatten(1, self.config.sample_shape)


class FullyConnectedDiscriminator(nn.Module):
    """From samples to logits, one a sample: above 0 for what looks real."""

    def __init__(self, config: FullyConnectedConfig) -> None:
        super().__init__()
        self.config = config
        widths = [math.prod(config.sample_shape), *[config.d_hidden] * config.n_hidden, 1]
        layers = [nn.Linear(n, m) for n, m in zip(widths[:-1], widths[1:], strict=True)]
        self.layers = nn.ModuleList(map(spectral_norm, layers) if config.spectral_norm else layers)

    def features(self, samples: Float[Tensor, "*samples"]) -> Float[Tensor, "batch d_hidden"]:
        """What the last hidden layer makes of the samples.

        Raises:
            ValueError: the samples do not have the shape that the network is made for.
        """
        if tuple(samples.shape[1:]) != self.config.sample_shape:
            raise ValueError(
                f"samples must have shape (batch, {', '.join(map(str, self.config.sample_shape))}), "
                f"got {tuple(samples.shape)}"
            )
        x = samples.flatten(1)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), self.config.slope)
        return x

    def forward(self, samples: Float[Tensor, "*samples"]) -> Float[Tensor, " batch"]:
        """One logit a sample.

        Raises:
            ValueError: the samples do not have the shape that the network is made for.
        """
        return self.layers[-1](self.features(samples)).squeeze(1)


def fully_connected_gan(
    config: FullyConnectedConfig, *, seed: int
) -> tuple[FullyConnectedGenerator, FullyConnectedDiscriminator]:
    """Both networks with fresh weights, the same for the same seed."""
    torch.manual_seed(seed)
    return FullyConnectedGenerator(config), FullyConnectedDiscriminator(config)
