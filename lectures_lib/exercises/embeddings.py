"""Checkers for the exercises of the chapter `embeddings`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered
from lectures_lib.layers import sinusoidal_positions


def check_pair_count(answer: Any, *, length: int, window: int) -> None:
    """Exercise 1: how many (centre, context) pairs a sentence gives, when every centre looks `window` words far.

    Raises:
        WrongAnswer: the answer is not the number of pairs; a known mistake is named.
    """
    if unanswered(answer):
        return
    count = as_number("The count", answer)
    true = sum(min(window, place) + min(window, length - 1 - place) for place in range(length))
    if count == true:
        right("The words at both ends have fewer neighbours, and every pair counts in both directions.")
        return
    mistakes = {
        2 * window * length: "you gave every word a full window; the first and the last words have fewer neighbours.",
        window * length: "you looked to one side only, and past the end of the sentence.",
        true / 2: "every pair counts twice: each of the two words is the centre once.",
        true + length: "you paired every word with itself as well.",
        length * (length - 1): "you paired every word with every other; a centre sees no farther than its window.",
    }
    raise WrongAnswer(mistakes.get(count, f"it is not {count:g}. Count the neighbours of the first word, then go on."))


def check_noise(answer: Callable[[Tensor], Any]) -> None:
    """Exercise 2: the noise distribution, in proportion to the counts to the power 3/4.

    Raises:
        WrongAnswer: naming what is missing: the power, or the division by the sum.
    """
    counts = torch.tensor([810.0, 256.0, 16.0, 1.0])
    result = answer(counts.clone())
    if unanswered(result):
        return
    noise = as_tensor("The distribution", result, (4,)).double()
    powered = counts.double() ** 0.75
    if close(noise, powered / powered.sum()):
        right("Frequent words are drawn most, but rare ones more often than their share of the text.")
        return
    mistakes = [
        (powered, "the numbers do not sum to 1: divide by their sum."),
        (counts / counts.sum(), "these are the shares of the text: the power 3/4 is missing."),
        (
            (counts / counts.sum()) ** 0.75,
            "take the power first and divide by the sum afterwards: yours do not sum to 1.",
        ),
        (torch.full((4,), 0.25), "all words are equally probable in yours: the counts are not used."),
        (powered.softmax(dim=0), "a softmax takes e to the power of its input; divide by the sum instead."),
        (counts.double() ** (4 / 3) / (counts.double() ** (4 / 3)).sum(), "the power is 3/4, not 4/3."),
    ]
    _name(noise, mistakes)
    raise WrongAnswer(f"it should be {_rounded(powered / powered.sum())} and is {_rounded(noise)}.")


def check_pair_loss(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """Exercise 3: the loss of one pair, from its score and the scores of its noise words.

    Raises:
        WrongAnswer: naming a wrong sign, a forgotten logarithm, or a part left out.
    """
    true, noise = torch.tensor(0.7), torch.tensor([0.4, -1.1, 2.0])
    result = answer(true.clone(), noise.clone())
    if unanswered(result):
        return
    loss = as_number("The loss", result)
    positive, negative = -F.logsigmoid(true), -F.logsigmoid(-noise)
    if close(loss, positive + negative.sum()):
        right("Low if the true neighbour scores high and the noise words score low.")
        return
    mistakes = [
        (-(positive + negative.sum()), "the sign is turned round: the paper maximises, a loss is minimised."),
        (positive - F.logsigmoid(noise).sum(), "the noise words pull like true ones: their scores need a minus."),
        (positive + negative.mean(), "you averaged over the noise words; the formula sums them."),
        (positive, "the noise words are missing."),
        (negative.sum(), "the true neighbour is missing."),
        (positive - negative.sum(), "the second half is subtracted: both halves are punished."),
        (torch.sigmoid(true) + torch.sigmoid(-noise).sum(), "the logarithm is missing."),
    ]
    _name(loss, mistakes)
    raise WrongAnswer(f"it should be {float(positive + negative.sum()):.4f} and is {loss:.4f}.")


def check_centre_gradient(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
    """Exercise 4: the gradient of the loss with respect to the centre's row, (d,).

    Raises:
        WrongAnswer: naming a turned sign, a forgotten -1, or a part left out.
    """
    generator = torch.Generator().manual_seed(0)
    centre, true_row = torch.randn(2, 4, generator=generator)
    noise_rows = torch.randn(3, 4, generator=generator)
    result = answer(centre.clone(), true_row.clone(), noise_rows.clone())
    if unanswered(result):
        return
    gradient = as_tensor("The gradient", result, (4,)).detach()
    pull = (torch.sigmoid(true_row @ centre) - 1) * true_row
    push = (torch.sigmoid(noise_rows @ centre)[:, None] * noise_rows).sum(dim=0)
    if close(gradient, pull + push):
        right("Going downhill moves the centre towards its neighbour and away from the noise. That is all of Word2Vec.")
        return
    unscaled = torch.sigmoid(true_row @ centre) * true_row
    both = pull + ((torch.sigmoid(noise_rows @ centre) - 1)[:, None] * noise_rows).sum(dim=0)
    mistakes = [
        (-(pull + push), "the sign is turned round: this is the way downhill, the gradient points uphill."),
        (pull, "the noise words are missing."),
        (push, "the true neighbour is missing."),
        (unscaled + push, "the slope of -log σ(s) is σ(s) - 1, not σ(s): the true neighbour pushes away in yours."),
        (pull - push, "the noise words pull in yours: their slope is σ(s), with a plus."),
        (both, "the noise words are treated as true neighbours: the slope of -log σ(-s) is σ(s)."),
        (true_row - noise_rows.sum(dim=0), "every word pulls alike in yours: each slope depends on its score."),
    ]
    _name(gradient, mistakes)
    raise WrongAnswer(f"the values differ by up to {(gradient - pull - push).abs().max():.3g}: derive one term first.")


def check_positions(answer: Callable[[int, int], Any]) -> None:
    """Exercise 5: the paper's table of positions, (length, d_model).

    Raises:
        WrongAnswer: naming a known slip: halves, the exponent, sine and cosine swapped, positions from 1.
    """
    length, d_model = 7, 8
    result = answer(length, d_model)
    if unanswered(result):
        return
    table = as_tensor("The table", result, (length, d_model)).double()
    true = sinusoidal_positions(length, d_model)
    if close(table, true):
        right("Sines in the even columns, cosines in the odd ones, the same angle for both of a pair.")
        return
    pair, column = torch.arange(4).double(), torch.arange(8).double()
    shift = sinusoidal_positions(length + 1, d_model)[1:]
    each = torch.arange(length).double()[:, None] / 10_000 ** (column / 8)
    own_angle = torch.where(column % 2 == 0, each.sin(), each.cos())
    mistakes = [
        (
            _by_halves(true),
            "all sines come before all cosines, as in the authors' code; the paper's columns alternate.",
        ),
        (
            true.unflatten(1, (4, 2)).flip(-1).flatten(1),
            "sine and cosine are swapped: the even columns hold the sines.",
        ),
        (shift, "the first position is 0, and yours begins with 1."),
        (own_angle, "the cosine has an angle of its own; both columns of a pair share the exponent 2i/d_model."),
        (_table(10_000 ** (pair / 8)), "the exponent is 2i/d_model, and i counts pairs: yours is i/d_model."),
        (_table(10_000 ** (pair / 3)), "the last wavelength is 10000 in yours: divide by d_model, not by d_model - 2."),
        (_table(10_000 ** (-2 * pair / 8)), "the position is multiplied by the wavelength; divide by it."),
        (
            _table(10_000 ** (4 * pair / 8)),
            "the exponent is 2i/d_model, and i counts pairs, not columns: yours is 4i/d_model.",
        ),
    ]
    _name(table, mistakes)
    row = int((table - true).abs().amax(dim=1).gt(1e-5).nonzero()[0])
    raise WrongAnswer(f"row {row} should be {_rounded(true[row])} and is {_rounded(table[row])}.")


def _table(wavelength: Tensor) -> Tensor:
    angle = torch.arange(7).double()[:, None] / wavelength
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def _by_halves(table: Tensor) -> Tensor:
    return torch.cat([table[:, 0::2], table[:, 1::2]], dim=1)


def _name(answer: Tensor | float, mistakes: list[tuple[Tensor, str]]) -> None:
    for wrong, message in mistakes:
        if close(answer, wrong):
            raise WrongAnswer(message)


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]
