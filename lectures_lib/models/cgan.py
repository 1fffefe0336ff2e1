"""A conditional GAN: both networks of a DCGAN are told the label.

The generator gets the label as some more numbers beside the random ones, an embedding. The discriminator gets it either
as one more channel of the picture, an embedding as large as the picture ("channel"), or in its last step, where it asks
how well the picture's features point in the label's direction ("projection").

Sources: Mirza and Osindero 2014 (arXiv 1411.1784), section 3.2; projection: Miyato and Koyama 2018, section 3; the
convolutions: Radford et al. 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lectures_lib.models.checks import check_latent
from lectures_lib.models.dcgan import DcganConfig, DcganDiscriminator, DcganGenerator

CONDITIONS = ("channel", "projection")


@dataclass(frozen=True)
class CganConfig:
    """The DCGAN that is told labels, how many labels there are, and how the discriminator is told.

    `d_label` is the width of the generator's embedding of a label.

    Raises:
        ValueError: fewer than 2 classes, `d_label` below 1, an unknown way of conditioning.
    """

    images: DcganConfig = field(default_factory=DcganConfig.tiny)
    n_classes: int = 10
    d_label: int = 16
    condition: str = "channel"  # or "projection"

    def __post_init__(self) -> None:
        if self.n_classes < 2:
            raise ValueError(f"n_classes must be at least 2, got {self.n_classes}")
        if self.d_label < 1:
            raise ValueError(f"d_label must be at least 1, got {self.d_label}")
        if self.condition not in CONDITIONS:
            raise ValueError(f"condition must be one of {CONDITIONS}, got {self.condition!r}")

    @property
    def d_latent(self) -> int:
        """How many random numbers an image takes, the label's not counted."""
        return self.images.d_latent

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """The shape of one image."""
        return self.images.sample_shape

    @property
    def bounded(self) -> bool:
        """Images lie in [-1, 1]: the generator ends in tanh."""
        return self.images.bounded

    @classmethod
    def tiny(cls, condition: str = "channel") -> CganConfig:
        """Digits: trains on two cores."""
        return cls(condition=condition)

    @classmethod
    def paper(cls) -> CganConfig:
        """100 random numbers for 28 × 28 digits, as in the paper, whose layers are fully connected; these are not."""
        return cls(DcganConfig(28, 1, d_latent=100, width=64), d_label=10)


class CganGenerator(nn.Module):
    """From random numbers and a label to an image in [-1, 1]."""

    def __init__(self, config: CganConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.n_classes, config.d_label)
        images = config.images
        self.draw = DcganGenerator(replace(images, d_latent=images.d_latent + config.d_label))

    def forward(
        self, latent: Float[Tensor, "batch d_latent"], labels: Int[Tensor, "*labels"]
    ) -> Float[Tensor, "batch channel height width"]:
        """An image for each row of `latent`, of the label asked for.

        Raises:
            ValueError: latents of another width; not one label a row, or a label that is no class (the first such is
                shown); a batch of one while training.
        """
        check_latent(latent, self.config.d_latent)
        check_labels(labels, len(latent), self.config.n_classes)
        return self.draw(torch.cat([latent, self.embed(labels)], dim=1))  # (batch, d_latent + d_label)


class CganDiscriminator(nn.Module):
    """From an image and a label to a logit: is this a real image of that label?"""

    def __init__(self, config: CganConfig) -> None:
        super().__init__()
        self.config = config
        images = config.images
        if config.condition == "channel":
            self.embed = nn.Embedding(config.n_classes, images.image_size**2)
            self.judge = DcganDiscriminator(replace(images, channels=images.channels + 1))
        else:
            self.judge = DcganDiscriminator(images)
            self.embed = nn.Embedding(config.n_classes, self.judge.to_logit.in_channels)
            nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, images: Float[Tensor, "*images"], labels: Int[Tensor, "*labels"]) -> Float[Tensor, " batch"]:
        """One logit an image.

        Raises:
            ValueError: images of another size, not one label an image, or a label that is no class; a batch of one
                while training with batch normalisation.
        """
        shape = self.config.images.sample_shape
        if images.ndim != 4 or tuple(images.shape[1:]) != shape:
            expected = f"(batch, {', '.join(map(str, shape))})"
            raise ValueError(f"images must have shape {expected}, got {tuple(images.shape)}")
        check_labels(labels, len(images), self.config.n_classes)
        if self.config.condition == "channel":
            plane = self.embed(labels).view(-1, 1, *shape[1:])
            return self.judge(torch.cat([images, plane], dim=1))
        features = self.judge.stages(images)[-1]
        pointing = (self.embed(labels) * features.sum(dim=(2, 3))).sum(dim=1)
        return self.judge.to_logit(features).flatten() + pointing


class UntoldDiscriminator(nn.Module):
    """A DCGAN discriminator that takes a label and does not listen: what a conditional GAN must not have.

    It is right to be content with any digit under any label, and so its generator learns nothing about labels.
    """

    def __init__(self, config: CganConfig) -> None:
        super().__init__()
        self.config = config
        self.judge = DcganDiscriminator(config.images)

    def forward(self, images: Float[Tensor, "*images"], labels: Int[Tensor, "*labels"]) -> Float[Tensor, " batch"]:
        """One logit an image, the same under every label.

        Raises:
            ValueError: as `CganDiscriminator`.
        """
        check_labels(labels, len(images), self.config.n_classes)
        return self.judge(images)


class Told(nn.Module):
    """A network with its labels filled in: it answers code that knows nothing of labels.

    The network is shared, not copied. `labels` has one for each row that will come.
    """

    def __init__(self, network: nn.Module, labels: Tensor) -> None:
        super().__init__()
        self.network = network
        self.labels = labels

    def forward(self, x: Float[Tensor, "batch ..."]) -> Tensor:
        """What the network answers to `x` under these labels."""
        return self.network(x, self.labels)


def cgan(config: CganConfig, *, seed: int) -> tuple[CganGenerator, CganDiscriminator]:
    """Both networks with fresh weights, the same for the same seed."""
    torch.manual_seed(seed)
    return CganGenerator(config), CganDiscriminator(config)


def check_labels(labels: Tensor, batch: int, n_classes: int) -> None:
    """Raise ValueError unless there is one class for each row of the batch."""
    if tuple(labels.shape) != (batch,):
        raise ValueError(f"labels must have shape ({batch},), got {tuple(labels.shape)}")
    if labels.device.type == "meta":
        return
    outside = (labels < 0) | (labels >= n_classes)
    if bool(outside.any()):
        raise ValueError(f"labels must lie between 0 and {n_classes - 1}, got {int(labels[outside][0])}")
