"""Scenes as pictures: every word has one, boxes fit what is drawn, and counterparts differ where they should only."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lectures_lib.data import pictures, scenes, sprites
from lectures_lib.data.pictures import SIZE, counterpart, picture, words_without_picture
from lectures_lib.data.scenes import (
    INTRANSITIVE,
    LECTURE,
    NOUNS,
    PLACES,
    TIMES,
    TRANSITIVE,
    Clause,
    Scene,
    sample_scenes,
)

SAMPLE = sample_scenes(150, seed=0, clauses=(1, 2))


def one(*words, **more):
    return Scene((Clause(*words, **more),))


def changed(first, second):
    """The pixels (32, 32) in which two pictures differ."""
    return (first.pixels != second.pixels).any(dim=0)


def test_every_word_of_the_world_has_a_picture():
    assert words_without_picture() == []


def test_a_new_word_without_a_drawing_is_noticed(monkeypatch):
    monkeypatch.setitem(NOUNS, "goat", scenes.Noun("goat", "山羊", "一只"))
    assert words_without_picture() == ["goat"]
    with pytest.raises(ValueError, match="must have a sprite in data.sprites, got 'goat'"):
        picture(one("man", "feeding", "goat"))


def test_every_verb_can_be_drawn_by_all_who_may_do_it():
    for verb in INTRANSITIVE + TRANSITIVE:
        for subject in verb.subjects.split()[::3]:
            for object_ in (verb.objects.split() or [None])[::4]:
                drawn = picture(one(subject, verb.english, object_))
                assert len(drawn.boxes) == (1 if object_ is None else 2)


@pytest.mark.parametrize("scene", SAMPLE[::5])
def test_a_picture_is_red_green_and_blue_between_minus_one_and_one(scene):
    drawn = scene.image()
    assert drawn.pixels.shape == (3, 32, 32)
    assert drawn.pixels.dtype == torch.float32
    assert drawn.pixels.min() >= -1
    assert drawn.pixels.max() <= 1
    assert len(drawn.pixels.flatten(1).unique(dim=1).T) > 5  # colours


def test_boxes_lie_in_the_picture_and_belong_to_the_words():
    for scene in SAMPLE:
        for number, clause in enumerate(scene.clauses):
            boxes = scene.image(clause=number).boxes
            assert [box.role for box in boxes] == ["subject", "object"][: len(boxes)]
            assert [box.word for box in boxes] == [clause.subject, clause.object][: len(boxes)]
            for box in boxes:
                assert 0 <= box.x0 < box.x1 <= SIZE
                assert 0 <= box.y0 < box.y1 <= SIZE
                assert (box.x1 - box.x0) * (box.y1 - box.y0) >= 8


@pytest.mark.parametrize("noun", ["horse", "cat", "elephant", "bird"])
def test_recolouring_an_object_changes_pixels_in_its_box_and_nowhere_else(noun):
    colours = NOUNS[noun].colours.split()
    first, second = (picture(one("man", "watching", noun, colour=colour)) for colour in colours[:2])
    assert first.boxes == second.boxes
    box = first.boxes[1]
    where = changed(first, second)
    inside = where[box.y0 : box.y1, box.x0 : box.x1].sum()
    assert inside == where.sum()
    assert inside > 0.2 * (box.x1 - box.x0) * (box.y1 - box.y0)


def test_the_rider_sits_on_the_horse():
    rider, horse = LECTURE.image().boxes
    assert (rider.word, horse.word) == ("man", "horse")
    assert horse.x0 < (rider.x0 + rider.x1) / 2 < horse.x1
    assert rider.y0 < horse.y0 < rider.y1 < horse.y1


def test_the_same_scene_is_the_same_picture_and_another_verb_another():
    assert torch.equal(LECTURE.image().pixels, LECTURE.image().pixels)
    verbs = {verb.english for verb in TRANSITIVE if "man" in verb.subjects.split() and "horse" in verb.objects.split()}
    drawn = {verb: picture(one("man", verb, "horse")).pixels.numpy().tobytes() for verb in verbs}
    assert len(set(drawn.values())) == len(verbs) > 5


def test_places_and_times_look_different():
    by_place = {picture(one("man", "running", place=place)).pixels.numpy().tobytes() for place in PLACES}
    assert len(by_place) == len(PLACES)
    by_time = {picture(one("man", "running", time=time)).pixels.numpy().tobytes() for time in [*TIMES, None]}
    assert len(by_time) == len(TIMES)  # "today" looks like no time at all


@pytest.mark.parametrize(
    ("time", "night"), [("at night", True), ("in the evening", True), ("at noon", False), (None, False)]
)
def test_it_is_night_when_the_sentence_says_so(time, night):
    scene = one("man", "riding", "horse", time=time)
    assert scene.image().night is night
    brightness = {wish: float(picture(scene, night=wish).pixels.mean()) for wish in (True, False)}
    assert brightness[False] - brightness[True] > 0.4


# Counterparts


def test_a_zebra_has_the_outline_of_a_horse():
    horse, zebra = (pictures._thing(noun, None, "stand", None) for noun in ("horse", "zebra"))
    assert np.array_equal(horse.mask, zebra.mask)


@pytest.mark.parametrize("verb", ["riding", "drawing", "watching", "feeding"])
def test_horse_and_zebra_change_nothing_outside_the_animal(verb):
    horse, zebra = one("woman", verb, "horse"), one("woman", verb, "zebra")
    assert torch.equal(counterpart(horse, "horse-zebra").pixels, zebra.image().pixels)
    assert torch.equal(counterpart(zebra, "horse-zebra").pixels, horse.image().pixels)
    where, box = changed(horse.image(), zebra.image()), horse.image().boxes[1]
    assert [b[1:] for b in horse.image().boxes] == [b[1:] for b in zebra.image().boxes]
    assert 0 < where.sum() == where[box.y0 : box.y1, box.x0 : box.x1].sum()


def test_a_brown_or_big_horse_as_subject_has_its_zebra_too():
    black = one("horse", "running", adjective="black")
    assert torch.equal(counterpart(black, "horse-zebra").pixels, one("zebra", "running").image().pixels)
    big = one("horse", "running", adjective="big")
    assert torch.equal(counterpart(big, "horse-zebra").pixels, one("zebra", "running", adjective="big").image().pixels)


@settings(deadline=None, max_examples=20)
@given(index=st.integers(0, len(SAMPLE) - 1))
def test_day_and_night_show_the_same_things_in_the_same_places(index):
    scene = SAMPLE[index]
    own, other = scene.image(), counterpart(scene, "day-night")
    assert own.night is not other.night
    assert own.boxes == other.boxes
    back = picture(scene, night=own.night)
    assert torch.equal(back.pixels, own.pixels)


def test_many_pictures_in_one_tensor():
    batch = pictures.pictures(SAMPLE[:3], night=True)
    assert batch.shape == (3, 3, 32, 32)
    assert torch.equal(batch[1], picture(SAMPLE[1], night=True).pixels)


def test_the_drawings_use_letters_of_the_palette_only():
    drawings = [drawn.rows for drawn in sprites.DRAWN.values()] + [person.head for person in sprites.PEOPLE.values()]
    drawings += [*sprites.MARKS.values(), *sprites.TOOLS.values(), *sprites.SCENERY.values(), sprites.EASEL]
    drawings += [*sprites.ARMS.values(), *sprites.LEGS.values(), sprites.TORSO]
    assert set("".join(drawings)) <= {*sprites.PALETTE, *"Aa.L\n"}
    for person in sprites.PEOPLE.values():
        assert {len(row) for row in person.head.strip("\n").split("\n")} == {9}


# Bad input


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="clause must lie between 0 and 0 for this scene, got 1"):
        LECTURE.image(clause=1)
    with pytest.raises(ValueError, match="change must be one of .* got 'summer-winter'"):
        counterpart(LECTURE, "summer-winter")
    with pytest.raises(ValueError, match="a horse or a zebra to exchange, got 'A man is riding a camel'"):
        counterpart(one("man", "riding", "camel"), "horse-zebra")
    with pytest.raises(ValueError, match="at least one scene, got none"):
        pictures.pictures([])
