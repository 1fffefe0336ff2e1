"""The pictures of the chapter `dcgan`: both networks with the names of their modules, and where stamps fall."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.models.dcgan import DcganDiscriminator, DcganGenerator
from lectures_lib.visual.style import GENERATED, INK, MUTED, REAL, house_style

Shape = tuple[int, ...]


def dcgan_diagram(generator: DcganGenerator, discriminator: DcganDiscriminator) -> Figure:
    """Every stage of both networks as a square as wide as its images, with its channels and the module before it."""
    up, down = generator_shapes(generator), discriminator_shapes(discriminator)
    with house_style():
        figure, rows = plt.subplots(2, 1, figsize=(6.8, 4.6))
        names = [f"ups.{n}" for n in range(len(generator.ups))]
        _stages(rows[0], "generator", up, names, GENERATED)
        names = [*(f"downs.{n}" for n in range(len(discriminator.downs))), "to_logit"]
        _stages(rows[1], "discriminator", down, names, REAL)
    return figure


def generator_shapes(generator: DcganGenerator) -> list[Shape]:
    """(channels, height, width) of the latent and after every module of `ups`."""
    return _shapes((generator.config.d_latent, 1, 1), generator.ups)


def discriminator_shapes(discriminator: DcganDiscriminator) -> list[Shape]:
    """(channels, height, width) of the image, after every module of `downs`, and of the logit."""
    return _shapes(discriminator.config.sample_shape, [*discriminator.downs, discriminator.to_logit])


def _shapes(first: Shape, layers: Iterable[nn.Module]) -> list[Shape]:
    shapes = [tuple(first)]
    for layer in layers:
        still = copy.deepcopy(layer).to("meta")  # shapes without arithmetic
        shapes.append(tuple(still(torch.zeros(1, *shapes[-1], device="meta")).shape[1:]))
    return shapes


def _stages(axes: Axes, title: str, shapes: list[Shape], names: list[str], colour: str) -> None:
    largest = max(shape[-1] for shape in shapes)
    x = 0.0
    for index, (channels, _, width) in enumerate(shapes):
        side = 0.25 + 1.35 * width / largest
        place = (x, -side / 2)
        axes.add_patch(Rectangle(place, side, side, facecolor=colour + "30", edgecolor=colour, linewidth=1.5))
        what = f"{channels}" if width == 1 else f"{channels} × {width} × {width}"
        axes.text(x + side / 2, -1.02, what, ha="center", va="top", color=INK, fontsize=9)
        x += side
        if index < len(names):
            axes.annotate("", (x + 1.0, 0), (x + 0.1, 0), arrowprops={"arrowstyle": "->", "color": MUTED})
            axes.text(x + 0.55, 0.1, names[index], ha="center", va="bottom", color=INK, fontsize=9)
            x += 1.1
    axes.set(xlim=(-0.5, max(x + 0.3, 6.5)), ylim=(-1.35, 1.0), aspect="equal")
    axes.set_title(f"{title}: channels × height × width", color=INK, fontsize=10, loc="left")
    axes.axis("off")


def stamp_figure(kernels: Sequence[int], *, stride: int = 2, size: int = 6) -> Figure:
    """How many stamps fall on each place of a sheet, a panel a width of the kernel.

    Raises:
        ValueError: there is no kernel.
    """
    if not kernels:
        raise ValueError("kernels must hold at least one width, got none")
    with house_style():
        figure, panels = plt.subplots(1, len(kernels), figsize=(2.6 * len(kernels), 2.9), squeeze=False)
        for axes, kernel in zip(panels.flat, kernels, strict=True):
            counts = touches(kernel, stride=stride, size=size)
            axes.imshow(counts.numpy(), cmap="viridis", vmin=0)
            for row, column in torch.cartesian_prod(*map(torch.arange, counts.shape)).tolist():
                count = int(counts[row, column])
                shade = "white" if count < 3 else "black"
                axes.text(column, row, f"{count}", ha="center", va="center", color=shade, fontsize=6)
            axes.set_title(f"kernel {kernel}, stride {stride}", color=INK, fontsize=10)
            axes.axis("off")
    return figure


def touches(kernel: int, *, stride: int, size: int) -> Float[Tensor, "height width"]:
    """How many stamps of a transposed convolution fall on each place, for an image of `size` rows and columns."""
    image, stamp = torch.ones(1, 1, size, size), torch.ones(1, 1, kernel, kernel)
    return F.conv_transpose2d(image, stamp, stride=stride)[0, 0]
