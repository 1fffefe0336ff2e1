"""The checkers of the chapter `cyclegan` accept the truth, and name the mistake in a wrong answer."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.digits import digits
from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.cyclegan import check_loop, check_reach, check_translated, in_colour, without_colour
from lectures_lib.models.cyclegan import CycleGanConfig, PatchDiscriminator

HELD_OUT = digits("test")
IMAGES, LABELS = HELD_OUT.images[::7][:60], HELD_OUT.labels[::7][:60]


def loop(x, y, to_y, to_x):
    return (to_x(to_y(x)) - x).abs().mean() + (to_y(to_x(y)) - y).abs().mean()


CASES = [
    (
        lambda answer: check_reach(answer, n_layers=4),
        142,
        [
            (52, "go back"),
            (94, "makes the logits"),
            (190, "last two layers"),
            (19, "each halving"),
            (46, "come after"),
            (64, "overlap"),
            (70, "it is not 70"),
            ("wide", "should be one number"),
        ],
    ),
    (
        check_loop,
        loop,
        [
            (lambda x, y, g, f: (f(g(x)) - x).abs().mean(), "way of x alone"),
            (lambda x, y, g, f: (g(f(y)) - y).abs().mean(), "way of y alone"),
            (lambda x, y, g, f: loop(x, y, g, f) / 2, "their mean"),
            (lambda x, y, g, f: (f(g(x)) - x).square().mean() + (g(f(y)) - y).square().mean(), "squares"),
            (lambda x, y, g, f: loop(x, y, g, f) * x.numel(), "sums"),
            (lambda x, y, g, f: (g(x) - x).abs().mean() + (f(y) - y).abs().mean(), "close the loop"),
            (lambda x, y, g, f: (g(y) - y).abs().mean() + (f(x) - x).abs().mean(), "identity loss"),
            (lambda x, y, g, f: (g(x) - y).abs().mean() + (f(y) - x).abs().mean(), "other domain"),
            (lambda x, y, g, f: loop(x, y, f, g), "wrong generator"),
            (lambda x, y, g, f: 3 * loop(x, y, g, f), "for the pictures tried"),
            (lambda x, y, g, f: (f(g(x)) - x).abs(), "should have shape"),
        ],
    ),
    (
        lambda answer: check_translated(answer, IMAGES, LABELS),
        in_colour(IMAGES),
        [
            (IMAGES.expand(-1, 3, -1, -1), "still nearer to the grey"),
            (in_colour(-IMAGES), "exchanged"),
            (in_colour(IMAGES).roll(30, dims=0), "still taken for"),
            ((in_colour(IMAGES) + torch.tensor([0.2, 0.2, 0.8]).view(1, 3, 1, 1)).clamp(-1, 1), "digits are there"),
            (IMAGES, "should have shape"),
            ("done", "should be a tensor"),
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
    check(... if check is not check_loop else lambda *_: None)
    assert capsys.readouterr().out.startswith("…")


def test_the_side_asked_for_is_the_discriminators_own():
    check_reach(PatchDiscriminator(CycleGanConfig(discriminator_width=1, n_layers=3)).patch, n_layers=3)


def test_colours_go_there_and_back():
    coloured = in_colour(IMAGES)
    assert coloured.shape == (60, 3, 28, 28)
    assert float(coloured.abs().max()) <= 1
    assert_close(without_colour(coloured), IMAGES, atol=1e-5, rtol=0)
