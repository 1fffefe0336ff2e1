"""Checkers for the exercises of the chapter `gan_losses`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered


def check_disjoint(answer: Any) -> None:
    """Exercise 1: the Jensen–Shannon divergence of two distributions that share no point, in nats.

    Raises:
        WrongAnswer: the answer is not log 2; a known mistake is named.
    """
    if unanswered(answer):
        return
    said = as_number("The divergence", answer)
    if abs(said - math.log(2)) < 5e-3:
        right("log 2, however far apart they lie: the divergence does not know where to go.")
        return
    mistakes = [
        (1.0, "that is log 2 in bits; in this book logarithms are natural."),
        (0.0, "zero is for equal distributions."),
        (math.inf, "that is the Kullback–Leibler divergence; here each is compared with the mean of both."),
        (math.log(4), "that is both halves added; the divergence is their mean."),
        (-math.log(2), "a divergence is not negative."),
    ]
    for wrong, message in mistakes:
        if said == wrong or (math.isfinite(said) and math.isfinite(wrong) and abs(said - wrong) < 5e-3):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it is not {said:g}: what is p/((p + q)/2) where q is zero?")


def check_earth_mover(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """Exercise 2: the earth mover's distance of two sets of equally many numbers.

    Raises:
        WrongAnswer: naming what was measured instead.
    """
    one, other = torch.tensor([3.0, 0.0, 1.0, 7.0]), torch.tensor([5.0, 9.0, 2.0, 4.0])
    result = answer(one.clone(), other.clone())
    if unanswered(result):
        return
    distance = as_number("The distance", result)
    crossing = torch.tensor([0.0, 10.0]), torch.tensor([4.0, 6.0])
    pairs = (one.sort().values - other.sort().values).abs()
    if close(distance, pairs.mean()):
        if not close(as_number("The distance", answer(*crossing)), 4.0):
            raise WrongAnswer("right here, where all move one way; for {0, 10} and {4, 6} it should be 4.")
        right("On a line the cheapest plan keeps the order.")
        return
    mistakes = [
        ((one - other).abs().mean(), "you paired them as they came; the cheapest plan pairs smallest with smallest."),
        (pairs.sum(), "that is the work for all grains; the distance is that of one, on average."),
        (pairs.square().mean(), "you squared the ways; this distance counts them as they are."),
        (pairs.square().mean().sqrt(), "that is Wasserstein-2, with squares and a root; here it is Wasserstein-1."),
        ((one[:, None] - other).abs().mean(), "you averaged over all pairs; every grain goes to one place only."),
    ]
    _name(distance, mistakes, float(pairs.mean()))


def check_generator_losses(answer: Callable[[Tensor], Any]) -> None:
    """Exercise 3: from logits, the pair (minimax loss, non-saturating loss) of the generator.

    Raises:
        WrongAnswer: naming the one that is wrong, and how.
    """
    logits = torch.tensor([-4.0, 0.0, 2.0])
    result = answer(logits.clone())
    if unanswered(result):
        return
    try:
        minimax, other = (as_number("A loss", loss) for loss in result)
    except (TypeError, ValueError):
        raise WrongAnswer(f"return a pair, (minimax, non-saturating); yours is {result!r}.") from None
    true = float(-F.softplus(logits).mean()), float(F.softplus(-logits).mean())
    if close(minimax, true[0]) and close(other, true[1]):
        right("Same aim, other slopes: -D for the first, -(1 - D) for the second.")
        return
    if close(minimax, true[1]) and close(other, true[0]):
        raise WrongAnswer("the two are swapped: minimax is log(1 - D(G(z))).")
    if close(minimax, -true[0]):
        raise WrongAnswer("the first has the wrong sign: the generator wants log(1 - D(G(z))) small.")
    if close(other, -true[1]):
        raise WrongAnswer("the second has the wrong sign: it is -log D(G(z)), which is positive.")
    which = "first" if not close(minimax, true[0]) else "second"
    value, truth = (minimax, true[0]) if which == "first" else (other, true[1])
    raise WrongAnswer(f"the {which} should be {truth:.4f} and is {value:.4f}; D is the sigmoid of the logit.")


def check_slopes(answer: Callable[[Tensor], Any]) -> None:
    """Exercise 4: the slopes of both generator losses in the logit, as a pair of tensors, without autograd.

    Raises:
        WrongAnswer: naming the one that is wrong, and how.
    """
    logits = torch.tensor([-4.0, 0.0, 2.0])
    result = answer(logits.clone())
    if unanswered(result):
        return
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise WrongAnswer(f"return a pair of tensors, (minimax, non-saturating); yours is {result!r}.")
    minimax, other = (as_tensor("A slope", slope, (3,)) for slope in result)
    d = logits.sigmoid()
    if close(minimax, -d) and close(other, d - 1):
        right("Where D is near 0, the first slope is near 0 and the second near -1.")
        return
    if close(minimax, d - 1) and close(other, -d):
        raise WrongAnswer("the two are swapped: which one is near zero where D is near zero?")
    if close(minimax, d) or close(other, 1 - d):
        raise WrongAnswer("a sign: both losses fall when the logit rises.")
    if close(minimax, -1 / (1 - d)) or close(other, -1 / d):
        raise WrongAnswer("those are slopes in D; multiply by the sigmoid's own slope, D(1 - D).")
    which = "first" if not close(minimax, -d) else "second"
    raise WrongAnswer(f"the {which} is wrong: write it with D and differentiate, with dD/dlogit = D(1 - D).")


def check_gradient_penalty(answer: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Any]) -> None:
    """Exercise 5: `penalty(critic, real, fake)`, the mean of (‖slope‖ - 1)² at points between real and generated.

    Raises:
        WrongAnswer: naming the axis of a wrong norm, or what has no gradient.
    """
    weight = torch.tensor([[0.6, -1.2], [2.0, 0.3]], requires_grad=True)

    def critic(x: Tensor) -> Tensor:
        return (x * weight).sum(dim=(1, 2))  # its slope is `weight`, whatever the point

    generator = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(5, 2, 2, generator=generator) for _ in range(2))
    result = answer(critic, real.clone(), fake.clone())
    if unanswered(result):
        return
    value = as_number("The penalty", result)
    slopes = weight.detach().expand(5, 2, 2)
    true = float((slopes.flatten(1).norm(dim=1) - 1).square().mean())
    if close(value, true):
        if not isinstance(result, Tensor) or not result.requires_grad:
            raise WrongAnswer("the value is right, but no gradient leads back to the critic: create_graph=True.")
        _check_mixing(answer)
        right("The norm goes over all axes of one sample, and the critic can learn from it.")
        return
    mistakes = [
        ((slopes.norm() - 1).square(), "the norm went over the whole batch; every sample has one of its own."),
        (
            (slopes.norm(dim=1) - 1).square().mean(),
            "the norm went over one axis of the sample only: flatten(1) before it.",
        ),
        ((slopes.norm(dim=2) - 1).square().mean(), "the norm went over the last axis only: flatten(1) before it."),
        (
            ((slopes / 5).flatten(1).norm(dim=1) - 1).square().mean(),
            "you took the slope of the mean; then every slope is divided by the batch size. Sum the critic's values.",
        ),
        (slopes.flatten(1).norm(dim=1).square().mean(), "the slopes are to be 1, not 0: subtract 1 before squaring."),
        (slopes.flatten(1).norm(dim=1).mean() - 1, "the square is missing."),
        (
            (slopes.flatten(1).square().sum(dim=1) - 1).square().mean(),
            "the root is missing: the norm is the root of the sum of squares.",
        ),
    ]
    _name(value, mistakes, true)


def _check_mixing(answer: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Any]) -> None:
    seen: list[Tensor] = []

    def spy(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return x.flatten(1).sum(dim=1)

    answer(spy, torch.ones(64, 3), torch.zeros(64, 3))
    shares = seen[0]
    if not close(shares, shares[:, :1].expand(64, 3)):
        raise WrongAnswer("one more thing: mix a sample by one share for all of its axes, not one an axis.")
    if float(shares.min()) < 0 or float(shares.max()) > 1:
        raise WrongAnswer("one more thing: the points must lie between a real and a generated sample.")
    if float(shares[:, 0].std()) < 0.05:
        raise WrongAnswer("one more thing: draw a share of its own for every sample, uniform between 0 and 1.")


def _name(value: float, mistakes: list[tuple[Any, str]], true: float) -> None:
    for wrong, message in mistakes:
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it should be {true:.4f} and is {value:.4f}.")
