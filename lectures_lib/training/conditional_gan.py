"""Training a conditional GAN: the steps of any GAN, with both networks told the labels of the batch.

Real and generated images of one move carry the same labels, those of the real batch. So the labels that are asked for
are distributed as the data's are, and no label gives a forgery away by being rare.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from lectures_lib.data.samples import Labelled, LabelledBatches
from lectures_lib.models.cgan import Told
from lectures_lib.training.gan import (
    DiscriminatorMove,
    GanHistory,
    GanRules,
    GeneratorMove,
    Players,
    discriminator_step,
    fit_gan,
    generator_step,
)


def told(players: Players, labels: Tensor) -> Players:
    """The same players, weights and optimizers, both told these labels, (batch,), whatever they are shown."""
    networks = {"generator": Told(players.generator, labels), "discriminator": Told(players.discriminator, labels)}
    return dataclasses.replace(players, **networks)


def conditional_discriminator_step(
    players: Players, real: Labelled, latent: Labelled, rules: GanRules
) -> DiscriminatorMove:
    """One move of the discriminator: real pairs of image and label against generated images under the same labels.

    Raises:
        ValueError: the labels of the latents are others than those of the real images.

    Source: Mirza and Osindero 2014, equation 2, with the labels of the batch.
    """
    if real.labels is not latent.labels and not real.labels.equal(latent.labels):
        raise ValueError(f"latent must have the labels of real, {_few(real.labels)}, got {_few(latent.labels)}")
    return discriminator_step(told(players, real.labels), real.samples, latent.samples, rules)


def conditional_generator_step(players: Players, latent: Labelled, rules: GanRules) -> GeneratorMove:
    """One move of the generator, which is asked for the labels of `latent`.

    Source: Mirza and Osindero 2014, equation 2.
    """
    return generator_step(told(players, latent.labels), latent.samples, rules)


def fit_conditional_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    batches: LabelledBatches,
    rules: GanRules | None = None,
    *,
    steps: int,
    **options: Any,
) -> GanHistory:
    """`fit_gan` with labels: both networks are called with the labels of each batch as their second argument.

    `options` are those of `fit_gan`. Samples along the way are of all classes in turn; a run resumes as any other.

    Raises:
        ValueError: batches without labels; a label that is none of the networks' classes; and as `fit_gan`.
    """
    first = batches(0)
    if not isinstance(first, Labelled):
        raise ValueError(f"batches must give Labelled samples, got {type(first).__name__}: use data.samples.labelled")
    return fit_gan(
        generator,
        discriminator,
        batches,
        rules,
        steps=steps,
        discriminator_step=conditional_discriminator_step,
        generator_step=conditional_generator_step,
        **options,
    )


def _few(labels: Tensor) -> str:
    shown = ", ".join(map(str, labels.tolist()[:5]))
    return f"({shown}, …)" if len(labels) > 5 else f"({shown})"
