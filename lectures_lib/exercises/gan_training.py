"""Checkers for the exercises of the chapter `gan_training`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lectures_lib.evaluation.distributions import mean_interval
from lectures_lib.exercises.checking import WrongAnswer, as_number, close, right, unanswered


def check_adam(answer: Any, *, weight: int | float) -> None:
    """Exercise 1: by what factor Adam's step changes when the whole loss is multiplied by `weight`.

    Raises:
        WrongAnswer: the answer is not 1; a known mistake is named.
    """
    if unanswered(answer):
        return
    said = as_number("The factor", answer)
    if close(said, 1.0):
        right("Adam divides by the gradient's own size; only its small epsilon notices.")
        return
    mistakes = [
        (float(weight), "that is what plain gradient descent does; what does Adam divide by?"),
        (float(weight) ** 2, "the second moment grows like that, but Adam takes its root."),
        (math.sqrt(weight), "that would be one root too many: both the numerator and the root grow alike."),
        (1 / weight, "the step does not shrink: the numerator grows as much as what it is divided by."),
        (0.0, "the step does not vanish."),
    ]
    for wrong, message in mistakes:
        if close(said, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it is not {said:g}: Adam's step is the mean of gradients over the root of their mean square.")


# Signs as they stand at the end of a training; the modes, of 8, at three moments of its second half.
CASES = {
    "A": {
        "discriminator's accuracy": 0.99,
        "generator's gradient norm": 2e-5,
        "mean of samples moves by": 0.001,
        "modes covered": (0, 0, 0),
    },
    "B": {
        "discriminator's accuracy": 0.58,
        "generator's gradient norm": 0.9,
        "mean of samples moves by": 1.6,
        "modes covered": (6, 0, 5),
    },
    "C": {
        "discriminator's accuracy": 0.55,
        "generator's gradient norm": 0.4,
        "mean of samples moves by": 0.05,
        "modes covered": (1, 2, 1),
    },
    "D": {
        "discriminator's accuracy": 0.99,
        "generator's gradient norm": 7.0,
        "mean of samples moves by": 0.05,
        "modes covered": (3, 3, 4),
    },
}

DIAGNOSES = {
    "A": "vanishing gradient",
    "B": "oscillation",
    "C": "mode collapse",
    "D": "over-strong discriminator",
}


def check_diagnoses(answer: Any) -> None:
    """Exercise 2: which failure each of the patients A to D of `CASES` has.

    Raises:
        WrongAnswer: naming a patient whose diagnosis does not fit its numbers, and the number.
    """
    if unanswered(answer):
        return
    if not isinstance(answer, Mapping) or set(answer) != set(DIAGNOSES):
        raise WrongAnswer(f"answer for each of A, B, C and D, as a dictionary; yours is {answer!r}.")
    if any(unanswered(one) for one in answer.values()):
        return
    known = sorted(set(DIAGNOSES.values()))
    clues = {
        "A": "its generator is pushed with next to nothing.",
        "B": "nobody wins; it finds most modes and loses them all again, and the mean of its samples travels far.",
        "C": "nobody wins, nothing moves, the gradient is healthy: only the modes, few at all times, give it away.",
        "D": "it is always right, and yet the generator is pushed hard.",
    }
    for patient, truth in DIAGNOSES.items():
        said = str(answer[patient]).strip().lower()
        if said not in known:
            raise WrongAnswer(f"{said!r} is none of {', '.join(known)}.")
        if said != truth:
            raise WrongAnswer(f"patient {patient} does not have that: {clues[patient]}")
    right("And C is the reason to count modes, or to look: its other signs are those of a healthy GAN.")


def check_modes(answer: Callable[[Tensor, Tensor, float], Any]) -> None:
    """Exercise 3: `modes_covered(samples, centres, std)`, the modes with a sample within three standard deviations.

    Raises:
        WrongAnswer: naming what was counted instead.
    """
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
    samples = torch.tensor([[0.1, 0.0], [0.2, 0.1], [0.0, 0.3], [4.0, 0.15], [0.0, 2.5], [3.75, 3.75]])
    result = answer(samples.clone(), centres.clone(), 0.2)
    if unanswered(result):
        return
    found = as_number("The number of modes", result)
    distance = torch.cdist(samples, centres)
    inside = distance <= 3 * 0.2
    if close(found, 3.0):
        beyond = as_number("The number of modes", answer(torch.full((3, 2), 9.0), centres.clone(), 0.2))
        if beyond != 0:
            raise WrongAnswer(f"right here, but samples far from every mode cover none, and yours says {beyond:g}.")
        right("A sample between the modes covers nothing, however near its nearest mode is.")
        return
    mistakes = [
        (4.0, "each sample was given to its nearest mode, however far: one at (0, 2.5) is no good sample."),
        (float(inside.sum()), "you counted good samples; three of them share a mode."),
        (float((distance <= 0.2).any(dim=0).sum()), "you allowed one standard deviation; the convention is three."),
        (float(len(samples)), "that is the number of samples."),
        (
            float((distance <= 3 * 0.2**2).any(dim=0).sum()),
            "you compared a distance with three times the variance, not the standard deviation.",
        ),
    ]
    for wrong, message in mistakes:
        if close(found, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it should be 3 and is {found:g}.")


def check_amplitude(answer: Callable[[Tensor], Any]) -> None:
    """Exercise 4: the root of the mean squared distance of a path, (times, 2), from its own mean.

    Raises:
        WrongAnswer: naming what was measured instead.
    """
    path = torch.tensor([[3.0, 1.0], [5.0, 2.0], [4.0, 7.0], [9.0, 2.0]])
    result = answer(path.clone())
    if unanswered(result):
        return
    value = as_number("The amplitude", result)
    off = (path - path.mean(dim=0)).norm(dim=1)
    true = off.square().mean().sqrt()
    if close(value, true):
        right("A GAN that stands still in the wrong place has none: amplitude is not error.")
        return
    mistakes = [
        (path.norm(dim=1).square().mean().sqrt(), "that is the distance from the origin; subtract the path's mean."),
        (off.mean(), "that is the mean distance; square before the mean, and take the root after it."),
        (off.square().mean(), "the root is missing."),
        (off.max(), "that is the farthest point alone."),
        ((path - path.mean(dim=0)).square().mean().sqrt(), "you averaged over the axes as well; sum over them first."),
        ((path - path.mean()).norm(dim=1).square().mean().sqrt(), "each axis has a mean of its own: dim=0."),
        ((off.square().sum() / (len(path) - 1)).sqrt(), "you divided by one less than the number of times."),
        ((path - path[0]).norm(dim=1).square().mean().sqrt(), "that is the distance from the start of the path."),
    ]
    for wrong, message in mistakes:
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it should be {float(true):.4f} and is {value:.4f}.")


def check_effect(answer: Callable[[Sequence[float], Sequence[float]], Any]) -> None:
    """Exercise 5: `effect(treated, untreated)`, the mean paired difference and the ends of its 95 % interval.

    Raises:
        WrongAnswer: naming what was left out: the pairs, Student's t, the root of n, n - 1.
    """
    treated, untreated = [9.0, 14.0, 5.0, 21.0, 11.0], [4.0, 10.0, 2.0, 15.0, 8.0]
    result = answer(list(treated), list(untreated))
    if unanswered(result):
        return
    try:
        mean, low, high = (as_number("Each of the three", number) for number in result)
    except (TypeError, ValueError):
        raise WrongAnswer(f"return three numbers, (mean, low, high); yours is {result!r}.") from None
    differences = [one - other for one, other in zip(treated, untreated, strict=True)]
    true_mean, (true_low, true_high) = sum(differences) / 5, mean_interval(differences)
    if close(mean, -true_mean):
        raise WrongAnswer("the sign: treated minus untreated.")
    if not close(mean, true_mean):
        raise WrongAnswer(f"the mean difference should be {true_mean:.3f} and is {mean:.3f}.")
    if abs(low - true_low) < 5e-3 and abs(high - true_high) < 5e-3:
        right("Seeds differ more than the treatment does; the pairs take that out.")
        return
    if close(low, high) or low > high:
        raise WrongAnswer("low must lie below the mean, and high above it.")
    numbers = torch.tensor(differences, dtype=torch.float64)
    each = [torch.tensor(values, dtype=torch.float64) for values in (treated, untreated)]
    apart = float((each[0].var() / 5 + each[1].var() / 5).sqrt())
    # Half a width: the right one, and what it becomes under each known mistake.
    t, error = (true_high - true_mean) / (float(numbers.std()) / math.sqrt(5)), float(numbers.std()) / math.sqrt(5)
    mistakes = [
        (1.96 * error, "1.96 is for many runs; for five it is Student's t with 4 degrees of freedom, 2.776."),
        (t * float(numbers.std()), "that interval is for one more run; for the mean, divide by the root of 5."),
        (t * float(numbers.std(unbiased=False)) / math.sqrt(5), "divide the squares by n - 1, not n."),
        (t * error / math.sqrt(5), "you divided by n; the mean's error has its root."),
        (error, "that is one standard error on each side; 95 % needs t times as much."),
        (2.5706 * error, "that is Student's t with 5 degrees of freedom; five differences leave 4."),
        (2.1318 * error, "that t leaves 5 % on each side; 95 % leaves 2.5 %."),
    ]
    half = high - mean
    for wrong, message in mistakes:
        if abs(half - wrong) < 5e-3:
            raise WrongAnswer(message)
    if abs(half / apart - 2) < 0.85:
        raise WrongAnswer("you forgot the pairs: take the difference on each seed first, then its spread.")
    raise WrongAnswer(f"the interval should be {true_low:.3f} to {true_high:.3f} and is {low:.3f} to {high:.3f}.")
