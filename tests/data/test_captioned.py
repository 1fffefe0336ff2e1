"""Pictures with captions: what stands where, how a caption can be wrong, and what a region is told to be."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.data import captioned
from lectures_lib.data.captioned import (
    CAPTION_LENGTH,
    COLOUR_NAMES,
    altered,
    candidates,
    caption_tokens,
    caption_vocabulary,
    captioned_pictures,
    colour_shares,
    in_landscape,
    region_features,
    region_locations,
)
from lectures_lib.data.pictures import picture, placed
from lectures_lib.data.scenes import LECTURE, Clause, Scene

TWO = Scene((Clause("man", "riding", "horse"), Clause("girl", "feeding", "duck")))
DRAWN = captioned_pictures(60, seed=3)


def words(scene):
    return scene.english.lower().split()


def test_the_same_arguments_give_the_same_pictures_and_a_longer_list_begins_with_the_shorter():
    again, longer = captioned_pictures(60, seed=3), captioned_pictures(70, seed=3)
    assert torch.equal(DRAWN.images, again.images)
    assert DRAWN.captions == again.captions == longer.captions[:60]
    assert torch.equal(DRAWN.regions, longer.regions[:60])
    assert DRAWN.captions != captioned_pictures(60, seed=4).captions
    assert DRAWN.images.shape == (60, 3, 64, 64)


def test_a_picture_is_its_scene_in_a_landscape_with_the_animal_in_its_coat():
    drawn = in_landscape(LECTURE, place="in the park", x=3, y=20)
    scene = Scene((Clause("man", "riding", "horse", colour="brown", place="in the park"),))
    expected = placed(picture(scene), 64, x=3, y=20)
    assert torch.equal(drawn.pixels, expected.pixels)
    assert drawn.boxes == expected.boxes


def test_the_nouns_regions_are_their_boxes_wherever_they_stand_in_the_list():
    """The coat's colour must fill a good part of the animal's region, and the region's place in the list is random."""
    shares = colour_shares(region_features(DRAWN.images, DRAWN.regions))
    for row, scene in enumerate(DRAWN.scenes):
        coat = captioned.COATS[scene.clauses[0].object]
        if coat in ("grey", "white", None):
            continue  # landscapes have these
        own = shares[row, DRAWN.nouns[row, 1], COLOUR_NAMES.index(coat)]
        others = [shares[row, n, COLOUR_NAMES.index(coat)] for n in range(6) if n not in DRAWN.nouns[row].tolist()]
        assert own > 0.05
        assert own > sum(others) / len(others) or coat == "brown"
    assert set(DRAWN.nouns.flatten().tolist()) == set(range(6))
    assert (DRAWN.nouns[:, 0] != DRAWN.nouns[:, 1]).all()
    assert torch.equal(DRAWN.boxes[5, 1], DRAWN.regions[5, DRAWN.nouns[5, 1]])


def test_every_region_lies_within_the_picture():
    assert DRAWN.regions.shape == (60, 6, 4)
    assert (DRAWN.regions >= 0).all()
    assert (DRAWN.regions <= 64).all()
    assert (DRAWN.regions[..., 2:] > DRAWN.regions[..., :2]).all()


def test_every_place_of_a_caption_holds_the_same_kind_of_word():
    vocabulary = caption_vocabulary()
    tokens = caption_tokens(DRAWN.scenes, vocabulary)
    assert tokens.shape == (60, CAPTION_LENGTH)
    for row in tokens.tolist():
        said = [vocabulary.tokens[i] for i in row]
        assert said[captioned.PERSON] in captioned.PEOPLE
        assert said[captioned.VERB] in captioned.VERBS
        assert said[captioned.ANIMAL] in captioned.ANIMALS
        assert "[UNK]" not in said


def test_nobody_does_the_same_with_the_same_animal_in_the_same_place_in_both_splits():
    seen = {
        split: {
            (place, c) for place in captioned.PLACES for some in captioned._clauses(place, split).values() for c in some
        }
        for split in captioned.SPLITS
    }
    assert not seen["train"] & seen["test"]
    assert len(seen["train"]) > 2 * len(seen["test"]) > 400
    assert all(
        captioned._clauses(place, split)[verb]
        for place in captioned.PLACES for split in captioned.SPLITS for verb in captioned.VERBS
    )  # fmt: skip


def test_a_wrong_caption_differs_in_one_word_of_its_kind():
    for scene in DRAWN.scenes[:20]:
        for kind, place in (("person", 1), ("verb", 3), ("animal", 5)):
            wrong = altered(scene, kind)
            assert wrong
            for other in wrong:
                differs = [i for i, (a, b) in enumerate(zip(words(scene), words(other), strict=True)) if a != b]
                assert place in differs
                assert set(differs) <= {place, place - 1}  # "a" may become "an"
                (clause,) = other.clauses
                assert clause.object in captioned.VERBS[clause.verb]


@given(st.integers(0, 10_000))
def test_six_different_captions_the_true_one_first(seed):
    chosen, kinds = candidates(DRAWN.scenes[seed % 60], generator=torch.Generator().manual_seed(seed))
    assert chosen[0] == DRAWN.scenes[seed % 60]
    assert kinds == ["true", "person", "person", "animal", "animal", "verb"]
    assert len({scene.english for scene in chosen}) == 6


def test_a_region_of_eight_by_eight_pixels_is_copied_and_a_larger_one_sampled():
    boxes = torch.tensor([[[8, 16, 16, 24], [0, 0, 16, 16]]])
    features = region_features(DRAWN.images[:1], boxes).view(2, 3, 8, 8)
    assert torch.equal(features[0], DRAWN.images[0, :, 16:24, 8:16])
    assert torch.equal(features[1], DRAWN.images[0, :, 1:16:2, 1:16:2])
    assert_close(region_locations(boxes)[0, 0], torch.tensor([1 / 8, 1 / 4, 1 / 4, 3 / 8, 1 / 64]))


def test_the_shares_of_colours_are_those_of_the_pixels():
    red, white = (torch.tensor(captioned.COLOURS[name]) / 127.5 - 1 for name in ("red", "white"))
    patch = torch.cat([red.expand(48, 3), white.expand(16, 3)]).T.reshape(1, 1, 192)
    shares = dict(zip(COLOUR_NAMES, colour_shares(patch)[0, 0].tolist(), strict=True))
    assert shares["red"] == 0.75
    assert shares["white"] == 0.25
    every = colour_shares(region_features(DRAWN.images[:4], DRAWN.regions[:4]))
    assert_close(every.sum(dim=-1), torch.ones(4, 6))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: captioned_pictures(0), "count must be at least 1, got 0"),
        (lambda: captioned_pictures(1, split="dev"), "split must be one of ('train', 'test'), got 'dev'"),
        (lambda: in_landscape(TWO), "scene must have 1 clause, got 2"),
        (lambda: altered(LECTURE, "colour"), "kind must be one of ('person', 'animal', 'verb'), got 'colour'"),
        (lambda: altered(TWO, "person"), "scene must have 1 clause, got 2"),
        (lambda: caption_tokens([TWO], caption_vocabulary()), "captions of 8 tokens like"),
        (lambda: colour_shares(torch.zeros(1, 1, 8)), "3 numbers a pixel, got 8"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
