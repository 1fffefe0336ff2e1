"""Pictures of BERT: what a gap can see, words hidden by the rule, guesses for a gap, and a word's senses on a map."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.data.masking import Masked
from lectures_lib.data.wordpiece import WordPiece
from lectures_lib.inference.fill_mask import fill_mask
from lectures_lib.losses.pretraining import NO_TARGET
from lectures_lib.models.bert import BertForPreTraining
from lectures_lib.visual.stepper import stepper, text_box
from lectures_lib.visual.style import ACCENT, INK, MEMORY, MUTED, SOURCE, TARGET, house_style

SENSES = (SOURCE, TARGET, MEMORY, ACCENT)
MARKERS = "osD^"


def two_views(tokens: Sequence[str], gap: int) -> Figure:
    """A gap in a sentence, twice: seen from the left only, and from both sides.

    Raises:
        ValueError: fewer than two tokens, or `gap` is no token's index.
    """
    if len(tokens) < 2 or not 0 <= gap < len(tokens):
        raise ValueError(f"gap must be the index of one of two tokens or more, got {gap} of {list(tokens)}")
    with house_style():
        figure, panels = plt.subplots(2, 1, figsize=(max(5.0, 0.95 * len(tokens)), 3.4))
        for axes, (title, last) in zip(
            panels, {"left to right": gap, "both directions": len(tokens)}.items(), strict=True
        ):
            _view(axes, tokens, gap, last)
            axes.set_title(title, color=INK, fontsize=11, loc="left")
    return figure


def _view(axes: Axes, tokens: Sequence[str], gap: int, last: int) -> None:
    for place, token in enumerate(tokens):
        seen = place < last and place != gap
        text, colour = ("?", TARGET) if place == gap else (token, SOURCE if seen else MUTED)
        axes.text(place, 0, text, ha="center", va="center", color=colour, alpha=1.0 if seen or place == gap else 0.45)
        if seen:
            bend = 0.35 if place < gap else -0.35
            arrow = FancyArrowPatch(
                (place, 0.25),
                (gap, 0.3),
                connectionstyle=f"arc3,rad={-bend}",
                arrowstyle="-|>",
                mutation_scale=10,
                color=SOURCE,
                linewidth=1.2,
                shrinkA=2,
                shrinkB=2,
            )
            axes.add_patch(arrow)
    axes.set(xlim=(-0.7, len(tokens) - 0.3), ylim=(-0.4, 0.45 + 0.2 * max(gap, last - gap - 1)))
    axes.axis("off")


def masked_rows(masked: Masked, vocabulary: WordPiece) -> str:
    """HTML: texts as the model is shown them, each word that is asked for marked, and the true word below it."""
    names = vocabulary.tokens
    rows = []
    for shown, asked in zip(masked.tokens.tolist(), masked.targets.tolist(), strict=True):
        cells = []
        for token, target in zip(shown, asked, strict=True):
            if token == vocabulary.pad_id:
                continue
            if target == NO_TARGET:
                cells.append(_word(names[token], "&nbsp;", None))
                continue
            colour = TARGET if token == vocabulary.mask_id else ACCENT if token != target else MEMORY
            cells.append(_word(names[token], html.escape(names[target]), colour))
        rows.append(f"<p>{''.join(cells)}</p>")
    legend = "".join(
        f"<span style='border-bottom: 3px solid {colour}; margin-right: 1em'>{name}</span>"
        for name, colour in (("hidden", TARGET), ("exchanged", ACCENT), ("left as it is", MEMORY))
    )
    return f"<div>{''.join(rows)}<p><small>asked for, and {legend}</small></p></div>"


def _word(shown: str, below: str, colour: str | None) -> str:
    line = f"border-bottom: 3px solid {colour}" if colour else "border-bottom: 3px solid transparent"
    return (
        f"<span style='display: inline-block; text-align: center; margin: 0.1em 0.25em'><span style='{line}'>"
        f"{html.escape(shown)}</span><br><small>{below}</small></span>"
    )


def show_html(text: str) -> None:
    """Display a piece of HTML."""
    from IPython.display import HTML, display

    display(HTML(text))


def gap_frames(
    model: BertForPreTraining, vocabulary: WordPiece, sentence: str, *, other: BertForPreTraining | None = None
) -> list[str]:
    """One HTML frame for each word of a sentence: that word hidden, and the model's guesses as bars.

    With `other`, its guesses stand beside them: the left-to-right twin's, say.

    Raises:
        ValueError: the sentence is empty or has words the vocabulary does not know.
    """
    words = sentence.split()
    if not words:
        raise ValueError("sentence must have at least one word, got none")
    frames = []
    for place, word in enumerate(words):
        shown = " ".join([*words[:place], "[MASK]", *words[place + 1 :]])
        marked = " ".join([*map(html.escape, words[:place]), "<b>[MASK]</b>", *map(html.escape, words[place + 1 :])])
        tables = [_bars("both directions", model, vocabulary, shown, word)]
        if other is not None:
            tables.append(_bars("left to right", other, vocabulary, shown, word))
        side = "display: inline-block; vertical-align: top; margin-right: 2em"
        frames.append(f"<p>{marked}</p>" + "".join(f"<div style='{side}'>{table}</div>" for table in tables))
    return frames


def _bars(name: str, model: BertForPreTraining, vocabulary: WordPiece, text: str, truth: str | None) -> str:
    rows = ""
    for guess in fill_mask(model, vocabulary, text)[0]:
        weight = "bold" if truth is not None and guess.word == truth.lower() else "normal"
        rows += (
            f"<tr><th scope='row' style='text-align: right; font-weight: {weight}'>{html.escape(guess.word)}</th>"
            f"<td style='text-align: right'>{guess.probability:.0%}</td><td style='min-width: 7em'>"
            f"<div style='background: {TARGET}; height: 0.8em; width: {100 * guess.probability:.0f}%'></div></td></tr>"
        )
    return f"<table><caption>{html.escape(name)}</caption><tbody>{rows}</tbody></table>"


def gap_widget(stories: Mapping[str, Sequence[str]]) -> None:
    """Display a widget: choose a sentence, move the gap through it. `stories` are frames of `gap_frames`."""
    show_html(stepper(stories, choice="Sentence", step="Gap"))


def gap_box(model: BertForPreTraining, vocabulary: WordPiece, *, example: str) -> None:
    """Display a text field: type a sentence with one [MASK] or more, press Enter, see the guesses.

    It needs a running notebook; in the static book a sentence says so.
    """
    text_box(lambda typed: gap_answer(model, vocabulary, typed), example=example)


def gap_answer(model: BertForPreTraining, vocabulary: WordPiece, typed: str) -> str:
    """What the text field answers: a table of guesses for every gap, or what was wrong with the sentence."""
    try:
        count = len(fill_mask(model, vocabulary, typed, top=1))
        tables = []
        for gap in range(count):
            guesses = fill_mask(model, vocabulary, typed)[gap]
            row = ", ".join(f"{html.escape(guess.word)} {guess.probability:.0%}" for guess in guesses)
            tables.append(f"<p>gap {gap + 1}: {row}</p>")
    except ValueError as error:
        return f"<p>{html.escape(str(error))}</p>"
    return "".join(tables)


def sense_map(
    vectors: Mapping[str, Float[Tensor, "*vectors"]], senses: Sequence[str], *, names: Sequence[str]
) -> Figure:
    """One word in several sentences, by one kind of vectors a panel, flattened to its two main axes.

    `vectors` maps a panel's title to (n, d); `senses` has one a row, and gets one colour and shape each; `names` are
    short labels of the rows. Vectors are brought to length 1 first, so that near means a high cosine.

    Raises:
        ValueError: no panel, or not one row a sense and a name.
    """
    if not vectors:
        raise ValueError("vectors must hold at least one panel, got none")
    for title, rows in vectors.items():
        if rows.ndim != 2 or not len(rows) == len(senses) == len(names):
            raise ValueError(
                f"vectors[{title!r}] must have {len(senses)} rows, as senses and names; {tuple(rows.shape)}"
            )
    kinds = list(dict.fromkeys(senses))
    with house_style():
        figure, panels = plt.subplots(1, len(vectors), figsize=(3.4 * len(vectors), 3.6), squeeze=False)
        for axes, (title, rows) in zip(panels[0], vectors.items(), strict=True):
            flat = two_main_axes(F.normalize(rows.detach().double(), dim=1))
            for kind, colour, marker in zip(kinds, SENSES * len(kinds), MARKERS * len(kinds), strict=False):
                chosen = [i for i, sense in enumerate(senses) if sense == kind]
                x, y = flat[chosen].T.tolist()
                axes.scatter(x, y, color=colour, marker=marker, label=kind, s=50)
                for i in chosen:
                    axes.annotate(names[i], flat[i].tolist(), xytext=(4, 4), textcoords="offset points", fontsize=8)
            axes.set_title(title, color=INK, fontsize=11)
            axes.set(xticks=[], yticks=[])
            axes.margins(0.15)
        panels[0][0].legend(loc="best", fontsize=9)
    return figure


def two_main_axes(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"]:
    """The rows' coordinates along the two directions in which they differ most (principal components)."""
    centred = rows - rows.mean(dim=0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    flat = centred @ directions[:2].T
    return F.pad(flat, (0, 2 - flat.shape[1]))


def context_frames(
    sentences: Sequence[str], senses: Sequence[str], word: str, vectors: Float[Tensor, "*vectors"]
) -> list[str]:
    """One HTML frame a sentence: the other sentences by the cosine of the word's vectors, the nearest first.

    Raises:
        ValueError: not one sense and one vector a sentence, or fewer than two sentences.
    """
    if len(sentences) < 2 or not len(sentences) == len(senses) == len(vectors):
        raise ValueError(
            f"sentences must be two or more, with a sense and a vector each, "
            f"got {len(sentences)}, {len(senses)} and {len(vectors)}"
        )
    unit = F.normalize(vectors.detach().double(), dim=1)
    cosine = (unit @ unit.T).tolist()
    colours = dict(zip(dict.fromkeys(senses), SENSES, strict=False))
    frames = []
    for row, sentence in enumerate(sentences):
        order = sorted((i for i in range(len(sentences)) if i != row), key=lambda i, r=row: -cosine[r][i])
        lines = "".join(
            f"<tr><td style='text-align: right'>{cosine[row][i]:.2f}</td><td style='border-left: 4px solid "
            f"{colours.get(senses[i], MUTED)}; padding-left: 0.5em'>{html.escape(sentences[i])}</td>"
            f"<td><small>{html.escape(senses[i])}</small></td></tr>"
            for i in order
        )
        marked = html.escape(sentence).replace(word, f"<b>{word}</b>")
        frames.append(
            f"<p style='border-left: 4px solid {colours.get(senses[row], MUTED)}; padding-left: 0.5em'>{marked} "
            f"<small>({html.escape(senses[row])})</small></p><table><tbody>{lines}</tbody></table>"
        )
    return frames


def context_widget(stories: Mapping[str, Sequence[str]]) -> None:
    """Display a widget: choose a word, step through its sentences. `stories` are frames of `context_frames`."""
    show_html(stepper(stories, choice="Word", step="Sentence"))
