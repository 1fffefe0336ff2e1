"""Pictures of vision: a picture as patches, where a model looks, what it repairs, and how few labels are enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from lectures_lib.evaluation.pointing import rollout_maps, strongest
from lectures_lib.models.vit import patches
from lectures_lib.visual.stepper import stepper
from lectures_lib.visual.style import ACCENT, INK, MEMORY, SOURCE, TARGET, as_img, house_style

DIMMED = 0.25  # what is left of a picture where nobody looks


def patch_figure(image: Float[Tensor, "channels side side"], patch_size: int) -> Figure:
    """A picture, the patches it is cut into, and the row of places that a Vision Transformer reads.

    Raises:
        ValueError: the picture is not whole patches.
    """
    cut = patches(image.unsqueeze(0), patch_size)[0]
    side = image.shape[-1] // patch_size
    with house_style():
        figure, (whole, apart) = plt.subplots(1, 2, figsize=(6.4, 3.3))
        _picture(whole, image)
        whole.set_title("the picture", color=INK, fontsize=10)
        _grid_of_patches(apart, cut, side, patch_size)
        apart.set_title(f"its {len(cut)} patches, with their numbers", color=INK, fontsize=10)
    return figure


def vit_diagram(
    n_patches: int, *, tokens: Sequence[str] = ("class",), heads: Sequence[str] = ("classifier",)
) -> Figure:
    """A Vision Transformer from the bottom up: patches and tokens, positions, layers, and what reads which token.

    Raises:
        ValueError: not one head a token.
    """
    if len(tokens) != len(heads):
        raise ValueError(f"heads must name one head a token, {len(tokens)}, got {list(heads)}")
    places = [*tokens, "1", "2", "3", "…", str(n_patches)]
    with house_style():
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
        for x, name in enumerate(places):
            colour = MEMORY if x < len(tokens) else SOURCE
            _label(axes, x, 0, name if x < len(tokens) else f"patch\n{name}" if name != "…" else "…", colour)
            if name != "…":
                _arrow(axes, (x, 0.36), (x, 0.78))
                _arrow(axes, (x, 2.32), (x, 2.62))
        last = len(places) - 0.6
        for y, name in ((1, "embed_patch; tokens; + positions"), (2, "layers: every place looks at every place")):
            axes.add_patch(Rectangle((-0.4, y - 0.22), last, 0.54, facecolor=INK + "22", edgecolor=INK))
            axes.text((last - 0.8) / 2, y + 0.05, name, ha="center", va="center", color=INK, fontsize=9)
        axes.annotate("", (2.5, 1.76), (2.5, 1.34), arrowprops={"arrowstyle": "->", "color": INK})
        for x, name in enumerate(heads):
            _label(axes, x, 2.9, name, TARGET)
        axes.set(xlim=(-0.8, len(places) - 0.2), ylim=(-0.5, 3.4))
        axes.axis("off")
    return figure


def looking_panels(
    images: Float[Tensor, "n channels side side"],
    maps: Float[Tensor, "maps rows columns"],
    boxes: Int[Tensor, "n 4"] | None = None,
    *,
    titles: Sequence[str] = (),
    columns: int = 4,
) -> Figure:
    """Pictures, and under each the same one lit where the model looks: a frame is the box, a cross the strongest patch.

    Raises:
        ValueError: there is no picture, or not one map (and title) a picture.
    """
    if not len(images) or len(maps) != len(images) or (titles and len(titles) != len(images)):
        raise ValueError(f"maps and titles must be one a picture, {len(images)}, got {len(maps)} and {len(titles)}")
    across = min(columns, len(images))
    down = -(-len(images) // across)
    points = strongest(maps, images.shape[-1] // maps.shape[-1])
    with house_style():
        figure, grid = plt.subplots(2 * down, across, figsize=(1.6 * across, 3.3 * down), squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for number, (image, looked) in enumerate(zip(images, maps, strict=True)):
            row, column = divmod(number, across)
            above, below = grid[2 * row][column], grid[2 * row + 1][column]
            _picture(above, image)
            _lit(below, image, looked)
            if boxes is not None:
                for axes in (above, below):
                    _frame(axes, boxes[number].tolist())
            below.plot(*(points[number] - 0.5).tolist(), marker="x", color=ACCENT, markersize=7, markeredgewidth=2)
            if titles:
                above.set_title(titles[number], color=INK, fontsize=9)
    return figure


def repair_rows(rows: Mapping[str, Float[Tensor, "n channels side side"]]) -> Figure:
    """Rows of the same pictures under each other, each with its name: clean, damaged, repaired.

    Raises:
        ValueError: there is no row, or the rows are not equally long.
    """
    counts = {len(images) for images in rows.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"rows must be equally long with at least one picture, got {sorted(counts)}")
    (count,) = counts
    with house_style():
        figure, grid = plt.subplots(len(rows), count, figsize=(0.3 + 0.8 * count, 0.85 * len(rows)), squeeze=False)
        for line, (name, images) in zip(grid, rows.items(), strict=True):
            for axes, image in zip(line, images, strict=True):
                _picture(axes, image)
            line[0].text(-0.12, 0.5, name, transform=line[0].transAxes, ha="right", va="center", color=INK, fontsize=9)
    return figure


def label_lines(
    scores: Mapping[str, Mapping[int, Sequence[int | float]]], *, chance: int | float, ylabel: str = "accuracy in %"
) -> Figure:
    """Scores by the number of labels, one line a way to begin: its mean, and a dot for every run.

    Raises:
        ValueError: there is no line.
    """
    if not scores:
        raise ValueError("scores must hold at least one line, got none")
    with house_style():
        figure, axes = plt.subplots()
        for colour, (name, by_count) in zip((MEMORY, TARGET, SOURCE, ACCENT), scores.items(), strict=False):
            counts = sorted(by_count)
            means = [sum(by_count[count]) / len(by_count[count]) for count in counts]
            axes.plot(counts, means, color=colour, label=name)
            for count in counts:
                axes.plot([count] * len(by_count[count]), by_count[count], "o", color=colour, markersize=4)
        axes.axhline(chance, color=INK, linestyle="--", linewidth=1, label="guessing")
        axes.set(xscale="log", xlabel="labels", ylabel=ylabel, ylim=(0, 100))
        ticks = sorted({count for by_count in scores.values() for count in by_count})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.legend(fontsize=9)
    return figure


def layer_frames(model: nn.Module, image: Float[Tensor, "channels side side"]) -> list[str]:
    """HTML pictures of what has come into the tokens after each layer, from the first to the last."""
    frames = []
    total = model.encoder.config.n_layers
    for depth in range(1, total + 1):
        looked = rollout_maps(model, image.unsqueeze(0), depth=depth)
        with house_style():
            figure, (left, right) = plt.subplots(1, 2, figsize=(6.0, 3.2))
            _picture(left, image)
            _lit(right, image, looked[0])
            left.set_title("the picture", color=INK, fontsize=10)
            right.set_title(f"looked at after {depth} of {total} layers", color=INK, fontsize=10)
        (point,) = strongest(looked, image.shape[-1] // looked.shape[-1]).tolist()
        alt = f"The picture, and the same lit where the model looks after {depth} of {total} layers; "
        frames.append(as_img(figure, alt + f"most at column {point[0]:.0f}, row {point[1]:.0f} of pixels."))
    return frames


def looking_widget(model: nn.Module, images: Mapping[str, Float[Tensor, "channels side side"]]) -> None:
    """Display a widget: choose a picture, step through the layers, and see where the model has looked so far.

    Raises:
        ValueError: there is no picture.
    """
    from IPython.display import HTML, display

    stories = {name: layer_frames(model, image) for name, image in images.items()}
    display(HTML(stepper(stories, choice="Picture", step="Layers")))


def as_pixels(image: Float[Tensor, "channels side side"]) -> Tensor:
    """A picture in [-1, 1] as matplotlib wants it: (side, side, 3) in [0, 1]; a digit becomes dark on light."""
    shown = ((image.detach().cpu() + 1) / 2).clamp(0, 1)
    if len(shown) == 1:
        shown = 1 - shown.expand(3, -1, -1)
    return shown.permute(1, 2, 0)


def _picture(axes: Axes, image: Tensor) -> None:
    axes.imshow(as_pixels(image).numpy(), interpolation="nearest")
    axes.axis("off")


def _lit(axes: Axes, image: Tensor, looked: Tensor) -> None:
    """The picture, dark where the model does not look."""
    size = image.shape[-1] // looked.shape[-1]
    light = (looked / looked.max().clamp(min=1e-12)).sqrt()  # so that faint looks show too
    light = light.repeat_interleave(size, 0).repeat_interleave(size, 1)
    shown = as_pixels(image) * (DIMMED + (1 - DIMMED) * light.cpu().unsqueeze(-1))
    axes.imshow(shown.clamp(0, 1).numpy(), interpolation="nearest")
    axes.axis("off")


def _frame(axes: Axes, box: Sequence[int]) -> None:
    x0, y0, x1, y1 = box
    axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=TARGET, linewidth=1.8))


def _grid_of_patches(axes: Axes, cut: Tensor, side: int, patch_size: int) -> None:
    gap = max(1, patch_size // 3)
    step = patch_size + gap
    for number, patch in enumerate(cut):
        row, column = divmod(number, side)
        left, top = column * step, row * step
        image = patch.view(-1, patch_size, patch_size)
        extent = (left, left + patch_size, top + patch_size, top)
        axes.imshow(as_pixels(image).numpy(), extent=extent, interpolation="nearest")
        if side <= 8:
            axes.text(left, top - 0.2, f"{number + 1}", fontsize=6, color=INK, va="bottom")
    axes.set(xlim=(-1, side * step), ylim=(side * step, -gap - 1), aspect="equal")
    axes.axis("off")


def _label(axes: Axes, x: int | float, y: int | float, text: str, colour: str) -> None:
    box = {"boxstyle": "round,pad=0.35", "facecolor": colour + "30", "edgecolor": colour}
    axes.text(x, y, text, ha="center", va="center", fontsize=8, color=INK, bbox=box)


def _arrow(axes: Axes, start: tuple[int | float, int | float], end: tuple[int | float, int | float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK})
