"""The checkers of the chapter `conditional_gan` accept the truth, and name the mistake in a wrong answer."""

import pytest
import torch

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.conditional_gan import (
    check_confusion,
    check_projection,
    check_rare_label,
    check_two_channels,
)


def counted(asked, seen, n):
    return torch.stack([torch.bincount(seen[asked == a], minlength=n) for a in range(n)]).float()


def confusion(asked, seen, n):
    counts = counted(asked, seen, n)
    return counts / counts.sum(dim=1, keepdim=True)


def by_column(asked, seen, n):
    counts = counted(asked, seen, n)
    return counts / counts.sum(dim=0)


def plain(features, weight):
    return torch.einsum("bchw,chw->b", features, weight)


def projection(features, weight, rows):
    return plain(features, weight) + torch.einsum("bchw,bc->b", features, rows)


def two_channels(images, labels, table):
    return torch.cat([images, table[labels].unflatten(1, (1, *images.shape[2:]))], dim=1)


CASES = [
    (
        lambda answer: check_rare_label(answer, real_share=0.01, asked_share=0.1),
        1 / 11,
        [
            (0.5, "one half is right for the image alone"),
            (10 / 11, "that the pair is generated"),
            (0.01, "share among real images"),
            (0.1, "not p / q"),
            (100 / 11, "not a percentage"),
            (0.3, "it is not 0.3"),
            ("rare", "should be one number"),
        ],
    ),
    (
        check_confusion,
        confusion,
        [
            (counted, "these are counts"),
            (lambda a, s, n: confusion(a, s, n).T, "rows and columns are swapped"),
            (lambda a, s, n: confusion(s, a, n), "your rows are what was seen"),
            (by_column, "sums of the columns"),
            (lambda a, s, n: counted(a, s, n) / len(a), "number of all images"),
            (lambda a, s, n: (counted(a, s, n) > 0).float(), "count how often"),
            (lambda a, s, n: torch.eye(n), "expected"),
            (lambda a, s, n: torch.eye(n)[:2], "should have shape"),
        ],
    ),
    (
        check_projection,
        projection,
        [
            (lambda x, w, r: plain(x, w), "the label has no say"),
            (lambda x, w, r: projection(x, 0 * w, r), "only the label speaks"),
            (lambda x, w, r: projection(x, w, -r), "added, not taken away"),
            (lambda x, w, r: projection(x, w, r / 4), "yours is their mean"),
            (lambda x, w, r: projection(x, w, r.sum(0).expand(4, -1)), "the sum of all rows"),
            (lambda x, w, r: projection(x, w, r.roll(1, 0)), "neighbouring images"),
            (lambda x, w, r: plain(x, w).mean() + projection(x, 0 * w, r), "one plain logit for each"),
            (lambda x, w, r: 2 * projection(x, w, r), "differs from the library's"),
            (lambda x, w, r: projection(x, w, r)[:, None], "should have shape"),
        ],
    ),
    (
        check_two_channels,
        two_channels,
        [
            (lambda x, y, t: two_channels(x, y, t).flip(1), "the order is swapped"),
            (lambda x, y, t: torch.cat([x, two_channels(x, y, t)[:, 1:].mT], 1), "lies on its side"),
            (lambda x, y, t: two_channels(x, torch.arange(3), t), "look labels up"),
            (lambda x, y, t: torch.cat([x, x], 1), "the image again"),
            (lambda x, y, t: torch.cat([x, 0 * x], 1), "the first channel is right"),
            (lambda x, y, t: 0 * two_channels(x, y, t), "neither channel is right"),
            (lambda x, y, t: x, "should have shape"),
        ],
    ),
]


@pytest.mark.parametrize(("check", "solution"), [case[:2] for case in CASES])
def test_the_solution_is_accepted(check, solution, capsys):
    check(solution)
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize(
    ("check", "answer", "message"), [(check, *wrong) for check, _, wrongs in CASES for wrong in wrongs]
)
def test_a_wrong_answer_is_rejected_and_named(check, answer, message, capsys):
    with pytest.raises(WrongAnswer, match=message):
        check(answer)
    assert "✓" not in capsys.readouterr().out


@pytest.mark.parametrize("check", [case[0] for case in CASES])
def test_no_answer_yet_is_neither_right_nor_wrong(check, capsys):
    check(... if check is CASES[0][0] else lambda *_: None)
    assert capsys.readouterr().out.startswith("…")
