"""The plots that chapter after chapter uses. Each returns a matplotlib figure for `show`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lectures_lib.training.history import History
from lectures_lib.visual.style import ACCENT, MEMORY, SOURCE, TARGET, house_style

LINE_COLOURS = (SOURCE, TARGET, MEMORY, ACCENT)


def curves(histories: Mapping[str, History], *, ylabel: str = "loss in nats a token") -> Figure:
    """Training loss by step, one line a run."""
    if not histories:
        raise ValueError("histories must hold at least one run, got none")
    with house_style():
        figure, axes = plt.subplots()
        for colour, (name, history) in zip(LINE_COLOURS * len(histories), histories.items(), strict=False):
            axes.plot(history.step, history.loss, color=colour, label=name)
        axes.set(xlabel="step", ylabel=ylabel, ylim=(0, None))
        axes.legend()
    return figure


def bars_by_group(
    scores: Mapping[str, Mapping[int, int | float]], *, xlabel: str, ylabel: str, seen: Sequence[int] = ()
) -> Figure:
    """Scores by group (sentence length, say) as bars side by side; the ground behind `seen` groups is shaded."""
    if not scores:
        raise ValueError("scores must hold at least one series, got none")
    groups = sorted({group for series in scores.values() for group in series})
    width = 0.8 / len(scores)
    with house_style():
        figure, axes = plt.subplots()
        if seen:
            axes.axvspan(min(seen) - 0.5, max(seen) + 0.5, color=MEMORY, alpha=0.12, label="lengths seen in training")
        for index, (name, series) in enumerate(scores.items()):
            places = np.array(groups) + (index - (len(scores) - 1) / 2) * width
            axes.bar(places, [series.get(g, 0.0) for g in groups], width * 0.95, color=LINE_COLOURS[index], label=name)
        axes.set(xlabel=xlabel, ylabel=ylabel, xticks=groups)
        axes.grid(visible=False, axis="x")
        axes.legend()
    return figure


def lines(
    series: Mapping[str, tuple[Sequence[int | float], Sequence[int | float]]], *, xlabel: str, ylabel: str
) -> Figure:
    """Lines with dots, one a name: measured times by length, for example."""
    if not series:
        raise ValueError("series must hold at least one line, got none")
    with house_style():
        figure, axes = plt.subplots()
        for colour, (name, (x, y)) in zip(LINE_COLOURS * len(series), series.items(), strict=False):
            axes.plot(x, y, marker="o", color=colour, label=name)
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, None), ylim=(0, None))
        axes.legend()
    return figure


def heat_strips(rows: Mapping[str, Sequence[float]], *, xlabel: str = "hidden unit") -> Figure:
    """Vectors as strips of colour under each other, on one scale: to see a context, or to compare two."""
    if not rows:
        raise ValueError("rows must hold at least one vector, got none")
    values = np.array(list(rows.values()), dtype=float)
    limit = max(float(np.abs(values).max()), 1e-9)
    with house_style():
        figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.4 * len(rows)))
        picture = axes.imshow(values, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set(xlabel=xlabel, yticks=range(len(rows)), yticklabels=list(rows))
        axes.grid(visible=False)
        figure.colorbar(picture, ax=axes, label="value")
    return figure
