"""Checkers for the exercises of the chapter `cyclegan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.evaluation.images import classify
from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered

INK, PAPER = (1.0, 0.7, -0.6), (-0.8, -0.7, 0.2)  # yellow on dark blue, as red, green and blue in [-1, 1]
ERROR = 0.15  # of a colour's range, the mean over pixels; a copy of the grey digits is at 0.27
SAME = 0.8  # share of digits that must still be taken for what they were


def check_reach(answer: Any, *, n_layers: int) -> None:
    """Exercise 1: the side of the patch that a logit sees after `n_layers` halvings by kernels of 4 and two more.

    Raises:
        WrongAnswer: the answer is not that side; a known mistake is named.
    """
    if unanswered(answer):
        return
    said = as_number("The side", answer)
    kernels = [(4, 2)] * n_layers + [(4, 1), (4, 1)]
    true = _reach(kernels)
    if said == true:
        right(f"Counted from the logit back to the picture: 1, 4, 7, then twice as many and 2 more, {n_layers} times.")
        return
    _name(
        said,
        [
            (_reach(kernels[::-1]), "you counted from the picture on: start from one logit and go back."),
            (_reach(kernels[:-1]), "the layer that makes the logits has a kernel of 4, too."),
            (_reach([(4, 2)] * (n_layers + 2)), "the last two layers have a stride of 1."),
            (_reach([(4, 1)] * (n_layers + 2)), "each halving has a stride of 2: (r - 1) · 2 + 4."),
            (_reach([(4, 2)] * n_layers), "two layers with a stride of 1 come after the halvings."),
            (4 * 2**n_layers, "kernels overlap: r outputs come from (r - 1) · stride + kernel inputs."),
        ],
    )


def _reach(layers: list[tuple[int, int]]) -> int:
    side = 1
    for kernel, stride in reversed(layers):
        side = (side - 1) * stride + kernel
    return side


def check_loop(answer: Callable[[Tensor, Tensor, Callable, Callable], Any]) -> None:
    """Exercise 2: `loop(x, y, to_y, to_x)`: the cycle loss of both directions.

    Raises:
        WrongAnswer: naming a missing direction, a loop that is not closed, a square or a sum.
    """
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 3, 4, 4, generator=generator) * 2 - 1 for _ in range(2))

    def to_y(images: Tensor) -> Tensor:
        return 0.5 * images.flip(1) - 0.2

    def to_x(images: Tensor) -> Tensor:
        return 0.8 * images + 0.3

    result = answer(x.clone(), y.clone(), to_y, to_x)
    if unanswered(result):
        return
    found = as_tensor("The loss", result, ())
    back_x, back_y = to_x(to_y(x)), to_y(to_x(y))
    ways = ((back_x - x).abs(), (back_y - y).abs())
    if close(found, sum(way.mean() for way in ways)):
        right("One direction alone would let the other generator forget what it was given.")
        return
    squares = [way.square().mean() for way in ways]
    mistakes = [
        (ways[0].mean(), "that is the way of x alone: y goes to x and comes back, too."),
        (ways[1].mean(), "that is the way of y alone: x goes to y and comes back, too."),
        (sum(way.mean() for way in ways) / 2, "the paper adds both directions; yours is their mean."),
        (sum(squares), "those are squares: the paper takes absolute differences, which forgive blur less."),
        (sum(way.sum() for way in ways), "those are sums: take the mean over pixels, or λ depends on the size."),
        (
            (to_y(x) - x).abs().mean() + (to_x(y) - y).abs().mean(),
            "you compare a picture with its translation, which should differ: close the loop first.",
        ),
        (
            (to_y(y) - y).abs().mean() + (to_x(x) - x).abs().mean(),
            "that is the identity loss: y is of to_y's target kind already.",
        ),
        (
            (to_y(x) - y).abs().mean() + (to_x(y) - x).abs().mean(),
            "you compare a translation with a picture of the other domain: no two belong together.",
        ),
        (
            (to_y(to_x(x)) - x).abs().mean() + (to_x(to_y(y)) - y).abs().mean(),
            "each loop begins with the wrong generator: x is what to_y repaints.",
        ),
    ]
    for wrong, message in mistakes:
        if close(found, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"for the pictures tried it is {sum(way.mean() for way in ways):.4f}, not {float(found):.4f}.")


def in_colour(digits: Float[Tensor, "n 1 rows columns"]) -> Float[Tensor, "n 3 rows columns"]:
    """Grey digits in yellow ink on dark blue paper, for exercise 3: (n, 3, rows, columns) in [-1, 1]."""
    share = (digits + 1) / 2
    ink, paper = (torch.tensor(colour).view(1, 3, 1, 1) for colour in (INK, PAPER))
    return paper + share * (ink - paper)


def without_colour(images: Float[Tensor, "n 3 rows columns"]) -> Float[Tensor, "n 1 rows columns"]:
    """How far each pixel is on the way from paper to ink, as a grey digit in [-1, 1]: the way back of `in_colour`."""
    ink, paper = (torch.tensor(colour).view(1, 3, 1, 1) for colour in (INK, PAPER))
    way = ink - paper
    share = ((images - paper) * way).sum(dim=1, keepdim=True) / way.square().sum()
    return (2 * share - 1).clamp(-1, 1)


def check_translated(
    answer: Any, digits: Float[Tensor, "n 1 rows columns"], labels: Int[Tensor, " n"], *, error: float = ERROR
) -> None:
    """Exercise 3: digits of one kind repainted as the other, by a CycleGAN that has seen no pair.

    Raises:
        WrongAnswer: the pictures are still grey, in the wrong colours, inverted, or no longer the same digits.
    """
    if unanswered(answer):
        return
    truth = in_colour(digits)
    made = as_tensor("The translation", answer, tuple(truth.shape)).detach().cpu()
    far = float((made - truth).abs().mean()) / 2
    same = float((classify(without_colour(made)) == labels).double().mean())
    if far <= error and same >= SAME:
        right(f"A pixel is off by {far:.2f} of its range, and {same:.0%} are still the digit they were.")
        return
    grey = digits.expand_as(truth)
    if float((made - grey).abs().mean()) / 2 < far:
        raise WrongAnswer(
            "they are still nearer to the grey digits than to coloured ones: did you translate them with to_y, and "
            "is the second domain in colour?"
        )
    if float((made - in_colour(-digits)).abs().mean()) / 2 < far:
        raise WrongAnswer(
            "ink and paper are exchanged. Nothing in the losses forbids that: the loop closes all the same. The "
            "discriminator should notice that paper is more frequent; train longer, or with another seed."
        )
    if same < SAME:
        raise WrongAnswer(
            f"only {same:.0%} are still taken for the digit they were: is cycle_weight above 0, and were there enough "
            "rounds?"
        )
    raise WrongAnswer(f"the digits are there, and a pixel is off by {far:.2f} of its range: train for more rounds.")


def _name(value: float, mistakes: list[tuple[Any, str]]) -> None:
    for wrong, message in mistakes:
        if value == wrong:
            raise WrongAnswer(message)
    raise WrongAnswer(f"it is not {value:g}.")
