"""Pictures with captions that must be read word by word: somewhere in a landscape a person rides, feeds or watches an
animal.

"A man is riding a horse". A caption's rivals differ from it in one word: another person, another animal, another verb.

ViLBERT looks at regions that a detector has proposed. Here the world itself proposes them: the boxes of the person and
of the animal, and four more drawn at random, in a random order and without names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple
from zlib import crc32

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.data.animals import ANIMALS, COATS, SIDE
from lectures_lib.data.pictures import SIZE, Picture, picture, placed
from lectures_lib.data.samples import numbered
from lectures_lib.data.scenes import TRANSITIVE, Clause, Scene
from lectures_lib.data.sprites import COLOURS
from lectures_lib.data.wordpiece import WordPiece
from lectures_lib.models.vilbert import locations

CROP = 8  # pixels a side: what is in a region's box is brought to this size
OTHERS = 4  # regions with nothing in particular in them
REGIONS = 2 + OTHERS
SPLITS = ("train", "test")
HELD_OUT = 4  # of all clauses in a place, every fourth or so is for testing
KINDS = ("person", "animal", "verb")  # the word that can be wrong
COLOUR_NAMES = tuple(COLOURS)

_ROWS_OF = {verb.english: verb for verb in reversed(TRANSITIVE)}  # of a verb with several rows, the first: people's
VERBS = {
    name: tuple(animal for animal in ANIMALS if animal in _ROWS_OF[name].objects.split())
    for name in ("riding", "feeding", "watching")
}
PEOPLE = tuple(_ROWS_OF["feeding"].subjects.split())
PLACES = tuple(_ROWS_OF["feeding"].places)

# Every caption has six words, with [CLS] before them and [SEP] after: here stand those that say something.
PERSON, VERB, ANIMAL = 2, 4, 6
NOUN_PLACES, CONTENT_PLACES, CAPTION_LENGTH = (PERSON, ANIMAL), (PERSON, VERB, ANIMAL), 8


class Captioned(NamedTuple):
    """`images` (n, 3, 64, 64) with values in [-1, 1]; `scenes`, whose English is the caption.

    `regions` (n, 6, 4) are the boxes that a detector might propose, each with its first column and row, and the column
    and row after its last. `nouns` (n, 2) says which region is the person's and which the animal's.
    """

    images: Tensor
    scenes: tuple[Scene, ...]
    regions: Tensor
    nouns: Tensor

    @property
    def captions(self) -> list[str]:
        """The true caption of every picture."""
        return [scene.english for scene in self.scenes]

    @property
    def boxes(self) -> Int[Tensor, "n 2 4"]:
        """The boxes of the person and of the animal."""
        return self.regions.gather(1, self.nouns.unsqueeze(-1).expand(-1, -1, 4))


def captioned_pictures(count: int, *, seed: int = 0, split: str = "train") -> Captioned:
    """Draw `count` pictures with their captions: the same ones for the same arguments.

    Nobody does the same with the same animal in the same place in both splits, so no test picture has been seen in
    training.

    Raises:
        ValueError: `count` is below 1, or an unknown split.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    generator = numbered(seed, SPLITS.index(split))
    drawn = []
    for _ in range(count):  # picture after picture: a longer list begins with the shorter one
        numbers = torch.randint(2**31, (5 + 4 * OTHERS,), generator=generator).tolist()
        order = torch.randperm(REGIONS, generator=generator)
        drawn.append((*_drawn(numbers[:5], split), _some_boxes(numbers[5:]), order))
    images, scenes, things, others, orders = zip(*drawn, strict=True)
    order = torch.stack(orders)  # (n, regions): which box comes at each place
    boxes = torch.cat([torch.tensor(things), torch.tensor(others)], dim=1)
    regions = boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
    return Captioned(torch.stack(images), scenes, regions, order.argsort(dim=1)[:, :2])


def in_landscape(scene: Scene, *, place: str | None = None, x: int = 16, y: int = 16) -> Picture:
    """A scene of one clause as one of these pictures: its animal in its coat, its upper left corner at (`x`, `y`).

    Raises:
        ValueError: the scene has more than one clause, or would stick out.
    """
    if len(scene.clauses) != 1:
        raise ValueError(f"scene must have 1 clause, got {len(scene.clauses)}")
    (clause,) = scene.clauses
    return placed(_small(clause._replace(place=place, colour=COATS.get(clause.object))), SIDE, x=x, y=y)


def altered(scene: Scene, kind: str) -> list[Scene]:
    """All scenes whose caption differs from this scene's in one word, "person", "animal" or "verb", in a fixed order.

    Verb and animal always suit each other, so that no caption gives itself away.

    Raises:
        ValueError: an unknown kind, or the scene has more than one clause.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    if len(scene.clauses) != 1:
        raise ValueError(f"scene must have 1 clause, got {len(scene.clauses)}")
    (clause,) = scene.clauses
    role, words = {
        "person": ("subject", PEOPLE),
        "animal": ("object", VERBS[clause.verb]),
        "verb": ("verb", [verb for verb, animals in VERBS.items() if clause.object in animals]),
    }[kind]
    return [Scene((clause._replace(**{role: word}),)) for word in words if word != getattr(clause, role)]


def candidates(scene: Scene, *, generator: torch.Generator) -> tuple[list[Scene], list[str]]:
    """The true caption's scene, two with another person, two with another animal, one with another verb; their kinds.

    The first is the true one; its kind is "true".
    """
    chosen, kinds = [scene], ["true"]
    for kind, count in (("person", 2), ("animal", 2), ("verb", 1)):
        wrong = altered(scene, kind)
        for number in torch.randperm(len(wrong), generator=generator)[:count].tolist():
            chosen.append(wrong[number])
            kinds.append(kind)
    return chosen, kinds


def caption_vocabulary() -> WordPiece:
    """Every word that a caption can have, after the special tokens."""
    return WordPiece.of_words(["a", "an", "is", *VERBS, *PEOPLE, *ANIMALS])


def caption_tokens(scenes: Sequence[Scene], vocabulary: WordPiece) -> Int[Tensor, "n 8"]:
    """The captions as integers: `[CLS]`, six words, `[SEP]`. No padding: all are equally long.

    Raises:
        ValueError: there is no scene, or a caption is of another pattern.
    """
    tokens = vocabulary.batch([scene.english for scene in scenes]).tokens
    if tokens.shape[1] != CAPTION_LENGTH or bool((tokens == vocabulary.pad_id).any()):
        raise ValueError(
            f"scenes must have captions of {CAPTION_LENGTH} tokens like 'A man is riding a horse', "
            f"got up to {tokens.shape[1]} tokens"
        )
    return tokens


def region_features(
    images: Float[Tensor, "n 3 height width"], regions: Int[Tensor, "n regions 4"]
) -> Float[Tensor, "n regions numbers"]:
    """What is in each box, brought to 8 × 8 pixels (the nearest ones) and laid out as a vector of 192 numbers.

    A detector would describe a region by features of its own; these are plain pixels, channel by channel.
    """
    middle = (torch.arange(CROP) + 0.5) / CROP
    left, top, right, bottom = regions.unsqueeze(-1).unbind(dim=2)  # (n, regions, 1) each
    columns = (left + middle * (right - left)).long()  # (n, regions, 8)
    rows = (top + middle * (bottom - top)).long()
    of = torch.arange(len(images))[:, None, None, None]
    cut = images.permute(0, 2, 3, 1)[of, rows.unsqueeze(3), columns.unsqueeze(2)]  # (n, regions, 8, 8, 3)
    return cut.permute(0, 1, 4, 2, 3).flatten(2)


def region_locations(regions: Int[Tensor, "n regions 4"]) -> Float[Tensor, "n regions 5"]:
    """Where those boxes lie, as `models.vilbert.locations` says it."""
    return locations(regions.float(), SIDE, SIDE)


def colour_shares(features: Float[Tensor, "n regions numbers"]) -> Float[Tensor, "n regions colours"]:
    """What share of each region has which of the world's named colours, the nearest one pixel by pixel; sums to 1.

    It stands in for what a detector says of a region: a distribution over kinds of things, here `COLOUR_NAMES`.

    Raises:
        ValueError: the numbers are not three colours of some pixels.
    """
    if features.shape[-1] % 3:
        raise ValueError(f"features must be 3 numbers a pixel, got {features.shape[-1]} in the last axis")
    pixels = features.unflatten(-1, (3, -1)).transpose(-1, -2)  # (n, regions, pixels, 3)
    named = torch.tensor(list(COLOURS.values()), dtype=features.dtype) / 127.5 - 1
    nearest = torch.cdist(pixels.flatten(0, -2), named).argmin(dim=-1).view(pixels.shape[:-1])
    counts = torch.zeros(*features.shape[:2], len(named)).scatter_add_(-1, nearest, torch.ones(nearest.shape))
    return counts / nearest.shape[-1]


@cache
def _small(clause: Clause) -> Picture:
    return picture(Scene((clause,)))


@cache
def _clauses(place: str, split: str) -> dict[str, list[Clause]]:
    """Who may do what to which animal in a place, by the verb."""
    return {
        verb: [
            Clause(person, verb, animal)
            for person in PEOPLE
            for animal in animals
            if (crc32(f"{person} {verb} {animal} {place}".encode()) % HELD_OUT == 0) == (split == "test")
        ]
        for verb, animals in VERBS.items()
    }


def _drawn(numbers: Sequence[int], split: str) -> tuple[Tensor, Scene, list[list[int]]]:
    where, verb, what, x, y = numbers
    place = PLACES[where % len(PLACES)]
    clauses = _clauses(place, split)[list(VERBS)[verb % len(VERBS)]]
    scene = Scene((clauses[what % len(clauses)],))
    room = SIDE - SIZE + 1
    drawn = in_landscape(scene, place=place, x=x % room, y=y % room)
    return drawn.pixels, scene, [list(box[2:]) for box in drawn.boxes]


def _some_boxes(numbers: Sequence[int]) -> list[list[int]]:
    """Boxes of the sizes that people and animals have, anywhere in the picture."""
    boxes = []
    for wide, high, x, y in zip(*[iter(numbers)] * 4, strict=True):
        width, height = 8 + wide % 8, 8 + high % 8
        left, top = x % (SIDE - width + 1), y % (SIDE - height + 1)
        boxes.append([left, top, left + width, top + height])
    return boxes
