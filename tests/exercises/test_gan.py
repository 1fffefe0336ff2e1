"""The checkers of the chapter `gan` accept the truth, and name the mistake in a wrong answer."""

import math

import pytest
import torch
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.gan import (
    check_best_answer,
    check_discriminator_loss,
    check_generator_step,
    check_probe,
    check_value,
)


def d_loss(real, fake):
    return -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()


def step(wish=lambda logits: F.softplus(-logits).mean(), *, zero=True, cut=False, both=False, go=True):
    def generator_step(generator, discriminator, optimizer, latent):
        made = generator(latent)
        logits = discriminator(made.detach() if cut else made)
        loss = wish(logits)
        if zero:
            optimizer.zero_grad()
        if loss.requires_grad:
            loss.backward()
        if both:
            discriminator.weight.data -= 0.1 * discriminator.weight.grad
        if go:
            optimizer.step()
        return loss

    return generator_step


def accuracy(real, fake):
    return ((real > 0).float().mean() + (fake < 0).float().mean()) / 2


CASES = [
    (
        lambda answer: check_best_answer(answer, real=0.3, generated=0.1),
        0.75,
        [
            (0.25, "was generated"),
            (3.0, "ratio"),
            (0.3, "density of real samples alone"),
            (1, "is not sure"),
            (0.5, "only where both densities are equal"),
            (0.7, "it is not 0.7"),
            ("much", "should be one number"),
        ],
    ),
    (
        check_value,
        -math.log(4),
        [
            (math.log(4), "the sign"),
            (-math.log(2), "one of the two terms"),
            (0.5, "that is D"),
            (-2, "base 2"),
            (2 * math.log10(0.5), "base 10"),
            (0, "always right"),
            (7, "it is not 7"),
        ],
    ),
    (
        check_discriminator_loss,
        d_loss,
        [
            (lambda r, f: -d_loss(r, f), "the sign"),
            (lambda r, f: d_loss(-r, -f), "swapped"),
            (lambda r, f: F.softplus(-r).mean(), "generated samples are missing"),
            (lambda r, f: F.softplus(f).mean(), "real samples are missing"),
            (lambda r, f: torch.cat([F.softplus(-r), F.softplus(f)]).mean(), "a mean of its own"),
            (lambda r, f: d_loss(r, f) / 2, "half of it"),
            (lambda r, f: F.softplus(-r).sum() + F.softplus(f).sum(), "you summed"),
            (lambda r, f: d_loss(r, -f), "generator's wish"),
            (lambda r, f: -r.sigmoid().log().mean() - (1 - f.sigmoid()).log().mean(), "instead of finite"),
            (lambda r, f: 7.0, "it is not 7"),
        ],
    ),
    (
        check_generator_step,
        step(),
        [
            (step(both=True), "discriminator's weights moved"),
            (step(cut=True), "has not moved"),
            (step(go=False), "has not moved"),
            (step(zero=False), "old gradients"),
            (step(lambda x: -F.softplus(-x).mean()), "the wrong way"),
            (step(lambda x: -F.softplus(x).mean()), "minimax"),
            (step(lambda x: F.softplus(-x).sum()), "you summed"),
            (step(lambda x: 2 * F.softplus(-x).mean()), "should move by"),
        ],
    ),
    (
        check_probe,
        accuracy,
        [
            (lambda r, f: (r > 0).float().mean(), "real samples alone"),
            (lambda r, f: (f < 0).float().mean(), "generated samples alone"),
            (lambda r, f: (r > 0).sum() + (f < 0).sum(), "a count"),
            (lambda r, f: torch.cat([r > 0, f < 0]).float().mean(), "six real ones"),
            (lambda r, f: accuracy(r - 0.5, f - 0.5), "need not be above one half"),
            (lambda r, f: 0.1, "it is not 0.1"),
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
    check(... if check in (CASES[0][0], CASES[1][0]) else lambda *_: None)
    assert capsys.readouterr().out.startswith("…")
