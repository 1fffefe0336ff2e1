"""The checkers of the chapter `gan_losses` accept the truth, and name the mistake in a wrong answer."""

import math

import pytest
import torch
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.gan_losses import (
    check_disjoint,
    check_earth_mover,
    check_generator_losses,
    check_gradient_penalty,
    check_slopes,
)


def sorted_pairs(a, b):
    return (a.sort().values - b.sort().values).abs()


def both(logits):
    return -F.softplus(logits).mean(), F.softplus(-logits).mean()


def slopes(logits):
    return -logits.sigmoid(), logits.sigmoid() - 1


def penalty(
    norm=lambda s: s.flatten(1).norm(dim=1),
    *,
    target=1,
    power=2,
    graph=True,
    whole=torch.sum,
    share=lambda real: torch.rand(len(real), *[1] * (real.ndim - 1)),
):
    def answer(critic, real, fake):
        mix = share(real)
        between = (mix * real + (1 - mix) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(whole(critic(between)), between, create_graph=graph)
        return (norm(slope) - target).pow(power).mean()

    return answer


CASES = [
    (
        check_disjoint,
        math.log(2),
        [
            (1, "in bits"),
            (0, "equal distributions"),
            (math.inf, "Kullback"),
            (math.log(4), "their mean"),
            (-math.log(2), "not negative"),
            (5, "it is not 5"),
        ],
    ),
    (
        check_earth_mover,
        lambda a, b: sorted_pairs(a, b).mean(),
        [
            (lambda a, b: (a - b).abs().mean(), "as they came"),
            (lambda a, b: sorted_pairs(a, b).sum(), "one, on average"),
            (lambda a, b: sorted_pairs(a, b).square().mean(), "you squared"),
            (lambda a, b: sorted_pairs(a, b).square().mean().sqrt(), "Wasserstein-2"),
            (lambda a, b: (a[:, None] - b).abs().mean(), "all pairs"),
            (lambda a, b: (a.mean() - b.mean()).abs(), r"for \{0, 10\} and \{4, 6\}"),
            (lambda a, b: 8.5, "it should be"),
            (lambda a, b: a, "should be one number"),
        ],
    ),
    (
        check_generator_losses,
        both,
        [
            (lambda x: both(x)[::-1], "swapped"),
            (lambda x: (-both(x)[0], both(x)[1]), "first has the wrong sign"),
            (lambda x: (both(x)[0], -both(x)[1]), "second has the wrong sign"),
            (lambda x: (both(x)[0] + 1, both(x)[1]), "the first should be"),
            (lambda x: (both(x)[0], both(x)[1] + 1), "the second should be"),
            (lambda x: 3.0, "return a pair"),
        ],
    ),
    (
        check_slopes,
        slopes,
        [
            (lambda x: slopes(x)[::-1], "swapped"),
            (lambda x: (-slopes(x)[0], slopes(x)[1]), "a sign"),
            (lambda x: (-1 / (1 - x.sigmoid()), -1 / x.sigmoid()), r"slopes in D"),
            (lambda x: (slopes(x)[0] * 2, slopes(x)[1]), "the first is wrong"),
            (lambda x: (slopes(x)[0], slopes(x)[1] * 2), "the second is wrong"),
            (lambda x: x, "return a pair"),
            (lambda x: (x[:2], x), "should have shape"),
        ],
    ),
    (
        check_gradient_penalty,
        penalty(),
        [
            (penalty(lambda s: s.norm()), "whole batch"),
            (penalty(lambda s: s.norm(dim=1)), "one axis"),
            (penalty(lambda s: s.norm(dim=2)), "last axis"),
            (penalty(whole=torch.mean), "slope of the mean"),
            (penalty(target=0), "to be 1, not 0"),
            (penalty(power=1), "square is missing"),
            (penalty(lambda s: s.flatten(1).square().sum(1)), "root is missing"),
            (penalty(graph=False), "create_graph"),
            (penalty(share=torch.rand_like), "one share for all of its axes"),
            (penalty(share=lambda r: torch.full([len(r)] + [1] * (r.ndim - 1), 0.5)), "share of its own"),
            (penalty(share=lambda r: 5 * torch.rand(len(r), *[1] * (r.ndim - 1))), "must lie between"),
            (penalty(target=7), "it should be"),
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
