"""Checkers for the exercises of the chapter `bert`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.evaluation.senses import nearest_sense_accuracy
from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered
from lectures_lib.losses.pretraining import NO_TARGET


def check_mask_count(answer: Any, *, words: int) -> None:
    """Exercise 1: of `words` words, how many does the model see as `[MASK]`, by the rule 15 % of 80/10/10?

    Raises:
        WrongAnswer: the answer is not 0.15 · 0.8 of the words; a known mistake is named.
    """
    if unanswered(answer):
        return
    count = as_number("The count", answer)
    if close(count, 0.15 * 0.8 * words):
        right("Twelve in a hundred. Three more are asked for and not hidden: exchanged, or left as they are.")
        return
    mistakes = [
        (0.15 * words, "so many are asked for; only 80 % of them are shown as [MASK]."),
        (0.8 * words, "80 % of the words that are asked for, not of all words."),
        (0.15 * 0.9 * words, "those exchanged for a random word are not shown as [MASK]."),
        (0.15 * 0.1 * words, "so many are exchanged for a random word, and as many are left as they are."),
        (0.85 * words, "so many are not asked for at all."),
    ]
    for wrong, message in mistakes:
        if close(count, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(
        f"it is not {count:g}. First take the share that is asked for, then the part of it that is hidden."
    )


MASK, LOW, HIGH = 4, 0.8, 0.9  # the token, and where the rolls are cut


def check_masking(answer: Callable[[Tensor, Tensor, Tensor, Tensor], Any]) -> None:
    """Exercise 2: `hide(tokens, chosen, roll, random_words)` → (shown, targets), all (batch, time); `[MASK]` is 4.

    Raises:
        WrongAnswer: naming what is hidden or asked that should not be, or the other way round.
    """
    tokens = torch.tensor([[10, 11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]])
    chosen = torch.tensor([[1, 0, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1]]).bool()
    roll = torch.tensor([[0.1, 0.5, 0.85, 0.95, 0.85, 0.2], [0.3, 0.79, 0.9, 0.81, 0.1, 0.99]])
    drawn = tokens + 30
    given = [tensor.clone() for tensor in (tokens, chosen, roll, drawn)]
    pair = answer(*given)
    if unanswered(pair):
        return
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise WrongAnswer(f"return two tensors, what is shown and what is asked; yours is {type(pair).__name__}.")
    shown, targets = (
        as_tensor(n, t, tuple(tokens.shape)) for n, t in zip(("What is shown", "The targets"), pair, strict=True)
    )
    if not torch.equal(given[0], tokens):
        raise WrongAnswer("you have changed `tokens` itself: make a new tensor, the true words are still needed.")
    wanted = torch.where(chosen, tokens, NO_TARGET)
    _check_targets(targets, wanted, tokens, chosen, roll)
    hidden, exchanged = chosen & (roll < LOW), chosen & (roll >= LOW) & (roll < HIGH)
    expected = torch.where(hidden, MASK, torch.where(exchanged, drawn, tokens))
    if torch.equal(shown, expected):
        right("Every word that is asked for counts in the loss, whether it is hidden, exchanged or left as it is.")
        return
    mistakes = [
        (torch.where(chosen, MASK, tokens), "all chosen words are hidden: a tenth is exchanged, and a tenth is left."),
        (
            torch.where(roll < LOW, MASK, torch.where(roll < HIGH, drawn, tokens)),
            "you look at the rolls of all words: only those that are chosen may change.",
        ),
        (torch.where(hidden, MASK, torch.where(chosen, drawn, tokens)), "no chosen word is left as it is: roll ≥ 0.9."),
        (torch.where(hidden, MASK, tokens), "no chosen word is exchanged for a random one: roll from 0.8 to 0.9."),
        (
            torch.where(hidden, MASK, torch.where(chosen & (roll >= HIGH), drawn, tokens)),
            "you exchange where the roll is 0.9 or more, and leave from 0.8 to 0.9: here it is the other way round.",
        ),
    ]
    for wrong, message in mistakes:
        if torch.equal(shown, wrong):
            raise WrongAnswer(message)
    place = (shown != expected).nonzero()[0].tolist()
    raise WrongAnswer(
        f"at row {place[0]}, column {place[1]} yours shows {int(shown[tuple(place)])} and should show "
        f"{int(expected[tuple(place)])}: chosen is {bool(chosen[tuple(place)])}, the roll {roll[tuple(place)]:.2f}."
    )


def _check_targets(targets: Tensor, wanted: Tensor, tokens: Tensor, chosen: Tensor, roll: Tensor) -> None:
    if torch.equal(targets, wanted):
        return
    if torch.equal(targets, tokens):
        raise WrongAnswer(f"every word is asked for: put {NO_TARGET} into the targets where a word is not chosen.")
    if torch.equal(targets, torch.where(chosen & (roll < LOW), tokens, NO_TARGET)):
        raise WrongAnswer("only the hidden words are asked for: those exchanged or left as they are count too.")
    if torch.equal(targets, torch.where(chosen & (roll < HIGH), tokens, NO_TARGET)):
        raise WrongAnswer("the words left as they are must be asked for as well.")
    if torch.equal(targets, torch.where(chosen, NO_TARGET, tokens)):
        raise WrongAnswer("upside down: the words that are not chosen are asked for.")
    raise WrongAnswer(f"the targets must be the true words where chosen, and {NO_TARGET} elsewhere.")


def check_masked_loss(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """Exercise 3: the mean loss of `logits` (batch, time, vocabulary) at the places where `targets` is not -100.

    Raises:
        WrongAnswer: naming which other mean was taken.
    """
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 5, 7, generator=generator)
    targets = torch.tensor([[-100, 3, -100, -100, 6], [1, -100, -100, -100, -100]])
    result = answer(logits.clone(), targets.clone())
    if unanswered(result):
        return
    value = as_number("The loss", result)
    asked = targets != NO_TARGET
    each = F.cross_entropy(logits.flatten(0, 1), targets.clamp(min=0).flatten(), reduction="none").view(2, 5)
    truth = each[asked].mean()
    if close(value, truth):
        right("Only three of ten places count. The library does not even compute the logits of the others.")
        return
    by_row = torch.stack([row[ask].mean() for row, ask in zip(each, asked, strict=True)])
    mistakes = [
        (each[asked].sum(), "that is the sum; divide it by the number of places that are asked."),
        (each[asked].sum() / targets.numel(), "you divide by all places; only those that are asked count."),
        (each.mean(), "the places that are not asked are in your mean: -100 is no word."),
        (by_row.mean(), "you averaged each text first, so one word of a text weighs as much as two of another."),
        (-truth, "the sign is turned: a loss is minus the logarithm of the probability."),
        (
            -logits[asked].gather(1, targets[asked, None]).mean(),
            "those are logits, not logarithms of probabilities: the softmax is missing.",
        ),
        (each[~asked].mean(), "the mask is upside down: you took the places that are not asked."),
    ]
    for wrong, message in mistakes:
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it should be {truth:g} and is {value:g}.")


def check_mean_pool(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """Exercise 4: `pool(states, present)` → (batch, d): the mean of the states of real tokens, of length 1.

    Raises:
        WrongAnswer: naming what went into the mean that should not, or that the length is not 1.
    """
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(3, 4, 6, generator=generator)
    present = torch.arange(4) < torch.tensor([[4], [2], [3]])
    result = answer(states.clone(), present.clone())
    if unanswered(result):
        return
    pooled = as_tensor("The vectors", result, (3, 6))
    weight = present.unsqueeze(-1).float()
    mean = (states * weight).sum(1) / weight.sum(1)
    if close(pooled, F.normalize(mean, dim=1)):
        right("Padding has no say, and a dot product of two such vectors is their cosine.")
        return
    mistakes = [
        (mean, "the mean is right; now divide each vector by its length."),
        (F.normalize(states.mean(1), dim=1), "padding is in your mean: multiply by `present` first."),
        (states.mean(1), "padding is in your mean, and the vectors do not have length 1."),
        ((states * weight).mean(1), "you add up real tokens only but divide by all places; and the length is not 1."),
        (F.normalize(states[:, 0], dim=1), "that is the state of [CLS]; here the mean of all tokens is wanted."),
        (F.normalize(mean, dim=0), "you normalised over the batch: the length of a vector is over its last axis."),
        (F.normalize((states * ~present.unsqueeze(-1)).sum(1), dim=1), "upside down: you took the padding."),
    ]
    for wrong, message in mistakes:
        if close(pooled, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"the values differ by up to {(pooled - F.normalize(mean, dim=1)).abs().max():.3g}.")


def check_nearest_sense(answer: Callable[[Tensor, list[str]], Any]) -> None:
    """Exercise 5: leave one out; the share of vectors whose nearest other by cosine has the same sense.

    Raises:
        WrongAnswer: naming the neighbour or the distance that was taken instead.
    """
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(12, 3, generator=generator) * torch.linspace(0.2, 6, 12).unsqueeze(1)
    senses = ["dog", "tree", "tree"] * 4
    result = answer(vectors.clone(), list(senses))
    if unanswered(result):
        return
    value = as_number("The accuracy", result)
    truth = nearest_sense_accuracy(vectors, senses)
    if close(value, truth):
        right("No training, no threshold: the neighbour alone tells the sense.")
        return
    if close(value, 1.0):
        raise WrongAnswer("every vector is its own nearest neighbour: leave it out of its own list.")
    unit = F.normalize(vectors, dim=1)

    def share(similarity: Tensor) -> float:
        nearest = similarity.fill_diagonal_(-torch.inf).argmax(dim=1).tolist()
        return sum(senses[i] == senses[n] for i, n in enumerate(nearest)) / len(senses)

    mistakes = [
        (share(vectors @ vectors.T), "a dot product prefers long vectors: divide each by its length first."),
        (share(-torch.cdist(vectors, vectors)), "that is the nearest by distance; the question is about the cosine."),
        (share(-(unit @ unit.T)), "you took the farthest, not the nearest."),
        (truth * len(senses), "that is how many are right; divide by how many there are."),
        (1 - truth, "that is the share that is wrong."),
    ]
    for wrong, message in mistakes:
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it should be {truth:g} and is {value:g}.")
