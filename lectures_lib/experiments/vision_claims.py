"""The claims of the chapter `vision`, over several seeds.

    python -m lectures_lib.experiments vision_claims --seeds 0 1 2

The chapter runs the same functions with the same recipe on one seed, live; a test holds the two against each other.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lectures_lib.data.animals import ANIMALS, SIDE, AnimalPictures, animal_pictures
from lectures_lib.data.samples import numbered
from lectures_lib.device import choose_device
from lectures_lib.evaluation.pointing import best_fixed_place, inside, pointing_game, rollout_maps
from lectures_lib.experiments.record import write_result
from lectures_lib.losses.contrastive import nt_xent_loss
from lectures_lib.models.sit import SiT, SiTConfig
from lectures_lib.models.vit import ViT, ViTConfig, from_patches, patches
from lectures_lib.training import History, decayed_adamw, fit, warmup_cosine
from lectures_lib.training.pictures import (
    LabelledBatches,
    ViewBatches,
    accuracy,
    naming_loss,
    self_supervised_loss,
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the chapter trains and measures: a model of two layers, since deeper ones had not begun to learn by then."""

    pictures: int = 2_500  # for training
    test_pictures: int = 400
    patch_size: int = 8
    layers: int = 2
    position_std: float = 0.3
    steps: int = 250
    batch_size: int = 48
    learning_rate: float = 4e-3
    warmup: int = 30
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    pretrain_steps: int = 220  # of SiT, without labels
    pretrain_batch: int = 16  # pictures; twice as many views
    pretrain_learning_rate: float = 2e-3
    temperature: float = 0.2  # of the contrast
    noise: float = 0.3  # share of a view under noise
    foreign: float = 0.1  # share under pieces of other pictures
    labels: tuple[int, ...] = (24, 60, 240)
    tune_steps: int = 100
    tune_batch: int = 32
    tune_learning_rate: float = 2e-3
    tune_warmup: int = 20


class Thresholds(NamedTuple):
    """What the chapter claims: set after pilot runs on seed 0, before the three seeds were run.

    `gain` was set before any pilot. No pilot reached it, on digits or on animals, and the chapter says so: it is
    measured and not claimed.
    """

    pointing: float = 0.2  # share of pictures hit by attention over that hit by the best place without looking
    covered: float = 0.2  # share of right answers lost when the animal is painted over
    turns: float = 0.6  # share of damaged views whose turn SiT knows
    contrast: float = 1.0  # nats by which a view finds its partner better than by guessing
    gain: float = 0.03  # share of right answers, pretrained over from scratch, at each count of labels


# What is in the picture?


def animals(seed: int, recipe: Recipe) -> tuple[AnimalPictures, AnimalPictures]:
    """Pictures for training and for testing."""
    return animal_pictures(recipe.pictures, seed=seed), animal_pictures(recipe.test_pictures, seed=seed, split="test")


def animal_config(recipe: Recipe) -> ViTConfig:
    """The sizes of the model that names animals."""
    tiny = ViTConfig.tiny(len(ANIMALS), image_size=SIDE, patch_size=recipe.patch_size, n_channels=3)
    return dataclasses.replace(tiny, n_layers=recipe.layers, position_std=recipe.position_std)


def name_animals(seed: int, recipe: Recipe, pictures: AnimalPictures, *, progress: bool = True) -> tuple[ViT, History]:
    """A Vision Transformer trained from scratch to say which animal there is."""
    torch.manual_seed(seed)
    model = ViT(animal_config(recipe))
    batches = LabelledBatches(pictures.images, pictures.labels, batch_size=recipe.batch_size, seed=seed)
    history = fit(
        model,
        naming_loss,
        batches,
        steps=recipe.steps,
        seed=seed,
        learning_rate=recipe.learning_rate,
        optimizer=optimizer(recipe),
        schedule=warmup_cosine(recipe.steps, warmup=recipe.warmup),
        progress=progress,
    )
    return model, history


def optimizer(recipe: Recipe):
    """AdamW as `fit` takes it."""
    return partial(decayed_adamw, weight_decay=recipe.weight_decay, betas=recipe.betas)


def pointing(model: nn.Module, train: AnimalPictures, test: AnimalPictures) -> dict[str, float]:
    """How often the strongest patch lies on the animal, and how often the best place without looking does."""
    size = model.encoder.config.patch_size
    fixed, _ = best_fixed_place(train.boxes, SIDE)
    areas = (test.boxes[:, 2:] - test.boxes[:, :2]).prod(dim=1)
    return {
        "rollout": pointing_game(rollout_maps(model, test.images), test.boxes, size),
        "best fixed place": float(inside(fixed, test.boxes).double().mean()),
        "anywhere": float(areas.double().mean()) / SIDE**2,
    }


def covered(pictures: AnimalPictures) -> Float[Tensor, "n 3 side side"]:
    """The pictures with the animal's box painted over in the picture's mean colour."""
    painted = pictures.images.clone()
    for image, (x0, y0, x1, y1) in zip(painted, pictures.boxes.tolist(), strict=True):
        image[:, y0:y1, x0:x1] = image.mean(dim=(1, 2), keepdim=True)
    return painted


def shuffled_patches(
    images: Float[Tensor, "n channels side side"], patch_size: int, *, seed: int
) -> Float[Tensor, "n channels side side"]:
    """The pictures with their patches in another order, the same for all."""
    cut = patches(images, patch_size)
    order = torch.randperm(cut.shape[1], generator=numbered(seed, 0))
    return from_patches(cut[:, order], patch_size, *images.shape[2:])


# How many labels does it take?


def sit_config(recipe: Recipe) -> SiTConfig:
    """The same model with SiT's two tokens and heads."""
    return SiTConfig(dataclasses.replace(animal_config(recipe), n_tokens=2), d_hidden=128, d_contrast=32)


def view_options(recipe: Recipe) -> dict[str, float | bool]:
    """How views are made: mirrored or not, and damaged."""
    return {"flip": True, "noise": recipe.noise, "foreign": recipe.foreign}


def pretrain(
    seed: int, recipe: Recipe, images: Float[Tensor, "*images"], *, progress: bool = True
) -> tuple[SiT, History]:
    """SiT on pictures without labels."""
    torch.manual_seed(seed)
    model = SiT(sit_config(recipe))
    history = fit(
        model,
        partial(self_supervised_loss, temperature=recipe.temperature),
        ViewBatches(images, batch_size=recipe.pretrain_batch, seed=seed, **view_options(recipe)),
        steps=recipe.pretrain_steps,
        seed=seed,
        learning_rate=recipe.pretrain_learning_rate,
        optimizer=optimizer(recipe),
        schedule=warmup_cosine(recipe.pretrain_steps, warmup=recipe.warmup),
        progress=progress,
    )
    return model, history


@torch.no_grad()
def knows(model: SiT, seed: int, recipe: Recipe, images: Float[Tensor, "*images"]) -> dict[str, float]:
    """What SiT knows of new pictures without labels: how often the turn, and by how many nats the partner.

    Views are compared with as many strangers as in training.
    """
    model.eval()
    device = next(model.parameters()).device
    right, nats, batches = 0.0, 0.0, 0
    for views in ViewBatches(images, batch_size=recipe.pretrain_batch, seed=seed, **view_options(recipe))(0):
        views = views.to(device)
        output = model(views.damaged)
        right += float((output.turns.argmax(dim=1) == views.turns).double().mean())
        total, count = nt_xent_loss(*output.contrast.chunk(2), temperature=recipe.temperature)
        nats += math.log(len(views) - 1) - float(total / count)
        batches += 1
    return {"turns right": right / batches, "nats over guessing": nats / batches}


def few(labels: Int[Tensor, " n"], count: int, *, seed: int) -> Int[Tensor, " count"]:
    """The rows of `count` random examples, equally many of each class (the first classes get one more).

    Raises:
        ValueError: a class has too few examples.
    """
    classes = labels.unique().tolist()
    rows = []
    for place, label in enumerate(classes):
        wanted = count // len(classes) + (place < count % len(classes))
        own = (labels == label).nonzero().flatten()
        if wanted > len(own):
            raise ValueError(f"count asks for {wanted} examples of class {label}, and there are {len(own)}")
        rows.append(own[torch.randperm(len(own), generator=numbered(seed + 1, label))[:wanted]])
    return torch.cat(rows)


def tuned(
    classifier: ViT, seed: int, recipe: Recipe, images: Float[Tensor, "*images"], labels: Int[Tensor, " labels"]
) -> ViT:
    """The classifier after training on these labels alone."""
    fit(
        classifier,
        naming_loss,
        LabelledBatches(images, labels, batch_size=recipe.tune_batch, seed=seed),
        steps=recipe.tune_steps,
        seed=seed,
        learning_rate=recipe.tune_learning_rate,
        optimizer=optimizer(recipe),
        schedule=warmup_cosine(recipe.tune_steps, warmup=recipe.tune_warmup),
        progress=False,
    )
    return classifier


def by_labels(
    model: SiT, seed: int, recipe: Recipe, train: AnimalPictures, test: AnimalPictures
) -> dict[str, dict[int, float]]:
    """Accuracy on test pictures by the number of labels: with a pretrained encoder, and from scratch.

    Both are fine-tuned whole, on the same pictures, with the same steps and settings.
    """
    scores: dict[str, dict[int, float]] = {"pretrained": {}, "from scratch": {}}
    for count in recipe.labels:
        rows = few(train.labels, count, seed=seed)
        torch.manual_seed(seed)
        beginners = {"pretrained": model.classifier(), "from scratch": ViT(model.config.vit)}
        for name, classifier in beginners.items():
            learned = tuned(classifier.to(choose_device()), seed, recipe, train.images[rows], train.labels[rows])
            scores[name][count] = accuracy(learned, test.images, test.labels)
    return scores


# The claims


def claims(pointed: Mapping[str, float], lost: float, known: Mapping[str, float]) -> dict[str, float]:
    """The measured value of every claim, by its id."""
    return {
        "vision-attention-lands": pointed["rollout"] - pointed["best fixed place"],
        "vision-animal-decides": lost,
        "vision-knows-turns": known["turns right"],
        "vision-finds-partner": known["nats over guessing"],
    }


class Measured(NamedTuple):
    """One seed: the claims, what stands beside them, and accuracy by the way to begin and the count of labels."""

    claims: dict[str, float]
    beside: dict[str, float]
    labels: dict[str, float]


def measure(seed: int, recipe: Recipe) -> Measured:
    """Everything on one seed."""
    train, test = animals(seed, recipe)
    model, _ = name_animals(seed, recipe, train, progress=False)
    pointed = pointing(model, train, test)
    right = {
        "as they are": accuracy(model, test.images, test.labels),
        "animal covered": accuracy(model, covered(test), test.labels),
        "patches shuffled": accuracy(model, shuffled_patches(test.images, recipe.patch_size, seed=seed), test.labels),
    }
    sit, _ = pretrain(seed, recipe, train.images, progress=False)
    known = knows(sit, seed, recipe, test.images)
    scores = by_labels(sit, seed, recipe, train, test)
    beside = {f"pointing: {name}": share for name, share in pointed.items()}
    beside |= {f"named right, {name}": share for name, share in right.items()}
    lost = right["as they are"] - right["animal covered"]
    return Measured(
        claims(pointed, lost, known),
        beside,
        {f"{name}, {count} labels": share for name, by in scores.items() for count, share in by.items()},
    )


def main(arguments: Sequence[str]) -> None:
    """Measure every claim on every seed and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments vision_claims", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/vision_claims.json"))
    options = parser.parse_args(arguments)
    recipe = Recipe()
    runs = []
    for seed in options.seeds:
        runs.append(measure(seed, recipe))
        print(f"seed {seed}: {runs[-1]}", flush=True)
    write_result(
        options.out,
        name="vision_claims",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "thresholds": Thresholds()._asdict()},
        measured={
            part: {name: [getattr(run, part)[name] for run in runs] for name in getattr(runs[0], part)}
            for part in Measured._fields
        },
    )
