"""Checkers for the exercises of the chapter `attention`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lectures_lib.evaluation.alignment import alignment_error_rate, hard_links
from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered


def check_weight_count(answer: Any, *, n_source: int, n_target: int, d_hidden: int) -> None:
    """Exercise 1: how many attention weights a translation of `n_target` tokens from `n_source` tokens takes.

    Raises:
        WrongAnswer: the answer is not `n_source · n_target`; a known mistake is named.
    """
    if unanswered(answer):
        return
    count = as_number("The count", answer)
    if count == n_source * n_target:
        right("One weight for every pair of words. Twice the length on both sides, four times the weights.")
        return
    mistakes = {
        n_source: "those are the weights of one written token; every written token has its own.",
        n_target: "that is the number of written tokens; each of them has one weight for every token read.",
        n_source + n_target: "you added; each written token looks at every token read.",
        n_source * d_hidden: "you counted the numbers in the encoder's states; a state gets one weight, as a whole.",
        n_source
        * n_target
        * d_hidden: "a weight multiplies a whole state: there is one a pair, not one a hidden unit.",
        n_source**2: "those would be pairs of tokens read; it is the written tokens that look.",
        n_target**2: "those would be pairs of written tokens; they look at the tokens read.",
    }
    raise WrongAnswer(mistakes.get(count, f"it is not {count:g}. Which shape has the picture of the weights?"))


def check_masked_softmax(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """Exercise 2: weights from scores (batch, query, key), and a mask (batch, 1, key) that is True where a token is.

    Raises:
        WrongAnswer: naming what is wrong with the mask, the axis or the sum.
    """
    scores = torch.tensor([[[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 2.0]], [[0.3, -0.2, 2.0, 4.0], [-3.0, -4.0, 1, 2]]])
    mask = torch.tensor([[[True, True, True, False]], [[True, True, False, False]]])
    result = answer(scores.clone(), mask.clone())
    if unanswered(result):
        return
    weights = as_tensor("The weights", result, (2, 2, 4))
    if close(weights, scores.masked_fill(~mask, -torch.inf).softmax(-1)):
        right("Padding gets nothing, and the rest still sums to one.")
        return
    plain = scores.softmax(-1)
    mistakes = [
        (plain, "the padding still gets weight: use the mask before the softmax."),
        (
            plain * mask,
            "what the padding had got is missing now: each row must sum to 1. Use the mask before the softmax.",
        ),
        (
            (scores * mask).softmax(-1),
            "a score of 0 is not nothing: e to the 0 is 1. What score has an exponential of 0?",
        ),
        (
            scores.masked_fill(mask, -torch.inf).softmax(-1),
            "the mask is upside down: True marks a token that may be seen.",
        ),
        (
            scores.masked_fill(~mask, -torch.inf).softmax(1),
            "your weights sum to 1 over the queries: the softmax goes over the last axis, the keys.",
        ),
        (scores.masked_fill(~mask, -torch.inf), "these are scores still: the softmax is missing."),
        (scores.masked_fill(~mask, -torch.inf).exp(), "these do not sum to 1 yet: divide by the sum over the keys."),
    ]
    # The softmax of nothing but -inf is not a number, and no number equals it: compare with zeros in its place.
    _name_the_mistake(weights.nan_to_num(), [(wrong.nan_to_num(), message) for wrong, message in mistakes])
    raise WrongAnswer("the values differ: which score must a padded place have, so that its weight is 0?")


def check_context(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """Exercise 3: a context for every written token, from weights (batch, target, source) and states.

    Raises:
        WrongAnswer: naming which other mean was taken.
    """
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(2, 3, 4, generator=generator).softmax(-1)
    states = torch.randn(2, 4, 5, generator=generator)
    result = answer(weights.clone(), states.clone())
    if unanswered(result):
        return
    context = as_tensor("The context", result, (2, 3, 5))
    if close(context, weights @ states):
        right("All contexts of all sentences in one product of matrices.")
        return
    mistakes = [
        (
            states.mean(1, keepdim=True).expand(2, 3, 5),
            "that is the plain mean of the states: the weights are not used.",
        ),
        (states.sum(1, keepdim=True).expand(2, 3, 5), "that is the sum of the states: the weights are not used."),
        (weights @ states / 4, "you divided by the number of states: the weights sum to 1 already."),
        (
            torch.stack([states[b, weights[b].argmax(-1)] for b in range(2)]),
            "you took the state with the largest weight alone: all of them count, each by its weight.",
        ),
        (
            (weights.mean(1, keepdim=True) @ states).expand(2, 3, 5),
            "every written token got the same context: each has weights of its own.",
        ),
    ]
    _name_the_mistake(context, mistakes)
    raise WrongAnswer(f"the values differ by up to {(context - weights @ states).abs().max():.3g}.")


def check_multiplicative_scores(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
    """Exercise 4: Luong's "general" scores of all steps at once, qᵀWk: (batch, query, key).

    Raises:
        WrongAnswer: naming what is missing, turned round or too much.
    """
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(2, 3, 4, generator=generator)
    keys = torch.randn(2, 5, 4, generator=generator)
    matrix = torch.randn(4, 4, generator=generator)
    result = answer(queries.clone(), keys.clone(), matrix.clone())
    if unanswered(result):
        return
    scores = as_tensor("The scores", result, (2, 3, 5))
    true = queries @ matrix @ keys.transpose(1, 2)
    if close(scores, true):
        right("No loop over the steps: this is what made attention fast, and what the Transformer starts from.")
        return
    mistakes = [
        (queries @ keys.transpose(1, 2), "W is not used: this is Luong's other score, the plain dot product."),
        (
            queries @ matrix.T @ keys.transpose(1, 2),
            "W is turned round: the query stands on its left, the key on its right.",
        ),
        (true / 4**0.5, "you divided by √d: the Transformer does, this score does not."),
        (true.softmax(-1), "these are weights already: give the scores, before the softmax."),
        (torch.tanh(true), "there is no tanh in this score: that is the additive one."),
    ]
    _name_the_mistake(scores, mistakes)
    raise WrongAnswer(f"the values differ by up to {(scores - true).abs().max():.3g}: is it q times W times k?")


def check_error_rate(answer: Callable[[Tensor, set[tuple[int, int]]], Any]) -> None:
    """Exercise 5: the alignment error rate of one sentence, from weights (target, source) and gold links.

    Raises:
        WrongAnswer: naming the other rate that was computed, or the axis.
    """
    weights = torch.tensor(
        [[0.7, 0.1, 0.1, 0.1], [0.2, 0.1, 0.6, 0.1], [0.1, 0.3, 0.1, 0.5], [0.8, 0.1, 0.05, 0.05], [0.0, 0.2, 0.1, 0.7]]
    )
    gold = {(0, 0), (1, 1), (1, 2), (2, 3), (3, 2), (3, 3), (4, 0), (4, 2)}
    result = answer(weights.clone(), set(gold))
    if unanswered(result):
        return
    rate = as_number("The rate", result)
    links = hard_links(weights)
    true = alignment_error_rate([links], [gold])
    if close(rate, true):
        right("You can now say how far attention is from the truth, and not only look at pictures.")
        return
    both = len(links & gold)
    by_column = {(int(row), column) for column, row in enumerate(weights.argmax(0))}
    turned = {(column, row) for row, column in links}
    mistakes = [
        (1 - true, "that is the share of agreement (the F1 score): the error is what is missing to 1."),
        (1 - both / len(links), "you looked at the predicted links only: gold links that were missed count too."),
        (1 - both / len(gold), "you looked at the gold links only: wrong predicted links count too."),
        (
            1 - both / (len(links) + len(gold)),
            "links in both stand in both sets, so they count twice above the line.",
        ),
        (1 - both / len(links | gold), "below the line stands |A| + |G|, not the size of their union."),
        (
            alignment_error_rate([by_column], [gold]),
            "you gave each source word a link: it is each row, each written word, that looks.",
        ),
        (alignment_error_rate([turned], [gold]), "your links are (source, target): the row comes first."),
    ]
    _name_the_mistake(rate, mistakes)
    raise WrongAnswer(f"it should be {true:.4g} and is {rate:.4g}.")


def _name_the_mistake(answer: Tensor | float, mistakes: Sequence[tuple[Tensor | float, str]]) -> None:
    for wrong, message in mistakes:
        if close(answer, wrong):
            raise WrongAnswer(message)
