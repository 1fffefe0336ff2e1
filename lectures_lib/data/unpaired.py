"""Two domains of pictures of which no two belong together, and held-out pictures with their true counterparts.

In the world of scenes the other side of every picture is known: the same happening by night, the same rider on a zebra.
What is trained on never shows both sides of anything; what is measured on does.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lectures_lib.data.pictures import CHANGES, Picture, picture
from lectures_lib.data.samples import RealBatches, numbered, shuffled
from lectures_lib.data.scenes import TRANSITIVE, Clause, Scene

ANIMALS = {"horse": "brown", "elephant": "grey", "sheep": "white", "dog": "black", "cow": "black", "camel": "brown"}
STRIPED = {"horse": "zebra"}
VERBS = ("feeding", "watching")
# As `data.pictures` draws them; "at dusk" has a sky of its own.
TIMES_OF_DAY = (None, "at dusk", "at night")


class Domains(NamedTuple):
    """Pictures (n, 3, 32, 32) and (m, 3, 32, 32) in [-1, 1]. No scene of `x` is in `y`, on either side."""

    x: Tensor
    y: Tensor


class Pairs(NamedTuple):
    """Held-out scenes on both sides: `y[i]` is the right answer for `x[i]`, and the other way round.

    `boxes` (n, 4) have the first column and row of the scene's animal, and the column and row after its last.
    """

    x: Tensor
    y: Tensor
    boxes: Tensor
    scenes: tuple[Scene, ...]


def scene_domains(change: str, *, seed: int = 0, size: int = 300, test: int = 100) -> tuple[Domains, Pairs]:
    """The domains of a change, "day-night" or "horse-zebra", and held-out pairs, drawn under a seed.

    Somebody feeds or watches an animal (or rides it, where it is a horse), somewhere in a landscape. Of all such scenes
    `test` are held out; of the others `size` are seen as x alone, and as many as y alone.

    Raises:
        ValueError: an unknown change, `size` or `test` below 1, or more than there are scenes.
    """
    if change not in CHANGES:
        raise ValueError(f"change must be one of {CHANGES}, got {change!r}")
    every = _scenes(change)
    if size < 1 or test < 1 or 2 * size + test > len(every):
        raise ValueError(
            f"size and test must be at least 1, and 2 · size + test at most {len(every)}, got {size}, {test}"
        )
    order = torch.randperm(len(every), generator=numbered(seed, CHANGES.index(change))).tolist()
    held_out, as_x, as_y = order[:test], order[test : test + size], order[test + size : test + 2 * size]
    x = torch.stack([_side(every[n], change, 0).pixels for n in as_x])
    y = torch.stack([_side(every[n], change, 1).pixels for n in as_y])
    sides = [tuple(_side(every[n], change, which) for which in (0, 1)) for n in held_out]
    boxes = torch.tensor([next(box for box in one.boxes if box.role == "object")[2:] for one, _ in sides])
    pairs = Pairs(
        torch.stack([one.pixels for one, _ in sides]),
        torch.stack([other.pixels for _, other in sides]),
        boxes,
        tuple(every[n] for n in held_out),
    )
    return Domains(x, y), pairs


def unpaired_batches(
    x: Float[Tensor, "*x"], y: Float[Tensor, "*y"], batch_size: int, *, seed: int = 0
) -> tuple[RealBatches, RealBatches]:
    """Batches of each domain, (n, …) and (m, …), in orders that have nothing to do with each other.

    The domains may hold different numbers of pictures; the smaller one comes round more often.

    Raises:
        ValueError: a domain is empty or smaller than a batch, has something that is not a number, or the two have
            pictures of different sizes.
    """
    for name, domain in (("x", x), ("y", y)):
        if len(domain) == 0:
            raise ValueError(f"{name} must hold at least one picture, got an empty domain, {tuple(domain.shape)}")
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(
            f"x and y must have pictures of one size, got {tuple(x.shape[1:])} and {tuple(y.shape[1:])}: "
            "resize or crop those of one domain"
        )
    # Seeds apart: with the same one, two domains of equal size would come in the same order, which is pairing them.
    return shuffled(x, batch_size, seed=2 * seed), shuffled(y, batch_size, seed=2 * seed + 1)


def _scenes(change: str) -> list[Scene]:
    verbs = {verb.english: verb for verb in reversed(TRANSITIVE) if verb.english in (*VERBS, "riding")}
    clauses = []
    if change == "day-night":
        for verb, (animal, colour) in product(VERBS, ANIMALS.items()):
            row = verbs[verb]
            for who, place in product(row.subjects.split(), row.places):
                clauses.append(Clause(who, verb, animal, colour=colour, place=place))
    else:
        for verb, animal, time in product((*VERBS, "riding"), STRIPED, TIMES_OF_DAY):
            row = verbs[verb]
            for who, place in product(row.subjects.split(), row.places):
                clauses.append(Clause(who, verb, animal, place=place, time=time))
    return [Scene((clause,)) for clause in clauses]


def _side(scene: Scene, change: str, which: int) -> Picture:
    """The scene as x (0) or as y (1)."""
    if change == "day-night":
        return picture(scene, night=bool(which))
    (clause,) = scene.clauses
    return picture(Scene((clause._replace(object=STRIPED[clause.object]),)) if which else scene)
