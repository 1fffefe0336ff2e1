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

    Stops when every sentence has ended, or after `max_new_tokens`. `<eos>` cannot be said before `min_new_tokens`.

    Raises:
        ValueError: the limits make no sense.
    """
    if not 0 <= min_new_tokens <= max_new_tokens or max_new_tokens < 1:
        raise ValueError(
            f"max_new_tokens must be at least 1 and not below min_new_tokens, got {max_new_tokens} and {min_new_tokens}"
        )
    state = model.start(source, source_lengths)
    tokens = torch.full((source.shape[0],), BOS_ID, device=source.device)
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    said = []
    for index in range(max_new_tokens):
        logits, state = model.step(tokens, state)
        if index < min_new_tokens:
            logits[:, EOS_ID] = -torch.inf
        tokens = logits.argmax(dim=-1).masked_fill(ended, PAD_ID)
        said.append(tokens)
        if index >= min_new_tokens:  # looking at a value makes a GPU wait: not before it can matter
            ended = ended | (tokens == EOS_ID)
            if ended.all():
                break
    return torch.stack(said, dim=1)
