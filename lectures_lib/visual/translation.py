"""Watching a translation: the context vector, and every step of decoding."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lectures_lib.data.batching import source_batch
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, Text, Vocabulary
from lectures_lib.visual.stepper import stepper, text_box
from lectures_lib.visual.style import MEMORY, TARGET

SHOWN_CANDIDATES = 5
SHOWN_UNITS = 64  # of the context: enough to see a pattern, few enough for a telephone


@torch.no_grad()
def decoding_frames(
    model: nn.Module,
    sentence: Text,
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    *,
    max_new_tokens: int = 30,
) -> list[str]:
    """One HTML frame for the context, and one for every step of greedy decoding with its most probable words.

    Raises:
        ValueError: the sentence is empty or has unknown words.
    """
    ids = source_vocabulary.encode(sentence)
    device = next(model.parameters()).device
    source, lengths = source_batch([ids])
    model.eval()
    state = model.start(source.to(device), lengths)
    read = " ".join(source_vocabulary.split(sentence))
    frames = [
        f"<p>The encoder has read <b>{html.escape(read)}</b>. All that the decoder gets is this context "
        f"(its first {min(SHOWN_UNITS, state.context.shape[-1])} of {state.context.shape[-1]} numbers):</p>"
        + _strip(state.context[0, :SHOWN_UNITS])
    ]
    said: list[int] = []
    token = BOS_ID
    while len(said) < max_new_tokens and token != EOS_ID:
        logits, state = model.step(torch.tensor([token], device=device), state)
        probabilities = logits[0].softmax(-1)
        token = int(probabilities.argmax())
        frames.append(_step_frame(said, probabilities, target_vocabulary) + _strip(state.hidden[-1, 0, :SHOWN_UNITS]))
        said.append(token)
    return frames


def decoding_widget(
    model: nn.Module,
    sentences: Mapping[str, Text],
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
) -> None:
    """Display a widget that steps through the translation of each of `sentences` (a label and the sentence)."""
    from IPython.display import HTML, display

    stories = {
        label: decoding_frames(model, sentence, source_vocabulary, target_vocabulary)
        for label, sentence in sentences.items()
    }
    display(HTML(stepper(stories, choice="Sentence", step="Decoding step")))


def translation_box(
    model: nn.Module, source_vocabulary: Vocabulary, target_vocabulary: Vocabulary, *, split, example: str
) -> None:
    """Display a text field: type a sentence, press Enter, step through its translation.

    It needs a running notebook; in the static book a sentence says so. `split` cuts a sentence into tokens.
    """
    text_box(lambda typed: box_answer(model, typed, source_vocabulary, target_vocabulary, split=split), example=example)


def box_answer(
    model: nn.Module, typed: str, source_vocabulary: Vocabulary, target_vocabulary: Vocabulary, *, split
) -> str:
    """What the text field answers: the steps of a translation, or what was wrong with the sentence."""
    try:
        frames = decoding_frames(model, split(typed), source_vocabulary, target_vocabulary)
    except ValueError as error:
        return f"<p>{html.escape(str(error))}</p>"
    return stepper({typed: frames}, choice="Sentence", step="Decoding step")


def _step_frame(said: Sequence[int], probabilities: Tensor, vocabulary: Vocabulary) -> str:
    so_far = html.escape(" ".join(["<bos>", *(vocabulary.tokens[i] for i in said)]))
    best = probabilities.topk(min(SHOWN_CANDIDATES, len(probabilities)))
    rows = "".join(
        f"<tr><th scope='row' style='text-align: right; padding-right: 0.5em'>{html.escape(vocabulary.tokens[i])}</th>"
        f"<td style='width: 60%'><div style='background: {TARGET}; height: 0.8em; width: {100 * p:.1f}%'></div></td>"
        f"<td style='text-align: right'>{100 * p:.1f} %</td></tr>"
        for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    )
    return (
        f"<p>Said so far: <b>{so_far}</b>. The next word, by probability:</p>"
        f"<table style='width: 100%; max-width: 26em'><tbody>{rows}</tbody></table>"
        "<p>The decoder's memory after this step:</p>"
    )


def _strip(values: Tensor) -> str:
    """Numbers as a strip of coloured cells: green above zero, orange below, stronger where larger."""
    cells = "".join(
        f"<span style='flex: 1; background: {MEMORY if v > 0 else TARGET}; opacity: {min(abs(v), 1.0):.2f}'></span>"
        for v in values.tolist()
    )
    return (
        "<div role='img' aria-label='A row of coloured cells, one a number: green above zero, orange below' "
        f"style='display: flex; height: 1.4em; max-width: 40em; border: 1px solid currentColor'>{cells}</div>"
    )
