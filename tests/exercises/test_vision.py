"""The checkers of the chapter `vision` accept the truth, and name the mistake in a wrong answer."""

import pytest
import torch
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.vision import check_nt_xent, check_patches, check_places, check_repair, check_rollout


def cut(images, size, order=(0, 2, 4, 1, 3, 5)):
    batch, channels, height, width = images.shape
    blocks = images.reshape(batch, channels, height // size, size, width // size, size)
    return blocks.permute(order).reshape(batch, -1, channels * size**2)


def rollout(layers, *, skip=0.5, merge=lambda layer: layer.mean(dim=0)):
    total = torch.eye(3)
    for layer in layers:
        total = (skip * torch.eye(3) + (1 - skip) * merge(layer)) @ total
    return total


def damaged(repaired, clean, changed):
    return (repaired - clean).abs()[changed.expand_as(clean)]


def contrast(first, second, temperature, *, unit=True, mask=True):
    views = torch.cat([first, second])
    views = F.normalize(views, dim=1) if unit else views
    scores = views @ views.T / temperature
    if mask:
        scores = scores.fill_diagonal_(float("-inf"))
    return F.cross_entropy(scores, torch.arange(len(views)).roll(len(first)))


CASES = [
    (
        lambda answer: check_places(answer, image_size=224, patch_size=16),
        197,
        [
            (196, "a token stands before"),
            (15, "one row of patches; there"),
            (14, "token is missing"),
            (224**2 + 1, "pixels"),
            (589, "three colours"),
            (3, "it is not 3"),
            ("many", "should be one number"),
        ],
    ),
    (
        check_patches,
        cut,
        [
            (lambda x, s: x.reshape(2, 6, 12), "reshape alone"),
            (lambda x, s: cut(x, s, (0, 4, 2, 1, 3, 5)), "down the columns"),
            (lambda x, s: cut(x, s, (0, 2, 4, 3, 5, 1)), "colours last"),
            (lambda x, s: cut(x, s, (0, 2, 4, 1, 5, 3)), "mirrored along its diagonal"),
            (lambda x, s: cut(x, s).flip(1), "patch 1 of a picture"),
            (lambda x, s: x, "should have shape"),
        ],
    ),
    (
        check_rollout,
        rollout,
        [
            (lambda w: rollout(w, skip=0), "residual connection is missing"),
            (lambda w: rollout(w[::-1]), "the order"),
            (lambda w: 8 * rollout(w), "did not halve"),
            (lambda w: rollout(w, merge=lambda layer: layer.sum(dim=0)), "take their mean"),
            (lambda w: rollout(w).T, "transposed"),
            (lambda w: rollout(w[-1:]), "last layer alone"),
            (lambda w: torch.zeros(3, 3), "the first row should be"),
        ],
    ),
    (
        check_repair,
        lambda r, c, m: damaged(r, c, m).mean(),
        [
            (lambda r, c, m: (r - c).abs().mean(), "over all pixels"),
            (lambda r, c, m: ((r - c).abs() * m).mean(), "the count does not"),
            (lambda r, c, m: damaged(r, c, m).sum() / m.sum(), "three channels"),
            (lambda r, c, m: damaged(r, c, m).sum(), "that is the sum"),
            (lambda r, c, m: damaged(r, c, m).square().mean(), "you squared"),
            (lambda r, c, m: damaged(r, c, ~m).mean(), "upside down"),
            (lambda r, c, m: 7, "it is not 7"),
        ],
    ),
    (
        check_nt_xent,
        contrast,
        [
            (lambda a, b, t: contrast(a, b, t, mask=False), "with itself"),
            (lambda a, b, t: contrast(a, b, 1.0), "divide by the temperature"),
            (lambda a, b, t: contrast(a, b, 1 / t), "you multiplied"),
            (lambda a, b, t: contrast(a, b, t, unit=False), "length 1"),
            (
                lambda a, b, t: F.cross_entropy(F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / t, torch.arange(4)),
                "all with all",
            ),
            (lambda a, b, t: 8 * contrast(a, b, t), "sum over the views"),
            (lambda a, b, t: 2 * contrast(a, b, t), "twice as many"),
            (lambda a, b, t: 0.0, "it should be"),
        ],
    ),
]


@pytest.mark.parametrize(("check", "truth", "_"), CASES)
def test_the_truth_is_right(check, truth, _, capsys):
    check(truth)
    assert "✓ Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "wrong", "message"),
    [(check, wrong, message) for check, _, mistakes in CASES for wrong, message in mistakes],
)
def test_a_wrong_answer_is_told_what_is_wrong(check, wrong, message):
    with pytest.raises(WrongAnswer, match=message):
        check(wrong)


@pytest.mark.parametrize("check", [case[0] for case in CASES])
def test_dots_are_no_answer_yet(check, capsys):
    check(... if check is CASES[0][0] else lambda *_: None)
    assert "Nothing to check yet" in capsys.readouterr().out
