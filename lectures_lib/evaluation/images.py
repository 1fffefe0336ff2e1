"""Judging generated digits: distances between sets of images, coverage by nearest neighbours, classes that are missing.

All of them look at *features*, the last hidden layer of our own digit classifier. A distance of 0 means that it cannot
tell the two sets apart, which a set of copies of the training images achieves as well. Novelty is a question of its
own: `copied_share` asks it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lectures_lib.models.digit_classifier import DigitClassifier, DigitClassifierConfig
from lectures_lib.training.checkpoint import load_weights

CHECKPOINT = "digit_classifier.safetensors"


def checkpoint_path(name: str) -> Path:
    """A stored checkpoint: in `book/checkpoints` of the repository, or in the installed package.

    Raises:
        FileNotFoundError: it is in neither.
    """
    folders = [Path(__file__).parents[2] / "book" / "checkpoints", Path(__file__).parents[1] / "checkpoints"]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"there is no checkpoint {name} in {folders[0]}")


@cache
def digit_classifier() -> DigitClassifier:
    """The stored classifier, in evaluation mode, on the CPU."""
    model = DigitClassifier(DigitClassifierConfig.tiny())
    load_weights(model, checkpoint_path(CHECKPOINT))
    return model.eval()


@torch.no_grad()
def digit_features(
    images: Float[Tensor, "*images"], classifier: DigitClassifier | None = None
) -> Float[Tensor, "n features"]:
    """The classifier's features of every image, in double precision.

    Raises:
        ValueError: images that are not finite, or outside [-1, 1], which it has never seen.
    """
    _check_images(images)
    classifier = classifier or digit_classifier()
    device = next(classifier.parameters()).device
    parts = [classifier.features(part.to(device)).double().cpu() for part in images.split(500)]
    return torch.cat(parts)


@torch.no_grad()
def classify(images: Float[Tensor, "*images"], classifier: DigitClassifier | None = None) -> Int[Tensor, " n"]:
    """What the classifier takes each image for.

    Raises:
        ValueError: images that are not finite, or outside [-1, 1], which it has never seen.
    """
    return class_probabilities(images, classifier).argmax(dim=1)


@torch.no_grad()
def class_probabilities(
    images: Float[Tensor, "*images"], classifier: DigitClassifier | None = None
) -> Float[Tensor, "n classes"]:
    """How probable the classifier finds each class, image by image.

    Raises:
        ValueError: images that are not finite, or outside [-1, 1], which it has never seen.
    """
    _check_images(images)
    classifier = classifier or digit_classifier()
    device = next(classifier.parameters()).device
    return torch.cat([classifier(part.to(device)).softmax(dim=1).cpu() for part in images.split(500)])


class _AsTheyCome(nn.Module):
    """Features that have been computed already, for torchmetrics, which would compute them itself."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Float[Tensor, "*real"], generated: Float[Tensor, "*generated"]) -> float:
    """The Fréchet distance of two sets of features, (n, d), each taken for a Gaussian; 0 where means and covariances
    agree.

    It is biased upwards where samples are few: two halves of one set are not at 0. Compare only distances of equal
    numbers of samples.

    Raises:
        ValueError: different widths, or no more samples than features, where a covariance is singular.

    Source: Heusel et al. 2017, equation 6; computed by torchmetrics.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _check_features(real, generated, more_than=real.shape[-1])
    metric = FrechetInceptionDistance(feature=_AsTheyCome(real.shape[1]))
    metric.update(real.double(), real=True)
    metric.update(generated.double(), real=False)
    return float(metric.compute())


def kernel_distance(
    real: Float[Tensor, "*real"],
    generated: Float[Tensor, "*generated"],
    *,
    subsets: int = 20,
    subset_size: int | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """The squared maximum mean discrepancy under a cubic kernel: mean and standard deviation over random subsets.

    It is unbiased: two halves of one set lie around 0, on either side. `subset_size` is half of the smaller set where
    none is given.

    Raises:
        ValueError: different widths, fewer than four samples, or subsets larger than a set.

    Source: Bińkowski et al. 2018, section 4; computed by torchmetrics.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    _check_features(real, generated, more_than=3)
    fewest = min(len(real), len(generated))
    size = subset_size or fewest // 2
    if not 2 <= size <= fewest:
        raise ValueError(f"subset_size must lie between 2 and the {fewest} samples there are, got {size}")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # of the memory that all features take, which are few here
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(
            feature=_AsTheyCome(real.shape[1]), subsets=subsets, subset_size=size
        ).set_dtype(torch.float64)
        metric.update(real.double(), real=True)
        metric.update(generated.double(), real=False)
        mean, spread = metric.compute()
    return float(mean), float(spread)


class Neighbours(NamedTuple):
    """Shares from 0 to 1, except `density`, which may exceed 1."""

    precision: float  # of generated samples that lie among real ones
    recall: float  # of real samples that lie among generated ones
    density: float  # as precision, but counting how many real samples have it for a neighbour
    coverage: float  # of real samples with a generated one among their k nearest


def neighbours(real: Float[Tensor, "*real"], generated: Float[Tensor, "*generated"], *, k: int = 5) -> Neighbours:
    """Who lies among whom: a sample lies among a set if it is nearer to one of its members than that one's k-th
    neighbour in the set.

    Raises:
        ValueError: different widths, `k` below 1, or no more than `k` samples in a set.

    Source: precision and recall: Kynkäänniemi et al. 2019, equation 1; density and coverage: Naeem et al. 2020,
    section 3.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    _check_features(real, generated, more_than=k)

    def radius(of: Tensor) -> Tensor:
        # The smallest distance is that to the sample itself.
        return torch.cdist(of, of).kthvalue(k + 1, dim=1).values

    real_radius, generated_radius = radius(real), radius(generated)
    distance = torch.cdist(real, generated)  # (real, generated)
    near_real, near_generated = distance <= real_radius[:, None], distance <= generated_radius[None]
    return Neighbours(
        precision=float(near_real.any(dim=0).double().mean()),
        recall=float(near_generated.any(dim=1).double().mean()),
        density=float(near_real.double().sum(dim=0).mean()) / k,
        coverage=float(near_real.any(dim=1).double().mean()),
    )


def copied_share(
    training: Float[Tensor, "*training"], held_out: Float[Tensor, "*held_out"], generated: Float[Tensor, "*generated"]
) -> float:
    """The share of generated samples that lie nearer to a training sample than to any held-out one; ties count half.

    As many training samples are looked at as there are held-out ones, the first. New samples of the data's own
    distribution are at one half: chance puts them nearer to one set or the other. A set of copies is at 1. A model that
    is merely bad is at one half as well: this asks about copying, and about nothing else.

    Raises:
        ValueError: different widths, no samples, or fewer training samples than held-out ones.

    Source: the idea of Meehan et al. 2020 (a test for data-copying), without its cells.
    """
    for features in (held_out, generated):
        _check_features(training, features, more_than=0)
    if len(training) < len(held_out):
        raise ValueError(f"training must have at least the {len(held_out)} samples of held_out, got {len(training)}")
    to_training = torch.cdist(generated, training[: len(held_out)]).amin(dim=1)
    to_held_out = torch.cdist(generated, held_out).amin(dim=1)
    nearer = (to_training < to_held_out).double() + 0.5 * (to_training == to_held_out).double()
    return float(nearer.mean())


def class_shares(labels: Int[Tensor, " n"], n_classes: int = 10) -> Float[Tensor, " classes"]:
    """The share of samples of each class.

    Raises:
        ValueError: no labels, or one beyond the classes.
    """
    if len(labels) == 0 or int(labels.min()) < 0 or int(labels.max()) >= n_classes:
        raise ValueError(f"labels must be at least one of 0 to {n_classes - 1}, got {labels.tolist()[:10]}")
    return torch.bincount(labels, minlength=n_classes) / len(labels)


class Estimate(NamedTuple):
    """A measured value, with an interval that holds 19 times out of 20, and how many samples it was measured with."""

    value: float
    low: float
    high: float
    samples: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}] with {self.samples[0]} and {self.samples[1]} samples"
        )


def with_interval(
    statistic: Callable[[Tensor, Tensor], float],
    real: Float[Tensor, "n features"],
    generated: Float[Tensor, "m features"],
    *,
    repeats: int = 30,
    seed: int = 0,
) -> Estimate:
    """A statistic of two sets with its uncertainty from drawing samples anew with replacement (the bootstrap).

    The spread over such draws is used, not their mean: drawn with replacement, sets look farther apart than they are.

    Raises:
        ValueError: fewer than two repeats.

    Source: Efron 1979 (the normal interval).
    """
    if repeats < 2:
        raise ValueError(f"repeats must be at least 2, got {repeats}")
    generator = torch.Generator().manual_seed(seed)

    def redrawn(data: Tensor) -> Tensor:
        return data[torch.randint(len(data), (len(data),), generator=generator)]

    values = torch.tensor([statistic(redrawn(real), redrawn(generated)) for _ in range(repeats)], dtype=torch.float64)
    value, half = statistic(real, generated), 1.96 * float(values.std())
    return Estimate(value, value - half, value + half, (len(real), len(generated)))


def _check_features(real: Tensor, generated: Tensor, *, more_than: int) -> None:
    for name, features in (("real", real), ("generated", generated)):
        if features.ndim != 2 or features.shape[-1] != real.shape[-1]:
            raise ValueError(f"{name} must have shape (n, {real.shape[-1]}), got {tuple(features.shape)}")
        if len(features) <= more_than:
            raise ValueError(f"{name} must have more than {more_than} samples, got {len(features)}")
        if not bool(features.isfinite().all()):
            raise ValueError(f"{name} must be finite numbers, got {int((~features.isfinite()).sum())} that are not")


def _check_images(images: Tensor) -> None:
    low, high = (float(end) for end in torch.aminmax(images)) if images.numel() else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)) or max(-low, high) > 1 + 1e-4:
        raise ValueError(f"images must lie in [-1, 1], got values from {low:g} to {high:g}")
