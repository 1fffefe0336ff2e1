"""Scenes as pictures: 32 × 32 pixels, composed from the sprites in `data.sprites`, with the box of every object.

A picture shows one clause: who does what to whom, where, by day or by night. Poses, tools and small signs tell the
verbs apart (a coin for buying, notes for singing); the sun or the moon stands where the time of day has it. Everything
follows from the clause, so the same scene always gives the same picture.

A zebra has exactly the outline of a horse, and a scene by night stands where it stood by day: translating pictures from
one kind to the other, which chapter `cyclegan` learns without pairs, has a known right answer (`counterpart`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lectures_lib.data import sprites
from lectures_lib.data.scenes import INTRANSITIVE, NOUNS, PLACES, TRANSITIVE, Clause, Scene
from lectures_lib.data.sprites import COLOURS, PALETTE, RGB

SIZE = 32
HORIZON = 18  # the first row of the ground
FLOOR = 30  # the row under everyone's feet
NIGHT_TIMES = ("in the evening", "at night")
CHANGES = ("day-night", "horse-zebra")


class Box(NamedTuple):
    """Where something is: columns x0 to x1 - 1 and rows y0 to y1 - 1, in pixels from the upper left corner."""

    word: str  # "horse"
    role: str  # "subject" or "object"
    x0: int
    y0: int
    x1: int
    y1: int


class Picture(NamedTuple):
    """`pixels` (3, 32, 32) are red, green and blue in [-1, 1]; a box for the subject, and one for the object if any."""

    pixels: Tensor
    boxes: tuple[Box, ...]
    night: bool


def picture(scene: Scene, *, clause: int = 0, night: bool | None = None) -> Picture:
    """Draw one clause of a scene. `night` None asks the scene's time; True and False overrule it.

    Raises:
        ValueError: the scene has no such clause.
    """
    return _picture(_clause(scene, clause), night)


def pictures(scenes: Iterable[Scene], *, night: bool | None = None) -> Float[Tensor, "n 3 32 32"]:
    """The first clauses of many scenes, in one tensor.

    Raises:
        ValueError: there is no scene.
    """
    drawn = [picture(scene, night=night).pixels for scene in scenes]
    if not drawn:
        raise ValueError("scenes must hold at least one scene, got none")
    return torch.stack(drawn)


def placed(drawn: Picture, side: int, *, x: int, y: int) -> Picture:
    """The picture in a larger landscape of `side` × `side` pixels, its upper left corner at column `x` and row `y`.

    Around it the pixels at its border go on; the boxes move along.

    Raises:
        ValueError: the picture would stick out.
    """
    height, width = drawn.pixels.shape[1:]
    if not (0 <= x <= side - width and 0 <= y <= side - height):
        raise ValueError(f"x and y must lie between 0 and {side - width}, {side - height}, got {x} and {y}")
    around = torch.arange(side)
    rows, columns = (around - y).clamp(0, height - 1), (around - x).clamp(0, width - 1)
    pixels = drawn.pixels[:, rows[:, None], columns[None, :]]
    boxes = (b._replace(x0=b.x0 + x, y0=b.y0 + y, x1=b.x1 + x, y1=b.y1 + y) for b in drawn.boxes)
    return Picture(pixels, tuple(boxes), drawn.night)


def counterpart(scene: Scene, change: str, *, clause: int = 0) -> Picture:
    """The same clause with day and night exchanged ("day-night"), or horse and zebra ("horse-zebra").

    Every pixel that the change does not concern stays what it was. A horse of any coat has the same zebra; a zebra's
    horse has the coat of a horse whose coat nobody names.

    Raises:
        ValueError: an unknown change, no such clause, or a clause with neither horse nor zebra to exchange.
    """
    chosen = _clause(scene, clause)
    if change == "day-night":
        return _picture(chosen, not _is_night(chosen))
    if change != "horse-zebra":
        raise ValueError(f"change must be one of {CHANGES}, got {change!r}")
    other = {"horse": "zebra", "zebra": "horse"}
    if chosen.subject not in other and chosen.object not in other:
        raise ValueError(f"scene must have a horse or a zebra to exchange, got {scene.english!r}")
    subject, object_ = chosen.subject, chosen.object
    if subject in other:
        size = chosen.adjective if chosen.adjective in ("small", "big") else None
        chosen = chosen._replace(subject=other[subject], adjective=size)
    if object_ in other:
        chosen = chosen._replace(object=other[object_], colour=None)
    return _picture(chosen, None)


def _clause(scene: Scene, clause: int) -> Clause:
    if not 0 <= clause < len(scene.clauses):
        raise ValueError(f"clause must lie between 0 and {len(scene.clauses) - 1} for this scene, got {clause}")
    return scene.clauses[clause]


def _is_night(clause: Clause) -> bool:
    return clause.time in NIGHT_TIMES


def _picture(clause: Clause, night: bool | None) -> Picture:
    dark = _is_night(clause) if night is None else night
    place = _place_of(clause)
    canvas = _background(place, clause.time, dark).copy()
    items = _arranged(clause, place)
    for item in items:
        _paste(canvas, item.sprite, item.x, item.y, dark)
    ground = _PLACES[place]
    if ground.water_from is not None:  # whoever swims or floats is in the water up to here
        canvas[ground.water_from :] = _background(place, clause.time, dark)[ground.water_from :]
    pixels = torch.from_numpy(canvas.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1)
    words = {"subject": clause.subject, "object": clause.object}
    boxes = tuple(_box(item, words[role], role) for role in words for item in items if item.role == role)
    return Picture(pixels.contiguous(), boxes, dark)


# ---- sprites as arrays ----


@dataclass(frozen=True, eq=False)
class _Sprite:
    pixels: np.ndarray  # (rows, columns, 3), 0 to 255
    mask: np.ndarray  # (rows, columns), True where there is something

    @property
    def height(self) -> int:
        return self.mask.shape[0]

    @property
    def width(self) -> int:
        return self.mask.shape[1]

    def first_row(self, column: int) -> int:
        """The uppermost row with something in it at this column."""
        rows = np.flatnonzero(self.mask[:, min(max(column, 0), self.width - 1)])
        return int(rows[0]) if len(rows) else 0

    def rows(self, start: int, stop: int) -> _Sprite:
        return _Sprite(self.pixels[start:stop], self.mask[start:stop])

    def mirrored(self) -> _Sprite:
        return _Sprite(self.pixels[:, ::-1], self.mask[:, ::-1])

    def turned(self) -> _Sprite:
        """Lying on its back, the head to the left."""
        return _Sprite(np.rot90(self.pixels), np.rot90(self.mask))

    def scaled(self, up: int, down: int) -> _Sprite:
        """`up` / `down` times as large; a pixel is there if two fifths of its area are."""
        height, width = (-(-side * up // down) for side in self.mask.shape)
        mask = self.mask.repeat(up, 0).repeat(up, 1)
        pixels = (self.pixels * self.mask[..., None]).astype(float).repeat(up, 0).repeat(up, 1)
        room = [(0, height * down - mask.shape[0]), (0, width * down - mask.shape[1])]
        cells = np.pad(mask, room).reshape(height, down, width, down).sum((1, 3))
        colours = np.pad(pixels, [*room, (0, 0)]).reshape(height, down, width, down, 3).sum((1, 3))
        return _Sprite(
            (colours / np.maximum(cells, 1)[..., None]).astype(np.uint8), cells >= 0.4 * down * down
        ).trimmed()

    def trimmed(self) -> _Sprite:
        """Without empty rows and columns at its edges."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            return self
        part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        return _Sprite(self.pixels[part], self.mask[part])


@cache
def _sprite(rows: str, colour: RGB = (0, 0, 0), extra: tuple[tuple[str, RGB], ...] = ()) -> _Sprite:
    """The drawing as an array; `colour` is that of `A`, `extra` other letters."""
    lines = rows.strip("\n").split("\n")
    width = max(map(len, lines))
    darker = tuple(int(0.65 * c) for c in colour)
    letters = PALETTE | {"A": colour, "a": darker} | dict(extra)
    mask = np.array([[c != "." for c in line.ljust(width, ".")] for line in lines])
    pixels = np.array([[letters.get(c, (0, 0, 0)) for c in line.ljust(width, ".")] for line in lines], np.uint8)
    return _Sprite(pixels, mask)


def _joined(parts: Iterable[tuple[_Sprite, int, int]]) -> _Sprite:
    """Several sprites as one, the later ones in front; columns and rows may be negative."""
    parts = list(parts)
    left, top = min(x for _, x, _ in parts), min(y for _, _, y in parts)
    width, height = max(x + s.width for s, x, _ in parts) - left, max(y + s.height for s, _, y in parts) - top
    pixels, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    for sprite, x, y in parts:
        area = (slice(y - top, y - top + sprite.height), slice(x - left, x - left + sprite.width))
        pixels[area][sprite.mask] = sprite.pixels[sprite.mask]
        mask[area] |= sprite.mask
    return _Sprite(pixels, mask)


def _paste(canvas: np.ndarray, sprite: _Sprite, x: int, y: int, dark: bool) -> None:
    """Draw a sprite with its upper left corner at (x, y); what lies outside is cut off."""
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + sprite.width, SIZE), min(y + sprite.height, SIZE)
    if x0 >= x1 or y0 >= y1:
        return
    part = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
    mask, pixels = sprite.mask[part], sprite.pixels[part]
    canvas[y0:y1, x0:x1][mask] = (_darkened(pixels) if dark else pixels)[mask]


def _darkened(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 0.5 + (4, 8, 32)).astype(np.uint8)


# ---- people, animals and things in their poses ----


class _Pose(NamedTuple):
    """How a verb looks: arms and legs of a person, where the object is, and what is in the hand or in the air."""

    arms: str = "down"
    legs: str = "stand"  # a key of LEGS, or "lie"; animals run, lie or stand accordingly
    where: str = "beside"  # of the object
    gap: int = 1  # columns between subject and object
    tool: str | None = None  # in the hand
    sign: str | None = None  # over the head
    on_object: str | None = None  # a sign over the object
    hop: int = 0  # rows above the ground


_POSES = {
    "sleeping": _Pose(legs="lie", sign="zz"),
    "running": _Pose("forward", "run", sign="speed"),
    "jogging": _Pose("forward", "run"),
    "walking": _Pose("down", "walk"),
    "swimming": _Pose("forward", "stand"),
    "fishing": _Pose("forward", "stand", tool="rod"),
    "dancing": _Pose("up", "kick", sign="notes", hop=1),
    "singing": _Pose("down", "stand", sign="notes"),
    "crying": _Pose("face", "stand", sign="tear"),
    "laughing": _Pose("down", "stand", sign="laugh"),
    "resting": _Pose("down", "sit"),
    "working": _Pose("reach", "stand", tool="hammer"),
    "playing": _Pose("up", "run", sign="play", hop=2),
    "grazing": _Pose(tool="hay"),
    "flying": _Pose(hop=13),
    "riding": _Pose("forward", "ride", where="under"),
    "driving": _Pose("forward", "ride", where="around"),
    "rowing": _Pose("forward", "ride", where="around", tool="oar"),
    "reading": _Pose("hold", "stand", where="hand", gap=-2),
    "writing": _Pose("hold", "stand", where="hand", gap=-1, on_object="pencil"),
    "drawing": _Pose("reach", "stand", where="easel"),
    "watching": _Pose("down", "stand", gap=3, sign="eye"),
    "feeding": _Pose("forward", "stand", gap=3, tool="hay"),
    "leading": _Pose("back", "walk", where="behind", gap=4),
    "stroking": _Pose("forward", "stand", gap=-1, on_object="heart"),
    "chasing": _Pose("forward", "run", gap=3, sign="speed"),
    "catching": _Pose("forward", "walk", gap=-1, on_object="net"),
    "eating": _Pose("face", "stand", where="mouth", gap=-2),
    "cutting": _Pose("hold", "stand", gap=1, on_object="knife"),
    "picking": _Pose("reach", "stand", where="high", gap=0),
    "planting": _Pose("hold", "stand", gap=3, tool="shovel"),
    "watering": _Pose("forward", "stand", gap=6, tool="can"),
    "buying": _Pose("forward", "stand", gap=2, sign="coin"),
    "selling": _Pose("forward", "stand", gap=2, on_object="tag"),
    "repairing": _Pose("reach", "stand", gap=1, tool="wrench"),
    "washing": _Pose("forward", "stand", gap=1, on_object="bubbles"),
    "pushing": _Pose("forward", "run", gap=0),
    "pulling": _Pose("back", "run", where="behind", gap=4),
    "carrying": _Pose("up", "walk", where="above"),
    "wiping": _Pose("forward", "stand", gap=2, on_object="cloth"),
    "opening": _Pose("forward", "stand", gap=1, on_object="shine"),
    "throwing": _Pose("reach", "stand", where="high", gap=4),
    "kicking": _Pose("down", "kick", gap=3),
}


@cache
def _person(noun: str, arms: str, legs: str, quality: str | None, upper_only: bool = False) -> _Sprite:
    """A person from the soles to the hat, 11 columns wide where an arm is stretched out."""
    person = sprites.PEOPLE[noun]
    head = person.head.translate(str.maketrans("nN", "GG")) if quality == "old" else person.head
    top = _sprite(head)
    torso = sprites.TORSO.strip("\n").split("\n")
    rows = sprites.LEGS[legs].strip("\n").split("\n")
    if person.dress:
        rows = [sprites.DRESS, *rows[1:]]
    if person.child:
        torso = torso[1:]
    if (person.child or quality == "young") and len(rows) > 2:
        rows = [rows[0], *rows[2:]]
    if quality == "tall":
        torso, rows = [torso[0], *torso], [rows[0], *rows]
    colour = COLOURS.get(quality or "", person.clothes)
    extra = (("L", person.legs),)
    parts = [
        (top, 0, 0),
        (_sprite("\n".join(torso), colour), 0, top.height),
        (_sprite(sprites.ARMS[arms], colour), 0, top.height - 3),
    ]
    if not upper_only:
        parts.append((_sprite("\n".join(rows), colour, extra), 0, top.height + len(torso)))
    if quality == "old" and arms == "down" and legs in ("stand", "walk"):
        parts.append((_sprite(sprites.TOOLS["stick"]), 8, top.height + 2))
    return _joined(parts)


@cache
def _thing(noun: str, colour: str | None, pose: str, size: str | None) -> _Sprite:
    """An animal or a thing; `pose` is "stand", "run", "lie", "bow" or "fly"."""
    if noun not in sprites.DRAWN:
        raise ValueError(f"noun must have a sprite in data.sprites, got {noun!r}")
    key = f"{noun} flying" if pose == "fly" and f"{noun} flying" in sprites.DRAWN else noun
    drawn = sprites.DRAWN[key]
    sprite = _sprite(drawn.rows, COLOURS[colour or drawn.colour])
    if drawn.legs and pose == "lie":
        sprite = sprite.rows(0, sprite.height - drawn.legs)
    if drawn.legs and pose == "run":
        sprite = _galloping(sprite, drawn.legs)
    if pose == "bow":
        sprite = _bowed(sprite, drawn.legs)
    if size == "small":
        sprite = sprite.scaled(3, 4)
    if size == "big":
        sprite = sprite.scaled(5, 4)
    return sprite


def _galloping(sprite: _Sprite, legs: int) -> _Sprite:
    """The legs spread: further down, the hind legs reach further back and the front legs further forward."""
    body, half = sprite.rows(0, sprite.height - legs), (sprite.width * 2) // 5
    parts = [(body, 0, 0)]
    for n in range(legs):
        row = sprite.rows(sprite.height - legs + n, sprite.height - legs + n + 1)
        back, front = (_Sprite(row.pixels[:, part], row.mask[:, part]) for part in (slice(0, half), slice(half, None)))
        reach = min(n, 2)
        parts += [(back, -reach, body.height + n), (front, half + reach, body.height + n)]
    return _joined(parts).trimmed()


def _bowed(sprite: _Sprite, legs: int) -> _Sprite:
    """The head down at the grass: the front columns without legs are lowered."""
    body_rows = sprite.height - legs
    front = int(np.flatnonzero(sprite.mask[body_rows:].any(0))[-1]) + 1 if legs else sprite.width
    front = min(front, sprite.width - 3)
    back = _Sprite(sprite.pixels[:, :front], sprite.mask[:, :front])
    head = _Sprite(sprite.pixels[:, front:], sprite.mask[:, front:]).trimmed()
    return _joined([(back, 0, 0), (head, front - 1, max(0, sprite.height - head.height - 1))]).trimmed()


_MOODS = {"happy": "smile", "tired": "drop"}  # signs at the back of the head


class _Item(NamedTuple):
    sprite: _Sprite
    x: int
    y: int
    role: str | None = None


def _box(item: _Item, word: str, role: str) -> Box:
    rows, columns = np.flatnonzero(item.sprite.mask.any(1)), np.flatnonzero(item.sprite.mask.any(0))
    x0, x1 = item.x + int(columns[0]), item.x + int(columns[-1]) + 1
    y0, y1 = item.y + int(rows[0]), item.y + int(rows[-1]) + 1
    return Box(word, role, max(x0, 0), max(y0, 0), min(x1, SIZE), min(y1, SIZE))


# ---- who stands where ----


def _arranged(clause: Clause, place: str) -> list[_Item]:
    """Everything in front of the background, from the back to the front, with its place on the canvas."""
    pose = _POSES[clause.verb]
    floor = FLOOR + _PLACES[place].sink
    subject = _figure(clause.subject, clause.adjective, clause.verb, pose)
    items = _with_object(clause, pose, subject, floor)
    shift, flip = _shift(clause, items)
    placed = [item._replace(x=item.x + shift) for item in items]
    if not flip:
        return placed
    return [
        item._replace(sprite=item.sprite.mirrored(), x=SIZE - item.x - item.sprite.width)
        if item.role != "sign" else item._replace(x=SIZE - item.x - item.sprite.width)
        for item in placed
    ]  # fmt: skip


def _figure(noun: str, quality: str | None, verb: str, pose: _Pose) -> _Sprite:
    if noun in sprites.PEOPLE:
        if pose.legs == "lie":
            return _person(noun, "down", "stand", quality).turned()
        return _person(noun, pose.arms, pose.legs, quality, pose.where == "around")
    kind = {"lie": "lie", "run": "run", "sit": "lie"}.get(pose.legs, "stand")
    kind = {"grazing": "bow", "flying": "fly"}.get(verb, kind)
    size = quality if quality in ("small", "big") else None
    return _thing(noun, quality if quality in COLOURS else None, kind, size)


def _with_object(clause: Clause, pose: _Pose, subject: _Sprite, floor: int) -> list[_Item]:
    person = clause.subject in sprites.PEOPLE
    top = floor - subject.height - pose.hop
    first = _Item(subject, 0, top, "subject")
    if clause.object is None:
        return [first, *_signs(pose, first, clause)]
    running = clause.verb == "chasing" and clause.object in sprites.DRAWN
    if clause.object in sprites.PEOPLE:
        thing = _person(clause.object, "down", "stand", None)
    else:
        thing = _thing(clause.object, clause.colour, "run" if running else "stand", None)
    if pose.where == "under":
        return _riding(first, thing, floor, person)
    if pose.where == "around":
        return _inside(first, thing, floor, pose)
    if pose.where == "easel":
        return _drawing(first, thing, floor)
    second = _beside(first, clause, thing, floor, pose)
    behind = pose.where == "behind"
    extra = _rope(first, second) if behind else []
    between = [second, *extra, first] if pose.where in ("above", "behind") or pose.gap >= 0 else [first, second]
    over = _over(pose, second)
    return [*between, *_signs(pose, first, clause), *over]


def _beside(first: _Item, clause: Clause, thing: _Sprite, floor: int, pose: _Pose) -> _Item:
    person = clause.subject in sprites.PEOPLE
    reach = 9 if person else first.sprite.width  # columns up to the hand or the mouth
    x, ground = reach + pose.gap, floor - thing.height
    if thing.width > 12 and pose.gap > 2:
        x -= 2
    if pose.where == "behind":
        return _Item(thing, -thing.width - pose.gap, ground, "object")
    if pose.where == "above":
        return _Item(thing, (9 - thing.width) // 2, first.y - thing.height, "object")
    if pose.where == "high":
        return _Item(thing, x + 1, max(first.y - 3, 1), "object")
    middle = first.y + (8 if person else 4)  # the row of the hand, or of the mouth
    if pose.where == "mouth" and max(thing.width, thing.height) <= 10:
        return _Item(thing, x, min(ground, middle - 2 - thing.height // 2), "object")
    if pose.where == "hand" and max(thing.width, thing.height) <= 10:
        return _Item(thing, x, min(ground, middle + 1 - thing.height // 2), "object")
    lift = 6 if clause.object == "butterfly" else 0
    return _Item(thing, x, ground - lift, "object")


def _riding(rider: _Item, mount: _Sprite, floor: int, person: bool) -> list[_Item]:
    under = _Item(mount, 0, floor - mount.height, "object")
    x = (mount.width - (9 if person else rider.sprite.width)) // 2 - 1
    back = under.y + mount.first_row(x + (4 if person else rider.sprite.width // 2))
    return [under, rider._replace(x=x, y=back + (3 if person else 1) - rider.sprite.height)]


def _inside(driver: _Item, vehicle: _Sprite, floor: int, pose: _Pose) -> list[_Item]:
    around = _Item(vehicle, 0, floor - vehicle.height, "object")
    x = (vehicle.width - 9) // 2
    top = around.y + vehicle.first_row(x + 4)
    items = [driver._replace(x=x, y=top + 2 - driver.sprite.height), around]
    if pose.tool:
        items.append(_Item(_sprite(sprites.TOOLS[pose.tool]), x + 6, top - 3))
    return items


def _drawing(artist: _Item, thing: _Sprite, floor: int) -> list[_Item]:
    easel = _sprite(sprites.EASEL)
    small = thing.scaled(1, 2) if max(thing.width, thing.height) > 7 else thing
    if small.height > 7:
        small = small.scaled(2, 3)
    stand = _Item(easel, 10, floor - easel.height)
    on_it = _Item(small, stand.x + (easel.width - small.width) // 2, stand.y + 1 + (7 - small.height) // 2, "object")
    return [stand, artist, on_it]


def _rope(first: _Item, second: _Item) -> list[_Item]:
    """From the hand at the left down to what is led or pulled."""
    start, end = (second.x + second.sprite.width - 1, second.y + second.sprite.height // 3), (0, first.y + 10)
    columns = range(start[0], end[0] + 1)
    mask = np.zeros((SIZE, len(columns)), bool)
    for n, _ in enumerate(columns):
        row = round(start[1] + (end[1] - start[1]) * n / max(len(columns) - 1, 1))
        mask[min(max(row, 0), SIZE - 1), n] = True
    pixels = np.zeros((*mask.shape, 3), np.uint8)
    pixels[:] = PALETTE["n"]
    return [_Item(_Sprite(pixels, mask), start[0], 0)]


def _signs(pose: _Pose, first: _Item, clause: Clause) -> list[_Item]:
    """What is in the hand, and what is in the air over the head or, for speed, behind the back."""
    person = clause.subject in sprites.PEOPLE
    mood = _MOODS.get(clause.adjective or "")
    items = [_Item(_sprite(sprites.MARKS[mood]), -3, first.y - 2, "sign")] if mood else []
    width, height = first.sprite.width, first.sprite.height
    if pose.tool:
        tool = _sprite(sprites.TOOLS[pose.tool])
        hand = (9, first.y + 9) if person else (width, first.y + height - 1)
        lift = {"hay": 1, "shovel": 4, "can": 2}.get(pose.tool, tool.height - 1)
        items.append(_Item(tool, hand[0], hand[1] - lift))
    if pose.sign:
        sign = _sprite(sprites.MARKS[pose.sign])
        if pose.sign == "speed":
            items.append(_Item(sign, -4, first.y + height // 2 - 2, "sign"))
        elif pose.sign == "tear":
            items.append(_Item(sign, 3, first.y + 4, "sign"))
        elif pose.legs == "lie":
            items.append(_Item(sign, width // 2, first.y - sign.height - 1, "sign"))
        else:
            side = 8 if person else max(width - 5, 2)
            items.append(_Item(sign, side, first.y - sign.height + (2 if person else 0), "sign"))
    return items


def _over(pose: _Pose, second: _Item) -> list[_Item]:
    if not pose.on_object:
        return []
    table = sprites.MARKS if pose.on_object in sprites.MARKS else sprites.TOOLS
    sign = _sprite(table[pose.on_object])
    inside = pose.on_object in ("net", "cloth", "bubbles", "knife", "pencil")
    x = second.x + (second.sprite.width - sign.width) // 2
    return [_Item(sign, x, second.y - (1 if inside else sign.height + 1), "sign")]


def _shift(clause: Clause, items: list[_Item]) -> tuple[int, bool]:
    """Columns to move everything by, so that it stands near the middle, and whether it faces left.

    Both come from a checksum of the clause, in which a zebra counts as a horse and time and coat do not count: so that
    counterparts stand in the same place.
    """
    words = [
        "horse" if word == "zebra" else word for word in (clause.subject, clause.verb, clause.object, clause.place)
    ]
    drawn = crc32(" ".join(map(str, words)).encode())
    left = min(item.x for item in items if item.role in ("subject", "object"))
    right = max(item.x + item.sprite.width for item in items if item.role in ("subject", "object"))
    room = SIZE - (right - left)
    jitter = drawn // 2 % 5 - 2 if room >= 6 else 0
    return room // 2 - left + jitter, drawn % 2 == 1


# ---- where and when ----


class _Place(NamedTuple):
    """A background: colours, a pattern on the ground, scenery at columns of the horizon, and where water begins."""

    ground: RGB
    pattern: str = "dots"
    scenery: str = ""  # "fir 2 fir 20": names and columns
    wall: RGB | None = None  # indoors
    band: tuple[int, int, RGB] | None = None  # rows from, to, of another colour: a river, the sea
    water_from: int | None = None  # rows in front of whoever swims
    sink: int = 0  # rows below the usual floor


_GRASS, _STONE, _SAND, _WATER = (115, 190, 90), (190, 188, 182), (232, 212, 150), (70, 145, 215)
_BOARDS, _ROAD = (196, 158, 110), (128, 128, 134)
_PLACES = {
    "": _Place((203, 214, 168)),
    "on the street": _Place(_ROAD, "road", "house 1 house 22"),
    "on the bridge": _Place((176, 150, 120), "boards", "arch 0", band=(18, 21, _WATER)),
    "on the square": _Place(_STONE, "tiles", "house 0 fountain 12 house 23"),
    "in the city": _Place(_ROAD, "road", "tower 0 tower 8 tower 17 tower 25"),
    "in the village": _Place((180, 190, 120), "dots", "hut 1 hut 10 bush 18 hut 25"),
    "on the farm": _Place((190, 165, 95), "rows", "barn 2 bush 24"),
    "by the river": _Place(_GRASS, "dots", "bush 3 bush 23", band=(18, 22, _WATER)),
    "by the lake": _Place(_GRASS, "dots", "fir 1 fir 8 fir 17 fir 24", band=(18, 23, (95, 165, 225))),
    "on the beach": _Place(_SAND, "dots", "palm 22", band=(14, 20, (60, 165, 205))),
    "in the park": _Place(_GRASS, "dots", "bush 1 lamp 10 bench 16 bush 25"),
    "in the garden": _Place((125, 200, 100), "dots", "blossoms 0 blossoms 11 blossoms 21"),
    "on the grass": _Place((105, 200, 80), "dots"),
    "in the field": _Place((222, 195, 85), "rows", "bush 26"),
    "in the forest": _Place((85, 145, 75), "dots", "fir 0 fir 6 fir 12 fir 19 fir 25"),
    "on the mountain": _Place((160, 165, 140), "dots", "peak 0 peak 15"),
    "in the desert": _Place((238, 205, 125), "dots", "cactus 3 cactus 23"),
    "in the snow": _Place((240, 245, 252), "dots", "fir 1 snowman 24"),
    "in the kitchen": _Place((215, 200, 190), "tiles", "stove 2", wall=(245, 225, 180)),
    "in the room": _Place(_BOARDS, "boards", "picture 4", wall=(205, 220, 195)),
    "in the classroom": _Place(_BOARDS, "boards", "blackboard 3", wall=(240, 235, 215)),
    "in the library": _Place(_BOARDS, "boards", "shelf 2", wall=(225, 205, 170)),
    "in the shop": _Place((210, 205, 200), "tiles", "counter 2", wall=(250, 240, 225)),
    "in the station": _Place(_STONE, "tiles", "clock 12 rails 0", wall=(215, 215, 222)),
    "in the lake": _Place((80, 155, 220), "waves", "fir 1 fir 8 fir 17 fir 24", water_from=25, sink=2),
    "in the river": _Place(_WATER, "waves", "bush 3 bush 22", band=(18, 20, _GRASS), water_from=25, sink=2),
    "in the sea": _Place((45, 120, 190), "waves", "sail 22", water_from=25, sink=2),
    "in the pool": _Place((95, 205, 225), "tiles", band=(18, 21, _STONE), water_from=25, sink=2),
    "on the lake": _Place((80, 155, 220), "waves", "fir 1 fir 8 fir 17 fir 24", water_from=28),
    "on the river": _Place(_WATER, "waves", "bush 3 bush 22", band=(18, 20, _GRASS), water_from=28),
    "on the sea": _Place((45, 120, 190), "waves", "sail 22", water_from=28),
}
# Where a verb takes place when nobody says so.
_BY_DEFAULT = {"swimming": "in the lake", "rowing": "on the lake"}
_DAY, _DAWN, _DUSK, _NIGHT = (160, 210, 250), (250, 205, 190), (250, 175, 130), (22, 28, 72)
# Columns and rows of the sun or the moon.
_LIGHTS = {
    "at dawn": (1, 10),
    "in the morning": (3, 3),
    "at noon": (13, 0),
    "in the afternoon": (23, 3),
    "at dusk": (25, 10),
    "in the evening": (24, 6),
    "at night": (4, 1),
}
_LIGHT = (25, 1)
_STARS = ((2, 3), (8, 8), (13, 2), (18, 6), (22, 12), (29, 9), (10, 13), (27, 3), (5, 11), (16, 11))


def _place_of(clause: Clause) -> str:
    return clause.place or _BY_DEFAULT.get(clause.verb, "")


@cache
def _background(place: str, time: str | None, dark: bool) -> np.ndarray:
    """Sky or wall, light, scenery and ground, (32, 32, 3)."""
    ground = _PLACES[place]
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    canvas[:] = _sky(time, dark)
    if ground.wall is None:
        _light(canvas, time, dark)
    else:
        _room(canvas, ground.wall, time, dark)
    canvas[HORIZON:] = _patterned(ground.ground, ground.pattern, dark)[HORIZON:]
    if ground.band is not None:
        start, stop, colour = ground.band
        pattern = "waves" if colour[2] > colour[0] else "dots"
        canvas[start:stop] = _patterned(colour, pattern, dark)[start:stop]
    names = ground.scenery.split()
    for name, column in zip(names[::2], names[1::2], strict=True):
        sprite = _sprite(sprites.SCENERY[name])
        hangs = {"picture": 5, "blackboard": 5, "clock": 1}.get(name)
        below = HORIZON + (4 if name == "arch" else 0)
        _paste(canvas, sprite, int(column), hangs if hangs is not None else below - sprite.height, dark)
    return canvas


def _sky(time: str | None, dark: bool) -> RGB:
    if dark:
        return _NIGHT
    return {"at dawn": _DAWN, "at dusk": _DUSK}.get(time or "", _DAY)


def _light(canvas: np.ndarray, time: str | None, dark: bool) -> None:
    if dark:
        for x, y in _STARS:
            canvas[y, x] = (225, 225, 190)
    x, y = _LIGHTS.get(time or "", _LIGHT)
    _paste(canvas, _sprite(sprites.SCENERY["moon" if dark else "sun"]), x, y, False)


def _room(canvas: np.ndarray, wall: RGB, time: str | None, dark: bool) -> None:
    """A wall with a window, through which the sky is seen."""
    outside = canvas[0, 0].copy()
    canvas[:] = _darkened(np.array(wall)) if dark else wall
    canvas[1:11, 21:31] = _darkened(np.array(PALETTE["W"])) if dark else PALETTE["W"]
    canvas[2:10, 22:30] = outside
    x, y = _LIGHTS.get(time or "", _LIGHT)
    # The window shows where in the sky the light stands, in small: left or right, high or low.
    _paste(canvas, _sprite(sprites.SCENERY["moon" if dark else "sun"]), 22 + x * 2 // 25, 2 + y * 2 // 10, False)


def _patterned(colour: RGB, pattern: str, dark: bool) -> np.ndarray:
    row, column = np.mgrid[:SIZE, :SIZE]
    spots = {
        "dots": (row * 7 + column * 13) % 17 == 0,
        "rows": row % 3 == 0,
        "tiles": (row % 4 == 1) | ((column + 2 * (row // 4 % 2)) % 6 == 0),
        "road": (row == HORIZON) | ((row == 25) & (column % 6 < 3)),
        "boards": (row % 3 == 0) | ((column + 5 * (row // 3 % 2)) % 10 == 0),
        "waves": ((row % 4 == 0) & ((column + row) % 8 < 3)),
    }[pattern]
    lighter = pattern in ("waves", "road", "tiles")
    other = tuple(min(255, int(c * 1.12 + 14)) if lighter else int(c * 0.88) for c in colour)
    pixels = np.where(spots[..., None], np.array(other), np.array(colour)).astype(np.uint8)
    return _darkened(pixels) if dark else pixels


def words_without_picture() -> list[str]:
    """The words of the scenes that nobody has drawn yet; there should be none."""
    missing = [noun for noun in NOUNS if noun not in sprites.PEOPLE and noun not in sprites.DRAWN]
    missing += [verb.english for verb in INTRANSITIVE + TRANSITIVE if verb.english not in _POSES]
    return missing + [place for place in PLACES if place not in _PLACES]
