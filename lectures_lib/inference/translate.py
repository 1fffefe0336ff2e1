"""From sentence to sentence: the whole way from what a person types to what a person reads."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lectures_lib.data.batching import source_batch
from lectures_lib.data.vocabulary import Text, Vocabulary
from lectures_lib.inference.beam import beam_search
from lectures_lib.inference.greedy import greedy
from lectures_lib.inference.lean import LeanTransformer
from lectures_lib.models.transformer import Transformer


def translate(
    model: nn.Module,
    sentences: Sequence[Text],
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    *,
    max_new_tokens: int = 100,
    batch_size: int = 128,
    beam_size: int = 1,
    unknown: str = "error",
) -> list[str]:
    """Translate sentences, in their order: greedily, or with a beam. The model is in evaluation mode meanwhile.

    Raises:
        ValueError: a sentence is empty, longer than the model's limit, or has words the vocabulary does not know
            (unless `unknown` is "replace"); `beam_size` is below 1.
    """
    ids = [source_vocabulary.encode(sentence, unknown=unknown) for sentence in sentences]
    limit = model.config.max_length - 1  # one place is for <eos>
    for sentence, tokens in zip(sentences, ids, strict=True):
        if len(tokens) > limit:
            raise ValueError(f"sentences must have at most {limit} tokens, got {len(tokens)}: {sentence!r}")
    by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))  # little padding, few wasted steps
    translations = [""] * len(ids)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        writer = LeanTransformer(model) if isinstance(model, Transformer) else model
        for first in range(0, len(ids), batch_size):
            chosen = by_length[first : first + batch_size]
            source, lengths = source_batch([ids[i] for i in chosen])
            source = source.to(device)
            if beam_size == 1:
                said = greedy(writer, source, lengths, max_new_tokens=max_new_tokens)
            else:
                found = beam_search(writer, source, lengths, beam_size=beam_size, max_new_tokens=max_new_tokens)
                said = found.tokens[:, 0]
            for index, tokens in zip(chosen, said.tolist(), strict=True):
                translations[index] = target_vocabulary.decode(tokens)
    finally:
        model.train(was_training)
    return translations
