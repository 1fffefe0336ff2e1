"""The checkers of the chapter `gan_training` accept the truth, and name the mistake in a wrong answer."""

import pytest
import torch

from lectures_lib.evaluation.distributions import mean_interval
from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.gan_training import (
    CASES as PATIENTS,
)
from lectures_lib.exercises.gan_training import (
    DIAGNOSES,
    check_adam,
    check_amplitude,
    check_diagnoses,
    check_effect,
    check_modes,
)


def adam(answer):
    return check_adam(answer, weight=8)


def modes(samples, centres, std):
    return (torch.cdist(samples, centres) <= 3 * std).any(dim=0).sum()


def nearest(samples, centres, std):
    return torch.cdist(samples, centres).argmin(dim=1).unique().numel()


def amplitude(path):
    return (path - path.mean(dim=0)).square().sum(dim=1).mean().sqrt()


def effect(treated, untreated, factor=1.0):
    differences = [one - other for one, other in zip(treated, untreated, strict=True)]
    mean, (low, high) = sum(differences) / len(differences), mean_interval(differences)
    return mean, mean + factor * (low - mean), mean + factor * (high - mean)


def wide(half):
    return lambda treated, untreated: (4.2, 4.2 - half, 4.2 + half)


SPREAD, ROOT = 1.3038404810, 5**0.5  # of the checker's five differences
CASES = [
    (
        adam,
        1.0,
        [
            (8, "plain gradient descent"),
            (64, "second moment"),
            (8**0.5, "one root too many"),
            (1 / 8, "does not shrink"),
            (0, "does not vanish"),
            (3, "it is not 3"),
        ],
    ),
    (
        check_diagnoses,
        DIAGNOSES,
        [
            ({**DIAGNOSES, "A": "mode collapse"}, "patient A .*next to nothing"),
            ({**DIAGNOSES, "B": "mode collapse"}, "patient B .*travels far"),
            ({**DIAGNOSES, "C": "oscillation"}, "patient C .*only the modes"),
            ({**DIAGNOSES, "D": "vanishing gradient"}, "patient D .*pushed hard"),
            ({**DIAGNOSES, "D": "flu"}, "'flu' is none of"),
            ({"A": "mode collapse"}, "for each of A, B, C and D"),
            ("oscillation", "for each of A, B, C and D"),
        ],
    ),
    (
        check_modes,
        modes,
        [
            (nearest, "however far"),
            (lambda s, c, std: (torch.cdist(s, c) <= 3 * std).sum(), "three of them share"),
            (lambda s, c, std: (torch.cdist(s, c) <= std).any(dim=0).sum(), "one standard deviation"),
            (lambda s, c, std: (torch.cdist(s, c) <= 3 * std**2).any(dim=0).sum(), "three times the variance"),
            (lambda s, c, std: len(s), "number of samples"),
            (lambda s, c, std: 0, "it should be 3"),
            (lambda s, c, std: 3, "far from every mode"),
            (lambda s, c, std: s, "should be one number"),
        ],
    ),
    (
        check_amplitude,
        amplitude,
        [
            (lambda p: p.square().sum(1).mean().sqrt(), "from the origin"),
            (lambda p: (p - p.mean(0)).norm(dim=1).mean(), "mean distance"),
            (lambda p: (p - p.mean(0)).square().sum(1).mean(), "root is missing"),
            (lambda p: (p - p.mean(0)).norm(dim=1).max(), "farthest"),
            (lambda p: (p - p.mean(0)).square().mean().sqrt(), "over the axes as well"),
            (lambda p: (p - p.mean()).square().sum(1).mean().sqrt(), "dim=0"),
            (lambda p: ((p - p.mean(0)).square().sum() / (len(p) - 1)).sqrt(), "one less"),
            (lambda p: (p - p[0]).square().sum(1).mean().sqrt(), "start of the path"),
            (lambda p: 77.0, "it should be"),
        ],
    ),
    (
        check_effect,
        effect,
        [
            (lambda t, u: effect(u, t), "the sign"),
            (lambda t, u: (0, -1, 1), "mean difference should be"),
            (lambda t, u: (4.2, 4.2, 4.2), "low must lie below"),
            (wide(1.96 * SPREAD / ROOT), "Student's t with 4"),
            (wide(2.7764 * SPREAD), "one more run"),
            (wide(2.7764 * SPREAD * 0.8**0.5 / ROOT), "n - 1"),
            (wide(2.7764 * SPREAD / 5), "you divided by n"),
            (wide(SPREAD / ROOT), "one standard error"),
            (wide(2.5706 * SPREAD / ROOT), "5 degrees"),
            (wide(2.1318 * SPREAD / ROOT), "5 % on each side"),
            (wide(2.306 * 3.527), "forgot the pairs"),
            (wide(1.96 * 3.527), "forgot the pairs"),
            (wide(30.0), "the interval should be"),
            (lambda t, u: 4.2, "return three numbers"),
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
    check(... if check in (adam, check_diagnoses) else lambda *_: None)
    assert capsys.readouterr().out.startswith("…")


def test_every_patient_of_the_exercise_has_a_diagnosis_and_a_blank_one_can_wait(capsys):
    assert set(PATIENTS) == set(DIAGNOSES)
    check_diagnoses(dict.fromkeys(DIAGNOSES, ...))
    assert capsys.readouterr().out.startswith("…")
