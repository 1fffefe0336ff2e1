"""Checkers for the exercises of the chapter `seq2seq`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lectures_lib.data.vocabulary import BOS_ID, EOS_ID
from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered


def check_context_size(answer: Any, *, n_layers: int, d_hidden: int, n_tokens: int) -> None:
    """Exercise 1: how many numbers the decoder gets, for a sentence of `n_tokens` tokens.

    Raises:
        WrongAnswer: the answer is not `n_layers · d_hidden`; a known mistake is named.
    """
    if unanswered(answer):
        return
    count = as_number("The count", answer)
    if count == n_layers * d_hidden:
        right("The context has the same size for every sentence. That is the bottleneck of this chapter.")
        return
    mistakes = {
        n_tokens * d_hidden: "you counted one hidden state a token; the decoder gets the last one only.",
        n_tokens
        * n_layers
        * d_hidden: "you counted the states of every token; the decoder gets those after the last one only.",
        n_tokens: "that is the number of tokens; each of them changes the state, but none of them enlarges it.",
        2 * n_layers * d_hidden: "you counted twice: an LSTM hands over two vectors a layer, a GRU hands over one.",
    }
    if n_layers > 1:
        mistakes[d_hidden] = f"that is one layer, and this encoder has {n_layers}."
    raise WrongAnswer(mistakes.get(count, f"it is not {count:g}. Look at `state.hidden.shape`: which axes has it?"))


def check_shift_right(answer: Callable[[list[int]], Any]) -> None:
    """Exercise 2: from a target to (decoder input, decoder target).

    Raises:
        WrongAnswer: naming what is missing, on the wrong side, or not shifted.
    """
    target = [7, 8, 9]
    pair = answer(list(target))
    if unanswered(pair):
        return
    try:
        shown, wanted = ([int(i) for i in side] for side in pair)
    except (TypeError, ValueError):
        raise WrongAnswer(f"return two lists, what is shown and what is wanted; yours is {pair!r}.") from None
    if (shown, wanted) == ([BOS_ID, *target], [*target, EOS_ID]):
        right("At every place the decoder sees the words before, and is asked for the next one.")
        return
    if shown == wanted:
        raise WrongAnswer(
            "both lists are the same: the decoder is shown the very word it is asked for, and learns to copy."
        )
    if (shown, wanted) == ([*target, EOS_ID], [BOS_ID, *target]):
        raise WrongAnswer("shifted to the wrong side: your decoder is asked for the word before, not the next one.")
    if len(shown) != len(wanted):
        raise WrongAnswer(
            f"both lists must be equally long, one answer a place; yours have {len(shown)} and {len(wanted)}."
        )
    if BOS_ID not in shown:
        raise WrongAnswer("nothing starts the decoder: its input must begin with BOS_ID.")
    if EOS_ID not in wanted:
        raise WrongAnswer(
            "nothing stops the decoder: its target must end with EOS_ID, or it never learns when to stop."
        )
    if EOS_ID in shown:
        raise WrongAnswer(
            "the decoder is shown EOS_ID, after which there is nothing to say: leave it out of the input."
        )
    if BOS_ID in wanted:
        raise WrongAnswer("the decoder is asked to say BOS_ID, which it is always given: leave it out of the target.")
    raise WrongAnswer(
        f"for the target {target} yours gives {shown} and {wanted}: write both under each other and compare."
    )


def check_masked_mean(answer: Callable[[Tensor, Tensor], Any]) -> None:
    """Exercise 3: the mean loss over real tokens; `mask` is True where there is one.

    Raises:
        WrongAnswer: naming which other mean was taken.
    """
    losses = torch.tensor([[1.0, 2.0, 3.0, 6.0], [5.0, 40.0, 70.0, 90.0]])
    mask = torch.tensor([[True, True, True, True], [True, False, False, False]])
    result = answer(losses.clone(), mask.clone())
    if unanswered(result):
        return
    value = as_number("The mean", result)
    kept = losses[mask]
    if close(value, kept.mean()):
        right("Every real token weighs the same, however much padding stands beside it.")
        return
    per_sentence = torch.stack([row[m].mean() for row, m in zip(losses, mask, strict=True)])
    mistakes = [
        (losses.mean(), "you averaged over the padding as well: its losses mean nothing."),
        (
            kept.sum() / mask.numel(),
            "the sum leaves the padding out, but the count does not: divide by the real tokens.",
        ),
        (kept.sum(), "that is the sum; divide it by the number of real tokens."),
        (
            per_sentence.mean(),
            "you averaged each sentence first, so one word of a short sentence weighs as much as four of a long one.",
        ),
        (losses[~mask].mean(), "the mask is upside down: True marks a real token here."),
    ]
    for wrong, message in mistakes:
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it should be {kept.mean():g} and is {value:g}.")


class ScriptedModel:
    """A decoder whose next word depends on its last word and its state, so that every slip shows.

    It says 5, 6, 7, 8, `<eos>` when it is given back its own words and its own states, and then would go on with 9.
    """

    def start(self) -> int:
        """The first state."""
        return 0

    def step(self, token: int, state: int) -> tuple[Tensor, int]:
        """Scores of the next of ten tokens, and the next state."""
        expected = BOS_ID if state == 0 else 4 + state
        following = [5, 6, 7, 8, EOS_ID][state] if state < 5 and token == expected else 9
        scores = torch.zeros(10)
        scores[following], scores[3] = 2.0, -1.0
        return scores, state + 1


def check_greedy(answer: Callable[[Any, int], Any]) -> None:
    """Exercise 4: `greedy(model, max_new_tokens)` on a model with `start()` and `step(token, state)`.

    Raises:
        WrongAnswer: naming the slip: not stopping, feeding the wrong token, losing the state, the wrong word.
    """
    said = answer(ScriptedModel(), 12)
    if unanswered(said):
        return
    try:
        words = [int(token) for token in said]
    except (TypeError, ValueError):
        raise WrongAnswer(f"return the list of tokens said; yours is {said!r}.") from None
    if words == [5, 6, 7, 8]:
        if len(list(answer(ScriptedModel(), 2))) != 2:
            raise WrongAnswer("asked for at most two tokens it says more or fewer: count with max_new_tokens.")
        right("It says the most probable word, reads it back, and stops at the end token.")
        return
    if words == [5, 6, 7, 8, EOS_ID]:
        raise WrongAnswer("the end token is a sign to stop, not a word: leave it out.")
    if words[:4] == [5, 6, 7, 8]:
        raise WrongAnswer("it goes on after the end token: stop as soon as the most probable token is EOS_ID.")
    if words[:1] == [BOS_ID]:
        raise WrongAnswer("BOS_ID was given to the decoder, not said by it: leave it out.")
    if words[:2] == [5, 5]:
        raise WrongAnswer(
            "it says the same word for ever: step returns a new state, and that is the one to go on from."
        )
    if words[:2] == [5, 9]:
        raise WrongAnswer(
            "after the first word it loses its way: give the word it has said to the next step, not BOS_ID again."
        )
    if words[:1] == [3]:
        raise WrongAnswer("that is the least probable word: take the argmax of the scores.")
    raise WrongAnswer(f"it should say [5, 6, 7, 8] and says {words}.")


def check_gru_cell(answer: Callable[[Tensor, Tensor, nn.GRUCell], Any]) -> None:
    """Exercise 5: `gru_cell(x, hidden, cell)` from the equations, with the weights of an `nn.GRUCell`.

    Raises:
        WrongAnswer: naming the gate that is missing, swapped or in the wrong place.
    """
    generator = torch.Generator().manual_seed(0)
    cell = nn.GRUCell(3, 4)
    for parameter in cell.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    x, hidden = torch.randn(2, 3, generator=generator), torch.randn(2, 4, generator=generator)
    with torch.no_grad():
        result = answer(x.clone(), hidden.clone(), cell)
        if unanswered(result):
            return
        new = as_tensor("The new hidden state", result, (2, 4))
        if close(new, cell(x, hidden)):
            right("You have written the cell that the encoder runs once a token.")
            return
        for wrong, message in _gru_mistakes(x, hidden, cell):
            if close(new, wrong):
                raise WrongAnswer(message)
    raise WrongAnswer(
        f"the values differ by up to {(new - cell(x, hidden)).abs().max():.3g}: check one gate after the other."
    )


def _gru_mistakes(x: Tensor, hidden: Tensor, cell: nn.GRUCell) -> Sequence[tuple[Tensor, str]]:
    i_r, i_z, i_n = (x @ cell.weight_ih.T + cell.bias_ih).chunk(3, dim=-1)
    h_r, h_z, h_n = (hidden @ cell.weight_hh.T + cell.bias_hh).chunk(3, dim=-1)
    reset, update = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
    candidate = torch.tanh(i_n + reset * h_n)
    no_reset = torch.tanh(i_n + h_n)
    before = torch.tanh(i_n + (reset * hidden) @ cell.weight_hh.T.chunk(3, dim=-1)[2] + cell.bias_hh.chunk(3)[2])
    unbiased = [x @ w.T for w in cell.weight_ih.chunk(3)], [hidden @ w.T for w in cell.weight_hh.chunk(3)]
    r, z = (torch.sigmoid(unbiased[0][i] + unbiased[1][i]) for i in (0, 1))
    n = torch.tanh(unbiased[0][2] + r * unbiased[1][2])
    gates_swapped = torch.tanh(i_n + update * h_n)
    return [
        (
            update * candidate + (1 - update) * hidden,
            "the update gate is upside down: z near 1 keeps the old state here.",
        ),
        (
            (1 - update) * no_reset + update * hidden,
            "the reset gate is not used: it multiplies the old state's part of the candidate.",
        ),
        (
            (1 - update) * before + update * hidden,
            "you reset the state before the matrix, as Cho et al. do; PyTorch resets after it.",
        ),
        (
            (1 - update) * torch.sigmoid(i_n + reset * h_n) + update * hidden,
            "the candidate goes through tanh, not through the sigmoid.",
        ),
        ((1 - z) * n + z * hidden, "the biases are missing: bias_ih and bias_hh."),
        (candidate, "that is the candidate alone: the update gate mixes it with the old state."),
        (
            (1 - reset) * gates_swapped + reset * hidden,
            "reset and update are swapped: the rows of the weights come as r, z, n.",
        ),
    ]
