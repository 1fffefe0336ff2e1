"""HiFi-GAN: a generator that turns a mel spectrogram into sound, and two kinds of discriminators that listen to it.

The generator stretches the spectrogram step by step until there is one number for every sample. After each step a
*multi-receptive field fusion* looks at the result with several widths at once and takes the mean. The discriminators
listen in two ways: the *multi-period* ones lay the sound out in rows of 2, 3, 5, 7 and 11 samples, in which what is
periodic stands in columns; the *multi-scale* ones hear it at full, half and quarter rate.

Source: Kong, Kim and Bae 2020, section 2 and appendix A.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

SLOPE = 0.1
# Before the last convolution: F.leaky_relu's default in the published code, kept by all who follow it.
LAST_SLOPE = 0.01


# ---- the generator ----


@dataclass(frozen=True)
class HifiGanConfig:
    """The sizes of a generator.

    `upsample_rates` multiply to the hop of the spectrogram; each step halves `channels`. `block_kernels[i]` and
    `block_dilations[i]` are one residual block of every fusion. `block` 1 follows each dilated convolution with a plain
    one, `block` 2 does not. `normalise` adds a mean and a scale of each mel band, as some checkpoints have them.

    Raises:
        ValueError: sizes that do not fit together; names them.
    """

    mel_bands: int = 80
    channels: int = 512
    upsample_rates: tuple[int, ...] = (8, 8, 2, 2)
    upsample_kernels: tuple[int, ...] = (16, 16, 4, 4)
    block: int = 1
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    normalise: bool = False

    def __post_init__(self) -> None:
        if self.mel_bands < 1:
            raise ValueError(f"mel_bands must be at least 1, got {self.mel_bands}")
        if not self.upsample_rates or len(self.upsample_rates) != len(self.upsample_kernels):
            raise ValueError(
                f"upsample_rates and upsample_kernels must be as many, at least one, got {self.upsample_rates} "
                f"and {self.upsample_kernels}"
            )
        for rate, kernel in zip(self.upsample_rates, self.upsample_kernels, strict=True):
            if rate < 1 or kernel < rate or (kernel - rate) % 2:
                raise ValueError(f"upsample_kernels must exceed upsample_rates by 0, 2, 4 …, got {kernel} for {rate}")
        if self.channels < 1 or self.channels % 2 ** len(self.upsample_rates):
            raise ValueError(f"channels must be halved {len(self.upsample_rates)} times, got {self.channels}")
        if self.block not in (1, 2):
            raise ValueError(f"block must be 1 or 2, got {self.block}")
        if not self.block_kernels or len(self.block_kernels) != len(self.block_dilations):
            raise ValueError(
                f"block_kernels and block_dilations must be as many, at least one, got {self.block_kernels} "
                f"and {self.block_dilations}"
            )
        if any(kernel % 2 == 0 or kernel < 1 for kernel in self.block_kernels):
            raise ValueError(f"block_kernels must be odd, got {self.block_kernels}")
        if any(not dilations or min(dilations) < 1 for dilations in self.block_dilations):
            raise ValueError(f"block_dilations must hold numbers of at least 1, got {self.block_dilations}")

    @property
    def hop(self) -> int:
        """Samples that the generator writes for each frame."""
        return math.prod(self.upsample_rates)

    @property
    def context(self) -> int:
        """Frames on either side that a sample can depend on: what a chunk must see of its neighbours.

        Counted from the last convolution back to the first, rounded up to whole positions at every step.
        """
        reach = 3  # the last convolution, 7 wide
        blocks = zip(self.block_kernels, self.block_dilations, strict=True)
        widest = max(
            (kernel // 2) * (sum(dilations) + (len(dilations) if self.block == 1 else 0))
            for kernel, dilations in blocks
        )
        for rate, kernel in reversed(list(zip(self.upsample_rates, self.upsample_kernels, strict=True))):
            padding = (kernel - rate) // 2
            reach = -(-(reach + widest + max(padding, kernel - 1 - padding)) // rate)
        return reach + 3  # the first convolution, 7 wide

    @classmethod
    def v1(cls) -> HifiGanConfig:
        """The paper's best sounding generator, 13.9 million parameters."""
        return cls()

    @classmethod
    def v2(cls) -> HifiGanConfig:
        """As V1 with a quarter of the channels: 0.93 million parameters."""
        return cls(channels=128)

    @classmethod
    def v3(cls) -> HifiGanConfig:
        """The fastest on a CPU: fewer layers of simpler blocks, 1.46 million parameters."""
        return cls(
            channels=256, upsample_rates=(8, 8, 4), upsample_kernels=(16, 16, 8), block=2, block_kernels=(3, 5, 7),
            block_dilations=((1, 2), (2, 6), (3, 12)),
        )  # fmt: skip

    @classmethod
    def paper(cls) -> HifiGanConfig:
        """V1."""
        return cls.v1()

    @classmethod
    def tiny(cls) -> HifiGanConfig:
        """V3 with a quarter of the channels: trains in a notebook on two cores."""
        return cls(
            channels=64, upsample_rates=(8, 8, 4), upsample_kernels=(16, 16, 8), block=2, block_kernels=(3, 5, 7),
            block_dilations=((1, 2), (2, 6), (3, 12)),
        )  # fmt: skip


class ResidualBlock(nn.Module):
    """Dilated convolutions one after another, the input of each added to its output."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], kind: int) -> None:
        super().__init__()
        same = dict(kernel_size=kernel, padding="same")
        self.dilated = nn.ModuleList(nn.Conv1d(channels, channels, dilation=d, **same) for d in dilations)
        self.plain = nn.ModuleList(nn.Conv1d(channels, channels, **same) for _ in dilations if kind == 1)

    def forward(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch channels time"]:
        """As many numbers as came in."""
        for i, dilated in enumerate(self.dilated):
            y = dilated(F.leaky_relu(x, SLOPE))
            if self.plain:
                y = self.plain[i](F.leaky_relu(y, SLOPE))
            x = y + x
        return x


class Fusion(nn.Module):
    """Multi-receptive field fusion: the mean of several residual blocks, each with a width of its own.

    Source: Kong et al. 2020, section 2.2 and figure 1.
    """

    def __init__(self, channels: int, config: HifiGanConfig) -> None:
        super().__init__()
        shapes = zip(config.block_kernels, config.block_dilations, strict=True)
        self.blocks = nn.ModuleList(ResidualBlock(channels, k, d, config.block) for k, d in shapes)

    def forward(self, x: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch channels time"]:
        """As many numbers as came in."""
        total = self.blocks[0](x)
        for block in self.blocks[1:]:
            total = total + block(x)
        return total / len(self.blocks)


class HifiGanGenerator(nn.Module):
    """From a log-mel spectrogram to a waveform in (-1, 1), `config.hop` samples a frame.

    With `folded` there is no weight normalisation, as after `fold_weight_norm`.

    Source: Kong et al. 2020, section 2.2, appendix A.1.
    """

    def __init__(self, config: HifiGanConfig, *, folded: bool = False) -> None:
        super().__init__()
        self.config = config
        width = config.channels
        self.conv_in = nn.Conv1d(config.mel_bands, width, kernel_size=7, padding=3)
        self.upsample, self.fusions = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
            stretch = nn.ConvTranspose1d(width, width // 2, kernel, stride=rate, padding=(kernel - rate) // 2)
            self.upsample.append(stretch)
            width //= 2
            self.fusions.append(Fusion(width, config))
        self.conv_out = nn.Conv1d(width, 1, kernel_size=7, padding=3)
        if config.normalise:
            self.register_buffer("mean", self.conv_in.weight.new_zeros(config.mel_bands))
            self.register_buffer("scale", self.conv_in.weight.new_ones(config.mel_bands))
        self.apply(init_hifigan)
        if not folded:
            for layer in self._convolutions():
                weight_norm(layer)

    def _convolutions(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, nn.Conv1d | nn.ConvTranspose1d)]

    def forward(self, log_mel: Float[Tensor, "batch bands frames"]) -> Float[Tensor, "batch time"]:
        """The waveform, frames · hop samples.

        Raises:
            ValueError: `log_mel` has another number of bands than the model, or no frame.
        """
        if log_mel.shape[1] != self.config.mel_bands or not log_mel.shape[2]:
            expected = f"(batch, {self.config.mel_bands}, frames)"
            raise ValueError(f"log_mel must have shape {expected} with at least 1 frame, got {tuple(log_mel.shape)}")
        if self.config.normalise:
            log_mel = (log_mel - self.mean.unsqueeze(1)) / self.scale.unsqueeze(1)
        x = self.conv_in(log_mel)  # (batch, channels, frames)
        for stretch, fusion in zip(self.upsample, self.fusions, strict=True):
            x = fusion(stretch(F.leaky_relu(x, SLOPE)))  # half the channels, `rate` times the time
        x = self.conv_out(F.leaky_relu(x, LAST_SLOPE))  # (batch, 1, frames · hop)
        return x.tanh().squeeze(1)

    def fold_weight_norm(self) -> HifiGanGenerator:
        """Multiply direction and length of every weight once and for all: the same sound, in less time.

        The model can be trained further afterwards, without weight normalisation. Returns the model itself.
        """
        for layer in self._convolutions():
            if is_parametrized(layer, "weight"):
                remove_parametrizations(layer, "weight")
        return self


def init_hifigan(module: nn.Module) -> None:
    """The generator's initial weights: N(0, 0.01), biases 0.

    Source: the published code of Kong et al. 2020.
    """
    if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


# ---- the discriminators ----


class Judgement(NamedTuple):
    """What a discriminator has to say: one number for every stretch of sound, and what it saw on the way.

    `logits` is (batch, stretches), near 1 for real; `features` holds the output of every layer, the last one included.
    """

    logits: Tensor
    features: tuple[Tensor, ...]


@dataclass(frozen=True)
class HifiGanDiscriminatorConfig:
    """The sizes of both kinds of discriminators.

    `period_channels` are those of a multi-period one's layers: all but the last take every third row only. A layer of a
    multi-scale one is (channels, kernel, stride, groups). `scales` is how many of those there are.

    Raises:
        ValueError: no period, no scale, no layer, or channels that the groups do not divide.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    scales: int = 3
    scale_layers: tuple[tuple[int, int, int, int], ...] = (
        (128, 15, 1, 1),
        (128, 41, 2, 4),
        (256, 41, 2, 16),
        (512, 41, 4, 16),
        (1024, 41, 4, 16),
        (1024, 41, 1, 16),
        (1024, 5, 1, 1),
    )

    def __post_init__(self) -> None:
        if not self.periods or min(self.periods) < 2:
            raise ValueError(f"periods must hold numbers of at least 2, got {self.periods}")
        if not self.period_channels or min(self.period_channels) < 1:
            raise ValueError(f"period_channels must hold numbers of at least 1, got {self.period_channels}")
        if self.scales < 1:
            raise ValueError(f"scales must be at least 1, got {self.scales}")
        if not self.scale_layers:
            raise ValueError("scale_layers must hold at least one layer, got none")
        before = 1
        for layer in self.scale_layers:
            channels, kernel, stride, groups = layer
            if min(layer) < 1 or kernel % 2 == 0 or channels % groups or before % groups:
                raise ValueError(
                    f"scale_layers must be (channels, odd kernel, stride, groups), channels on both sides divisible "
                    f"by the groups, got {layer} after {before} channels"
                )
            before = channels

    @classmethod
    def paper(cls) -> HifiGanDiscriminatorConfig:
        """41.1 million parameters in the multi-period, 29.6 million in the multi-scale discriminators."""
        return cls()

    @classmethod
    def tiny(cls) -> HifiGanDiscriminatorConfig:
        """The same kind of layers, narrow, with three periods and two scales: trains in a notebook on two cores."""
        layers = ((16, 15, 1, 1), (32, 41, 4, 4), (64, 41, 4, 16), (64, 41, 4, 16), (64, 5, 1, 1))
        return cls(periods=(2, 3, 5), period_channels=(8, 16, 32, 64, 64), scales=2, scale_layers=layers)


class PeriodDiscriminator(nn.Module):
    """Lays the sound out in rows of `period` samples and looks down the columns, never across them.

    Source: Kong et al. 2020, section 2.3 and figure 2b.
    """

    def __init__(self, period: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.period = period
        self.layers = nn.ModuleList()
        before = 1
        for i, width in enumerate(channels):
            stride = 3 if i < len(channels) - 1 else 1
            layer = nn.Conv2d(before, width, kernel_size=(5, 1), stride=(stride, 1), padding=(2, 0))
            self.layers.append(weight_norm(layer))
            before = width
        self.conv_out = weight_norm(nn.Conv2d(before, 1, kernel_size=(3, 1), padding=(1, 0)))

    def forward(self, samples: Float[Tensor, "batch time"]) -> Judgement:
        """A time that `period` does not divide is filled up with its own reflection."""
        rest = -samples.shape[1] % self.period
        x = F.pad(samples.unsqueeze(1), (0, rest), mode="reflect") if rest else samples.unsqueeze(1)
        x = x.unflatten(2, (-1, self.period))  # (batch, 1, rows, period)
        return _judge(self.layers, self.conv_out, x)


class ScaleDiscriminator(nn.Module):
    """Grouped convolutions over the sound itself.

    Source: Kong et al. 2020, section 2.3; Kumar et al. 2019 (MelGAN).
    """

    def __init__(self, layers: tuple[tuple[int, int, int, int], ...], norm: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        before = 1
        for channels, kernel, stride, groups in layers:
            same = dict(stride=stride, groups=groups, padding=kernel // 2)
            self.layers.append(norm(nn.Conv1d(before, channels, kernel, **same)))
            before = channels
        self.conv_out = norm(nn.Conv1d(before, 1, kernel_size=3, padding=1))

    def forward(self, samples: Float[Tensor, "batch time"]) -> Judgement:
        """One number for every few samples, as the strides have it."""
        return _judge(self.layers, self.conv_out, samples.unsqueeze(1))


def _judge(layers: nn.ModuleList, conv_out: nn.Module, x: Tensor) -> Judgement:
    features = []
    for layer in layers:
        x = F.leaky_relu(layer(x), SLOPE)
        features.append(x)
    x = conv_out(x)
    return Judgement(x.flatten(1), (*features, x))


class MultiPeriodDiscriminator(nn.Module):
    """One discriminator for each period; prime periods see next to nothing twice.

    Source: Kong et al. 2020, section 2.3.
    """

    def __init__(self, config: HifiGanDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.parts = nn.ModuleList(PeriodDiscriminator(p, config.period_channels) for p in config.periods)

    def forward(self, samples: Float[Tensor, "batch time"]) -> list[Judgement]:
        """A judgement for every period.

        Raises:
            ValueError: `samples` are fewer than two rows of the largest period.
        """
        shortest = 2 * max(self.config.periods)
        if samples.shape[1] < shortest:
            raise ValueError(f"samples must be at least {shortest} long for this model, got {samples.shape[1]}")
        return [part(samples) for part in self.parts]


class MultiScaleDiscriminator(nn.Module):
    """One discriminator for the sound itself, then one for each halving of its rate.

    The first has spectral normalisation, the others weight normalisation.

    Source: Kong et al. 2020, section 2.3; Kumar et al. 2019.
    """

    def __init__(self, config: HifiGanDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        norms = [spectral_norm] + [weight_norm] * (config.scales - 1)
        self.parts = nn.ModuleList(ScaleDiscriminator(config.scale_layers, norm) for norm in norms)
        self.halve = nn.AvgPool1d(kernel_size=4, stride=2, padding=2)

    def forward(self, samples: Float[Tensor, "batch time"]) -> list[Judgement]:
        """A judgement for every scale."""
        judgements = []
        for i, part in enumerate(self.parts):
            if i:
                samples = self.halve(samples.unsqueeze(1)).squeeze(1)
            judgements.append(part(samples))
        return judgements
