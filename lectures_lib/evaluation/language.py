"""How well a language model guesses: nats a token, perplexity, and bits a character."""

from __future__ import annotations

import math

from jaxtyping import Int
from torch import Tensor, nn

from lectures_lib.data.corpus import windows_in_order
from lectures_lib.training import average_loss
from lectures_lib.training.language import language_loss


def perplexity(nats: int | float) -> float:
    """e to the loss: the number of equally probable tokens among which the model might as well be choosing."""
    return math.exp(nats)


def bits_per_character(nats: int | float, *, tokens: int, characters: int) -> float:
    """The loss in bits, shared out over characters: comparable between models that cut the text differently.

    Args:
        nats: mean loss a token.
        tokens: how many tokens were guessed.
        characters: how many characters they make up.

    Raises:
        ValueError: a number is below 1.
    """
    if tokens < 1 or characters < 1:
        raise ValueError(f"tokens and characters must be at least 1, got {tokens} and {characters}")
    return nats / math.log(2) * tokens / characters


def held_out_nats(
    model: nn.Module, tokens: Int[Tensor, " length"], *, time: int | None = None, batch_size: int = 64
) -> float:
    """The mean loss a token over a whole text, cut into windows of the model's context (or of `time`) side by side.

    The first tokens of each window are guessed from little: the result is an upper bound of what the model would reach
    if it always saw a full context.

    Raises:
        ValueError: the text has fewer than two tokens.
    """
    windows = windows_in_order(tokens, time=time or model.config.context, batch_size=batch_size)
    return average_loss(model, language_loss, windows)
