"""Greedy decoding: at every step, say the most probable token."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID


@runtime_checkable
class StepwiseModel(Protocol):
    """A model that writes one token at a time."""

    def start(self, source: Tensor, source_lengths: Tensor) -> Any:
        """The state before the first token."""
        ...

    def step(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits (batch, vocabulary) of the token after `tokens`, and the next state."""
        ...

    def select(self, state: Any, rows: Tensor, *, group: int = 1) -> Any:
        """The state of these rows of the batch, in this order; a row may come twice, or be left out.

        Each `group` rows in a row belong to one sentence, which a model may use to store what they share only once.
        """
        ...


@torch.no_grad()
def greedy(
    model: StepwiseModel,
    source: Int[Tensor, "batch source_time"],
    source_lengths: Int[Tensor, " batch"],
    *,
    max_new_tokens: int,
    min_new_tokens: int = 0,
) -> Int[Tensor, "batch time"]:
    """The tokens a model says, without `<bos>`, up to and with `<eos>`; after that, padding.

    A sentence that has ended is not computed any further. Stops when all have, or after `max_new_tokens`. `<eos>`
    cannot be said before `min_new_tokens`.

    Raises:
        ValueError: the limits make no sense, or a source is empty.
    """
    check_limits(source_lengths, max_new_tokens, min_new_tokens)
    state = model.start(source, source_lengths)
    tokens = torch.full((source.shape[0],), BOS_ID, device=source.device)
    said = torch.full((source.shape[0], max_new_tokens), PAD_ID, device=source.device)
    alive = torch.arange(source.shape[0], device=source.device)
    for index in range(max_new_tokens):
        logits, state = model.step(tokens, state)
        if index < min_new_tokens:
            logits[:, EOS_ID] = -torch.inf
        tokens = logits.argmax(dim=-1)
        said[alive, index] = tokens
        if index < min_new_tokens:  # looking at a value makes a GPU wait: not before it can matter
            continue
        going = (tokens != EOS_ID).nonzero().squeeze(1)
        if len(going) == 0:
            return said[:, : index + 1]
        if len(going) < len(tokens):
            alive, tokens, state = alive[going], tokens[going], model.select(state, going)
    return said


def check_limits(source_lengths: Tensor, max_new_tokens: int, min_new_tokens: int) -> None:
    """Raise ValueError where a decoder could not begin or not end."""
    if not 0 <= min_new_tokens <= max_new_tokens or max_new_tokens < 1:
        raise ValueError(
            f"max_new_tokens must be at least 1 and not below min_new_tokens, got {max_new_tokens} and {min_new_tokens}"
        )
    if len(source_lengths) == 0:
        raise ValueError("source must hold at least one sentence, got none")
    if source_lengths.device.type != "meta" and int(source_lengths.min()) < 1:
        raise ValueError(f"source_lengths must be at least 1, got {int(source_lengths.min())}: a source is empty")
