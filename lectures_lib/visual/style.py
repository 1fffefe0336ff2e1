"""One house style for all figures: the same colour means the same thing in every chapter.

Ink is a mid tone and the ground is transparent, so a figure is legible in the light and in the dark theme. The colours
are those of Okabe and Ito, which readers with any kind of colour blindness can tell apart.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

INK = "#7a7a7a"  # at least 4:1 on white and on the dark theme's ground
SOURCE, TARGET = "#0072B2", "#D55E00"  # what is read, what is written
REAL, GENERATED = SOURCE, TARGET  # samples from the world, samples from a generator
MEMORY = "#009E73"  # hidden states, the context
ACCENT, MUTED = "#CC79A7", "#999999"

WIDEST_WHOLE = 7.0  # inches; wider pictures scroll sideways on a narrow screen

STYLE = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.2,
    "font.size": 11,
    "figure.figsize": (6.4, 3.4),
    "figure.constrained_layout.use": True,
    "legend.frameon": False,
    "svg.fonttype": "none",  # letters stay letters: the reader's browser has fonts for Chinese, this machine may not
    "svg.hashsalt": "lectures",  # the same figure gives the same file
}


@contextmanager
def house_style() -> Iterator[None]:
    """Within this block, matplotlib draws in the house style."""
    with plt.rc_context(STYLE):
        yield


def show(figure: Figure, alt: str) -> None:
    """Display a figure as a picture with a text for those who cannot see it, and close it.

    `alt` says what to see, not only what is drawn.

    Raises:
        ValueError: `alt` is empty.
    """
    from IPython.display import HTML, display

    display(HTML(as_img(figure, alt)))


def as_img(figure: Figure, alt: str) -> str:
    """The figure as one self-contained piece of HTML; closes the figure."""
    if not alt.strip():
        raise ValueError("alt must say what is to be seen, got an empty text")
    buffer = io.BytesIO()
    with house_style():  # what is drawn is drawn, but how letters are stored is decided here
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    wide = figure.get_figwidth() > WIDEST_WHOLE
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = "width: 100%; min-width: 40rem; max-width: none" if wide else "max-width: 100%"
    image = (
        f'<img class="dark-light lectures-figure" alt="{html.escape(alt, quote=True)}" '
        f'style="{size}; height: auto" src="data:image/svg+xml;base64,{data}">'
    )
    if not wide:
        return image
    # On a telephone a wide picture would shrink until nobody can read it: let it scroll instead, by keyboard too.
    return f'<div tabindex="0" role="region" aria-label="A wide picture" style="overflow-x: auto">{image}</div>'
