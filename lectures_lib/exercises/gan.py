"""Checkers for the exercises of the chapter `gan`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer, as_number, close, right, unanswered


def check_best_answer(answer: Any, *, real: int | float, generated: int | float) -> None:
    """Exercise 1: what the best discriminator says where the densities are `real` and `generated`.

    Raises:
        WrongAnswer: the answer is not p/(p + q); a known mistake is named.
    """
    if unanswered(answer):
        return
    said = as_number("D(x)", answer)
    if close(said, real / (real + generated)):
        right("Of all samples that fall there, that share is real.")
        return
    mistakes = [
        (generated / (real + generated), "that is how probable it is that the sample was generated."),
        (real / generated, "that is the ratio p/q; a probability is p/(p + q)."),
        (real, "that is the density of real samples alone; how many generated ones fall there matters as much."),
        (float(real > generated), "it is not sure: generated samples fall there as well."),
        (0.5, "it says one half only where both densities are equal."),
    ]
    _name(said, mistakes)


def check_value(answer: Any) -> None:
    """Exercise 2: the value of the game where the discriminator says one half everywhere, in nats.

    Raises:
        WrongAnswer: the answer is not -log 4; a known mistake is named.
    """
    if unanswered(answer):
        return
    said = as_number("The value", answer)
    if close(said, -math.log(4)) or abs(said + math.log(4)) < 5e-3:
        right("-log 4: one log ½ for the real samples and one for the generated ones.")
        return
    mistakes = [
        (math.log(4), "the sign: logarithms of probabilities are not positive."),
        (-math.log(2), "you counted one of the two terms; there is one for real and one for generated samples."),
        (0.5, "that is D; the value is a sum of logarithms of it."),
        (-2.0, "you took logarithms to base 2; in this book they are natural."),
        (2 * math.log10(0.5), "you took logarithms to base 10; in this book they are natural."),
        (0.0, "zero would be the value where the discriminator is always right and always sure."),
    ]
    _name(said, mistakes)


def check_discriminator_loss(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """Exercise 3: the discriminator's loss from its logits on real and on generated samples, in nats.

    Raises:
        WrongAnswer: naming a sign, a part that is missing, or what overflows.
    """
    real, fake = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([-3.0, 1.0])
    result = answer(real.clone(), fake.clone())
    if unanswered(result):
        return
    value = as_number("The loss", result)
    on_real, on_fake = F.softplus(-real).mean(), F.softplus(fake).mean()
    if close(value, on_real + on_fake):
        far = answer(torch.tensor([-200.0]), torch.tensor([200.0]))
        if not math.isfinite(as_number("The loss", far)) or not close(as_number("The loss", far), 400.0):
            raise WrongAnswer(
                "right for small logits, but for a logit of 200 it is "
                f"{as_number('The loss', far):g} instead of finite: use F.logsigmoid or F.softplus, which never take "
                "the logarithm of a rounded 0."
            )
        right("Real samples are to get high logits, generated ones low.")
        return
    both = torch.cat([F.softplus(-real), F.softplus(fake)])
    mistakes = [
        (-(on_real + on_fake), "the sign: that is the value the discriminator wants large; a loss is to be small."),
        (F.softplus(real).mean() + F.softplus(-fake).mean(), "real and generated are swapped."),
        (on_real, "the generated samples are missing."),
        (on_fake, "the real samples are missing."),
        (both.mean(), "you averaged over all samples at once; each kind has a mean of its own, and both are added."),
        ((on_real + on_fake) / 2, "that is half of it: the two means are added, not averaged."),
        (both.sum(), "you summed over samples; each part is a mean."),
        (on_real + F.softplus(-fake).mean(), "generated samples are asked to look real: that is the generator's wish."),
    ]
    _name(value, mistakes)


class _Watched(nn.Module):
    """A network of one weight that knows how it was used."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[weight]]))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def check_generator_step(answer: Callable[[nn.Module, nn.Module, torch.optim.Optimizer, Tensor], Any]) -> None:
    """Exercise 4: `generator_step(generator, discriminator, optimizer, latent)`: one non-saturating move.

    Raises:
        WrongAnswer: naming who moved that should not, or which way the generator went.
    """
    generator, discriminator = _Watched(0.5), _Watched(1.5)
    latent = torch.tensor([[1.0], [2.0], [0.5]])
    generator.weight.grad = torch.tensor([[100.0]])  # left over from before
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    result = answer(generator, discriminator, optimizer, latent.clone())
    moved = generator.weight.detach() - 0.5
    if result is None and float(moved) == 0 and generator.weight.grad == 100:
        unanswered(None)
        return
    if discriminator.weight.item() != 1.5:
        raise WrongAnswer("the discriminator's weights moved too: this step is the generator's alone.")
    start = torch.tensor([[0.5]], requires_grad=True)
    logits = latent @ start @ torch.tensor([[1.5]])
    (wanted,) = torch.autograd.grad(F.softplus(-logits).mean(), start)
    (saturating,) = torch.autograd.grad(-F.softplus(latent @ start @ torch.tensor([[1.5]])).mean(), start)
    if close(moved, -0.1 * wanted):
        right("The gradient came through the discriminator, and only the generator moved.")
        return
    if float(moved) == 0:
        raise WrongAnswer("the generator has not moved: is there a detach() that cuts its gradient off, or no step()?")
    if close(moved, -0.1 * (wanted + 100)) or close(moved, -0.1 * (saturating + 100)):
        raise WrongAnswer("old gradients were still there: call optimizer.zero_grad() before backward().")
    if close(moved, 0.1 * wanted):
        raise WrongAnswer("it went the wrong way: the generator wants its samples' logits high.")
    if close(moved, -0.1 * saturating):
        raise WrongAnswer("that is minimax, log(1 - D(G(z))); the task asks for -log D(G(z)).")
    if close(moved, -0.3 * wanted):
        raise WrongAnswer("you summed over the samples; the loss is a mean.")
    raise WrongAnswer(f"the weight should move by {float(-0.1 * wanted):.4f} and moved by {float(moved):.4f}.")


def check_probe(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """Exercise 5: `accuracy(real_logits, fake_logits)`, the share of samples that the discriminator puts right.

    Raises:
        WrongAnswer: naming what was counted instead.
    """
    real, fake = torch.tensor([2.0, -1.0, 0.5, 3.0]), torch.tensor([-3.0, 1.0, 2.0, 4.0])
    result = answer(real.clone(), fake.clone())
    if unanswered(result):
        return
    share = as_number("The accuracy", result)
    if close(share, 0.5):
        unequal = as_number("The accuracy", answer(torch.ones(6), torch.ones(2)))
        if close(unequal, 0.75):
            raise WrongAnswer(
                "right where both kinds are equally many. With six real ones and two generated ones, a discriminator "
                "that says real to everything gets 75 % from yours: give each kind the same weight."
            )
        if not close(unequal, 0.5):
            raise WrongAnswer(f"a discriminator that says real to everything should get one half, not {unequal:g}.")
        right("One half, as for this discriminator, is what guessing gets.")
        return
    mistakes = [
        (0.75, "that is the share on real samples alone."),
        (0.25, "that is the share on generated samples alone."),
        (4.0, "that is a count; divide by how many there are."),
        (0.375, "a logit is above 0 where the discriminator says real; it need not be above one half."),
    ]
    _name(share, mistakes)


def _name(value: float, mistakes: list[tuple[Any, str]]) -> None:
    for wrong, message in mistakes:
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it is not {value:g}.")
