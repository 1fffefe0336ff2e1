"""Checkers for the exercises of the chapter `gpt`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered
from lectures_lib.models.gpt import GPTConfig, GPTLayer


def check_cache_numbers(answer: Any, *, n_layers: int, d_model: int, tokens: int) -> None:
    """Exercise 1: how many numbers the key–value cache of one text holds.

    Raises:
        WrongAnswer: the count is another; a known mistake is named.
    """
    if unanswered(answer):
        return
    count = as_number("The count", answer)
    expected = 2 * n_layers * tokens * d_model
    if count == expected:
        right(f"At two bytes a number that is {2 * expected / 1e6:.0f} MB for one text: long contexts cost memory.")
        return
    mistakes = {
        expected // 2: "a layer keeps two vectors a token, the key and the value.",
        expected // n_layers: "every layer has a cache of its own.",
        2 * n_layers * d_model: "every token of the text is kept, not only the newest.",
        n_layers * tokens**2: "the weights of the attention are not kept: only keys and values are.",
        3 * n_layers * tokens * d_model: "a query is used once, when its token is read: it need not be kept.",
    }
    raise WrongAnswer(
        mistakes.get(count, f"it is not {count:g}. Count: layers, tokens, two vectors each, their width.")
    )


def check_bits(answer: Callable[[float, int, int], Any]) -> None:
    """Exercise 2: bits a character from nats a token, the number of tokens and the number of characters.

    Raises:
        WrongAnswer: naming what was forgotten.
    """
    nats, tokens, characters = 2.6, 250, 1_000
    result = answer(nats, tokens, characters)
    if unanswered(result):
        return
    bits = as_number("The result", result)
    expected = nats / math.log(2) * tokens / characters
    if math.isclose(bits, expected, rel_tol=1e-6):
        right("Now a model of characters and a model of whole words can be compared.")
        return
    mistakes = [
        (nats * tokens / characters, "those are still nats: a bit is log 2 nats."),
        (nats * math.log(2) * tokens / characters, "divide by log 2: a nat is more than a bit."),
        (nats / math.log(2), "that is bits a token: share them out over the characters."),
        (
            nats / math.log(2) * characters / tokens,
            "a token is four characters here: each character costs less, not more.",
        ),
        (math.exp(nats), "that is the perplexity of a token."),
    ]
    for wrong, message in mistakes:
        if math.isclose(bits, wrong, rel_tol=1e-6):
            raise WrongAnswer(message)
    raise WrongAnswer(f"2.6 nats a token, 250 tokens, 1,000 characters: yours is {bits:.4g}.")


def check_bigram(answer: Callable[[Tensor, int], Any]) -> None:
    """Exercise 3: a bigram table with one added to every count, (vocabulary, vocabulary), a row a context.

    Raises:
        WrongAnswer: naming the axis, the smoothing or the pairs that were miscounted.
    """
    text, size = torch.tensor([0, 1, 0, 1, 2, 1, 1, 0, 3, 3]), 5
    result = answer(text.clone(), size)
    if unanswered(result):
        return
    table = as_tensor("The table", result, (size, size)).double()
    counts = torch.zeros(size, size, dtype=torch.float64)
    for before, after in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
        counts[before, after] += 1
    expected = _rows(counts + 1)
    if close(table, expected):
        right("A context that never occurred gives every token the same share: with counts alone it would be 0/0.")
        return
    mistakes = [
        ((counts + 1) / (counts + 1).sum(0), "each row should sum to 1: divide by the sum over the last axis."),
        (_rows(counts + 1).T, "row a, column b is for b after a; yours is turned round."),
        (_rows(counts.T + 1), "row a, column b is for b after a; you counted a after b."),
        (counts + 1, "those are counts: divide each row by its sum."),
        ((counts + 1) / (counts + 1).sum(), "that is the share of a pair in all pairs; each row should sum to 1."),
        (counts / counts.sum(1, keepdim=True).clamp(min=1), "add one to every count before you divide."),
        (counts / counts.sum(1, keepdim=True), "0/0: add one to every count before you divide."),
    ]
    for wrong, message in mistakes:
        if bool(torch.isnan(table).any()) == bool(torch.isnan(wrong).any()) and close(
            table.nan_to_num(-1), wrong.nan_to_num(-1)
        ):
            raise WrongAnswer(message)
    raise WrongAnswer("compare with a text of two tokens, where you can count the pairs by hand.")


def _rows(counts: Tensor) -> Tensor:
    return counts / counts.sum(dim=1, keepdim=True)


def check_top_p(answer: Callable[[Tensor, float], Any]) -> None:
    """Exercise 4: top-p filtering of the probabilities (vocabulary) of one token.

    Raises:
        WrongAnswer: naming which tokens were kept instead, or that the rest was not scaled.
    """
    p, share = torch.tensor([0.15, 0.4, 0.05, 0.3, 0.1]), 0.6
    result = answer(p.clone(), share)
    if unanswered(result):
        return
    kept = as_tensor("The result", result, (5,)).float()
    if close(kept, torch.tensor([0, 4 / 7, 0, 3 / 7, 0])):
        more = as_tensor("The result", answer(p.clone(), 1.0), (5,)).float()
        if not close(more, p):
            raise WrongAnswer("with a share of 1 everything should stay as it is.")
        one = as_tensor("The result", answer(p.clone(), 0.1), (5,)).float()
        if not close(one, torch.tensor([0.0, 1, 0, 0, 0])):
            raise WrongAnswer("with a share of 0.1 the likeliest token alone should stay: there is always one.")
        right("How many stay depends on how sure the model is: that is the difference to top-k.")
        return
    mistakes = [
        (torch.tensor([0, 0.4, 0, 0.3, 0]), "the right tokens stay: scale them so that they sum to 1."),
        (torch.tensor([0.0, 1, 0, 0, 0]), "the token that carries the sum to the share belongs to those kept."),
        (torch.tensor([0, 0.4, 0, 0, 0]), "the token that carries the sum to the share belongs to those kept."),
        (torch.tensor([4 / 7, 3 / 7, 0, 0, 0]), "put the probabilities back into their old places after sorting."),
        (torch.tensor([0.4, 0.3, 0, 0, 0]), "put the probabilities back into their old places, and scale them."),
        (p, "nothing was taken away."),
        (_smallest_first(p, share), "you kept the least likely tokens: sort with the likeliest first."),
    ]
    for wrong, message in mistakes:
        if close(kept, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"of {p.tolist()} with a share of {share}, 0.4 and 0.3 should stay; yours is {kept.tolist()}.")


def _smallest_first(p: Tensor, share: float) -> Tensor:
    ordered, places = p.sort()
    keep = ordered.cumsum(0) - ordered < share
    return torch.zeros_like(p).scatter(0, places, ordered * keep) / (ordered * keep).sum()


def check_gpt_layer(answer: Callable[[Tensor, GPTLayer], Any]) -> None:
    """Exercise 5: GPT's layer, pre-LN with the look-ahead mask, out of the library's own parts.

    Raises:
        WrongAnswer: naming what is missing or in the wrong order.
    """
    torch.manual_seed(0)
    layer = GPTLayer(GPTConfig(8, 8, 64, 4, 1, 128)).eval()
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        for norm in (layer.add_attention.norm, layer.add_feed_forward.norm):  # not the same, so that a swap shows
            norm.weight.uniform_(0.5, 1.5)
        result = answer(x.clone(), layer)
        if unanswered(result):
            return
        y = as_tensor("The result", result, tuple(x.shape))
        if close(y, layer(x)):
            right("Nothing normalises the sum itself: it runs straight through all layers, to the norm at the end.")
            return
        mistakes = _layer_mistakes(x, layer)
    for wrong, message in mistakes:
        if close(y, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer("it differs from layer(x). Write h = x + attention(norm(x)) first, and compare in two steps.")


def _layer_mistakes(x: Tensor, layer: GPTLayer) -> list[tuple[Tensor, str]]:
    attend: Callable[[Tensor], Tensor] = lambda x: layer.self_attention(x, causal=True)  # noqa: E731
    feed, first, second = layer.feed_forward, layer.add_attention.norm, layer.add_feed_forward.norm

    def pre(x: Tensor, attend: Callable[[Tensor], Tensor], first: nn.Module, second: nn.Module) -> Tensor:
        x = x + attend(first(x))
        return x + feed(second(x))

    h = x + attend(first(x))
    post = first(x + attend(x))
    return [
        (pre(x, layer.self_attention, first, second), "every place sees the future: attention needs causal=True."),
        (second(post + feed(post)), "that is post-LN: here the normalisation comes before each part."),
        (h, "the feed-forward network is missing."),
        (x + feed(second(x)), "the attention is missing."),
        (h + feed(h), "the second layer normalisation is missing."),
        (x + attend(x) + feed(second(x + attend(x))), "the first layer normalisation is missing."),
        (pre(x, attend, second, first), "the two layer normalisations have changed places."),
        (attend(first(x)) + feed(second(attend(first(x)))), "the first residual is missing: add x again."),
        (feed(second(h)), "the second residual is missing: add what went in."),
        (x + feed(second(h)), "the second residual adds what went into the feed-forward part, not the layer's input."),
    ]


def check_temperature(answer: Callable[[Tensor, float], Any]) -> None:
    """A warm-up of the sampling section: probabilities at a temperature, from logits (vocabulary).

    Raises:
        WrongAnswer: naming the order of the operations.
    """
    logits, temperature = torch.tensor([2.0, 0.5, -1.0]), 2.0
    result = answer(logits.clone(), temperature)
    if unanswered(result):
        return
    p = as_tensor("The result", result, (3,)).float()
    if close(p, (logits / temperature).softmax(0)):
        right("Dividing the scores is raising the probabilities to the power 1/T.")
        return
    mistakes = [
        ((logits * temperature).softmax(0), "you multiplied: a high temperature should flatten."),
        (F.softmax(logits, 0) / temperature, "divide the scores, before the softmax."),
        (logits.softmax(0), "the temperature has no effect."),
        (logits / temperature, "those are scores: the softmax is missing."),
    ]
    for wrong, message in mistakes:
        if close(p, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"yours is {p.tolist()}.")
