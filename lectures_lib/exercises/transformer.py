"""Checkers for the exercises of the chapter `transformer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered
from lectures_lib.models.transformer import EncoderLayer, TransformerConfig


def check_layer_parameters(answer: Any, *, d_model: int, d_feed_forward: int, n_heads: int) -> None:
    """Exercise 1: how many weights and biases one encoder layer has.

    Raises:
        WrongAnswer: the count is another; a known mistake is named.
    """
    if unanswered(answer):
        return
    count = as_number("The count", answer)
    attention, feed_forward = 4 * (d_model**2 + d_model), 2 * d_model * d_feed_forward + d_feed_forward + d_model
    norms = 2 * 2 * d_model
    if count == attention + feed_forward + norms:
        right(f"The heads share the width out: with {n_heads} heads or with one, the count is the same.")
        return
    mistakes = {
        attention + feed_forward: "the two layer normalisations are missing: a weight and a bias for each number.",
        attention + feed_forward + norms // 2: "there are two layer normalisations, one after each part.",
        4 * d_model**2 + 2 * d_model * d_feed_forward + norms: "the biases of the linear maps are missing.",
        3 * (d_model**2 + d_model) + feed_forward + norms: "attention also has a matrix after its heads are joined.",
        n_heads * attention + feed_forward + norms: "the heads do not have full-width matrices of their own: "
        "they share the width out.",
        attention + norms: "the feed-forward network is missing.",
    }
    raise WrongAnswer(mistakes.get(count, f"it is not {count:g}. `for n, p in layer.named_parameters()` lists them."))


def check_layer_norm(answer: Callable[[Tensor], Any]) -> None:
    """Exercise 2: layer normalisation of x, (batch, time, d_model), without weight and bias; ε is 1e-5.

    Raises:
        WrongAnswer: naming the wrong axis, the wrong variance, or the place of ε.
    """
    x = 3 * torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)) + 1
    x[0, 0] = 1e-3 * x[0, 0]  # here the place of ε shows
    result = answer(x.clone())
    if unanswered(result):
        return
    y = as_tensor("The result", result, tuple(x.shape))
    if close(y, F.layer_norm(x, (8,))):
        right("Every position by itself: neither its neighbours nor the rest of the batch have a say.")
        return
    centred = x - x.mean(-1, keepdim=True)
    mistakes = [
        (
            (x - x.mean((0, 1))) / (x.var((0, 1), correction=0) + 1e-5).sqrt(),
            "over batch and time: that is batch norm.",
        ),
        ((x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt(), "the axis is the last."),
        (centred, "the mean is gone, but the size is still that of x: divide by the standard deviation."),
        (
            centred / (x.var(-1, keepdim=True) + 1e-5).sqrt(),
            "`var` divides by n - 1 unless you say correction=0; the paper's layer normalisation divides by n.",
        ),
        (
            centred / (x.std(-1, correction=0, keepdim=True) + 1e-5),
            "ε stands under the root, beside the variance; for small vectors that makes a difference.",
        ),
        (centred / (x.std(-1, keepdim=True) + 1e-5), "ε stands under the root, and the variance divides by n."),
    ]
    for wrong, message in mistakes:
        if close(y, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer("each vector should have mean 0 and variance 1: look at y.mean(-1) and y.var(-1, correction=0).")


def check_encoder_layer(answer: Callable[[Tensor, EncoderLayer], Any]) -> None:
    """Exercise 5: the post-LN encoder layer out of the library's own parts.

    Raises:
        WrongAnswer: naming what is missing or in the wrong order.
    """
    torch.manual_seed(0)
    layer = EncoderLayer(TransformerConfig.tiny(8, 8)).eval()
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        result = answer(x.clone(), layer)
        if unanswered(result):
            return
        y = as_tensor("The result", result, tuple(x.shape))
        if close(y, layer(x)):
            right("Attention moves between words; the feed-forward network works on each word by itself.")
            return
        attend, feed = layer.self_attention, layer.feed_forward
        first, second = layer.add_attention.norm, layer.add_feed_forward.norm
        h = first(x + attend(x))
        mistakes = [
            (second(feed(first(attend(x)))), "the residual connections are missing: add the input of each part."),
            (h + feed(h), "the second layer normalisation is missing."),
            (h, "the feed-forward network is missing."),
            (second(x + feed(h)), "the second residual adds the input of the feed-forward network, not of the layer."),
            (x + attend(x) + feed(x + attend(x)), "the layer normalisations are missing."),
            (
                _pre(x, attend, feed, first, second),
                "that is pre-LN: in the paper the normalisation comes after adding.",
            ),
        ]
    for wrong, message in mistakes:
        if close(y, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer("it differs from layer(x). Write h = norm(x + attention(x)) first, and compare in two steps.")


def _pre(x: Tensor, attend: nn.Module, feed: nn.Module, first: nn.Module, second: nn.Module) -> Tensor:
    x = x + attend(first(x))
    return x + feed(second(x))


def check_beam_step(answer: Callable[[Tensor, Tensor, int], Any]) -> None:
    """Exercise 4: one step of beam search, to a list of (hypothesis, token) pairs, the best first.

    Raises:
        WrongAnswer: naming what was compared instead of the whole hypotheses.
    """
    totals = torch.tensor([-1.0, -1.1, -4.0])
    next_log_probabilities = torch.tensor([[0.4, 0.35, 0.25], [0.02, 0.5, 0.48], [0.98, 0.01, 0.01]]).log()
    result = answer(totals.clone(), next_log_probabilities.clone(), 2)
    if unanswered(result):
        return
    try:
        pairs = [(int(hypothesis), int(token)) for hypothesis, token in result]
    except (TypeError, ValueError):
        raise WrongAnswer(f"return a list of (hypothesis, token) pairs; yours is {result!r}.") from None
    best = _best_pairs(totals.unsqueeze(1) + next_log_probabilities, 2)
    if pairs == best:
        right("The second-best sentence so far may have the best continuation: that is what a beam is for.")
        return
    greedy = [(i, int(next_log_probabilities[i].argmax())) for i in range(2)]
    mistakes: list[tuple[Sequence, str]] = [
        (_best_pairs(next_log_probabilities, 2), "you compared the next tokens alone: add what came before them."),
        (greedy, "you continued each hypothesis once; two continuations of one may beat the best of another."),
        (best[::-1], "these are the right ones: put the best first."),
        (_best_pairs(totals.unsqueeze(1) * next_log_probabilities, 2), "logarithms of probabilities are added."),
    ]
    if len(pairs) != 2:
        raise WrongAnswer(f"a beam of 2 keeps 2 continuations in all; yours has {len(pairs)}.")
    for wrong, message in mistakes:
        if pairs == wrong:
            raise WrongAnswer(message)
    raise WrongAnswer(f"yours are {pairs}. Add each total to its row, and look for the two largest in the whole table.")


def _best_pairs(table: Tensor, count: int) -> list[tuple[int, int]]:
    places = table.flatten().topk(count).indices.tolist()
    return [(place // table.shape[1], place % table.shape[1]) for place in places]


def check_label_smoothing(answer: Callable[[Tensor, Tensor, float], Any]) -> None:
    """Exercise 3: cross-entropy with a smoothed target, for logits (n, vocabulary) and targets (n), averaged.

    Raises:
        WrongAnswer: naming how the target was smoothed instead.
    """
    generator = torch.Generator().manual_seed(0)
    logits, target, smoothing = torch.randn(6, 5, generator=generator), torch.tensor([0, 4, 2, 2, 1, 3]), 0.2
    result = answer(logits.clone(), target.clone(), smoothing)
    if unanswered(result):
        return
    value = as_number("The loss", result)
    if close(value, F.cross_entropy(logits, target, label_smoothing=smoothing)):
        right("The model is no longer rewarded for being certain beyond 1 - ε + ε/V.")
        return
    log_p = logits.log_softmax(-1)
    true = log_p.gather(1, target.unsqueeze(1)).squeeze(1)
    others = log_p.sum(-1) - true
    mistakes = [
        (-true.mean(), "that is plain cross-entropy: the smoothing has no effect."),
        (
            -((1 - smoothing) * true + smoothing * others / 4).mean(),
            "you spread ε over the other tokens only; in the paper's code the true one gets its share too.",
        ),
        (-((1 - smoothing) * true + smoothing * log_p.sum(-1)).mean(), "ε is spread over the vocabulary: divide by V."),
        (-((1 - smoothing) * true).mean(), "the part ε that is spread over the vocabulary is missing."),
        (-(smoothing * true + (1 - smoothing) * log_p.mean(-1)).mean(), "1 - ε and ε have changed places."),
    ]
    for wrong, message in mistakes:
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"yours is {value:.4f}. Each row of the smoothed target should sum to 1.")
