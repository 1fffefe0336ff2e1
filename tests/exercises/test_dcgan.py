"""The checkers of the chapter `dcgan` accept the truth, and name the mistake in a wrong answer."""

import pytest
import torch
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.dcgan import check_arc, check_size, check_touches, check_transposed


def touches(size, kernel, stride):
    counts = torch.zeros(stride * (size - 1) + kernel)
    for n in range(size):
        counts[n * stride : n * stride + kernel] += 1
    return counts


def arc(a, b, share):
    angle = torch.acos(torch.dot(a, b) / (a.norm() * b.norm()))
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def right_angled(a, b, share):
    angle = torch.tensor(torch.pi / 2)
    return (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)


def transposed(image, kernel, stride, *, add=True):
    k = len(kernel)
    output = torch.zeros(stride * (image.shape[0] - 1) + k, stride * (image.shape[1] - 1) + k)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            rows, columns = slice(stride * row, stride * row + k), slice(stride * column, stride * column + k)
            output[rows, columns] = image[row, column] * kernel + add * output[rows, columns]
    return output


CASES = [
    (
        lambda answer: check_size(answer, size=10, kernel=6, stride=3, padding=1),
        31,
        [
            (33, "at both ends here"),
            (32, "not at one"),
            (35, "makes the output smaller"),
            (34, "9 strides"),
            (3, "the way down"),
            (30, "not here"),
            (7, "it is not 7"),
            ("big", "should be one number"),
        ],
    ),
    (
        check_touches,
        touches,
        [
            (lambda n, k, s: touches(n, k, s).clamp(max=1), "count how many"),
            (lambda n, k, s: touches(n, k, s)[:-1], "should have shape"),
            (lambda n, k, s: "1 2 1", "should be a tensor"),
            (lambda n, k, s: touches(n, k, s).sort().values, "at other places"),
            (lambda n, k, s: 2 * touches(n, k, s), "the counts are"),
        ],
    ),
    (
        check_arc,
        arc,
        [
            (lambda a, b, t: torch.lerp(a, b, t), "straight line"),
            (lambda a, b, t: arc(b, a, t), "starts from b"),
            (right_angled, "right angle"),
            (lambda a, b, t: arc(a, b.abs() if torch.dot(a, b) < 0 else b, t), "may be negative"),
            (lambda a, b, t: arc(a, b, 0.25), "use `share`"),
            (lambda a, b, t: a, "it is not"),
            (lambda a, b, t: a[:2], "should have shape"),
        ],
    ),
    (
        check_transposed,
        transposed,
        [
            (lambda x, k, s: transposed(x, k.flip(0, 1), s), "turned round"),
            (lambda x, k, s: transposed(x, k.T, s), "swapped"),
            (lambda x, k, s: transposed(x, k, s, add=False), "overwrite"),
            (lambda x, k, s: transposed(x, k, 2), "for stride 3"),
            (lambda x, k, s: F.conv_transpose2d(x[None, None], k[None, None], stride=s)[0, 0], "PyTorch's own"),
            (lambda x, k, s: 2 * transposed(x, k, s), "differs from F.conv_transpose2d"),
            (lambda x, k, s: F.conv2d(x[None, None], k[:2, :2][None, None])[0, 0], "should have shape"),
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
