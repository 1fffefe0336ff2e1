"""Diagrams of architectures, drawn by code with the modules' own names in them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from lectures_lib.visual.style import INK, MEMORY, SOURCE, TARGET, house_style


def encoder_decoder(source: Sequence[str], target: Sequence[str]) -> Figure:
    """A recurrent encoder–decoder unrolled over a sentence pair.

    The encoder reads `source` and hands its last hidden state, the context, to the decoder, which says `target`: each
    word it says is what it reads next.
    """
    if not source or not target:
        raise ValueError(f"source and target must have at least one token, got {list(source)} and {list(target)}")
    shown = ["<bos>", *target]
    said = [*target, "<eos>"]
    first = len(source) + 1  # one place between the two networks is for the context
    places = first + len(said)
    with house_style():
        figure, axes = plt.subplots(figsize=(max(6.4, 0.75 * places), 2.7))
        for x, token in enumerate(source):
            _box(axes, x, 1, "Encoder\nrnn", SOURCE)
            _text(axes, x, 0, token, SOURCE)
            _arrow(axes, (x, 0.22), (x, 0.68))
            _arrow(axes, (x + 0.38, 1), (x + (0.68 if x + 1 == len(source) else 0.62), 1))
        _box(axes, first - 1, 1, "context", MEMORY)
        _arrow(axes, (first - 1 + 0.38, 1), (first - 0.38, 1))
        for index, (token, answer) in enumerate(zip(shown, said, strict=True)):
            x = first + index
            _box(axes, x, 1, "Decoder\nrnn", TARGET)
            _text(axes, x, 0, token, TARGET)
            _text(axes, x, 2, answer, TARGET)
            _arrow(axes, (x, 0.22), (x, 0.68))
            _arrow(axes, (x, 1.32), (x, 1.78))
            if index + 1 < len(said):
                _arrow(axes, (x + 0.38, 1), (x + 0.62, 1))
                axes.annotate(
                    "",
                    (x + 0.85, 0.2),
                    (x + 0.15, 1.85),
                    arrowprops={"arrowstyle": "->", "color": TARGET, "linestyle": ":", "alpha": 0.8},
                )
        axes.set(xlim=(-0.6, places - 0.4), ylim=(-0.3, 2.3))
        axes.axis("off")
    return figure


def _box(axes: Axes, x: int | float, y: int | float, label: str, colour: str) -> None:
    box = FancyBboxPatch(
        (x - 0.34, y - 0.28), 0.68, 0.56, boxstyle="round,pad=0.04", facecolor=colour + "30", edgecolor=colour
    )
    axes.add_patch(box)
    axes.text(x, y, label, ha="center", va="center", fontsize=8, color=INK)


def _text(axes: Axes, x: int | float, y: int | float, token: str, colour: str) -> None:
    axes.text(x, y, token, ha="center", va="center", fontsize=10, color=colour)


def _arrow(axes: Axes, start: tuple[int | float, int | float], end: tuple[int | float, int | float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK})
