"""From frames to letters: the likeliest path of a CTC model, with repeats and blanks taken out."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def spell(
    logits: Float[Tensor, "batch time vocabulary"], frames: Int[Tensor, "*frames"], *, blank: int = 0
) -> list[list[int]]:
    """The letters of every row: the likeliest at each frame, repeats joined, then blanks dropped.

    The likeliest path, which is not always the likeliest text: several paths may say the same. `frames` (batch,) says
    how much of each row is real.

    Raises:
        ValueError: `frames` does not fit, or `blank` is outside the vocabulary.

    Source: Graves et al. 2006, section 3.2, "best path decoding".
    """
    batch, time, vocabulary = logits.shape
    if tuple(frames.shape) != (batch,):
        raise ValueError(f"frames must have shape ({batch},), got {tuple(frames.shape)}")
    if not 0 <= blank < vocabulary:
        raise ValueError(f"blank must lie between 0 and {vocabulary - 1}, got {blank}")
    counts = frames.tolist()
    if counts and not 0 <= min(counts) <= max(counts) <= time:
        raise ValueError(f"frames must lie between 0 and {time}, got {min(counts)} to {max(counts)}")
    said = []
    for row, count in zip(logits.argmax(dim=-1).cpu(), counts, strict=True):
        letters = torch.unique_consecutive(row[:count]).tolist()
        said.append([letter for letter in letters if letter != blank])
    return said
