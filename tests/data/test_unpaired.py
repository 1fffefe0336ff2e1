"""Unpaired domains: no scene on both sides, held-out pairs that are right answers, and orders apart."""

import pytest
import torch

from lectures_lib.data.pictures import counterpart, picture
from lectures_lib.data.unpaired import _scenes, scene_domains, unpaired_batches


@pytest.mark.parametrize("change", ["day-night", "horse-zebra"])
def test_held_out_pairs_are_both_sides_of_one_scene(change):
    domains, pairs = scene_domains(change, size=40, test=20)
    assert len(pairs.x) == len(pairs.y) == len(pairs.boxes) == len(pairs.scenes) == 20
    for number, scene in enumerate(pairs.scenes):
        if change == "day-night":
            assert torch.equal(pairs.x[number], picture(scene, night=False).pixels)
        else:
            assert torch.equal(pairs.x[number], picture(scene).pixels)
        assert torch.equal(pairs.y[number], counterpart(scene, change).pixels)
        x0, y0, x1, y1 = pairs.boxes[number].tolist()
        if change == "horse-zebra":  # what changes is the animal
            rows, columns = (pairs.x[number] != pairs.y[number]).any(dim=0).nonzero().unbind(1)
            assert x0 <= columns.min()
            assert columns.max() < x1
            assert y0 <= rows.min()
            assert rows.max() < y1
    assert len(domains.x) == len(domains.y) == 40
    assert domains.x.shape[1:] == pairs.x.shape[1:] == (3, 32, 32)


def test_nothing_is_seen_from_both_sides_and_nothing_held_out_is_trained_on():
    """With as many pictures as there are scenes: were one on both sides, the darkened x would be among y."""
    domains, pairs = scene_domains("day-night", size=60, test=20)
    _, every = scene_domains("day-night", size=1, test=1078)
    nights = {day.numpy().tobytes(): night.numpy().tobytes() for day, night in zip(every.x, every.y, strict=True)}
    seen = {image.numpy().tobytes() for image in domains.y}
    by_night = [nights[image.numpy().tobytes()] for image in domains.x if image.numpy().tobytes() in nights]
    assert len(by_night) >= 58
    assert not seen & set(by_night)
    assert not seen & {image.numpy().tobytes() for image in pairs.y}
    assert not {image.numpy().tobytes() for image in domains.x} & {image.numpy().tobytes() for image in pairs.x}


@pytest.mark.parametrize("change", ["day-night", "horse-zebra"])
def test_there_are_many_scenes_and_all_are_different(change):
    assert len(_scenes(change)) == len(set(_scenes(change))) > 700


def test_a_seed_gives_its_domains_and_another_others():
    first, second, third = (scene_domains("day-night", seed=seed, size=5, test=5)[1].scenes for seed in (3, 3, 4))
    assert first == second != third


def test_batches_of_both_domains_come_in_orders_of_their_own():
    numbers = torch.arange(12.0).view(12, 1, 1, 1)
    x, y = unpaired_batches(numbers, numbers, 4, seed=0)
    assert not torch.equal(torch.cat([x(n) for n in range(3)]), torch.cat([y(n) for n in range(3)]))
    assert sorted(torch.cat([x(n) for n in range(3)]).flatten().tolist()) == numbers.flatten().tolist()


def test_the_smaller_domain_comes_round_more_often():
    x, y = unpaired_batches(torch.zeros(4, 1, 2, 2), torch.arange(8.0).view(8, 1, 1, 1).expand(-1, 1, 2, 2), 2)
    assert x(7).shape == y(7).shape == (2, 1, 2, 2)
    assert len({float(y(n)[0, 0, 0, 0]) for n in range(4)}) == 4


@pytest.mark.parametrize(
    ("x", "y", "batch", "message"),
    [
        (torch.zeros(0, 3, 8, 8), torch.zeros(4, 3, 8, 8), 2, r"x must hold .* empty domain, \(0, 3, 8, 8\)"),
        (torch.zeros(4, 3, 8, 8), torch.zeros(0, 3, 8, 8), 2, "y must hold .* empty domain"),
        (torch.zeros(4, 3, 8, 8), torch.zeros(4, 3, 8, 12), 2, r"one size, got \(3, 8, 8\) and \(3, 8, 12\)"),
        (torch.zeros(4, 3, 8, 8), torch.zeros(2, 3, 8, 8), 3, "between 1 and the 2 samples there are, got 3"),
        (torch.full((4, 3, 8, 8), torch.nan), torch.zeros(2, 3, 8, 8), 1, "finite numbers"),
    ],
)
def test_domains_that_do_not_fit_are_named(x, y, batch, message):
    with pytest.raises(ValueError, match=message):
        unpaired_batches(x, y, batch)


def test_changes_and_sizes_that_make_no_sense_are_named():
    with pytest.raises(ValueError, match="change must be one of .* got 'summer-winter'"):
        scene_domains("summer-winter")
    for size, test in ((0, 5), (5, 0), (1_000, 100)):
        with pytest.raises(ValueError, match=f"size and test must .* at most 1080, got {size}, {test}"):
            scene_domains("day-night", size=size, test=test)
