"""Watching a GAN: who is updated by what, the discriminator's landscape, samples over training, pushes under each loss.

Real samples are blue and generated ones orange, in every picture.
"""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

from lectures_lib.data.samples import RealBatches
from lectures_lib.data.toy import Mixture
from lectures_lib.evaluation.distributions import earth_mover, pushes
from lectures_lib.training.gan import (
    GanHistory,
    GanRules,
    Players,
    discriminator_step,
    draw_latent,
    evaluating,
    generator_step,
    sample,
)
from lectures_lib.visual.stepper import stepper
from lectures_lib.visual.style import ACCENT, GENERATED, INK, MEMORY, MUTED, REAL, as_img, house_style

LOSS_COLOURS = {
    "minimax": GENERATED,
    "non-saturating": REAL,
    "least-squares": ACCENT,
    "wasserstein": MEMORY,
    "hinge": "#E69F00",
}

# Scatter plots become pixels within the picture: thousands of points as SVG would weigh megabytes.
RASTER = {"rasterized": True, "linewidths": 0}

PNG_ADDRESS = "data:image/png;base64,"


# Diagrams


def gan_diagram() -> Figure:
    """Two rows: the discriminator's step and the generator's, with the way of the gradient and where it ends."""
    with house_style():
        figure, rows = plt.subplots(2, 1, figsize=(6.8, 5.2))
        for axes, learns in zip(rows, ("discriminator", "generator"), strict=True):
            _step_diagram(axes, learns)
    return figure


def _step_diagram(axes: Axes, learns: str) -> None:
    ours = learns == "generator"
    _box(axes, 0.0, 0.0, "latent", MUTED, 0.9)
    _box(axes, 1.7, 0.0, "generator", GENERATED, 1.3, bold=ours)
    _box(axes, 5.0, 0.55, "discriminator", REAL, 1.7, bold=not ours)
    _box(axes, 7.1, 0.55, "loss", INK, 0.9)
    _arrow(axes, (0.45, 0.0), (1.05, 0.0))
    _arrow(axes, (2.35, 0.0), (4.15, 0.4))
    axes.text(3.2, 0.42, "fake", color=GENERATED, ha="center", fontsize=10)
    _arrow(axes, (5.85, 0.55), (6.65, 0.55))
    if not ours:
        _box(axes, 1.7, 1.1, "real", REAL, 0.9)
        _arrow(axes, (2.15, 1.1), (4.15, 0.7))
    # The gradient's way back, below the boxes.
    _arrow(axes, (7.1, -0.55), (5.0, -0.55), colour=ACCENT, dashed=True)
    if ours:
        _arrow(axes, (5.0, -0.55), (1.7, -0.55), colour=ACCENT, dashed=True)
        axes.text(1.7, -0.95, "weights change", color=ACCENT, ha="center", fontsize=9)
        axes.text(5.0, -0.95, "only passes through", color=ACCENT, ha="center", fontsize=9)
    else:
        axes.plot([3.55, 5.0], [-0.55, -0.55], color=ACCENT, linewidth=0.8, linestyle=":")
        axes.plot([3.5, 3.5], [-0.8, -0.3], color=ACCENT, linewidth=3)
        axes.text(3.5, -1.15, "detach(): it ends here", color=ACCENT, ha="center", fontsize=9)
        axes.text(5.4, -0.95, "weights change", color=ACCENT, ha="center", fontsize=9)
    axes.text(7.1, -0.95, "gradient", color=ACCENT, ha="center", fontsize=9)
    axes.set(xlim=(-0.6, 7.8), ylim=(-1.3, 1.6))
    axes.set_title(f"The {learns}'s step", color=INK, fontsize=11, loc="left")
    axes.axis("off")


def _box(axes: Axes, x: float, y: float, name: str, colour: str, width: float, *, bold: bool = False) -> None:
    corner = (x - width / 2, y - 0.25)
    style = {"boxstyle": "round,pad=0.04", "linewidth": 2.5 if bold else 1, "edgecolor": colour}
    axes.add_patch(FancyBboxPatch(corner, width, 0.5, facecolor=colour + "30", **style))
    weight = "bold" if bold else "normal"
    axes.text(x, y, name, ha="center", va="center", fontsize=10, color=INK, fontweight=weight)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], *, colour: str = INK, dashed: bool = False
) -> None:
    style = {"arrowstyle": "->", "color": colour, "linestyle": "--" if dashed else "-"}
    axes.annotate("", end, start, arrowprops=style)


# On a line


def line_densities(
    x: Float[Tensor, " points"],
    real: Float[Tensor, " points"],
    generated: Float[Tensor, " points"],
    curves: Mapping[str, Float[Tensor, " points"]],
) -> Figure:
    """Two densities, filled, and above them what discriminators say at each point, from 0 to 1."""
    with house_style():
        figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 4.4))
        for (name, curve), style in zip(curves.items(), ("-", "--", ":", "-."), strict=False):
            above.plot(x.numpy(), curve.numpy(), style, color=MEMORY if style == "-" else INK, label=name)
        above.axhline(0.5, color=INK, linewidth=0.8)
        above.set(ylabel="D(x)", ylim=(-0.03, 1.03))
        above.legend(fontsize=9)
        for name, density, colour in (("real p", real, REAL), ("generated q", generated, GENERATED)):
            below.fill_between(x.numpy(), density.numpy(), color=colour, alpha=0.35, label=name)
        below.set(xlabel="x", ylabel="density", ylim=(0, None))
        below.legend(fontsize=9)
    return figure


def log_lines(
    series: Mapping[str, tuple[Sequence[int | float], Sequence[int | float]]], *, xlabel: str, ylabel: str
) -> Figure:
    """Lines with dots on logarithmic axes; the name of a loss has that loss's colour."""
    if not series:
        raise ValueError("series must hold at least one line, got none")
    with house_style():
        figure, axes = plt.subplots()
        for name, (x, y) in series.items():
            axes.plot(x, y, marker="o", color=LOSS_COLOURS.get(name, INK), label=name)
        axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log", yscale="log")
        axes.legend(fontsize=9)
    return figure


def push_figure(real: Mixture, generated: Mixture, *, limit: int | float = 3.0) -> Figure:
    """Both densities, and below them the push on a generated sample at each point, under each loss's best critic.

    Pushes beyond `limit` are drawn at the limit.
    """
    x = torch.linspace(-6, 6, 241)
    by_loss = pushes(real, generated, x)
    here = generated.density(x.unsqueeze(1))
    seen = here > 0.02 * here.max()  # where a generated sample may lie
    with house_style():
        figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 4.6), height_ratios=(1, 1.6))
        for name, mixture, colour in (("real", real, REAL), ("generated", generated, GENERATED)):
            above.fill_between(x.numpy(), mixture.density(x.unsqueeze(1)).numpy(), color=colour, alpha=0.35, label=name)
        above.set(ylabel="density", ylim=(0, None))
        above.legend(fontsize=9, loc="upper right")
        for name, push in by_loss.items():
            shown = torch.where(seen, push.clamp(-limit, limit), torch.nan)
            below.plot(x.numpy(), shown.numpy(), color=LOSS_COLOURS[name], linewidth=2, label=name)
        below.axhline(0, color=INK, linewidth=0.8)
        below.set(xlabel="x", ylabel="push (right is positive)", xlim=(-6, 6), ylim=(-1.1 * limit, 1.1 * limit))
        below.legend(fontsize=9, ncols=2)
    return figure


def push_widget(
    stories: Mapping[str, tuple[Mixture, Mixture]], shifts: Sequence[int | float], *, display: bool = True
) -> str:
    """Choose two distributions, slide the generated one, and see the pushes of every loss; returns the HTML."""
    frames: dict[str, list[str]] = {}
    for name, (real, generated) in stories.items():
        frames[name] = []
        for by in shifts:
            moved = generated.shifted(by)
            sizes = _pushes_in_words(real, moved)
            image = as_img(push_figure(real, moved), f"Densities and pushes for a shift of {by:g}. {sizes}")
            frames[name].append(f"{image}<p>{html.escape(sizes)}</p>")
    widget = stepper(frames, choice="Real and generated", step="Move the generated one")
    return _displayed(widget) if display else widget


def _pushes_in_words(real: Mixture, generated: Mixture) -> str:
    x = torch.linspace(-8, 8, 1_601)
    weight = generated.density(x.unsqueeze(1))
    mean = {
        name: float((push.abs() * weight).sum() / weight.sum()) for name, push in pushes(real, generated, x).items()
    }
    generator = torch.Generator().manual_seed(0)
    apart = earth_mover(*(m.sample(4_000, generator).flatten() for m in (real, generated)))
    sizes = ", ".join(f"{name} {size:.2g}" for name, size in mean.items())
    return f"Earth mover's distance about {apart:.1f}. Mean size of the push: {sizes}."


# On a plane


def scatter_panels(
    panels: Mapping[str, Float[Tensor, "n 2"]], real: Float[Tensor, "m 2"], *, limit: int | float = 3.0
) -> Figure:
    """Generated points over real ones, a panel a name."""
    if not panels:
        raise ValueError("panels must hold at least one set of points, got none")
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with house_style():
        figure, grid = plt.subplots(rows, columns, figsize=(2.2 * columns, 2.3 * rows), squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.axis("off")
        for axes, (name, points) in zip(grid.flat, panels.items(), strict=False):
            _points(axes, real, points, limit)
            axes.set_title(name, color=INK, fontsize=10)
    return figure


def landscape(
    discriminator: nn.Module,
    real: Float[Tensor, "n 2"],
    generated: Float[Tensor, "m 2"],
    *,
    limit: int | float = 3.0,
    title: str = "",
    arrows: bool = True,
) -> Figure:
    """What the discriminator says everywhere (green: real), both kinds of points, and which way it pushes."""
    steps = 81
    axis = torch.linspace(-limit, limit, steps)
    places = torch.cartesian_prod(axis, axis)  # x changes slowest
    with evaluating(discriminator):
        device = next(discriminator.parameters()).device
        logits = discriminator(places.to(device)).cpu().view(steps, steps).T
    with house_style():
        figure, axes = plt.subplots(figsize=(4.6, 4.2))
        shown = axes.imshow(
            logits.sigmoid().numpy(),
            origin="lower",
            extent=(-limit, limit) * 2,
            cmap="PiYG",
            vmin=0,
            vmax=1,
            alpha=0.55,
        )
        figure.colorbar(shown, ax=axes, label="D(x): how real it looks", shrink=0.85)
        _points(axes, real, generated, limit)
        if arrows:
            _pushes_on(axes, discriminator, generated[:60])
        axes.set_title(title, color=INK, fontsize=10)
    return figure


def _pushes_on(axes: Axes, discriminator: nn.Module, points: Tensor) -> None:
    device = next(discriminator.parameters()).device
    places = points.detach().to(device).requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(discriminator(places).sum(), places)
    way = (slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-9)).cpu()
    axes.quiver(*points.detach().cpu().T.numpy(), *way.T.numpy(), color=INK, width=0.004, scale=18, alpha=0.8)


def _points(axes: Axes, real: Tensor, generated: Tensor, limit: int | float) -> None:
    for points, colour, size in ((real, REAL, 3), (generated, GENERATED, 4)):
        axes.scatter(*points.detach().cpu().T.numpy(), s=size, color=colour, alpha=0.6, **RASTER)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    axes.grid(visible=False)


# Over training


def gan_curves(history: GanHistory) -> Figure:
    """Both losses, and how often the discriminator is right, by round."""
    with house_style():
        figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 4.6))
        above.plot(history.step, history.discriminator_loss, color=REAL, label="discriminator")
        above.plot(history.step, history.generator_loss, color=GENERATED, label="generator")
        above.set(ylabel="loss in nats")
        above.legend(fontsize=9)
        below.plot(history.step, history.accuracy, color=MEMORY, label="discriminator is right")
        below.axhline(0.5, color=INK, linestyle="--", linewidth=1, label="as often as by chance")
        below.set(xlabel="round", ylabel="share", ylim=(0, 1.02))
        below.legend(fontsize=9)
    return figure


# Images


def image_grid(images: Float[Tensor, "n channel height width"], *, columns: int = 8, title: str = "") -> Figure:
    """Images in [-1, 1] side by side."""
    if len(images) == 0:
        raise ValueError("images must hold at least one image, got none")
    with house_style():
        rows = -(-len(images) // columns)
        figure, axes = plt.subplots(figsize=(0.75 * columns, 0.75 * rows + (0.3 if title else 0)))
        axes.imshow(image_sheet(images, columns).numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, color=INK, fontsize=10)
        axes.axis("off")
    return figure


def image_sheet(
    images: Float[Tensor, "n channel height width"], columns: int
) -> Float[Tensor, "rows columns_ *colour"]:
    """Images in [-1, 1] side by side on one sheet, as shares of ink from 0 to 1; empty places are paper."""
    n, channels, height, width = images.shape
    rows = -(-n // columns)
    sheet = images.new_full((rows * columns, channels, height, width), -1.0)
    sheet[:n] = images.detach().cpu()
    sheet = sheet.view(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    sheet = ((sheet.reshape(rows * height, columns * width, channels) + 1) / 2).clamp(0, 1)
    return sheet.squeeze(-1)


def sheet_png(images: Float[Tensor, "n 1 height width"], columns: int) -> str:
    """Grey images side by side as a PNG file in a data address, black ink on white paper."""
    from PIL import Image

    grey = (255 * (1 - image_sheet(images, columns))).round().byte().numpy()
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG", optimize=True)
    return PNG_ADDRESS + base64.b64encode(buffer.getvalue()).decode()


def images_of_png(address: str, size: int) -> Float[Tensor, "n 1 size size"]:
    """The square images, `size` wide, of a sheet that `sheet_png` made.

    Raises:
        ValueError: `address` does not begin as those do, or the sheet is no multiple of `size`.
    """
    from PIL import Image

    if not address.startswith(PNG_ADDRESS):
        raise ValueError(f"address must begin with {PNG_ADDRESS!r}, got {address[:30]!r}")
    with Image.open(io.BytesIO(base64.b64decode(address.removeprefix(PNG_ADDRESS)))) as picture:
        sheet = torch.from_numpy(np.array(picture.convert("L")))
    if sheet.shape[0] % size or sheet.shape[1] % size:
        raise ValueError(f"the sheet must be a multiple of {size} high and wide, got {tuple(sheet.shape)}")
    tiles = sheet.unfold(0, size, size).unfold(1, size, size).reshape(-1, 1, size, size)
    return 1 - 2 * tiles.float() / 255


def named_rows(rows: Mapping[str, Float[Tensor, "n channel height width"]]) -> Figure:
    """Rows of images, each with its name above it.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("rows must hold at least one, got none")
    columns = max(map(len, rows.values()))
    with house_style():
        figure, grid = plt.subplots(len(rows), 1, figsize=(0.6 * columns, 0.9 * len(rows)), squeeze=False)
        for axes, (name, images) in zip(grid.flat, rows.items(), strict=True):
            sheet = image_sheet(images, columns).numpy()
            axes.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(name, color=INK, fontsize=9, loc="left")
            axes.axis("off")
    return figure


def samples_over_training(history: GanHistory, *, columns: int = 8) -> Figure:
    """One row of images a kept round: the same latents each time."""
    if not history.samples:
        raise ValueError("history must have samples: train with sample_every")
    rows = [made[:columns] for made in history.samples.values()]
    figure = image_grid(torch.cat(rows), columns=columns)
    with house_style():
        (axes,) = figure.axes
        height = rows[0].shape[-2]
        for row, at in enumerate(history.samples):
            axes.text(-2, (row + 0.5) * height, f"{at}", ha="right", va="center", color=INK, fontsize=9)
    return figure


def latent_path(ends: Float[Tensor, "ends d_latent"], steps: int) -> Float[Tensor, "path d_latent"]:
    """A walk along `ends`, `steps` points from each to the next, on arcs: means of normal vectors are too short.

    Raises:
        ValueError: fewer than two ends, or fewer than one step.

    Source: White 2016 (spherical interpolation).
    """
    if len(ends) < 2 or steps < 1:
        raise ValueError(f"a path needs two ends and a step, got {len(ends)} ends and {steps} steps")
    parts = []
    for a, b in zip(ends[:-1], ends[1:], strict=True):
        angle = torch.acos(torch.clamp(torch.dot(a, b) / (a.norm() * b.norm()), -1, 1))
        share = torch.linspace(0, 1, steps + 1)[:-1, None]
        if angle < 1e-4:
            parts.append(torch.lerp(a, b, share))
        else:
            parts.append((((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin())
    return torch.cat([*parts, ends[-1:]])


def latent_walk(generator: nn.Module, ends: Float[Tensor, "ends d_latent"], *, steps: int = 8) -> Figure:
    """The images along a path through the latent space, a row from each end to the next."""
    path = latent_path(ends, steps)
    return image_grid(sample(generator, path), columns=steps)


# A game to be stepped through


class PointGame:
    """A GAN on a plane that moves when it is told to: for widgets, and for readers who want to be slow."""

    def __init__(
        self, players: Players, batches: RealBatches, rules: GanRules | None = None, *, limit: int | float = 3.0
    ) -> None:
        self.players, self.batches, self.rules, self.limit = players, batches, rules or GanRules(), limit
        self.moves = {"discriminator": 0, "generator": 0}
        self._shown = torch.randn(300, players.generator.config.d_latent, generator=torch.Generator().manual_seed(0))

    def step_discriminator(self, count: int = 1) -> None:
        """Let the discriminator move, each time on real points of its own."""
        for _ in range(count):
            real = self.batches(self.moves["discriminator"]).to(self.players.device)
            discriminator_step(self.players, real, self._latent(len(real)), self.rules)
            self.moves["discriminator"] += 1

    def step_generator(self, count: int = 1) -> None:
        """Let the generator move."""
        for _ in range(count):
            generator_step(self.players, self._latent(len(self.batches(0))), self.rules)
            self.moves["generator"] += 1

    def take_turns(self, rounds: int = 1) -> None:
        """Let both move, one after the other."""
        for _ in range(rounds):
            self.step_discriminator()
            self.step_generator()

    def _latent(self, count: int) -> Tensor:
        return draw_latent(self.players.generator, count).to(self.players.device)

    def picture(self) -> str:
        """The landscape as it is now, as HTML."""
        made = sample(self.players.generator, self._shown)
        moves = "moves: discriminator {discriminator}, generator {generator}".format(**self.moves)
        figure = landscape(self.players.discriminator, self.batches(0)[:300], made, limit=self.limit, title=moves)
        alt = f"The discriminator's landscape with real and generated points; {moves}."
        return as_img(figure, alt)


def game_frames(game: PointGame, plan: Sequence[tuple[str, int]], *, rounds: int) -> list[str]:
    """Pictures of a game: before, and after each part of each round; a part is (who, how many moves)."""
    frames = [game.picture()]
    move = {"discriminator": game.step_discriminator, "generator": game.step_generator, "both": game.take_turns}
    for who, _ in plan:
        if who not in move:
            raise ValueError(f"plan must name {', '.join(move)}, got {who!r}")
    for _ in range(rounds):
        for who, count in plan:
            move[who](count)
            frames.append(game.picture())
    return frames


def game_widget(
    new_game: Callable[[], PointGame], stories: Mapping[str, Sequence[tuple[str, int]]], *, rounds: int = 5
) -> None:
    """Step through precomputed games, one a story; in a running notebook buttons move a game of one's own besides."""
    frames = {name: game_frames(new_game(), plan, rounds=rounds) for name, plan in stories.items()}
    _displayed(stepper(frames, choice="Who moves", step="Go on"))
    if not os.environ.get("LECTURES_STATIC"):
        _live_game(new_game)


def _live_game(new_game: Callable[[], PointGame]) -> None:
    import ipywidgets
    from IPython.display import HTML, display

    state = {"game": new_game()}
    picture = ipywidgets.Output()

    def redraw() -> None:
        picture.clear_output(wait=True)
        with picture:
            display(HTML(state["game"].picture()))

    def restart() -> None:
        state["game"] = new_game()

    actions = {
        "D step": lambda: state["game"].step_discriminator(),
        "G step": lambda: state["game"].step_generator(),
        "100 rounds": lambda: [
            (state["game"].step_discriminator(), state["game"].step_generator()) for _ in range(100)
        ],
        "Start again": restart,
    }
    buttons = []
    for name, act in actions.items():
        button = ipywidgets.Button(description=name)
        button.on_click(lambda _, act=act: (act(), redraw()))
        buttons.append(button)
    redraw()
    display(ipywidgets.VBox([ipywidgets.HBox(buttons), picture]))


def _displayed(widget: str) -> str:
    from IPython.display import HTML, display

    display(HTML(widget))
    return widget
