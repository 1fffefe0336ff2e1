"""HiFi-GAN beside Hugging Face's generator, and beside convolutions, discriminators and losses written out in loops."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib import audio
from lectures_lib.losses import hifigan as losses
from lectures_lib.models.hifigan import (
    HifiGanConfig,
    HifiGanDiscriminatorConfig,
    HifiGanGenerator,
    MultiPeriodDiscriminator,
    MultiScaleDiscriminator,
)
from lectures_lib.pretrained.hifigan import our_name
from parity.compare import Parity, compared, named_gradients, paired, shaken, weighed_sum

BANDS, FRAMES = 10, 12
SIZES = dict(mel_bands=BANDS, channels=32)
KINDS = {
    "V1": HifiGanConfig(**SIZES),
    "V2": HifiGanConfig(**SIZES | dict(channels=16)),
    "V3": HifiGanConfig(
        **SIZES, upsample_rates=(8, 8, 4), upsample_kernels=(16, 16, 8), block=2, block_kernels=(3, 5, 7),
        block_dilations=((1, 2), (2, 6), (3, 12)),
    ),
}  # fmt: skip
SHAKEN = {"V1": 0.15, "V2": 0.2, "V3": 0.6}  # noise on the weights: sound that is loud enough, without clipping
LISTENERS = HifiGanDiscriminatorConfig(
    periods=(2, 3, 5), period_channels=(4, 6, 6), scales=2, scale_layers=((4, 15, 1, 1), (8, 9, 2, 4), (8, 5, 1, 1))
)


def log_mel() -> Tensor:
    """(2, bands, frames), the same at every call."""
    return torch.randn(2, BANDS, FRAMES, generator=torch.Generator().manual_seed(1))


def sound(time: int, seed: int = 2) -> Tensor:
    """(2, time), the same at every call."""
    return 0.3 * torch.randn(2, time, generator=torch.Generator().manual_seed(seed))


# The generator


def generator(kind: str) -> Parity:
    """`HifiGanGenerator` beside `SpeechT5HifiGan`, which has the blocks of V1 and V2."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = KINDS[kind]
    theirs = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=BANDS, upsample_initial_channel=config.channels, upsample_rates=list(config.upsample_rates),
            upsample_kernel_sizes=list(config.upsample_kernels), normalize_before=False,
        )
    )  # fmt: skip
    shaken(theirs, size=SHAKEN[kind])

    def named(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        kept = {name: t for name, t in tensors.items() if name not in ("mean", "scale")}
        return {our_name(name, config, "upsampler"): t for name, t in kept.items()}

    ours = HifiGanGenerator(config, folded=True)
    ours.load_state_dict(named(theirs.state_dict()))
    output, expected = ours(log_mel()), theirs(log_mel().transpose(1, 2))
    for out in (output, expected):
        weighed_sum(out).backward()
    gradients = paired(named_gradients(ours), named(named_gradients(theirs)))
    what = f"waveform, the blocks of {kind}"
    return compared("HifiGanGenerator", "transformers SpeechT5HifiGan", what, [(output, expected)], gradients)


def generator_in_loops(kind: str) -> Parity:
    """`HifiGanGenerator` with its weight normalisation beside convolutions written out tap by tap."""
    ours = shaken(HifiGanGenerator(KINDS[kind]), size=SHAKEN[kind])
    expected = _generator(ours, log_mel())
    output = ours(log_mel())
    gradients = _both_gradients(ours, output, expected)
    return compared(
        "HifiGanGenerator", "loops over taps", f"waveform, the blocks of {kind}", [(output, expected)], gradients
    )


def _generator(model: HifiGanGenerator, x: Tensor) -> Tensor:
    config = model.config
    x = convolve(x, model.conv_in, padding=3)
    for n, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernels, strict=True)):
        x = stretch(bend(x, 0.1), model.upsample[n], rate, (kernel - rate) // 2)
        outcomes = []
        for m, (width, dilations) in enumerate(zip(config.block_kernels, config.block_dilations, strict=True)):
            block, y = model.fusions[n].blocks[m], x
            for i, dilation in enumerate(dilations):
                z = convolve(bend(y, 0.1), block.dilated[i], padding=dilation * (width - 1) // 2, dilation=dilation)
                if config.block == 1:
                    z = convolve(bend(z, 0.1), block.plain[i], padding=(width - 1) // 2)
                y = y + z
            outcomes.append(y)
        x = torch.stack(outcomes).mean(dim=0)
    return convolve(bend(x, 0.01), model.conv_out, padding=3)[:, 0].tanh()


# The discriminators


def period_discriminators() -> Parity:
    """`MultiPeriodDiscriminator` beside one convolution for each column of the folded sound by itself."""
    ours = shaken(MultiPeriodDiscriminator(LISTENERS), size=0.1)
    samples = sound(31)  # no multiple of any period
    judgements = ours(samples)
    expected = [_period(part, samples) for part in ours.parts]
    return _listened(ours, "MultiPeriodDiscriminator", "loops over columns and taps", judgements, expected)


def _period(part: nn.Module, samples: Tensor) -> list[Tensor]:
    period = part.period
    rest = -samples.shape[1] % period
    samples = torch.cat([samples, *(samples[:, [-2 - i]] for i in range(rest))], dim=1)
    columns = [samples[:, column::period].unsqueeze(1) for column in range(period)]
    layers, features = list(part.layers), []
    for n, layer in enumerate([*layers, part.conv_out]):
        last = n == len(layers)
        stride = 3 if n < len(layers) - 1 else 1
        columns = [
            convolve(c, layer, padding=1 if last else 2, stride=stride, weight=layer.weight[..., 0]) for c in columns
        ]
        columns = columns if last else [bend(column, 0.1) for column in columns]
        features.append(torch.stack(columns, dim=-1))
    return features


def scale_discriminators() -> Parity:
    """`MultiScaleDiscriminator` beside grouped convolutions group by group, tap by tap."""
    ours = shaken(MultiScaleDiscriminator(LISTENERS), size=0.1).eval()  # spectral normalisation stands still
    samples = sound(48)
    judgements = ours(samples)
    expected, heard = [], samples
    for n, part in enumerate(ours.parts):
        heard = halved(heard) if n else heard
        expected.append(_scale(part, heard))
    return _listened(ours, "MultiScaleDiscriminator", "loops over groups and taps", judgements, expected)


def _scale(part: nn.Module, samples: Tensor) -> list[Tensor]:
    x, features = samples.unsqueeze(1), []
    for layer, (_, kernel, stride, groups) in zip(part.layers, LISTENERS.scale_layers, strict=True):
        x = bend(convolve(x, layer, padding=kernel // 2, stride=stride, groups=groups), 0.1)
        features.append(x)
    return [*features, convolve(x, part.conv_out, padding=1)]


def _listened(ours: nn.Module, model: str, reference: str, judgements: list, expected: list[list[Tensor]]) -> Parity:
    pairs = [
        pair for said, features in zip(judgements, expected, strict=True)
        for pair in [(said.logits, features[-1].flatten(1)), *zip(said.features, features, strict=True)]
    ]  # fmt: skip
    mine, theirs = (torch.cat([pair[side].flatten() for pair in pairs]) for side in (0, 1))
    return compared(model, reference, "logits and features", pairs, _both_gradients(ours, mine, theirs))


# The losses


def training_losses() -> Parity:
    """The generator's and the discriminators' whole losses beside sums over single numbers."""
    generator = torch.Generator().manual_seed(4)
    shapes = [(2, 5), (2, 3)]
    real, generated = ([torch.randn(s, generator=generator) for s in shapes] for _ in range(2))
    mels = [torch.randn(2, 4, 6, generator=generator) for _ in range(2)]
    mine, theirs = ([t.clone().requires_grad_() for t in generated] for _ in range(2))
    my_mel, their_mel = (mels[1].clone().requires_grad_() for _ in range(2))

    judged = losses.discriminator_loss(real, mine)
    wanted = losses.adversarial_loss(mine)
    matched = losses.feature_matching_loss([real, real[:1]], [mine, mine[:1]])
    total = losses.generator_loss(wanted, matched, losses.mel_loss(mels[0], my_mel))
    expected_judged = sum(_mean((a - 1) ** 2 for a in _each(r)) for r in real)
    expected_judged = expected_judged + sum(_mean(b**2 for b in _each(g)) for g in theirs)
    expected = sum(_mean((b - 1) ** 2 for b in _each(g)) for g in theirs)
    differences = [
        _mean((a - b).abs() for a, b in zip(_each(r), _each(g), strict=True)) for r, g in zip(real, theirs, strict=True)
    ]
    expected = expected + 2 * (sum(differences) + differences[0])
    apart = _mean((a - b).abs() for a, b in zip(_each(mels[0]), _each(their_mel), strict=True))
    expected = expected + 45 * apart
    for loss in (judged + total, expected_judged + expected):
        loss.backward()
    gradients = {f"logits {n}": (a.grad, b.grad) for n, (a, b) in enumerate(zip(mine, theirs, strict=True))}
    gradients["mel"] = (my_mel.grad, their_mel.grad)
    pairs = [(judged, expected_judged), (total, expected)]
    return compared("HiFi-GAN's losses", "sums over single numbers", "both losses", pairs, gradients)


def _each(tensor: Tensor) -> Sequence[Tensor]:
    return tensor.flatten().unbind()


def _mean(numbers) -> Tensor:
    return torch.stack(list(numbers)).mean()


# The spectrogram


def log_mel_spectrogram() -> Parity:
    """`mel_spectrogram` beside Fourier sums written as one matrix product, in double precision."""
    config = audio.MelConfig(sample_rate=8000, n_fft=64, hop=16, window=64, bands=10, f_max=None)
    samples = sound(128)
    mine, theirs = samples.clone().requires_grad_(), samples.double().requires_grad_()
    output = audio.mel_spectrogram(mine, config)
    edge = config.padding
    padded = torch.cat([theirs[:, 1 : edge + 1].flip(1), theirs, theirs[:, -edge - 1 : -1].flip(1)], dim=1)
    n = torch.arange(64, dtype=torch.double)
    hann = torch.sin(torch.pi * n / 64) ** 2
    angle = 2 * torch.pi * torch.outer(torch.arange(33, dtype=torch.double), n) / 64
    frames = torch.stack([padded[:, 16 * f : 16 * f + 64] * hann for f in range(8)], dim=-1)  # (batch, 64, frames)
    power = (angle.cos() @ frames) ** 2 + (angle.sin() @ frames) ** 2
    expected = (audio.mel_filters(config).double() @ (power + 1e-9).sqrt()).clamp(min=1e-5).log()
    for out in (output, expected):
        weighed_sum(out).backward()
    gradients = {"samples": (mine.grad, theirs.grad.float())}
    return compared("mel_spectrogram", "Fourier sums", "log-mel", [(output, expected.float())], gradients)


# What the loops are made of


def convolve(
    x: Tensor,
    layer: nn.Module,
    *,
    padding: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    weight: Tensor | None = None,
) -> Tensor:
    """A 1-D convolution as a sum over its taps, one group of channels after another."""
    weight = layer.weight if weight is None else weight
    width = weight.shape[2]
    x = F.pad(x, (padding, padding))
    steps = (x.shape[2] - dilation * (width - 1) - 1) // stride + 1
    outcomes = []
    for inputs, filters in zip(x.chunk(groups, dim=1), weight.chunk(groups), strict=True):
        taps = []
        for tap in range(width):
            heard = inputs[:, :, tap * dilation :: stride][:, :, :steps]
            taps.append(torch.einsum("oi,bit->bot", filters[:, :, tap], heard))
        outcomes.append(sum(taps))
    return torch.cat(outcomes, dim=1) + layer.bias[:, None]


def stretch(x: Tensor, layer: nn.Module, rate: int, padding: int) -> Tensor:
    """A transposed convolution: zeros between the inputs, then each output gathers its taps from the left."""
    width, spread = layer.weight.shape[2], F.pad(x.unsqueeze(3), (0, rate - 1)).flatten(2)
    spread = spread[:, :, : spread.shape[2] - rate + 1]  # nothing after the last input
    total = spread.shape[2] + width - 1
    spread = F.pad(spread, (width - 1, width - 1))
    taps = [
        torch.einsum("io,bit->bot", layer.weight[:, :, tap], spread[:, :, width - 1 - tap :][:, :, :total])
        for tap in range(width)
    ]
    return sum(taps)[:, :, padding : total - padding] + layer.bias[:, None]


def bend(x: Tensor, slope: float) -> Tensor:
    """The leaky ReLU as its definition has it."""
    return torch.where(x > 0, x, slope * x)


def halved(samples: Tensor) -> Tensor:
    """The mean of every four samples, two steps apart, two zeros at either end."""
    padded = F.pad(samples, (2, 2))
    return torch.stack([padded[:, t : t + 4].mean(dim=1) for t in range(0, samples.shape[1] + 1, 2)], dim=1)


def _both_gradients(model: nn.Module, output: Tensor, expected: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    sides = [torch.autograd.grad(weighed_sum(out), parameters, retain_graph=True) for out in (output, expected)]
    return dict(zip(names, zip(*sides, strict=True), strict=True))
