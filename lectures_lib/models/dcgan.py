"""DCGAN: a generator and a discriminator of convolutions, with the choices that first made them train.

No pooling: strides do it. Batch normalisation in both networks, except at the generator's output and the
discriminator's input. ReLU in the generator and tanh at its end; leaky ReLU in the discriminator. Source: Radford, Metz
and Chintala 2016 (arXiv 1511.06434).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from lectures_lib.models.checks import check_latent

# By image size, and by where the generator begins: the widths (in multiples of `width`) of what it passes through from
# there. The first beginning of each size is the default.
STAGES = {28: {7: (2, 1), 4: (4, 2, 1)}, 64: {4: (8, 4, 2, 1)}}
FEATURE_GRID = 4


@dataclass(frozen=True)
class DcganConfig:
    """Sizes of both networks, and what the discriminator is held by.

    `image_size` 64 is the paper's: 4 × 4 with 8 · `width` channels, doubled four times. 28, for digits, begins at 7 × 7
    with 2 · `width` channels and doubles twice; there the first layer's kernel is 7 × 7 instead of 4 × 4. With `start`
    4 it begins at 4 × 4 with 4 · `width` channels, as the paper's does, and goes to 7 × 7 by a kernel of 3 × 3.

    A critic with a gradient penalty needs `discriminator_norm=False`: batch normalisation would tie the samples of a
    batch together (Gulrajani et al. 2017, section 4). `spectral_norm` is that of Miyato et al. 2018, on every layer of
    the discriminator.
    """

    image_size: int = 64
    channels: int = 3
    d_latent: int = 100
    width: int = 64
    slope: float = 0.2
    discriminator_norm: bool = True
    spectral_norm: bool = False
    # Pixels a side where the generator begins. None: the first that `STAGES` has.
    start: int | None = field(default=None, metadata={"added": True})

    def __post_init__(self) -> None:
        if self.image_size not in STAGES:
            raise ValueError(f"image_size must be one of {sorted(STAGES)}, got {self.image_size}")
        for name in ("channels", "d_latent", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        starts = STAGES[self.image_size]
        if self.start is not None and self.start not in starts:
            raise ValueError(f"start must be one of {sorted(starts)} for images of {self.image_size}, got {self.start}")

    @property
    def begins(self) -> int:
        """Pixels a side where the generator begins and the discriminator ends."""
        return self.start or next(iter(STAGES[self.image_size]))

    @property
    def widths(self) -> list[int]:
        """The channels of what the generator passes through, from its first pixels to its last hidden ones."""
        return [self.width * multiple for multiple in STAGES[self.image_size][self.begins]]

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """The shape of one image."""
        return (self.channels, self.image_size, self.image_size)

    @property
    def bounded(self) -> bool:
        """Images lie in [-1, 1]: the generator ends in tanh."""
        return True

    @classmethod
    def tiny(cls) -> DcganConfig:
        """Digits: trains on two cores."""
        return cls(28, 1, d_latent=64, width=32)

    @classmethod
    def paper(cls) -> DcganConfig:
        """64 × 64 colours, 100 random numbers, 64 channels at the last stage.

        That width is the one of the well-known implementations; figure 1 of the paper shows twice as much.
        """
        return cls()


class DcganGenerator(nn.Module):
    """From random numbers to images in [-1, 1]."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        ups = [nn.ConvTranspose2d(config.d_latent, widths[0], config.begins, bias=False)]
        for before, after, kernel in zip(widths, [*widths[1:], config.channels], _kernels(config), strict=True):
            ups.append(nn.ConvTranspose2d(before, after, kernel, stride=2, padding=1, bias=False))
        self.ups = nn.ModuleList(ups)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.apply(dcgan_init)
        self.ups[1:-1].to(memory_format=torch.channels_last)

    def forward(self, latent: Float[Tensor, "batch d_latent"]) -> Float[Tensor, "batch channel height width"]:
        """Images of shape (batch, channels, image_size, image_size).

        Raises:
            ValueError: latents of another width; a batch of one while training, where batch normalisation has nothing
                to compare with.
        """
        check_latent(latent, self.config.d_latent)
        _check_batch(self, latent)
        x = _from_point(latent, self.ups[0].weight)
        x = F.relu(self.norms[0](x), inplace=True)
        for up, norm in zip(self.ups[1:-1], self.norms[1:], strict=True):
            x = F.relu(norm(up(x)), inplace=True)
        return _doubled(x, self.ups[-1].weight).tanh()


class DcganDiscriminator(nn.Module):
    """From images to logits, one an image: above 0 for what looks real."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.config = config
        widths, kernels = config.widths[::-1], _kernels(config)[::-1]
        downs = [
            nn.Conv2d(before, after, kernel, stride=2, padding=1, bias=False)
            for before, after, kernel in zip([config.channels, *widths[:-1]], widths, kernels, strict=True)
        ]
        self.downs = nn.ModuleList(downs)
        normed = config.discriminator_norm
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) if normed else nn.Identity() for width in widths[1:])
        self.to_logit = nn.Conv2d(widths[-1], 1, config.begins, bias=False)
        self.apply(dcgan_init)
        self.downs[1:].to(memory_format=torch.channels_last)
        if config.spectral_norm:
            for layer in (*self.downs, self.to_logit):
                spectral_norm(layer)

    def stages(self, images: Float[Tensor, "*images"]) -> list[Tensor]:
        """What each convolution makes of the images, after norm and bend: (batch, width, height / 2, width / 2), …

        Raises:
            ValueError: images of another size, or a batch of one while training with batch normalisation.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.config.sample_shape:
            raise ValueError(
                f"images must have shape (batch, {', '.join(map(str, self.config.sample_shape))}), "
                f"got {tuple(images.shape)}"
            )
        if self.config.discriminator_norm:
            _check_batch(self, images)
        x = F.leaky_relu(_halved(images, self.downs[0].weight), self.config.slope, inplace=True)
        outputs = [x]
        for down, norm in zip(self.downs[1:], self.norms, strict=True):
            x = F.leaky_relu(norm(down(x)), self.config.slope)
            outputs.append(x)
        return outputs

    def forward(self, images: Float[Tensor, "*images"]) -> Float[Tensor, " batch"]:
        """One logit an image.

        Raises:
            ValueError: as `stages`.
        """
        return self.stages(images)[-1].flatten(1) @ self.to_logit.weight.flatten()

    def features(self, images: Float[Tensor, "*images"]) -> Float[Tensor, "batch features"]:
        """All stages, each pooled to a grid of 4 × 4 by its largest values, laid end to end.

        Raises:
            ValueError: as `stages`.

        Source: Radford et al. 2016, section 5.1.
        """
        pooled = [F.adaptive_max_pool2d(x, FEATURE_GRID).flatten(1) for x in self.stages(images)]
        return torch.cat(pooled, dim=1)


# The same numbers in another order of work. Libraries of convolutions are made for many channels and large images; at
# the ends of these networks there is one channel, or one pixel, and there a product or a smaller kernel is faster. In
# between, the numbers of one pixel's channels lie side by side (`channels_last`), which saves rearranging them.


def _kernels(config: DcganConfig) -> list[int]:
    """The generator's kernels after its first: 4 doubles a side exactly, and 3 takes 4 pixels to 7."""
    kernels, side = [], config.begins
    for _ in config.widths:
        kernels.append(3 if (side, config.image_size) == (4, 28) else 4)
        side = 2 * side - (kernels[-1] == 3)
    return kernels


def _from_point(latent: Tensor, weight: Tensor) -> Tensor:
    """A transposed convolution of images of one pixel, (batch, d): a product with the kernels (d, channels, k, k)."""
    return (latent @ weight.flatten(1)).unflatten(1, weight.shape[1:])


def _halved(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution with kernel 4, stride 2 and padding 1: each square of 2 × 2 pixels as one, and kernel 2, stride 1.

    Source: Shi et al. 2016 (the sub-pixel convolution), backwards.
    """
    after, before = weight.shape[:2]
    squares = weight.view(after, before, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(after, 4 * before, 2, 2)
    return F.conv2d(F.pixel_unshuffle(F.pad(x, (1, 1, 1, 1)), 2), squares)


def _doubled(x: Tensor, weight: Tensor) -> Tensor:
    """A transposed convolution with kernel 4, stride 2 and padding 1: four images by kernel 2, dealt out in squares.

    Source: Shi et al. 2016, section 3.2.
    """
    before, after = weight.shape[:2]
    squares = weight.view(before, after, 2, 2, 2, 2).flip(2, 4).permute(1, 3, 5, 0, 2, 4)
    four = F.conv2d(x, squares.reshape(4 * after, before, 2, 2), padding=1)
    return F.pixel_shuffle(four, 2)[:, :, 1:-1, 1:-1]


def dcgan_init(module: nn.Module) -> None:
    """Convolutions from N(0, 0.02²), scales of batch normalisation from N(1, 0.02²), their shifts 0.

    Source: Radford et al. 2016, section 4; scales around 1 as in the authors' code.
    """
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def dcgan(config: DcganConfig, *, seed: int) -> tuple[DcganGenerator, DcganDiscriminator]:
    """Both networks with fresh weights, the same for the same seed."""
    torch.manual_seed(seed)
    return DcganGenerator(config), DcganDiscriminator(config)


def _check_batch(module: nn.Module, batch: Tensor) -> None:
    if module.training and len(batch) < 2:
        raise ValueError(
            f"batch normalisation needs at least 2 samples a batch while training, got {len(batch)}; "
            "use eval() for a single one"
        )
