"""The checkers of the chapter `embeddings` accept the truth, and name the mistake in a wrong answer."""

import pytest
import torch
from torch.nn.functional import logsigmoid

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.embeddings import (
    check_centre_gradient,
    check_noise,
    check_pair_count,
    check_pair_loss,
    check_positions,
)


def noise(counts, power=0.75):
    weights = counts**power
    return weights / weights.sum()


def pair_loss(true, others):
    return -logsigmoid(true) - logsigmoid(-others).sum()


def centre_gradient(centre, true, others):
    centre = centre.requires_grad_()
    pair_loss(true @ centre, others @ centre).backward()
    return centre.grad


def positions(length, d, *, start=0, exponent=lambda i, d: 2 * i / d, halves=False, swap=False, times=False, cos=None):
    pos, i = torch.arange(start, start + length).double()[:, None], torch.arange(d // 2).double()
    wave, cos_wave = 10_000 ** exponent(i, d), 10_000 ** (cos or exponent)(i, d)
    sine, cosine = (pos * wave).sin() if times else (pos / wave).sin(), (pos / cos_wave).cos()
    if times:
        cosine = (pos * wave).cos()
    pair = (cosine, sine) if swap else (sine, cosine)
    return torch.cat(pair, dim=1) if halves else torch.stack(pair, dim=-1).flatten(1)


def variant(**options):
    return lambda length, d: positions(length, d, **options)


CASES = [
    (
        lambda answer: check_pair_count(answer, length=10, window=2),
        34,
        [
            (40, "full window"),
            (20, "one side only"),
            (17, "counts twice"),
            (44, "with itself"),
            (90, "every word with every other"),
            (100, "it is not 100"),
            ("many", "should be one number"),
        ],
    ),
    (
        check_noise,
        noise,
        [
            (lambda c: c**0.75, "do not sum to 1"),
            (lambda c: noise(c, 1), "the power 3/4 is missing"),
            (lambda c: (c / c.sum()) ** 0.75, "take the power first"),
            (lambda c: torch.full((4,), 0.25), "counts are not used"),
            (lambda c: (c**0.75).softmax(0), "a softmax"),
            (lambda c: noise(c, 4 / 3), "not 4/3"),
            (lambda c: noise(c, 0.5), "it should be"),
            (lambda c: noise(c)[:2], "should have shape"),
        ],
    ),
    (
        check_pair_loss,
        pair_loss,
        [
            (lambda t, n: -pair_loss(t, n), "the paper maximises"),
            (lambda t, n: pair_loss(t, -n), "scores need a minus"),
            (lambda t, n: -logsigmoid(t) - logsigmoid(-n).mean(), "averaged"),
            (lambda t, n: -logsigmoid(t), "noise words are missing"),
            (lambda t, n: -logsigmoid(-n).sum(), "true neighbour is missing"),
            (lambda t, n: -logsigmoid(t) + logsigmoid(-n).sum(), "subtracted"),
            (lambda t, n: t.sigmoid() + (-n).sigmoid().sum(), "logarithm is missing"),
            (lambda t, n: pair_loss(t, n) + 1, "it should be"),
            (lambda t, n: n, "should be one number"),
        ],
    ),
    (
        check_centre_gradient,
        centre_gradient,
        [
            (lambda *a: -centre_gradient(*a), "points uphill"),
            (lambda c, t, n: centre_gradient(c, t, n[:0]), "noise words are missing"),
            (lambda c, t, n: (n @ c).sigmoid() @ n, "true neighbour is missing"),
            (lambda c, t, n: (t @ c).sigmoid() * t + (n @ c).sigmoid() @ n, r"σ\(s\) - 1"),
            (lambda c, t, n: ((t @ c).sigmoid() - 1) * t - (n @ c).sigmoid() @ n, "pull in yours"),
            (lambda c, t, n: ((t @ c).sigmoid() - 1) * t + ((n @ c).sigmoid() - 1) @ n, "treated as true"),
            (lambda c, t, n: t - n.sum(0), "depends on its score"),
            (lambda *a: 2 * centre_gradient(*a), "differ by up to"),
            (lambda *a: 3.0, "should be a tensor"),
        ],
    ),
    (
        check_positions,
        positions,
        [
            (variant(halves=True), "all sines come before"),
            (variant(swap=True), "swapped"),
            (variant(start=1), "first position is 0"),
            (variant(cos=lambda i, d: (2 * i + 1) / d), "angle of its own"),
            (variant(exponent=lambda i, d: i / d), "yours is i/d_model"),
            (variant(exponent=lambda i, d: i / (d / 2 - 1)), "divide by d_model, not"),
            (variant(times=True), "multiplied"),
            (variant(exponent=lambda i, d: 4 * i / d), "4i/d_model"),
            (variant(exponent=lambda i, d: 3 * i / d), "row 1 should be"),
            (lambda length, d: positions(d, length - 1), "should have shape"),
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
    check(... if check is CASES[0][0] else lambda *_: ...)
    assert capsys.readouterr().out.startswith("…")
