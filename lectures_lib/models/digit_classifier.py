"""A small convolutional classifier of handwritten digits: the eye with which generated digits are judged.

Its last hidden layer has few numbers on purpose. Distances between sets of images compare the covariances of such
features, and those can only be estimated from many more images than there are features.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class DigitClassifierConfig:
    """`width` channels in the first stage and twice as many in the second; `num_features` numbers an image."""

    width: int = 16
    num_features: int = 32
    classes: int = 10

    @classmethod
    def tiny(cls) -> DigitClassifierConfig:
        """The size of the stored weights; it has no paper."""
        return cls()


class DigitClassifier(nn.Module):
    """Images of 28 × 28 in [-1, 1] to one logit a class, by way of `features`."""

    def __init__(self, config: DigitClassifierConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        widths = [(1, w), (w, w), (w, 2 * w), (2 * w, 2 * w)]
        self.convolutions = nn.ModuleList(nn.Conv2d(n, m, 3, padding=1, bias=False) for n, m in widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(m) for _, m in widths)
        self.to_features = nn.Linear(2 * w * 7 * 7, config.num_features)
        self.to_logits = nn.Linear(config.num_features, config.classes)

    @property
    def num_features(self) -> int:
        """How many numbers `features` gives; torchmetrics asks for it by this name."""
        return self.config.num_features

    def features(self, images: Float[Tensor, "*images"]) -> Float[Tensor, "batch features"]:
        """The last hidden layer, after its bend.

        Raises:
            ValueError: images of another size.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (1, 28, 28):
            raise ValueError(f"images must have shape (batch, 1, 28, 28), got {tuple(images.shape)}")
        x = images
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = F.relu(norm(convolution(x)))
            if index % 2:
                x = F.max_pool2d(x, 2)
        return F.gelu(self.to_features(x.flatten(1)))

    def forward(self, images: Float[Tensor, "*images"]) -> Float[Tensor, "batch classes"]:
        """One logit a class."""
        return self.to_logits(self.features(images))
