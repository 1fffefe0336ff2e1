"""The Vision Transformer: a picture is cut into patches, and the patches are read as if they were words.

Source: Dosovitskiy et al. 2021 (arXiv 2010.11929).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lectures_lib.attention import SelfAttention
from lectures_lib.layers import Dropout, FeedForward, LearnedPositions, SelfAttentionLayer

PAPER_POSITION_STD = 0.02
SIZES = {  # width, heads, inner width, layers: table 1 of the paper
    "base": (768, 12, 3072, 12),
    "large": (1024, 16, 4096, 24),
    "huge": (1280, 16, 5120, 32),
}


@dataclass(frozen=True)
class ViTConfig:
    """The sizes of a Vision Transformer.

    Pictures are square, `image_size` pixels a side, and so are patches. `n_tokens` learned vectors stand before the
    patches: one, the class token, in the paper; SiT has two. `zero_head` begins with a classifier that knows nothing,
    as the published code does; without it the classifier begins as the other matrices do. `position_std` is the
    standard deviation of fresh positions of patches: the paper's 0.02 is far below the patches' own size, and in a
    short training the model hardly learns where a patch is. The tokens' positions begin with 0.02 at most.
    """

    image_size: int
    patch_size: int
    n_channels: int
    d_model: int
    n_heads: int
    d_feed_forward: int
    n_layers: int
    n_classes: int
    dropout: int | float = 0.0
    n_tokens: int = 1
    zero_head: bool = True
    epsilon: float = 1e-6
    position_std: int | float = 0.02

    def __post_init__(self) -> None:
        sizes = ("image_size", "patch_size", "n_channels", "d_model", "n_heads", "d_feed_forward", "n_layers")
        for name in (*sizes, "n_classes", "n_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size must be divisible by patch_size, got {self.image_size} and {self.patch_size}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model must be divisible by n_heads, got {self.d_model} and {self.n_heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        if not self.position_std > 0:
            raise ValueError(f"position_std must be positive, got {self.position_std}")

    @property
    def n_patches(self) -> int:
        """How many patches a picture has."""
        return (self.image_size // self.patch_size) ** 2

    @classmethod
    def tiny(
        cls, n_classes: int, *, image_size: int = 28, patch_size: int = 7, n_channels: int = 1, n_tokens: int = 1
    ) -> ViTConfig:
        """Trains in a notebook on two cores; the sizes of the picture are those of MNIST's digits.

        Its positions begin as large as its patches: with 0.02, 200 steps on 4,000 digits ended far lower.
        """
        sizes = (image_size, patch_size, n_channels, 64, 4, 128, 4, n_classes)
        return cls(*sizes, n_tokens=n_tokens, position_std=1.0)

    @classmethod
    def paper(cls, size: str = "base", *, patch_size: int = 16, n_classes: int = 1000) -> ViTConfig:
        """ViT-Base, -Large or -Huge of table 1 on pictures of 224 pixels: `paper("base")` is ViT-B/16.

        Raises:
            ValueError: `size` is none of them.
        """
        if size not in SIZES:
            raise ValueError(f"size must be one of {sorted(SIZES)}, got {size!r}")
        return cls(224, patch_size, 3, *SIZES[size], n_classes, dropout=0.1)


def patches(images: Float[Tensor, "*images"], patch_size: int) -> Float[Tensor, "batch patches numbers"]:
    """Pictures (batch, channels, height, width) cut into squares, row by row, each laid out as one vector.

    A vector has channels · patch_size² numbers: channel by channel, and each channel row by row.

    Raises:
        ValueError: `images` has not four axes, or a side is not a whole number of patches.

    Source: Dosovitskiy et al. 2021, section 3.1.
    """
    if patch_size < 1:
        raise ValueError(f"patch_size must be at least 1, got {patch_size}")
    if images.ndim != 4:
        raise ValueError(f"images must have shape (batch, channels, height, width), got {tuple(images.shape)}")
    batch, channels, height, width = images.shape
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"images must be whole patches of {patch_size} × {patch_size} pixels, got {height} × {width} pixels"
        )
    rows, columns = height // patch_size, width // patch_size
    cut = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, channels * patch_size**2)


def from_patches(
    cut: Float[Tensor, "batch patches numbers"], patch_size: int, height: int, width: int
) -> Float[Tensor, "batch channels height width"]:
    """The pictures that `patches` cut: its inverse.

    Raises:
        ValueError: the patches do not make a picture of `height` × `width` pixels.
    """
    batch, count, numbers = cut.shape
    rows, columns = height // patch_size, width // patch_size
    if height % patch_size or width % patch_size or rows * columns != count or numbers % patch_size**2:
        raise ValueError(
            f"cut must be the patches of a picture of {height} × {width} pixels in patches of {patch_size} × "
            f"{patch_size}, got shape {tuple(cut.shape)}"
        )
    laid = cut.reshape(batch, rows, columns, -1, patch_size, patch_size)
    return laid.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, height, width)


class VisionEncoder(nn.Module):
    """Patches to vectors, some learned tokens before them, positions, and a stack of pre-LN layers.

    A convolution whose stride is its kernel is the same as this linear map of each patch.

    Source: Dosovitskiy et al. 2021, equations 1 to 4 and figure 1.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = c = config
        self.embed_patch = nn.Linear(c.n_channels * c.patch_size**2, c.d_model)
        self.tokens = nn.Parameter(torch.zeros(c.n_tokens, c.d_model))
        self.positions = LearnedPositions(c.n_tokens + c.n_patches, c.d_model)
        self.dropout = Dropout(c.dropout)
        self.layers = nn.ModuleList(
            SelfAttentionLayer(c.d_model, c.n_heads, c.d_feed_forward, dropout=c.dropout, norm="pre", epsilon=c.epsilon)
            for _ in range(c.n_layers)
        )
        self.norm = nn.LayerNorm(c.d_model, eps=c.epsilon)
        self.apply(_initialise)
        nn.init.normal_(self.positions.table, std=c.position_std)
        with torch.no_grad():  # a token that begins large is the same for all pictures, whatever it sees
            self.positions.table[: c.n_tokens] *= min(1.0, PAPER_POSITION_STD / c.position_std)
        nn.init.trunc_normal_(self.embed_patch.weight, std=self.embed_patch.in_features**-0.5)
        nn.init.zeros_(self.embed_patch.bias)

    def forward(self, images: Shaped[Tensor, "*images"]) -> Float[Tensor, "batch places d_model"]:
        """The states of the last layer, normalised: the tokens' first, then the patches', row by row.

        Raises:
            ValueError: `images` is not (batch, channels, side, side) in the config's sizes, or not of floating point.
        """
        x = self.embedded(images)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def read_tokens(self, images: Shaped[Tensor, "*images"]) -> Float[Tensor, "batch tokens d_model"]:
        """The first states that `forward` gives, those of the tokens: the last layer leaves the patches' out.

        Raises:
            ValueError: as `forward`.
        """
        x = self.embedded(images)
        *below, last = self.layers
        for layer in below:
            x = layer(x)
        return self.norm(last.of_first(x, self.config.n_tokens))

    def embedded(self, images: Shaped[Tensor, "*images"]) -> Float[Tensor, "batch places d_model"]:
        """What the first layer reads: the tokens and the patches with their positions. Raises as `forward`."""
        c = self.config
        if images.ndim != 4 or tuple(images.shape[1:]) != (c.n_channels, c.image_size, c.image_size):
            expected = f"(batch, {c.n_channels}, {c.image_size}, {c.image_size})"
            raise ValueError(f"images must have shape {expected}, got {tuple(images.shape)}")
        if not images.is_floating_point():
            raise ValueError(f"images must be floating-point numbers, usually from -1 to 1, got {images.dtype}")
        x = self.embed_patch(patches(images, c.patch_size))
        x = torch.cat([self.tokens.expand(len(x), -1, -1), x], dim=1)
        return self.dropout(self.positions(x))


class ViT(nn.Module):
    """The encoder with a linear classifier on its class token (with several tokens: on their mean).

    Source: Dosovitskiy et al. 2021, section 3.1; for pre-training the paper has one hidden layer more in the head.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = VisionEncoder(config)
        self.head = nn.Linear(config.d_model, config.n_classes)
        nn.init.zeros_(self.head.bias)
        if config.zero_head:
            nn.init.zeros_(self.head.weight)
        else:
            nn.init.xavier_uniform_(self.head.weight)

    def forward(self, images: Shaped[Tensor, "*images"]) -> Float[Tensor, "batch classes"]:
        """The score of every class. Raises ValueError as `features`."""
        return self.head(self.encoder.read_tokens(images).mean(dim=1))

    def features(self, images: Shaped[Tensor, "*images"]) -> Float[Tensor, "batch places d_model"]:
        """The states that the classifier reads, and those of the patches: tokens first, then patches row by row.

        Raises:
            ValueError: `images` is not (batch, channels, side, side) in the config's sizes.
        """
        return self.encoder(images)


def _initialise(module: nn.Module) -> None:
    """Xavier for the matrices of attention and feed-forward (each of those stored in one).

    The paper does not say it; this is what its published code does.
    """
    if isinstance(module, SelfAttention):
        for projection in (module.project_in, module.project_out):
            for matrix in projection.weight.split(projection.in_features):
                nn.init.xavier_uniform_(matrix)
            nn.init.zeros_(projection.bias)
    elif isinstance(module, FeedForward):
        for linear in (module.widen, module.narrow):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)
