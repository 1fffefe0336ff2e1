"""CycleGAN: a generator that repaints a picture, and a discriminator that discriminators it patch by patch.

The generator halves the picture twice, changes it in residual blocks, and doubles it twice. Its doubling can be the
paper's transposed convolution, which may leave a checkerboard (Odena et al. 2016), or nearest-neighbour resizing
followed by a convolution, which does not. The discriminator (*PatchGAN*) gives a map of logits, each for one patch of
the picture.

Source: Zhu, Park, Isola and Efros 2017 (arXiv 1703.10593), section 4 and appendix 7.2; the patches: Isola et al. 2017.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
UPSAMPLINGS = ("transposed", "resize")


@dataclass(frozen=True)
class CycleGanConfig:
    """The sizes of both networks.

    `width` is the number of channels of the first layer; `n_blocks` the residual blocks in the middle of the generator.
    `n_halvings` and `outer_kernel`, the size of the first and last kernels, are 2 and 7 in the paper; small pictures
    can do with less. `n_layers` counts the discriminator's halvings: 3 give the paper's patches of 70 × 70 pixels, 2 of
    34, 1 of 16.

    Raises:
        ValueError: a size below 1, an even outer kernel, or an unknown way of upsampling.
    """

    channels: int = 3
    width: int = 64
    n_blocks: int = 9
    upsampling: str = "transposed"  # or "resize"
    discriminator_width: int = 64
    n_layers: int = 3
    n_halvings: int = 2
    outer_kernel: int = 7

    def __post_init__(self) -> None:
        sizes = ("channels", "width", "n_blocks", "discriminator_width", "n_layers", "n_halvings", "outer_kernel")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.outer_kernel % 2 == 0:
            raise ValueError(f"outer_kernel must be odd, got {self.outer_kernel}")
        if self.upsampling not in UPSAMPLINGS:
            raise ValueError(f"upsampling must be one of {UPSAMPLINGS}, got {self.upsampling!r}")

    @classmethod
    def tiny(cls) -> CycleGanConfig:
        """For the 32 × 32 pictures of scenes, on two cores: patches of 16 × 16."""
        return cls(width=16, n_blocks=2, upsampling="resize", discriminator_width=16, n_layers=1)

    @classmethod
    def paper(cls, image_size: int = 256) -> CycleGanConfig:
        """9 residual blocks from 256 × 256 pixels on, 6 below."""
        return cls(n_blocks=9 if image_size >= 256 else 6)


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions whose outcome is added to what came in.

    Source: Johnson et al. 2016, with the picture reflected at its edges.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _reflected(width, width, 3), _reflected(width, width, 3)

    def forward(self, x: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch width rows columns"]:
        """As many numbers as came in."""
        return x + F.instance_norm(self.conv2(F.relu(F.instance_norm(self.conv1(x)))))


class CycleGanGenerator(nn.Module):
    """From a picture of one kind to a picture of the other, both in [-1, 1].

    Every convolution but the last is followed by instance normalisation without weights, which takes away any constant:
    those convolutions have no bias.

    Source: Zhu et al. 2017, appendix 7.2: c7s1-64, d128, d256, R256 × 9, u128, u64, c7s1-3.
    """

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**n for n in range(config.n_halvings + 1)]
        self.conv_in = _reflected(config.channels, widths[0], config.outer_kernel)
        self.downs = nn.ModuleList(nn.Conv2d(w, 2 * w, 3, stride=2, padding=1, bias=False) for w in widths[:-1])
        self.blocks = nn.ModuleList(ResidualBlock(widths[-1]) for _ in range(config.n_blocks))
        self.ups = nn.ModuleList(_doubling(w, config.upsampling) for w in widths[:0:-1])
        self.conv_out = _reflected(widths[0], config.channels, config.outer_kernel, bias=True)
        self.apply(init_cyclegan)

    def forward(
        self, images: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """A picture of the same size.

        Raises:
            ValueError: another number of channels than the model's, or sides that are no multiples of 4 of at least 8
                (of 2 and 4 after one halving, and so on).
        """
        _, channels, rows, columns = images.shape
        factor = 2**self.config.n_halvings
        smallest = max(2 * factor, self.config.outer_kernel // 2 + 1)
        if channels != self.config.channels or rows % factor or columns % factor or min(rows, columns) < smallest:
            sides = f"sides multiples of {factor} of at least {smallest}"
            expected = f"(batch, {self.config.channels}, rows, columns), {sides}"
            raise ValueError(f"images must have shape {expected}, got {tuple(images.shape)}")
        x = F.relu(F.instance_norm(self.conv_in(images)))  # (batch, width, rows, columns)
        for down in self.downs:
            x = F.relu(F.instance_norm(down(x)))  # twice the width, half the sides
        for block in self.blocks:
            x = block(x)  # (batch, 4 · width, rows / 4, columns / 4) after two halvings
        for up in self.ups:
            x = F.relu(F.instance_norm(up(x)))  # half the width, twice the sides
        return self.conv_out(x).tanh()


def _reflected(before: int, after: int, kernel: int, *, bias: bool = False) -> nn.Conv2d:
    """A convolution that sees the picture mirrored beyond its edges."""
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, padding_mode="reflect", bias=bias)


def _doubling(width: int, kind: str) -> nn.Module:
    if kind == "transposed":
        return nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=False)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), _reflected(width, width // 2, 3))


class PatchDiscriminator(nn.Module):
    """From a picture to a map of logits: how real is this patch?

    Source: Zhu et al. 2017, appendix 7.2: C64-C128-C256-C512 and a last convolution; Isola et al. 2017, section 3.2.2.
    """

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.config = config
        width = config.discriminator_width
        widths = [width * min(2**n, 8) for n in range(config.n_layers + 1)]
        self.convs = nn.ModuleList()
        before = config.channels
        for n, after in enumerate(widths):
            stride = 2 if n < config.n_layers else 1
            # The first has no normalisation after it, so it has a bias.
            self.convs.append(nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=n == 0))
            before = after
        self.to_logits = nn.Conv2d(before, 1, 4, padding=1)
        self.apply(init_cyclegan)

    @property
    def patch(self) -> int:
        """The side of the square of pixels that one logit depends on."""
        return receptive_field([*self.convs, self.to_logits])

    def forward(
        self, images: Float[Tensor, "batch channels rows columns"]
    ) -> Float[Tensor, "batch map_rows map_columns"]:
        """A map of logits, one for each patch.

        Raises:
            ValueError: another number of channels than the model's, or a picture too small for a logit.
        """
        smallest = 3 * 2**self.config.n_layers
        if images.shape[1] != self.config.channels or min(images.shape[2:]) < smallest:
            expected = f"(batch, {self.config.channels}, rows, columns), sides of at least {smallest}"
            raise ValueError(f"images must have shape {expected}, got {tuple(images.shape)}")
        x = F.leaky_relu(self.convs[0](images), SLOPE)
        for conv in self.convs[1:]:
            x = F.leaky_relu(F.instance_norm(conv(x)), SLOPE)
        return self.to_logits(x).squeeze(1)


class CycleGan(nn.Module):
    """All four networks: two generators and two discriminators, of two domains called x and y.

    The paper's names: `to_y` is G, `to_x` is F, `discriminator_x` and `discriminator_y` are its discriminators.
    """

    def __init__(self, config: CycleGanConfig) -> None:
        super().__init__()
        self.config = config
        self.to_y, self.to_x = CycleGanGenerator(config), CycleGanGenerator(config)
        self.discriminator_x, self.discriminator_y = PatchDiscriminator(config), PatchDiscriminator(config)

    @property
    def generators(self) -> list[CycleGanGenerator]:
        """Both generators."""
        return [self.to_y, self.to_x]

    @property
    def discriminators(self) -> list[PatchDiscriminator]:
        """Both discriminators."""
        return [self.discriminator_x, self.discriminator_y]

    def forward(
        self, x: Float[Tensor, "batch channels rows columns"], y: Float[Tensor, "others channels rows columns"]
    ) -> tuple[Float[Tensor, "others channels rows columns"], Float[Tensor, "batch channels rows columns"]]:
        """Pictures of y repainted as x, and pictures of x repainted as y."""
        return self.to_x(y), self.to_y(x)


def cyclegan(config: CycleGanConfig, *, seed: int = 0) -> CycleGan:
    """All four networks with first weights drawn under a seed; the global random numbers stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CycleGan(config)


def receptive_field(layers: Iterable[nn.Conv2d]) -> int:
    """The side of the square of inputs that one output of a row of square convolutions depends on.

    Counted backwards: a patch of r outputs of a layer comes from (r - 1) · stride + kernel of its inputs.
    """
    side = 1
    for layer in reversed(list(layers)):
        side = (side - 1) * layer.stride[0] + layer.kernel_size[0]
    return side


def init_cyclegan(module: nn.Module) -> None:
    """Every convolution's weights from N(0, 0.02²), biases 0.

    Source: Zhu et al. 2017, appendix 7.1.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
