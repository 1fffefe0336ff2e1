"""Checkers for the exercises of the chapter `self_attention`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lectures_lib.attention import SelfAttention, attention, attention_weights, look_ahead_mask
from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered


def check_weight_count(answer: Any, *, batch: int, heads: int, time: int, d_model: int) -> None:
    """Exercise 1: how many attention weights one layer of self-attention computes for a batch.

    Raises:
        WrongAnswer: the answer is not `batch · heads · time²`; a known mistake is named.
    """
    if unanswered(answer):
        return
    count = as_number("The count", answer)
    if count == batch * heads * time**2:
        right("Twice the tokens, four times the weights; the width of the model does not come into it.")
        return
    mistakes = {
        heads * time**2: "that is one sentence; the batch has several, and none shares its weights.",
        batch * time**2: "that is one head; every head has weights of its own.",
        time**2: "that is one head of one sentence; count all of them.",
        batch * heads * time: "every query has one weight for each key: time times time, not time.",
        batch * time * d_model: "you counted the numbers of the output; weights connect places, not numbers.",
        batch * heads * time**2 * d_model: "a weight is one number for a pair of places, however wide the vectors.",
        4 * d_model**2: "you counted parameters, which are the same for every sentence; weights are computed anew.",
    }
    raise WrongAnswer(mistakes.get(count, f"it is not {count:g}. Which axes has `SelfAttention.weights(x)`?"))


def check_attention(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
    """Exercise 2: `my_attention(query, key, value)`, softmax(QKᵀ/√d)V for one head of a batch.

    Raises:
        WrongAnswer: naming the wrong axis, the missing scale, swapped roles, or what was left out.
    """
    query, key, value = _query_key_value()
    result = answer(query.clone(), key.clone(), value.clone())
    if unanswered(result):
        return
    mixed = as_tensor("The result", result, tuple(value.shape))
    if close(mixed, attention(query, key, value)):
        right("Three lines; all the rest of a Transformer stands around them.")
        return
    d = query.shape[-1]
    scores = query @ key.transpose(1, 2)
    scaled = scores / d**0.5
    mistakes = [
        (
            scaled.softmax(dim=1) @ value,
            "your weights sum to 1 over the queries: softmax goes over the last axis, the keys.",
        ),
        (scaled.softmax(dim=0) @ value, "your softmax goes over the batch: it belongs on the last axis, the keys."),
        (scores.softmax(dim=-1) @ value, "the scores are not divided: by √d, the root of the width of a query."),
        ((scores / d).softmax(dim=-1) @ value, "you divided by d; the formula divides by its square root."),
        (
            (scores / query.shape[1] ** 0.5).softmax(dim=-1) @ value,
            "you divided by the root of the number of tokens; d is the width of a query.",
        ),
        ((scores * d**0.5).softmax(dim=-1) @ value, "you multiplied by √d, where the formula divides."),
        (
            scaled.transpose(1, 2).softmax(dim=-1) @ value,
            "queries and keys are swapped: the scores are Q Kᵀ, one row a query.",
        ),
        (scaled @ value, "the softmax is missing: scores can be negative, weights cannot."),
        (scaled.softmax(dim=-1) @ key, "you mixed the keys: they are for comparing, the values are what is handed on."),
        (scaled.softmax(dim=-1) @ query, "you mixed the queries: the values are what is handed on."),
    ]
    _name_mistake(mixed, mistakes)
    difference = (mixed - attention(query, key, value)).abs().max()
    raise WrongAnswer(f"it differs by up to {difference:.3g}: compare your weights with `attention_weights`.")


def check_look_ahead(answer: Callable[[Tensor], Any]) -> None:
    """Exercise 3: `my_masked_weights(scores)`, from (time, time) scores to weights that never look ahead.

    Raises:
        WrongAnswer: naming the triangle that is upside down, the lost diagonal, or a mask that came too late.
    """
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = answer(scores.clone())
    if unanswered(result):
        return
    weights = as_tensor("The table of weights", result, (4, 4))
    mask = look_ahead_mask(4)
    hidden = float("-inf")
    if close(weights, scores.masked_fill(~mask, hidden).softmax(dim=-1)):
        right("e to the minus infinity is 0, and each row shares its 1 among what it may see.")
        return
    if weights.isnan().any():
        empty = weights.isnan().all(dim=-1).tolist()
        if empty == [True, False, False, False]:
            raise WrongAnswer("you hid the diagonal too: the first word then sees nothing, and its row is NaN.")
        if empty == [False, False, False, True]:
            raise WrongAnswer("the mask is upside down: True marks what may be seen, so fill where it is False.")
        raise WrongAnswer("there are NaNs: -inf times 0, or a row of nothing but -inf. Fill scores, do not multiply.")
    mistakes = [
        (
            scores.softmax(dim=-1) * mask,
            "you masked after the softmax: the rows no longer sum to 1, and their denominators still know the future.",
        ),
        (
            scores.masked_fill(~mask.T, hidden).softmax(dim=-1),
            "the wrong triangle: row i is who looks, and may see the columns 0 to i.",
        ),
        (
            scores.masked_fill(~mask, 0.0).softmax(dim=-1),
            "a score of 0 still gets a weight, since e to the 0 is 1: hide with -inf.",
        ),
        ((scores * mask).softmax(dim=-1), "a score of 0 still gets a weight, since e to the 0 is 1: hide with -inf."),
        (
            scores.masked_fill(~mask, hidden).softmax(dim=0),
            "your weights sum to 1 over the queries: softmax goes over the last axis, the keys.",
        ),
        (scores.softmax(dim=-1), "nothing is hidden yet: the first word sees all four."),
        (scores.masked_fill(~mask, hidden), "those are the masked scores; the softmax over each row is missing."),
    ]
    _name_mistake(weights, mistakes)
    raise WrongAnswer("the table is another one: hide with -inf above the diagonal, then softmax over each row.")


def check_split_heads(answer: Callable[[Tensor, int], Any]) -> None:
    """Exercise 4: `my_split_heads(x, n_heads)`, from (batch, time, d_model) to (batch, heads, time, d_head).

    Raises:
        WrongAnswer: naming which numbers went to the wrong head or the wrong word.
    """
    batch, time, n_heads, d_head = 2, 3, 2, 4
    x = torch.arange(batch * time * n_heads * d_head, dtype=torch.float32).view(batch, time, n_heads * d_head)
    result = answer(x.clone(), n_heads)
    if unanswered(result):
        return
    if isinstance(result, Tensor) and tuple(result.shape) == (batch, time, n_heads, d_head):
        raise WrongAnswer("the width is cut up, and the head's axis must still come before the time's: transpose.")
    heads = as_tensor("The result", result, (batch, n_heads, time, d_head))
    if torch.equal(heads, x.unflatten(-1, (n_heads, d_head)).transpose(1, 2)):
        right("From here on a head is one more axis of the batch: that is why all of them are computed at once.")
        return
    mistakes = [
        (
            x.reshape(batch, n_heads, time, d_head),
            "a bare view mixes words: its heads hold numbers of several words. Cut the width up, then transpose.",
        ),
        (
            x.unflatten(-1, (d_head, n_heads)).permute(0, 3, 1, 2),
            "your head takes every second number; a head is a run of neighbours: unflatten to (heads, d_head).",
        ),
    ]
    _name_mistake(heads, mistakes)
    raise WrongAnswer(f"word 0 of head 0 should be {x[0, 0, :d_head].tolist()}, yours is {heads[0, 0, 0].tolist()}.")


def check_self_attention(answer: Callable[[Tensor, SelfAttention], Any]) -> None:
    """Exercise 5: `my_self_attention(x, layer)`, causal, with the weights of a `SelfAttention`.

    Raises:
        WrongAnswer: naming the missing mask, the wrong √d, heads joined wrongly, or the projection left out.
    """
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    layer, x = SelfAttention(12, 3), torch.randn(2, 5, 12)
    torch.random.set_rng_state(torch_state)  # a checker leaves the student's random numbers alone
    with torch.no_grad():
        layer.project_in.weight *= 4  # weights far from uniform, so that every slip shows
        result = answer(x.clone(), layer)
        if unanswered(result):
            return
        ours = as_tensor("The result", result, (2, 5, 12))
        if close(ours, layer(x, causal=True)):
            right("This is a whole layer of self-attention; the next chapter stacks it.")
            return
        _name_mistake(ours, _layer_mistakes(layer, x))
        difference = (ours - layer(x, causal=True)).abs().max()
    raise WrongAnswer(f"it differs by up to {difference:.3g}: compare the queries, then the weights, then the mix.")


def _layer_mistakes(layer: SelfAttention, x: Tensor) -> Sequence[tuple[Tensor, str]]:
    query, key, value = layer.heads(x)
    mixed = attention(query, key, value, causal=True)
    joined = mixed.transpose(1, 2).flatten(start_dim=2)
    wide = attention_weights(query * (query.shape[-1] / x.shape[-1]) ** 0.5, key, look_ahead_mask(x.shape[1])) @ value
    bare = attention_weights(query * query.shape[-1] ** 0.5, key, look_ahead_mask(x.shape[1])) @ value
    one_head = [part.unsqueeze(1) for part in layer.project_in(x).chunk(3, dim=-1)]
    whole = attention(*one_head, causal=True).squeeze(1)
    first, second, third = layer.project_in(x).unflatten(-1, (layer.n_heads, 3, -1)).permute(3, 0, 2, 1, 4).unbind()
    swapped = attention(first, second, third, causal=True)

    def out(heads: Tensor) -> Tensor:
        return layer.project_out(heads.transpose(1, 2).flatten(start_dim=2))

    return [
        (layer(x), "it looks ahead: the mask is missing."),
        (joined, "the last projection, project_out, is missing."),
        (out(wide), "you divided by the root of d_model; d is the width of one head."),
        (out(bare), "the scores are not divided by √d."),
        (
            layer.project_out(mixed.flatten(start_dim=2).reshape(x.shape)),
            "the heads are joined the wrong way: transpose heads and time back before you flatten.",
        ),
        (layer.project_out(whole), "that is one wide head: cut the width into n_heads parts first."),
        (out(swapped), "queries, keys and values come first, then the heads: unflatten to (3, n_heads, d_head)."),
    ]


def _query_key_value() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    # As many tokens as there are sentences, and all of one width: a slip then gives numbers, not an error of shapes.
    query, key, value = torch.randn(3, 3, 5, 4, generator=generator).unbind()
    return query, key, value


def _name_mistake(given: Tensor, mistakes: Sequence[tuple[Tensor, str]]) -> None:
    for wrong, message in mistakes:
        if close(given, wrong):
            raise WrongAnswer(message)
