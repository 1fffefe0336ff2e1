"""What a masked language model says to a gap."""

from __future__ import annotations

from typing import NamedTuple

import torch

from lectures_lib.data.wordpiece import TextOrPair, WordPiece
from lectures_lib.models.bert import BertForPreTraining


class Guess(NamedTuple):
    """A word for a gap, and how probable the model holds it, in [0, 1]."""

    word: str
    probability: float


@torch.no_grad()
def fill_mask(
    model: BertForPreTraining, vocabulary: WordPiece, text: TextOrPair, *, top: int = 5, unknown: str = "error"
) -> list[list[Guess]]:
    """The `top` most probable words for each `[MASK]` in a text or a pair of texts, the most probable first.

    Every gap is filled by itself: the guesses of two gaps need not fit together. The model is in evaluation mode
    afterwards.

    Raises:
        ValueError: the text has no `[MASK]`, is too long, has words the vocabulary does not know (named; with `unknown`
            "replace" they are read as `[UNK]`), or `top` is not 1 to the size of the vocabulary.
    """
    if not 1 <= top <= len(vocabulary):
        raise ValueError(f"top must lie between 1 and {len(vocabulary)}, the vocabulary's size, got {top}")
    if unknown not in ("error", "replace"):
        raise ValueError(f'unknown must be "error" or "replace", got {unknown!r}')
    strange = vocabulary.unknown_words(text)
    if strange and unknown == "error":
        raise ValueError(f"text has words the vocabulary does not know: {', '.join(map(repr, strange))}")
    batch = vocabulary.batch([text], max_length=model.config.max_length).to(next(model.parameters()).device)
    places = (batch.tokens[0] == vocabulary.mask_id).nonzero().squeeze(1)
    if not len(places):
        raise ValueError(f"text must have a gap, written [MASK], got {text!r}")
    model.eval()
    logits, _ = model(batch.tokens, batch.segments, batch.present, places)
    best = logits.float().softmax(dim=-1).topk(top)
    tokens = vocabulary.tokens
    return [
        [Guess(tokens[i], p) for i, p in zip(ids, probabilities, strict=True)]
        for ids, probabilities in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
