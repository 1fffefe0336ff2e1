"""Pictures of animals: the label and the box are of what is drawn, and nothing of the test set is in training."""

import pytest
import torch

from lectures_lib.data.animals import ANIMALS, COATS, SIDE, animal_pictures, in_landscape
from lectures_lib.data.pictures import picture, placed
from lectures_lib.data.scenes import LECTURE, Clause, Scene

DRAWN = animal_pictures(60, seed=3)


def test_pictures_labels_boxes_and_scenes_belong_together():
    assert DRAWN.images.shape == (60, 3, SIDE, SIDE)
    assert DRAWN.images.min() >= -1
    assert DRAWN.images.max() <= 1
    assert set(DRAWN.labels.tolist()) == set(range(len(ANIMALS)))
    for label, scene, box in zip(DRAWN.labels, DRAWN.scenes, DRAWN.boxes.tolist(), strict=True):
        assert scene.clauses[0].object == ANIMALS[label]
        assert 0 <= box[0] < box[2] <= SIDE
        assert 0 <= box[1] < box[3] <= SIDE


def test_the_animal_is_in_its_box():
    """Another coat changes pixels in the box and nowhere else."""
    for number in range(60):
        scene, (x0, y0, x1, y1) = DRAWN.scenes[number], DRAWN.boxes[number].tolist()
        clause = scene.clauses[0]
        if clause.object != "horse":
            continue
        other = "white"
        before, _ = in_landscape(Scene((clause,)))
        after, box = in_landscape(Scene((clause._replace(colour=other),)))
        rows, columns = (before != after).any(dim=0).nonzero().unbind(dim=1)
        assert int(columns.min()) >= box[0]
        assert int(columns.max()) < box[2]
        assert int(rows.min()) >= box[1]
        assert int(rows.max()) < box[3]
        assert (x1 - x0, y1 - y0) == tuple((box[2:] - box[:2]).tolist())


def test_the_same_seed_gives_the_same_pictures_and_a_longer_list_begins_with_the_shorter():
    again, other = animal_pictures(20, seed=3), animal_pictures(20, seed=4)
    assert torch.equal(again.images, DRAWN.images[:20])
    assert torch.equal(again.boxes, DRAWN.boxes[:20])
    assert not torch.equal(other.images, again.images)


def test_no_person_stands_in_the_same_place_in_both_splits():
    train, test = (
        {(s.clauses[0].subject, s.clauses[0].place) for s in animal_pictures(300, seed=1, split=split).scenes}
        for split in ("train", "test")
    )
    assert not train & test
    assert len(test) > 5


def test_every_animal_has_its_own_coat():
    coats = {scene.clauses[0].object: scene.clauses[0].colour for scene in DRAWN.scenes}
    assert coats == COATS
    assert len(set(coats.values())) == len(ANIMALS)


def test_animals_stand_all_over_the_landscape():
    middles = (animal_pictures(200, seed=0).boxes.double().view(-1, 2, 2)).mean(dim=1)
    spread = middles.amax(dim=0) - middles.amin(dim=0)
    assert (spread >= torch.tensor([18.0, 12.0])).all()


def test_the_lectures_scene_comes_in_the_same_size_with_the_horses_box():
    image, box = in_landscape(LECTURE, x=0, y=16)
    small = picture(LECTURE)
    assert torch.equal(image[:, 16:48, :32], small.pixels)
    horse = next(b for b in small.boxes if b.word == "horse")
    assert box.tolist() == [horse.x0, horse.y0 + 16, horse.x1, horse.y1 + 16]


def test_a_placed_picture_goes_on_at_its_rim():
    small = picture(Scene((Clause("man", "sleeping"),)))
    large = placed(small, 40, x=5, y=2)
    assert torch.equal(large.pixels[:, 2:34, 5:37], small.pixels)
    assert torch.equal(large.pixels[:, 2:34, 0], small.pixels[:, :, 0])
    assert torch.equal(large.pixels[:, 39, 5:37], small.pixels[:, 31])
    assert large.boxes[0].x0 == small.boxes[0].x0 + 5
    for x, y in ((-1, 0), (9, 0), (0, 9)):
        with pytest.raises(ValueError, match=f"between 0 and 8, 8, got {x} and {y}"):
            placed(small, 40, x=x, y=y)


@pytest.mark.parametrize(
    ("arguments", "message"), [((0,), "count must be at least 1, got 0"), ((1, "val"), "split must be one of")]
)
def test_bad_arguments_are_named(arguments, message):
    count, *split = arguments
    with pytest.raises(ValueError, match=message):
        animal_pictures(count, **({"split": split[0]} if split else {}))
