"""Watching self-attention: who looks at whom, what the look-ahead mask does, and softmax(QKᵀ/√d)V step by step.

A query has the colour of what is written, a key the colour of what is read, a value the colour of what is remembered.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from lectures_lib.attention import attention_weights, check_mask
from lectures_lib.visual.stepper import stepper, text_box
from lectures_lib.visual.style import INK, MEMORY, MUTED, SOURCE, TARGET, house_style

QUERY, KEY, VALUE = TARGET, SOURCE, MEMORY


def looks(tokens: Sequence[str], rows: Mapping[int, Sequence[int | float]]) -> Figure:
    """Who looks at whom in a sentence: arrows from a query word to the others, thick where the weight is large.

    `rows` maps the index of each looking word to its weights, one a token; each gets a line of its own.

    Raises:
        ValueError: there is nothing to draw, an index is no token's, or a row does not have one weight a token.
    """
    if not tokens or not rows:
        raise ValueError(f"tokens and rows must have at least one entry, got {list(tokens)} and {dict(rows)}")
    for index, weights in rows.items():
        if not 0 <= index < len(tokens) or len(weights) != len(tokens):
            raise ValueError(f"rows[{index}] must be one of {len(tokens)} tokens with as many weights: {list(weights)}")
    with house_style():
        size = (max(5.0, 1.05 * len(tokens)), 1.75 * len(rows))
        figure, grid = plt.subplots(len(rows), 1, figsize=size, squeeze=False)
        for axes, (index, weights) in zip(grid[:, 0], rows.items(), strict=True):
            _look(axes, tokens, index, weights)
    return figure


def _look(axes: Axes, tokens: Sequence[str], index: int, weights: Sequence[int | float]) -> None:
    for place, (token, weight) in enumerate(zip(tokens, weights, strict=True)):
        axes.text(place, 1, token, ha="center", color=QUERY if place == index else MUTED)
        axes.text(place, -0.2, token, ha="center", va="top", color=KEY)
        axes.text(place, -0.55, f"{weight:.0%}", ha="center", va="top", fontsize=9, color=INK)
        if weight >= 0.01:
            arrow = FancyArrowPatch(
                (index, 0.92),
                (place, -0.02),
                arrowstyle="-|>",
                mutation_scale=9,
                color=KEY,
                linewidth=0.4 + 6 * weight,
                alpha=min(1.0, 0.25 + weight),
                shrinkA=0,
                shrinkB=0,
            )
            axes.add_patch(arrow)
    axes.set(xlim=(-0.6, len(tokens) - 0.4), ylim=(-1.0, 1.3))
    axes.axis("off")


def look_ahead_tables(tokens: Sequence[str], scores: Float[Tensor, "query key"], mask: Bool[Tensor, "*mask"]) -> Figure:
    """The lecture's slide: three tables side by side, the scores, the scores with the mask on, and their softmax.

    `scores` are those of equation 1, QKᵀ/√d.

    Raises:
        ValueError: not one row and one column a token.
    """
    _check_square("scores", tokens, scores)
    _check_square("mask", tokens, mask)
    masked = scores.masked_fill(~mask, float("-inf"))
    tables = {"scores": scores, "scores with the mask on": masked, "softmax: the weights": masked.softmax(dim=-1)}
    with house_style():
        figure, panels = plt.subplots(1, 3, figsize=(2.9 * 3, 3.4))
        for axes, (title, table) in zip(panels, tables.items(), strict=True):
            limit = None if title.startswith("softmax") else float(scores.abs().max())
            _table(axes, tokens, table, "{:.2f}", limit=limit)
            axes.set_title(title, color=INK, fontsize=11)
        panels[0].set_ylabel("who looks (query)")
    return figure


def _table(axes: Axes, tokens: Sequence[str], table: Tensor, form: str, *, limit: float | None) -> None:
    """Weights from 0 to 1 where `limit` is None, else scores from -limit to limit."""
    values = table.detach().double().numpy()
    shown = np.ma.masked_invalid(values)
    if limit is None:
        axes.imshow(shown, cmap="Blues", vmin=0, vmax=1.4)
    else:
        scale = 2 * max(limit, 1e-9)  # twice as wide as needed: black stays legible on it
        axes.imshow(shown, cmap="RdBu_r", vmin=-scale, vmax=scale)
    for (row, column), value in np.ndenumerate(values):
        hidden = not np.isfinite(value)
        text, colour = ("−∞", INK) if hidden else (form.format(value), "black")
        axes.text(column, row, text, ha="center", va="center", fontsize=10, color=colour)
    axes.set(xticks=range(len(tokens)), yticks=range(len(tokens)), xlabel="looked at (key)")
    axes.set_xticklabels(tokens, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticklabels(tokens)
    axes.grid(visible=False)


def saturation_curves(norms: Mapping[str, Mapping[int, int | float]]) -> Figure:
    """The gradient that a softmax passes on, by the width d of queries and keys, one line a name.

    Raises:
        ValueError: there is no line.
    """
    if not norms:
        raise ValueError("norms must hold at least one line, got none")
    with house_style():
        figure, axes = plt.subplots()
        for colour, (name, by_width) in zip((SOURCE, TARGET) * len(norms), norms.items(), strict=False):
            axes.plot(list(by_width), list(by_width.values()), marker="o", color=colour, label=name)
        axes.set(xlabel="d, the width of queries and keys", ylabel="gradient norm of the softmax", ylim=(0, None))
        axes.set_xscale("log", base=2)
        widths = sorted({d for by_width in norms.values() for d in by_width})
        axes.set_xticks(widths, [str(d) for d in widths])
        axes.minorticks_off()
        axes.legend()
    return figure


def silence_map(harm: Mapping[str, Mapping[str, int | float]]) -> Figure:
    """What is lost without each head: rows are heads, columns kinds of words, numbers are nats added to the loss.

    Raises:
        ValueError: there is no head.
    """
    if not harm:
        raise ValueError("harm must hold at least one head, got none")
    kinds = list(next(iter(harm.values())))
    values = np.array([[row[kind] for kind in kinds] for row in harm.values()], dtype=float)
    limit = max(float(np.abs(values).max()), 1e-9)
    with house_style():
        figure, axes = plt.subplots(figsize=(6.4, 1.2 + 0.45 * len(harm)))
        axes.imshow(values, cmap="RdBu_r", vmin=-1.6 * limit, vmax=1.6 * limit, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            axes.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=10, color="black")
        axes.set(xticks=range(len(kinds)), yticks=range(len(harm)), yticklabels=list(harm))
        axes.set_xticklabels(kinds, rotation=20)
        axes.set_xlabel("the word to be guessed")
        axes.grid(visible=False)
    return figure


def formula_frames(
    tokens: Sequence[str],
    query: Float[Tensor, "*query"],
    key: Float[Tensor, "*key"],
    value: Float[Tensor, "*value"],
    mask: Bool[Tensor, "*mask"] | None = None,
) -> list[str]:
    """One HTML frame for every step of softmax(QKᵀ/√d)V: the vectors, the scores, their scaling, the mask, the weights,
    and then for each word the weighted sum of the values.

    `query` and `key` are (time, d_head), `value` is (time, d_value), `mask` broadcasts to (time, time).

    Raises:
        ValueError: not one row a token, queries and keys of different width, or a mask that does not fit.
    """
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        if len(tensor) != len(tokens) or not len(tokens):
            raise ValueError(f"{name} must have one row for each of {len(tokens)} tokens, got {tuple(tensor.shape)}")
    if query.shape[1] != key.shape[1]:
        raise ValueError(f"query and key must be equally wide, got {query.shape[1]} and {key.shape[1]}")
    query, key, value = query.detach(), key.detach(), value.detach()
    scores, width = query @ key.T, query.shape[1]
    if mask is not None:
        check_mask(mask, tuple(scores.shape))
        mask = mask.expand_as(scores)
    weights = attention_weights(query, key, mask)
    frames = [
        f"<p>Every word has a query, a key (both {width} numbers here) and a value.</p>" + _vectors(tokens, query, key),
        "<p><b>QKᵀ</b>: every query times every key. Row: who looks. Column: who is looked at.</p>"
        + _grid(tokens, scores, "{:.1f}"),
        f"<p><b>Divided by √d</b> = √{width} = {width**0.5:.2f}.</p>" + _grid(tokens, scores / width**0.5, "{:.1f}"),
    ]
    if mask is not None:
        hidden = (scores / width**0.5).masked_fill(~mask, float("-inf"))
        frames.append("<p><b>The mask</b>: −∞ where nobody may look.</p>" + _grid(tokens, hidden, "{:.1f}"))
    frames.append(
        "<p><b>Softmax</b>: each row becomes weights that sum to 1.</p>" + _grid(tokens, weights, "{:.2f}", top=1.0)
    )
    for index, token in enumerate(tokens):
        frames.append(_sum_frame(tokens, token, weights[index], value))
    return frames


def formula_widget(stories: Mapping[str, Sequence[str]]) -> None:
    """Display a widget that steps through the frames of `formula_frames`, one story a sentence or a head."""
    from IPython.display import HTML, display

    display(HTML(stepper(stories, choice="Sentence", step="Step")))


def formula_box(frames_of: Callable[[str], list[str]], *, example: str) -> None:
    """Display a text field: type a sentence, press Enter, step through its attention.

    It needs a running notebook; in the static book a sentence says so. `frames_of` makes the frames of a sentence and
    raises ValueError where it cannot.
    """
    text_box(lambda typed: box_answer(frames_of, typed), example=example)


def box_answer(frames_of: Callable[[str], list[str]], typed: str) -> str:
    """What the text field answers: the steps for this sentence, or what was wrong with it."""
    try:
        frames = frames_of(typed)
    except ValueError as error:
        return f"<p>{html.escape(str(error))}</p>"
    return stepper({typed: frames}, choice="Sentence", step="Step")


def _check_square(name: str, tokens: Sequence[str], table: Tensor) -> None:
    if tuple(table.shape) != (len(tokens), len(tokens)):
        raise ValueError(f"{name} must have a row and a column for each of {len(tokens)} tokens, {tuple(table.shape)}")


def _vectors(tokens: Sequence[str], query: Tensor, key: Tensor) -> str:
    limit = float(max(query.abs().max(), key.abs().max(), 1e-9))
    rows = "".join(
        f"<tr><th scope='row' style='text-align: right'>{html.escape(token)}</th>"
        f"<td>{_strip(q / limit, QUERY)}</td><td>{_strip(k / limit, KEY)}</td></tr>"
        for token, q, k in zip(tokens, query, key, strict=True)
    )
    return _scrolling(f"<thead><tr><td></td><th>query</th><th>key</th></tr></thead><tbody>{rows}</tbody>")


def _grid(tokens: Sequence[str], table: Tensor, form: str, top: float | None = None) -> str:
    """A table of numbers, each on a ground that is stronger the larger it is."""
    finite = table[table.isfinite()]
    low = 0.0 if top is not None else float(finite.min())
    span = max((top if top is not None else float(finite.max())) - low, 1e-9)
    head = "".join(f"<th scope='col' style='font-weight: normal'>{html.escape(token)}</th>" for token in tokens)
    body = ""
    for token, row in zip(tokens, table.tolist(), strict=True):
        cells = "".join(_cell(number, form, (number - low) / span) for number in row)
        body += f"<tr><th scope='row' style='text-align: right'>{html.escape(token)}</th>{cells}</tr>"
    return _scrolling(f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody>")


def _cell(number: float, form: str, strength: float) -> str:
    if number == float("-inf"):
        return f"<td style='text-align: center; color: {INK}'>−∞</td>"
    ground = f"{KEY}{round(150 * min(max(strength, 0.0), 1.0)):02x}"  # at most 60 %: ink stays legible in both themes
    return f"<td style='text-align: center; padding: 0.15em 0.4em; background: {ground}'>{form.format(number)}</td>"


def _sum_frame(tokens: Sequence[str], looking: str, weights: Tensor, value: Tensor) -> str:
    limit = float(value.abs().max().clamp(min=1e-9))
    rows = "".join(
        f"<tr><th scope='row' style='text-align: right'>{html.escape(token)}</th>"
        f"<td style='text-align: right'>{weight:.2f}</td>"
        f"<td style='min-width: 6em'>{_bar(weight)}</td>"
        f"<td>{_strip(v / limit, VALUE)}</td></tr>"
        for token, weight, v in zip(tokens, weights.tolist(), value, strict=True)
    )
    mixed = _strip(weights @ value / limit, VALUE)
    total = f"<tr><th scope='row' colspan='3' style='text-align: right'>sum</th><td>{mixed}</td></tr>"
    head = "<thead><tr><td></td><th colspan='2'>weight</th><th>value</th></tr></thead>"
    return f"<p>What <b>{html.escape(looking)}</b> gets: each value times its weight, added up.</p>" + _scrolling(
        f"{head}<tbody>{rows}{total}</tbody>"
    )


def _bar(weight: float) -> str:
    return f"<div style='background: {KEY}; height: 0.8em; width: {100 * weight:.0f}%'></div>"


def _strip(values: Tensor, colour: str) -> str:
    """Numbers from -1 to 1 as a strip of cells: coloured above zero, grey below, stronger where larger."""
    share = 100 / len(values)
    # One gradient with hard stops instead of an element a number: a widget has thousands of them.
    stops = ", ".join(
        f"{colour if v > 0 else MUTED}{round(255 * min(abs(v), 1.0)):02x} {i * share:.4g}% {(i + 1) * share:.4g}%"
        for i, v in enumerate(values.tolist())
    )
    label = "A strip of cells, one a number: coloured above zero, grey below"
    return (
        f"<div role='img' aria-label='{label}' style='min-width: 10em; height: 1em; margin: 0 0.3em; "
        f"background: linear-gradient(to right, {stops})'></div>"
    )


def _scrolling(table: str) -> str:
    # On a telephone a wide table scrolls sideways instead of squeezing its numbers; by keyboard too.
    return (
        "<div tabindex='0' role='region' aria-label='A table' style='overflow-x: auto'>"
        f"<table style='border-collapse: collapse; font-size: 0.9em; max-width: 40em'>{table}</table></div>"
    )
