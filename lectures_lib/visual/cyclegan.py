"""The pictures of the chapter `cyclegan`: the loop, before and after, what one logit sees, and the checkerboard."""

from __future__ import annotations

import base64
import html
import io
import uuid
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor, nn

from lectures_lib.models.cyclegan import PatchDiscriminator, receptive_field
from lectures_lib.visual.gan import PNG_ADDRESS
from lectures_lib.visual.style import ACCENT, GENERATED, INK, MEMORY, MUTED, REAL, SOURCE, TARGET, house_style
from lectures_lib.visual.vision import as_pixels

REACH_COLOURS = (MEMORY, TARGET, SOURCE)


# The loop


def cycle_diagram() -> Figure:
    """One row a direction: out by one generator, back by the other; where each loss is taken."""
    with house_style():
        figure, rows = plt.subplots(2, 1, figsize=(6.8, 4.4))
        _loop(rows[0], "x", "to_y", "fake_y", "to_x", "back_x", "discriminator_y")
        _loop(rows[1], "y", "to_x", "fake_x", "to_y", "back_y", "discriminator_x")
    return figure


def _loop(axes: Axes, start: str, out: str, fake: str, home: str, back: str, judge: str) -> None:
    names = ((0.0, start, REAL), (3.2, fake, GENERATED), (6.4, back, GENERATED))
    for x, name, colour in names:
        axes.add_patch(
            FancyBboxPatch((x - 0.55, -0.3), 1.1, 0.6, boxstyle="round,pad=0.06", facecolor="none", edgecolor=colour)
        )
        axes.text(x, 0, name, ha="center", va="center", color=colour, fontsize=10)
    for x, name in ((0.0, out), (3.2, home)):
        axes.annotate("", (x + 2.5, 0), (x + 0.7, 0), arrowprops={"arrowstyle": "->", "color": INK})
        axes.text(x + 1.6, 0.14, name, ha="center", va="bottom", color=INK, fontsize=10, fontweight="bold")
    axes.annotate("", (3.2, 1.02), (3.2, 0.42), arrowprops={"arrowstyle": "->", "color": MUTED})
    axes.text(3.2, 1.1, f"{judge}: adversarial loss", ha="center", va="bottom", color=INK, fontsize=10)
    loop = {"arrowstyle": "<->", "color": ACCENT, "linestyle": "--", "connectionstyle": "arc3,rad=0.22"}
    axes.annotate("", (6.2, -0.42), (0.2, -0.42), arrowprops=loop)
    axes.text(3.2, -1.5, f"cycle loss: |{back} - {start}|", ha="center", va="top", color=ACCENT, fontsize=10)
    axes.set(xlim=(-0.8, 7.2), ylim=(-2.0, 1.6))
    axes.axis("off")


# Before and after

# The script finds its own element by its id: several widgets may stand on one page.
SLIDER_SCRIPT = """
(() => {
  const root = document.getElementById("%(id)s");
  const [choice, slider, label] = ["select", "input", "output"].map((name) => root.querySelector(name));
  const stories = [...root.querySelectorAll("[data-story]")];
  root.querySelector("form").hidden = false;
  root.querySelectorAll("[data-after]").forEach((after) => { after.parentElement.style.display = "grid"; });
  const update = () => {
    stories.forEach((story, s) => {
      story.hidden = s !== choice.selectedIndex;
      story.querySelector("[data-after]").style.clipPath = `inset(0 0 0 ${100 - slider.value}%%)`;
    });
    label.textContent = slider.value + " %% repainted";
  };
  choice.addEventListener("change", update);
  slider.addEventListener("input", update);
  update();
})();
"""
SLIDER_STYLE = """
.lectures-before-after img { width: 13rem; max-width: 45%; image-rendering: pixelated; }
.lectures-before-after [style*="grid"] { width: 16rem; max-width: 100%; }
.lectures-before-after [style*="grid"] img { grid-area: 1 / 1; width: 100%; max-width: 100%; margin: 0; }
"""


def before_after(
    pairs: Mapping[str, tuple[Float[Tensor, "*before"], Float[Tensor, "*after"]]],
    *,
    choice: str = "Picture",
    amount: str = "Repaint from the right",
) -> str:
    """HTML of a widget: choose a picture, and push a border across it behind which it is repainted.

    `pairs` maps names to (before, after), pictures (3, rows, columns) in [-1, 1] of one size. `choice` and `amount`
    name the controls, which work with mouse and keyboard. Without scripts both pictures stand side by side.

    Raises:
        ValueError: there is no pair, or the pictures of one are of different sizes.
    """
    if not pairs:
        raise ValueError("pairs must hold at least one, got none")
    for name, (before, after) in pairs.items():
        if before.shape != after.shape:
            raise ValueError(
                f"pairs[{name!r}] must have pictures of one size, got {tuple(before.shape)} and {tuple(after.shape)}"
            )
    identity = f"before-after-{uuid.uuid4().hex[:12]}"
    options = "".join(f"<option>{html.escape(name)}</option>" for name in pairs)
    bodies = "".join(_story(name, *pair) for name, pair in pairs.items())
    return (
        f'<div id="{identity}" class="lectures-before-after" role="group" aria-label="{html.escape(amount)}">'
        f"<style>{SLIDER_STYLE}</style>"
        f'<form hidden onsubmit="return false"><p><label for="{identity}-c">{html.escape(choice)}</label> '
        f'<select id="{identity}-c">{options}</select></p>'
        f'<p><label for="{identity}-s">{html.escape(amount)}</label> '
        f'<input id="{identity}-s" type="range" min="0" max="100" value="50" step="5"> <output></output></p></form>'
        f"{bodies}<script>{SLIDER_SCRIPT % {'id': identity}}</script></div>"
    )


def before_after_widget(
    pairs: Mapping[str, tuple[Float[Tensor, "*before"], Float[Tensor, "*after"]]], **names: str
) -> None:
    """Display `before_after`; see there for the arguments and the errors."""
    from IPython.display import HTML, display

    display(HTML(before_after(pairs, **names)))


def _story(name: str, before: Tensor, after: Tensor) -> str:
    images = "".join(
        f'<img {mark} class="dark-light" alt="{html.escape(f"{name}, {what}", quote=True)}" '
        f'src="{picture_png(picture)}">'
        for mark, what, picture in (("data-before", "before", before), ("data-after", "repainted", after))
    )
    return f"<div data-story><div>{images}</div></div>"


def picture_png(picture: Float[Tensor, "3 rows columns"]) -> str:
    """A picture in [-1, 1] as a PNG file in a data address, pixel by pixel."""
    from PIL import Image

    buffer = io.BytesIO()
    shown = (255 * as_pixels(picture)).round().byte().numpy()
    Image.fromarray(np.ascontiguousarray(shown)).save(buffer, format="PNG", optimize=True)
    return PNG_ADDRESS + base64.b64encode(buffer.getvalue()).decode()


# What one logit sees


def reach(layers: Sequence[nn.Conv2d], index: int) -> tuple[int, int]:
    """The first pixel that output `index` of a row of square convolutions sees, and the one after its last.

    Both may lie outside the picture, where there is padding.
    """
    first = last = index
    for layer in reversed(layers):
        first = first * layer.stride[0] - layer.padding[0]
        last = last * layer.stride[0] - layer.padding[0] + layer.kernel_size[0] - 1
    return first, last + 1


def reach_figure(image: Float[Tensor, "3 side side"], discriminators: Mapping[str, PatchDiscriminator]) -> Figure:
    """A picture, and on it what the logit in the middle of each discriminator's map sees.

    Raises:
        ValueError: there is no discriminator, or more than three.
    """
    if not 1 <= len(discriminators) <= len(REACH_COLOURS):
        raise ValueError(f"discriminators must be one to {len(REACH_COLOURS)}, got {len(discriminators)}")
    side = image.shape[-1]
    with house_style():
        figure, axes = plt.subplots(figsize=(6.4, 4.2))
        axes.imshow(as_pixels(image).numpy(), interpolation="nearest", extent=(0, side, side, 0), alpha=0.8)
        for colour, (name, discriminator) in zip(REACH_COLOURS, discriminators.items(), strict=False):
            layers = [*discriminator.convs, discriminator.to_logits]
            first, last = reach(layers, logits_across(discriminator, side) // 2)
            wide = receptive_field(layers)
            axes.add_patch(Rectangle((first, first), last - first, last - first, fill=False, ec=colour, lw=2.5))
            axes.plot([], [], color=colour, linewidth=2.5, label=f"{name}: {wide} × {wide}")
        figure.legend(fontsize=10, loc="outside right upper")
        axes.axis("off")
    return figure


def logits_across(discriminator: PatchDiscriminator, side: int) -> int:
    """How many logits a row of the discriminator's map has for pictures of so many pixels a side."""
    for layer in (*discriminator.convs, discriminator.to_logits):
        side = (side + 2 * layer.padding[0] - layer.kernel_size[0]) // layer.stride[0] + 1
    return side


# The checkerboard


def doubling_figure(doublings: Mapping[str, nn.Module], features: Float[Tensor, "1 channels rows columns"]) -> Figure:
    """What each way of doubling makes of the same features: the first channel of its output.

    Raises:
        ValueError: there is no way of doubling.
    """
    if not doublings:
        raise ValueError("doublings must hold at least one, got none")
    with house_style():
        figure, panels = plt.subplots(1, len(doublings), figsize=(2.9 * len(doublings), 3.1), squeeze=False)
        for axes, (name, doubling) in zip(panels.flat, doublings.items(), strict=True):
            with torch.no_grad():
                made = doubling(features)[0, 0]
            limit = float(made.abs().max().clamp(min=1e-6))
            axes.imshow(made.numpy(), cmap="viridis", vmin=-limit, vmax=limit, interpolation="nearest")
            axes.set_title(name, color=INK, fontsize=10)
            axes.axis("off")
    return figure
