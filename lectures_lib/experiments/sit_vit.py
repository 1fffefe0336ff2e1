"""SiT beside a Vision Transformer from scratch, on digits and on animals in landscapes, with few labels and with all.

    python -m lectures_lib.experiments sit_vit

SiT learns from all training pictures without their labels. Then both, it and a fresh model of the same sizes, are
fine-tuned whole on 1 %, 10 % and 100 % of the labels, with the same pictures, steps and settings.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lectures_lib.data.animals import ANIMALS, animal_pictures
from lectures_lib.data.digits import N_CLASSES, digits
from lectures_lib.device import choose_device
from lectures_lib.experiments.record import write_result
from lectures_lib.experiments.vision_claims import Recipe as ChapterRecipe
from lectures_lib.experiments.vision_claims import animal_config, few, optimizer
from lectures_lib.models.sit import SiT, SiTConfig
from lectures_lib.models.vit import ViT, ViTConfig
from lectures_lib.training import fit, warmup_cosine
from lectures_lib.training.pictures import (
    LabelledBatches,
    PictureBatch,
    ViewBatches,
    accuracy,
    naming_loss,
    self_supervised_loss,
)

DATA = ("digits", "animals")
SHARES = (0.01, 0.1, 1.0)
DIGIT_SHIFT = 2  # pixels


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The same for both kinds of pictures."""

    pictures: int = 4_000  # for training, with or without labels
    test_pictures: int = 1_000
    pretrain_steps: int = 1_500
    pretrain_batch: int = 32  # pictures; twice as many views
    pretrain_learning_rate: float = 2e-3
    temperature: float = 0.2
    tune_steps: int = 300
    tune_batch: int = 64
    tune_learning_rate: float = 1e-3
    warmup: int = 50
    noise: float = 0.3
    foreign: float = 0.1


def data_of(name: str, seed: int, recipe: Recipe) -> tuple[PictureBatch, PictureBatch, ViTConfig]:
    """Pictures for training and for testing, and the sizes of the model (with SiT's two tokens).

    Raises:
        ValueError: an unknown name.
    """
    if name not in DATA:
        raise ValueError(f"data must be one of {DATA}, got {name!r}")
    if name == "digits":
        train, test = digits("train"), digits("test")
        config = SiTConfig.tiny(N_CLASSES).vit
    else:
        train = animal_pictures(recipe.pictures, seed=seed)
        test = animal_pictures(recipe.test_pictures, seed=seed, split="test")
        config = dataclasses.replace(animal_config(ChapterRecipe()), n_tokens=2)
    kept = slice(0, recipe.pictures), slice(0, recipe.test_pictures)
    return (
        PictureBatch(train.images[kept[0]], train.labels[kept[0]]),
        PictureBatch(test.images[kept[1]], test.labels[kept[1]]),
        config,
    )


def pretrained(images: Tensor, config: ViTConfig, seed: int, recipe: Recipe) -> SiT:
    """SiT after its training without labels."""
    torch.manual_seed(seed)
    model = SiT(SiTConfig(config, d_hidden=128, d_contrast=32))
    mirrored = config.n_channels == 3  # the mirror image of a digit is no digit
    options = {"flip": True} if mirrored else {"shift": DIGIT_SHIFT, "turn": 0.25}
    views = ViewBatches(
        images, batch_size=recipe.pretrain_batch, seed=seed, noise=recipe.noise, foreign=recipe.foreign, **options
    )
    fit(
        model,
        partial(self_supervised_loss, temperature=recipe.temperature),
        views,
        steps=recipe.pretrain_steps,
        seed=seed,
        learning_rate=recipe.pretrain_learning_rate,
        optimizer=optimizer(ChapterRecipe()),
        schedule=warmup_cosine(recipe.pretrain_steps, warmup=recipe.warmup),
    )
    return model


def fine_tuned(model: ViT, train: PictureBatch, seed: int, recipe: Recipe) -> ViT:
    """The classifier after the same number of steps on however many labels there are."""
    shift = DIGIT_SHIFT if model.config.n_channels == 1 else 0
    fit(
        model.to(choose_device()),
        naming_loss,
        LabelledBatches(train.images, train.labels, batch_size=recipe.tune_batch, seed=seed, shift=shift),
        steps=recipe.tune_steps,
        seed=seed,
        learning_rate=recipe.tune_learning_rate,
        optimizer=optimizer(ChapterRecipe()),
        schedule=warmup_cosine(recipe.tune_steps, warmup=recipe.warmup),
        progress=False,
    )
    return model


def measure(name: str, seed: int, recipe: Recipe) -> dict[str, float]:
    """The share of test pictures named right, by the way to begin and the number of labels; and the seconds."""
    began = time.perf_counter()
    train, test, config = data_of(name, seed, recipe)
    model = pretrained(train.images, config, seed, recipe)
    found = {"pretraining, seconds": round(time.perf_counter() - began, 1)}
    for share in SHARES:
        rows = few(train.labels, round(share * len(train)), seed=seed)
        some = PictureBatch(train.images[rows], train.labels[rows])
        torch.manual_seed(seed)
        for way, beginner in (("pretrained", model.classifier()), ("from scratch", ViT(config))):
            learned = fine_tuned(beginner, some, seed, recipe)
            found[f"{way}, {share:.0%} ({len(rows)} labels)"] = accuracy(learned, test.images, test.labels)
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure on every kind of pictures and every seed, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments sit_vit", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--data", nargs="+", default=list(DATA), help="digits, animals or both")
    parser.add_argument("--out", type=Path, default=Path("results/sit_vit.json"))
    options = parser.parse_args(arguments)
    recipe = Recipe()
    measured: dict[str, dict[str, list[float]]] = {}
    for name in options.data:
        runs = []
        for seed in options.seeds:
            runs.append(measure(name, seed, recipe))
            print(f"{name}, seed {seed}: {runs[-1]}", flush=True)
        measured[name] = {key: [run[key] for run in runs] for key in runs[0]}
    write_result(
        options.out,
        name="sit_vit",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "classes": {"digits": N_CLASSES, "animals": len(ANIMALS)}},
        measured=measured,
    )
