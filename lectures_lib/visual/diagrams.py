"""Diagrams of architectures, drawn by code with the modules' own names in them."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from lectures_lib.visual.style import INK, MEMORY, MUTED, SOURCE, TARGET, house_style


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


def transformer_diagram(n_layers: str = "N") -> Figure:
    """The Transformer's encoder and decoder side by side, in the library's names; read it from the bottom up."""
    encoder = [
        ("embed_source", MUTED),
        ("positions", MUTED),
        ("self_attention", SOURCE),
        ("add_attention", INK),
        ("feed_forward", SOURCE),
        ("add_feed_forward", INK),
    ]
    decoder = [
        ("embed_target", MUTED),
        ("positions", MUTED),
        ("self_attention\n(look-ahead mask)", TARGET),
        ("add_self_attention", INK),
        ("cross_attention", MEMORY),
        ("add_cross_attention", INK),
        ("feed_forward", TARGET),
        ("add_feed_forward", INK),
        ("logits, softmax", MUTED),
    ]
    with house_style():
        figure, axes = plt.subplots(figsize=(6.4, 6.2))
        for x, parts, top in ((0, encoder, 5), (3, decoder, 7)):
            for y, (name, colour) in enumerate(parts):
                _wide_box(axes, x, y, name, colour)
                if y:
                    _arrow(axes, (x, y - 0.72), (x, y - 0.28))
            # What stands in the frame is repeated, each time with weights of its own.
            frame = FancyBboxPatch(
                (x - 1.25, 1.42), 2.5, top - 1, boxstyle="round,pad=0.02", facecolor="none", edgecolor=INK
            )
            axes.add_patch(frame)
            axes.text(x + (1.35 if x else -1.35), 3.5, f"{n_layers} ×", ha="left" if x else "right", color=INK)
            for below, above in [(2, 3), (4, 5), (6, 7)]:
                if above < len(parts) and above <= top:
                    _around(axes, x, below, above)
            _arrow(axes, (x, -0.75), (x, -0.28))
        axes.text(0, -0.95, "the source", ha="center", va="center", color=SOURCE)
        axes.text(3, -0.95, "the target, shifted right", ha="center", va="center", color=TARGET)
        axes.plot([0, 0, 1.5, 1.5], [5.28, 6.2, 6.2, 4], color=MEMORY)
        _arrow(axes, (1.5, 4), (2.06, 4))
        axes.text(0.05, 6.4, "memory: keys and values", ha="left", va="bottom", color=MEMORY, fontsize=9)
        _arrow(axes, (3, 8.28), (3, 8.75))
        axes.text(3, 8.95, "the next word", ha="center", va="center", color=TARGET)
        axes.set(xlim=(-2, 4.6), ylim=(-1.2, 9.2))
        axes.axis("off")
    return figure


def _wide_box(axes: Axes, x: int | float, y: int | float, label: str, colour: str) -> None:
    box = FancyBboxPatch(
        (x - 0.9, y - 0.24), 1.8, 0.48, boxstyle="round,pad=0.04", facecolor=colour + "30", edgecolor=colour
    )
    axes.add_patch(box)
    axes.text(x, y, label, ha="center", va="center", fontsize=8, color=INK)


def _around(axes: Axes, x: int | float, part: int, add: int) -> None:
    """The residual connection: a line past the part, from its input to the box that adds it again."""
    axes.plot([x, x + 1.05, x + 1.05], [part - 0.5, part - 0.5, add], color=INK, linewidth=1)
    _arrow(axes, (x + 1.06, add), (x + 0.93, add))
