"""The claims of the chapter `gan`, over several seeds.

    python -m lectures_lib.experiments gan_claims --seeds 0 1 2 3 4

The chapter runs the same functions with the same recipe on one seed, live; a test holds the two against each other.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lectures_lib.data.samples import RealBatches, numbered
from lectures_lib.data.toy import Mixture, gaussian, line_mixture, ring
from lectures_lib.device import choose_device
from lectures_lib.evaluation.distributions import count_modes, optimal_discriminator
from lectures_lib.experiments.record import write_result
from lectures_lib.losses.gan import GAN_LOSSES, gan_value
from lectures_lib.models.fully_connected_gan import (
    FullyConnectedConfig,
    FullyConnectedDiscriminator,
    fully_connected_gan,
)
from lectures_lib.training.gan import GanHistory, fit_gan, pretrain_discriminator, sample


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the chapter trains and measures."""

    judge_steps: int = 1_000  # of a discriminator against a distribution that stands still
    judge_batch: int = 512
    judge_learning_rate: float = 2e-3
    fresh_samples: int = 20_000  # on which it is measured
    gan_steps: int = 2_000
    gan_batch: int = 256
    gan_learning_rate: float = 4e-4  # of the GAN, after a pilot with 1e-3 that ended at 0.73
    probe_steps: int = 600  # of a fresh discriminator against the generator as it is
    probe_learning_rate: float = 1e-3
    probe_at: tuple[int, ...] = (0, 400, 2_000)


class Thresholds(NamedTuple):
    """What the chapter claims: set before anything was measured.

    On seed 0 the first recipe, with a learning rate of 1e-3 in 3,000 rounds, missed `accuracy_end` at 0.73. The recipe
    was changed then, the thresholds were not.
    """

    deviation: float = 0.03  # mean |D - p/(p + q)|, weighed by where the samples lie
    value_gap: float = 0.02  # |V + log 4| in nats
    accuracy_fall: float = 0.25  # of a fresh discriminator, from the untrained generator to the trained one
    accuracy_end: float = 0.65  # of a fresh discriminator at the end


REAL_1D = line_mixture((-2.0, 1.5), 0.6, (0.4, 0.6))
GENERATED_1D = gaussian(0.5, 1.2)
REAL_2D = ring(8, radius=2.0, std=0.2)
EVERY = 100  # the rounds of `probe_at` are multiples of it


def line_of_points(low: float = -6.0, high: float = 6.0, count: int = 601) -> Tensor:
    """Evenly spaced points of a line, (count, 1)."""
    return torch.linspace(low, high, count).unsqueeze(1)


def judge(real: Mixture, generated: Mixture, seed: int, recipe: Recipe) -> FullyConnectedDiscriminator:
    """A discriminator trained on two distributions on a line that stand still."""
    torch.manual_seed(seed)
    network = FullyConnectedDiscriminator(FullyConnectedConfig.tiny(1))
    batches = [m.batches(recipe.judge_batch, seed=2 * seed + k) for k, m in enumerate((real, generated))]
    pretrain_discriminator(
        network, *batches, steps=recipe.judge_steps, seed=seed, learning_rate=recipe.judge_learning_rate
    )
    return network.eval()


@torch.no_grad()
def deviation(network: nn.Module, real: Mixture, generated: Mixture) -> float:
    """The mean of |D(x) - p/(p + q)|, weighed by (p + q)/2: where the network has seen samples."""
    x = line_of_points()
    log_p, log_q = real.log_density(x), generated.log_density(x)
    weight = (log_p.exp() + log_q.exp()) / 2
    found = network(x.to(choose_device())).sigmoid().cpu()
    return float(((found - optimal_discriminator(log_p, log_q)).abs() * weight).sum() / weight.sum())


@torch.no_grad()
def value(network: nn.Module, real: Mixture, generated: Mixture, seed: int, recipe: Recipe) -> float:
    """V = E log D(x) + E log(1 - D(G(z))) in nats, on fresh samples."""
    x = real.sample(recipe.fresh_samples, numbered(seed, 1_000))
    y = generated.sample(recipe.fresh_samples, numbered(seed, 1_001))
    device = choose_device()
    return float(gan_value(network(x.to(device)), network(y.to(device))))


def train_gan(seed: int, recipe: Recipe, **options) -> tuple[nn.Module, nn.Module, GanHistory]:
    """The chapter's GAN on a ring of eight Gaussians: (generator, discriminator, history)."""
    generator, discriminator = fully_connected_gan(FullyConnectedConfig.tiny(2), seed=seed)
    history = fit_gan(
        generator,
        discriminator,
        REAL_2D.batches(recipe.gan_batch, seed=seed),
        steps=recipe.gan_steps,
        seed=seed,
        generator_learning_rate=recipe.gan_learning_rate,
        discriminator_learning_rate=recipe.gan_learning_rate,
        **options,
    )
    return generator, discriminator, history


def probe_accuracy(generated: RealBatches, seed: int, recipe: Recipe) -> float:
    """How often a discriminator that starts afresh tells these samples from real ones, after a short training."""
    torch.manual_seed(1_000 + seed)
    network = FullyConnectedDiscriminator(FullyConnectedConfig.tiny(2))
    real = REAL_2D.batches(recipe.gan_batch, seed=1_000 + seed)
    pretrain_discriminator(
        network, real, generated, steps=recipe.probe_steps, seed=seed, learning_rate=recipe.probe_learning_rate
    )
    device, loss = choose_device(), GAN_LOSSES["non-saturating"]
    with torch.no_grad():
        new = [torch.cat([draw(recipe.probe_steps + n) for n in range(20)]) for draw in (real, generated)]
        right = loss.accuracy(*(network(points.to(device)) for points in new))
    return float(sum(right)) / 2


def samples_of(generator: nn.Module, recipe: Recipe, seed: int) -> RealBatches:
    """The batches that a generator gives as it is now, by number."""
    still, d_latent = copy.deepcopy(generator), generator.config.d_latent
    return lambda number: sample(still, torch.randn(recipe.gan_batch, d_latent, generator=numbered(seed + 77, number)))


def accuracy_over_training(
    seed: int, recipe: Recipe, **options
) -> tuple[dict[int, float], nn.Module, nn.Module, GanHistory]:
    """The accuracy of fresh discriminators against the generator at the rounds `probe_at`; both networks, history."""
    snapshots: list[RealBatches] = []  # one every `EVERY` rounds

    def keep(generator: nn.Module) -> dict[str, float]:
        snapshots.append(samples_of(generator, recipe, seed))
        return {}

    keep(fully_connected_gan(FullyConnectedConfig.tiny(2), seed=seed)[0])
    generator, discriminator, history = train_gan(seed, recipe, validate=keep, validate_every=EVERY, **options)
    accuracy = {at: probe_accuracy(snapshots[at // EVERY], seed, recipe) for at in recipe.probe_at}
    return accuracy, generator, discriminator, history


def claims(deviated: float, equal_value: float, accuracy: dict[int, float]) -> dict[str, float]:
    """The measured value of every claim, by its id."""
    rounds = sorted(accuracy)
    return {
        "gan-optimal-discriminator": deviated,
        "gan-value-log4": abs(equal_value + math.log(4)),
        "gan-accuracy-falls": accuracy[rounds[0]] - accuracy[rounds[-1]],
        "gan-accuracy-end": accuracy[rounds[-1]],
    }


def measure(seed: int, recipe: Recipe) -> tuple[dict[str, float], dict[str, float]]:
    """Every claim on one seed, and what stands beside them."""
    network = judge(REAL_1D, GENERATED_1D, seed, recipe)
    equal = judge(REAL_1D, REAL_1D, seed, recipe)
    accuracy, generator, _, history = accuracy_over_training(seed, recipe, progress=False)
    made = sample(generator, torch.randn(2_000, generator.config.d_latent, generator=numbered(seed, 5)))
    modes = count_modes(made, REAL_2D)
    beside = {f"accuracy at round {at}": share for at, share in accuracy.items()}
    beside |= {"modes covered": float(modes.covered(20)), "good samples": modes.good}
    beside |= {"accuracy in training at the end": history.accuracy[-1]}
    return claims(
        deviation(network, REAL_1D, GENERATED_1D), value(equal, REAL_1D, REAL_1D, seed, recipe), accuracy
    ), beside


def main(arguments: Sequence[str]) -> None:
    """Measure every claim on every seed and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments gan_claims", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("results/gan_claims.json"))
    options = parser.parse_args(arguments)
    recipe = Recipe()
    by_seed, by_side = [], []
    for seed in options.seeds:
        values, beside = measure(seed, recipe)
        by_seed.append(values)
        by_side.append(beside)
        print(f"seed {seed}: {values} {beside}", flush=True)
    write_result(
        options.out,
        name="gan_claims",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "thresholds": Thresholds()._asdict()},
        measured={
            "claims": {name: [values[name] for values in by_seed] for name in by_seed[0]},
            "beside": {name: [values[name] for values in by_side] for name in by_side[0]},
        },
    )
