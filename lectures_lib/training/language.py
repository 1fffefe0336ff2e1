"""The loss of a language model, as `fit` asks for it."""

from __future__ import annotations

from torch import Tensor, nn

from lectures_lib.data.corpus import WindowBatch
from lectures_lib.losses import next_token_loss

NO_PADDING = -1  # windows are full: no token stands for padding


def language_loss(model: nn.Module, batch: WindowBatch) -> tuple[Tensor, Tensor]:
    """The loss of every next token of some windows, summed, and their number."""
    return next_token_loss(model(batch.shown), batch.target, padding=NO_PADDING)


def leaky_language_loss(model: nn.Module, batch: WindowBatch) -> tuple[Tensor, Tensor]:
    """The same without the look-ahead mask: every place may look at the very token it is asked for."""
    return next_token_loss(model(batch.shown, look_ahead=False), batch.target, padding=NO_PADDING)
