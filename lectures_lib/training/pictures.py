"""Batches of pictures, and the losses that `fit` asks for: to tell what is in them, or to learn without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.data.samples import numbered, shuffled
from lectures_lib.losses import classification_loss
from lectures_lib.losses.contrastive import nt_xent_loss
from lectures_lib.losses.self_supervised import repair_loss, uncertainty_weighted
from lectures_lib.models.sit import SiT, SiTBatch, random_shift, two_views


class PictureBatch(NamedTuple):
    """`images` (batch, channels, side, side) and `labels` (batch,), what each of them shows."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> PictureBatch:
        """The same on another device."""
        return PictureBatch(self.images.to(device), self.labels.to(device))

    def shard(self, index: int, count: int) -> PictureBatch:
        """Every `count`-th row from `index` on."""
        return PictureBatch(self.images[index::count], self.labels[index::count])

    def __len__(self) -> int:
        return len(self.labels)


class LabelledBatches:
    """Batches of labelled pictures, in a new order each epoch, each picture moved by up to `shift` pixels.

    Where there are fewer pictures than a batch has, every batch has all of them.

    Raises:
        ValueError: not one label a picture, no picture, or a batch size below 1.
    """

    def __init__(
        self,
        images: Float[Tensor, "n channels height width"],
        labels: Int[Tensor, "*labels"],
        *,
        batch_size: int,
        seed: int = 0,
        shift: int = 0,
    ) -> None:
        if labels.shape != images.shape[:1] or not len(labels):
            raise ValueError(f"labels must be {len(images)}, one a picture and at least one, got {tuple(labels.shape)}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.images, self.labels, self.seed, self.shift = images, labels, seed, shift
        self.batch_size = min(batch_size, len(images))
        self.rows = shuffled(torch.arange(len(images), dtype=torch.float64), self.batch_size, seed=seed)

    def __len__(self) -> int:
        return len(self.images) // self.batch_size

    def __call__(self, epoch: int) -> Iterator[PictureBatch]:
        """The batches of an epoch, the same whenever asked."""
        for number in range(epoch * len(self), (epoch + 1) * len(self)):
            rows = self.rows(number).long()
            moved = random_shift(self.images[rows], self.shift, generator=numbered(self.seed + 1, number))
            yield PictureBatch(moved, self.labels[rows])


class ViewBatches:
    """Batches of two damaged views of every picture, for `SiT`; `options` go to `two_views`.

    Raises:
        ValueError: as `data.samples.shuffled`.
    """

    def __init__(
        self, images: Float[Tensor, "n channels side side"], *, batch_size: int, seed: int = 0, **options
    ) -> None:
        self.count, self.seed, self.options = len(images) // max(batch_size, 1), seed, options
        self.pictures = shuffled(images, batch_size, seed=seed)

    def __len__(self) -> int:
        return self.count

    def __call__(self, epoch: int) -> Iterator[SiTBatch]:
        """The batches of an epoch, the same whenever asked."""
        for number in range(epoch * len(self), (epoch + 1) * len(self)):
            yield two_views(self.pictures(number), generator=numbered(self.seed + 1, number), **self.options)


def naming_loss(model: nn.Module, batch: PictureBatch) -> tuple[Tensor, Tensor]:
    """The cross-entropy of the labels in nats, summed, and how many there are."""
    return classification_loss(model(batch.images), batch.labels)


def self_supervised_losses(model: SiT, batch: SiTBatch, *, temperature: int | float = 0.5) -> Float[Tensor, " 3"]:
    """The mean loss of each of SiT's tasks: repairing (a pixel's channel), turns and contrast (a view, in nats)."""
    output = model(batch.damaged)
    repaired, numbers = repair_loss(output.pictures, batch.clean, batch.changed)
    found, views = nt_xent_loss(*output.contrast.chunk(2), temperature=temperature)
    return torch.stack([repaired / numbers, F.cross_entropy(output.turns, batch.turns), found / views])


def self_supervised_loss(model: SiT, batch: SiTBatch, *, temperature: int | float = 0.5) -> tuple[Tensor, Tensor]:
    """The three tasks in one, weighed by the model's own scales: counted once a view; and the views.

    Source: Atito et al. 2021, with the weights of Kendall et al. 2018.
    """
    views = torch.tensor(len(batch), device=batch.damaged.device)
    losses = self_supervised_losses(model, batch, temperature=temperature)
    return uncertainty_weighted(losses, model.scales) * views, views


@torch.no_grad()
def accuracy(model: nn.Module, images: Float[Tensor, "n channels height width"], labels: Int[Tensor, " n"]) -> float:
    """The share of pictures whose best class is the true one; the model is in evaluation mode meanwhile."""
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    right = sum(
        int((model(some.to(device)).argmax(dim=1).cpu() == true).sum())
        for some, true in zip(images.split(500), labels.split(500), strict=True)
    )
    model.train(was_training)
    return right / len(labels)
