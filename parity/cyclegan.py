"""CycleGAN's networks beside rows of PyTorch's own layers, as the published code lays them out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lectures_lib.models.cyclegan import CycleGanConfig, CycleGanGenerator, PatchDiscriminator
from parity.compare import Parity, compared, named_gradients, shaken, weighed_sum

SIZES = dict(width=4, n_blocks=2, discriminator_width=4, n_layers=2)


def photographs() -> Tensor:
    """(2, 3, 24, 32) in [-1, 1], the same at every call."""
    return torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), nn.InstanceNorm2d(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=False), nn.InstanceNorm2d(width)]
        self.row = nn.Sequential(*half, nn.ReLU(), *other)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.row(x)


def _generator_row(upsampling: str) -> nn.Sequential:
    width = SIZES["width"]
    row = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=False), nn.InstanceNorm2d(width), nn.ReLU()]
    for w in (width, 2 * width):
        row += [nn.Conv2d(w, 2 * w, 3, stride=2, padding=1, bias=False), nn.InstanceNorm2d(2 * w), nn.ReLU()]
    row += [_Block(4 * width) for _ in range(SIZES["n_blocks"])]
    for w in (4 * width, 2 * width):
        if upsampling == "transposed":
            row.append(nn.ConvTranspose2d(w, w // 2, 3, stride=2, padding=1, output_padding=1, bias=False))
        else:
            row += [nn.UpsamplingNearest2d(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(w, w // 2, 3, bias=False)]
        row += [nn.InstanceNorm2d(w // 2), nn.ReLU()]
    return nn.Sequential(*row, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())


def _discriminator_row() -> nn.Sequential:
    width = SIZES["discriminator_width"]
    row = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    for before, after, stride in ((width, 2 * width, 2), (2 * width, 4 * width, 1)):
        row += [nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False), nn.InstanceNorm2d(after)]
        row.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*row, nn.Conv2d(4 * width, 1, 4, padding=1))


def generator(upsampling: str) -> Parity:
    """`CycleGanGenerator` beside a row of layers: both ways of doubling."""
    ours = CycleGanGenerator(CycleGanConfig(**SIZES, upsampling=upsampling))
    what = f"pictures, upsampling {upsampling}"
    return _beside("CycleGanGenerator", ours, _generator_row(upsampling), what)


def discriminator() -> Parity:
    """`PatchDiscriminator` beside a row of layers."""
    return _beside("PatchDiscriminator", PatchDiscriminator(CycleGanConfig(**SIZES)), _discriminator_row(), "logits")


def _beside(name: str, ours: nn.Module, theirs: nn.Sequential, what: str) -> Parity:
    """The weights are copied in the order in which they are used, which is that of both modules' parameters."""
    shaken(theirs)
    names = _in_order_of_use(ours)
    ours.load_state_dict(dict(zip(names, theirs.state_dict().values(), strict=True)))
    output, expected = ours(photographs()), theirs(photographs())
    expected = expected.view_as(output)
    for out in (output, expected):
        weighed_sum(out).backward()
    mine, gradients = named_gradients(ours), named_gradients(theirs)
    pairs = {n: (mine[n], g) for n, g in zip(names, gradients.values(), strict=True)}
    return compared(name, "torch.nn layers in a row", what, [(output, expected)], pairs)


def _in_order_of_use(model: nn.Module) -> list[str]:
    order = ("conv_in", "downs", "blocks", "ups", "conv_out", "convs", "to_logits")
    return sorted(model.state_dict(), key=lambda name: order.index(name.split(".")[0]))
