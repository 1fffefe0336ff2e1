"""Labelled pictures with a place to look at: somewhere in a landscape somebody watches or feeds an animal.

Which animal it is, is the label; where it stands, is known to the pixel. Each kind has a coat of its own. The person,
the place and the time of day are there to be ignored.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.data.pictures import picture, placed
from lectures_lib.data.samples import numbered
from lectures_lib.data.scenes import TIMES, TRANSITIVE, Clause, Scene

COATS = {"horse": "brown", "zebra": None, "elephant": "grey", "sheep": "white", "dog": "black", "duck": "yellow"}
ANIMALS = tuple(COATS)
VERBS = ("watching", "feeding")
SIDE = 64  # pixels; the scene itself fills 32 of them
STEP = 8  # pixels: scenes stand on a grid, so that a small model on two cores can learn what its patches show
SPLITS = ("train", "test")
HELD_OUT = 5  # of all pairs of a person and a place, every fifth or so is for testing

_FEEDING = next(verb for verb in TRANSITIVE if verb.english == "feeding")


class AnimalPictures(NamedTuple):
    """`images` are (n, 3, 64, 64) with values in [-1, 1], `labels` (n,) numbers into `ANIMALS`.

    `boxes` (n, 4) have the animal's first column and row, and the column and row after its last; `scenes` what is
    going on.
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor
    scenes: tuple[Scene, ...]


def animal_pictures(count: int, *, seed: int = 0, split: str = "train") -> AnimalPictures:
    """Draw `count` pictures: the same ones for the same arguments.

    No person stands in the same place in both splits, so no test picture has been seen in training.

    Raises:
        ValueError: `count` is below 1, or an unknown split.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    pairs = _pairs(split)
    numbers = torch.randint(2**31, (count, 6), generator=numbered(seed, SPLITS.index(split))).tolist()
    drawn, labels, scenes = [], [], []
    for animal, who, verb, time, x, y in numbers:
        label = animal % len(ANIMALS)
        scene = _scene(ANIMALS[label], pairs[who % len(pairs)], verb, time)
        small = picture(scene)
        room = (SIDE - small.pixels.shape[-1]) // STEP + 1
        drawn.append(placed(small, SIDE, x=x % room * STEP, y=y % room * STEP))
        labels.append(label)
        scenes.append(scene)
    boxes = [next(box for box in one.boxes if box.role == "object")[2:] for one in drawn]
    images = torch.stack([one.pixels for one in drawn])
    return AnimalPictures(images, torch.tensor(labels), torch.tensor(boxes), tuple(scenes))


def in_landscape(scene: Scene, *, x: int = 16, y: int = 16) -> tuple[Float[Tensor, "3 64 64"], Int[Tensor, " 4"]]:
    """Any scene at the size of these pictures, and the box of its object (of its subject, if it has no object).

    Raises:
        ValueError: `x` or `y` lies outside 0 to 32.
    """
    drawn = placed(picture(scene), SIDE, x=x, y=y)
    return drawn.pixels, torch.tensor(drawn.boxes[-1][2:])


def _pairs(split: str) -> list[tuple[str, str]]:
    every = [(person, place) for person in _FEEDING.subjects.split() for place in _FEEDING.places]
    return [pair for pair in every if (crc32(" ".join(pair).encode()) % HELD_OUT == 0) == (split == "test")]


def _scene(animal: str, pair: tuple[str, str], verb: int, time: int) -> Scene:
    person, place = pair
    doing, when = VERBS[verb % len(VERBS)], list(TIMES)[time % len(TIMES)]
    return Scene((Clause(person, doing, animal, colour=COATS[animal], place=place, time=when),))
