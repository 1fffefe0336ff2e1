"""The losses of HiFi-GAN: least squares over many discriminators, their features, and the mel spectrogram.

Source: Kong, Kim and Bae 2020, section 2.4.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

FEATURE_WEIGHT = 2.0  # λ_fm
MEL_WEIGHT = 45.0  # λ_mel


def discriminator_loss(real: Sequence[Tensor], generated: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Least squares, summed over discriminators: mean (D(x) - 1)² + mean D(G)², without factors of ½.

    `real` and `generated` hold the logits of each discriminator. Detach the generator's sound before judging it.

    Raises:
        ValueError: not as many on both sides, or none.

    Source: Kong et al. 2020, equations 1 and 6.
    """
    _check_as_many("generated", generated, len(real))
    parts = [(r - 1).square().mean() + g.square().mean() for r, g in zip(real, generated, strict=True)]
    return sum(parts[1:], parts[0])


def adversarial_loss(generated: Sequence[Tensor]) -> Float[Tensor, ""]:
    """What the generator wants of the logits, summed over discriminators: mean (D(G) - 1)².

    Raises:
        ValueError: there is no discriminator.

    Source: Kong et al. 2020, equation 2.
    """
    _check_as_many("generated", generated, len(generated))
    parts = [(g - 1).square().mean() for g in generated]
    return sum(parts[1:], parts[0])


def feature_matching_loss(real: Sequence[Sequence[Tensor]], generated: Sequence[Sequence[Tensor]]) -> Float[Tensor, ""]:
    """The mean absolute difference of each layer of each discriminator, summed. No gradient goes into `real`.

    Raises:
        ValueError: not as many discriminators or layers on both sides, or features of different shapes.

    Source: Kong et al. 2020, equation 4; Larsen et al. 2016.
    """
    _check_as_many("generated", generated, len(real))
    parts = []
    for n, (of_real, of_generated) in enumerate(zip(real, generated, strict=True)):
        _check_as_many(f"generated[{n}]", of_generated, len(of_real))
        for r, g in zip(of_real, of_generated, strict=True):
            _check_shape("generated", g, r)
            parts.append((r.detach() - g).abs().mean())
    return sum(parts[1:], parts[0])


def mel_loss(real: Float[Tensor, "*mel"], generated: Float[Tensor, "*generated"]) -> Float[Tensor, ""]:
    """The mean absolute difference of two log-mel spectrograms.

    The published code takes all frequencies here (`f_max` None), though the generator's input ends at 8 kHz.

    Raises:
        ValueError: the spectrograms have different shapes.

    Source: Kong et al. 2020, equation 3.
    """
    _check_shape("generated", generated, real)
    return (real - generated).abs().mean()


def generator_loss(
    adversarial: Float[Tensor, ""],
    features: Float[Tensor, ""],
    mel: Float[Tensor, ""],
    *,
    feature_weight: int | float = FEATURE_WEIGHT,
    mel_weight: int | float = MEL_WEIGHT,
) -> Float[Tensor, ""]:
    """All that the generator minimises: adversarial + λ_fm · features + λ_mel · mel.

    Source: Kong et al. 2020, equation 5.
    """
    return adversarial + feature_weight * features + mel_weight * mel


def _check_as_many(name: str, values: Sequence, count: int) -> None:
    if not count or len(values) != count:
        raise ValueError(
            f"{name} must hold as many tensors as there are on the real side, got {len(values)} for {count}"
        )


def _check_shape(name: str, value: Tensor, like: Tensor) -> None:
    if value.shape != like.shape:
        raise ValueError(f"{name} must have shape {tuple(like.shape)}, got {tuple(value.shape)}")
