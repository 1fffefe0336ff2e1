"""The pictures of the chapter `conditional_gan`: where the label goes in, what was asked and what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from lectures_lib.visual.gan import image_sheet
from lectures_lib.visual.style import ACCENT, GENERATED, INK, MUTED, REAL, house_style

ROWS_AT_MOST = 12


def cgan_diagram() -> Figure:
    """Three rows with the modules' names: the generator, and both ways to tell the discriminator. The label is pink."""
    with house_style():
        figure, rows = plt.subplots(3, 1, figsize=(6.8, 6.2))
        _generator(rows[0])
        _by_channel(rows[1])
        _by_projection(rows[2])
        for axes in rows:
            axes.set(xlim=(-0.7, 7.6), ylim=(-0.65, 1.55))
            axes.axis("off")
    return figure


def _generator(axes: Axes) -> None:
    _box(axes, 0.0, 0.0, "label", ACCENT, 0.9)
    _box(axes, 1.6, 0.0, "embed", ACCENT, 1.0)
    _box(axes, 1.6, 1.0, "latent", MUTED, 1.0)
    _box(axes, 3.4, 0.5, "side by side", MUTED, 1.4)
    _box(axes, 5.2, 0.5, "draw", GENERATED, 1.0)
    _box(axes, 6.9, 0.5, "image", GENERATED, 0.9)
    for start, end in (((0.45, 0.0), (1.1, 0.0)), ((2.1, 0.0), (2.7, 0.35)), ((2.1, 1.0), (2.7, 0.65))):
        _arrow(axes, start, end)
    for start, end in ((4.1, 4.7), (5.7, 6.45)):
        _arrow(axes, (start, 0.5), (end, 0.5))
    _title(axes, "The generator")


def _by_channel(axes: Axes) -> None:
    _box(axes, 0.0, 0.0, "label", ACCENT, 0.9)
    _box(axes, 1.6, 0.0, "embed", ACCENT, 1.0)
    _box(axes, 0.0, 1.0, "image", REAL, 0.9)
    _box(axes, 3.4, 0.5, "two channels", MUTED, 1.4)
    _box(axes, 5.2, 0.5, "judge", REAL, 1.0)
    _box(axes, 6.9, 0.5, "logit", INK, 0.9)
    for start, end in (((0.45, 0.0), (1.1, 0.0)), ((2.1, 0.0), (2.7, 0.35)), ((0.45, 1.0), (2.7, 0.65))):
        _arrow(axes, start, end)
    for start, end in ((4.1, 4.7), (5.7, 6.45)):
        _arrow(axes, (start, 0.5), (end, 0.5))
    _title(axes, 'The discriminator, told by "channel"')


def _by_projection(axes: Axes) -> None:
    _box(axes, 0.0, 0.0, "label", ACCENT, 0.9)
    _box(axes, 2.2, 0.0, "embed", ACCENT, 1.0)
    _box(axes, 0.0, 1.0, "image", REAL, 0.9)
    _box(axes, 2.2, 1.0, "judge.stages", REAL, 1.5)
    _box(axes, 4.5, 1.0, "judge.to_logit", REAL, 1.5)
    _box(axes, 4.5, 0.0, "inner product", MUTED, 1.5)
    _box(axes, 6.9, 0.5, "+  logit", INK, 0.9)
    for start, end in (
        ((0.45, 0.0), (1.7, 0.0)),
        ((0.45, 1.0), (1.45, 1.0)),
        ((2.95, 1.0), (3.75, 1.0)),
        ((2.7, 0.0), (3.75, 0.0)),
        ((2.95, 0.85), (3.75, 0.2)),
        ((5.25, 1.0), (6.45, 0.6)),
        ((5.25, 0.0), (6.45, 0.4)),
    ):
        _arrow(axes, start, end)
    _title(axes, 'The discriminator, told by "projection"')


def _box(axes: Axes, x: float, y: float, name: str, colour: str, width: float) -> None:
    corner = (x - width / 2, y - 0.25)
    style = {"boxstyle": "round,pad=0.04", "linewidth": 1.2, "edgecolor": colour}
    axes.add_patch(FancyBboxPatch(corner, width, 0.5, facecolor=colour + "30", **style))
    axes.text(x, y, name, ha="center", va="center", fontsize=10, color=INK)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK})


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, color=INK, fontsize=10, loc="left")


def hands_grid(written: Float[Tensor, "hands digits 1 height width"], *, title: str = "") -> Figure:
    """A row for each latent, a column for each digit that was asked for.

    Raises:
        ValueError: no latent, or more than fit a page.
    """
    hands, digits = written.shape[:2]
    if not 1 <= hands <= ROWS_AT_MOST:
        raise ValueError(f"written must have 1 to {ROWS_AT_MOST} hands, got {hands}")
    height, width = written.shape[-2:]
    with house_style():
        figure, axes = plt.subplots(figsize=(0.6 * digits, 0.6 * hands + (0.9 if title else 0.6)))
        sheet = image_sheet(written.flatten(0, 1), digits).numpy()
        axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        axes.set(
            xticks=[(digit + 0.5) * width for digit in range(digits)],
            xticklabels=range(digits),
            yticks=[(hand + 0.5) * height for hand in range(hands)],
            yticklabels=range(1, hands + 1),
            xlabel="the digit asked for",
            ylabel="latent",
        )
        axes.set_title(title, color=INK, fontsize=10)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[["left", "bottom"]].set_visible(False)
    return figure


def asked_and_seen(tables: Mapping[str, Float[Tensor, "asked seen"]]) -> Figure:
    """A panel for each table of shares: rows are the digits asked for, columns those that a classifier sees.

    Raises:
        ValueError: there is no table, or a row's shares do not sum to 1.
    """
    if not tables:
        raise ValueError("tables must hold at least one, got none")
    for name, table in tables.items():
        if not torch.allclose(table.sum(dim=1), torch.ones(len(table)), atol=1e-4):
            raise ValueError(f"tables[{name!r}] must have rows that sum to 1, got {table.sum(dim=1).tolist()}")
    with house_style():
        figure, panels = plt.subplots(1, len(tables), figsize=(3.4 * len(tables), 3.5), squeeze=False)
        for axes, (name, table) in zip(panels.flat, tables.items(), strict=True):
            picture = axes.imshow(table.numpy(), cmap="viridis", vmin=0, vmax=1)
            ticks = range(len(table))
            axes.set(xticks=ticks, yticks=ticks, xlabel="seen by the classifier", ylabel="asked for")
            axes.set_title(name, color=INK, fontsize=10)
            axes.tick_params(labelsize=8, length=0)
            axes.grid(visible=False)
        figure.colorbar(picture, ax=panels.ravel().tolist(), label="share of the row", shrink=0.8)
    return figure


def obedience(series: Mapping[str, Sequence[tuple[int, float]]], *, chance: float = 0.1) -> Figure:
    """How often the classifier sees the digit that was asked for, by round; each series is (round, share) pairs.

    Raises:
        ValueError: there is no series.
    """
    if not series:
        raise ValueError("series must hold at least one line, got none")
    with house_style():
        figure, axes = plt.subplots()
        for (name, points), colour in zip(series.items(), (GENERATED, ACCENT, REAL), strict=False):
            axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=name)
        axes.axhline(chance, color=INK, linestyle="--", linewidth=1, label="by chance")
        axes.set(xlabel="round", ylabel="asked for and seen", xlim=(0, None), ylim=(0, 1.03))
        axes.legend(fontsize=9)
    return figure
