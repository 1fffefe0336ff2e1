"""SiT: a Vision Transformer that teaches itself from pictures without labels, by three tasks at once.

It repairs a picture that was damaged, says by how many quarter turns it was turned, and recognises another view of the
same picture. This module has the model, and the pure functions that damage, turn and move pictures.

Source: Atito, Awais and Kittler 2021 (arXiv 2104.03602). Written from the paper's description alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from lectures_lib.models.vit import VisionEncoder, ViT, ViTConfig, from_patches

N_TOKENS = 2  # the rotation token and the contrastive token
N_TASKS = 3


@dataclass(frozen=True)
class SiTConfig:
    """The sizes of a SiT: those of the classifier it is to become, and of the head of the contrastive task.

    `vit.n_tokens` is 2: the rotation token and the contrastive token stand before the patches.
    """

    vit: ViTConfig
    d_hidden: int = 2048
    d_contrast: int = 256

    def __post_init__(self) -> None:
        if self.vit.n_tokens != N_TOKENS:
            raise ValueError(f"vit.n_tokens must be {N_TOKENS} (rotation and contrast), got {self.vit.n_tokens}")
        for name in ("d_hidden", "d_contrast"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @classmethod
    def tiny(cls, n_classes: int, *, image_size: int = 28, patch_size: int = 7, n_channels: int = 1) -> SiTConfig:
        """Trains in a notebook on two cores; the sizes of the picture are those of MNIST's digits."""
        vit = ViTConfig.tiny(
            n_classes, image_size=image_size, patch_size=patch_size, n_channels=n_channels, n_tokens=N_TOKENS
        )
        return cls(vit, d_hidden=128, d_contrast=32)

    @classmethod
    def paper(cls, n_classes: int = 1000) -> SiTConfig:
        """A ViT-Base with patches of 16 on pictures of 224 pixels, under SiT's heads."""
        d_model, n_heads, d_feed_forward, n_layers = 768, 12, 3072, 12
        return cls(ViTConfig(224, 16, 3, d_model, n_heads, d_feed_forward, n_layers, n_classes, n_tokens=N_TOKENS))


class SiTOutput(NamedTuple):
    """What SiT says about a picture.

    `pictures` (batch, channels, side, side) is the repaired picture, `turns` (batch, 4) the scores of 0 to 3 quarter
    turns, and `contrast` (batch, d_contrast) the vector by which views are compared.
    """

    pictures: Tensor
    turns: Tensor
    contrast: Tensor


class SiT(nn.Module):
    """The Vision Transformer's encoder with two tokens, and a head for each of the three tasks.

    `scales` are the s₁, s₂, s₃ by which the tasks' losses are weighed: reconstruction, rotation, contrast. They are
    learned with the weights (`losses.uncertainty_weighted`).

    Source: Atito et al. 2021, section 3; the scales: Kendall et al. 2018.
    """

    def __init__(self, config: SiTConfig) -> None:
        super().__init__()
        self.config, vit = config, config.vit
        d = vit.d_model
        self.encoder = VisionEncoder(vit)
        self.repair = _mlp(d, d, vit.n_channels * vit.patch_size**2)
        self.turns = nn.Linear(d, 4)
        self.contrast = _mlp(d, config.d_hidden, config.d_contrast)
        self.scales = nn.Parameter(torch.ones(N_TASKS))
        for head in (self.repair, self.turns, self.contrast):
            head.apply(_initialise)

    def forward(self, images: Shaped[Tensor, "*images"]) -> SiTOutput:
        """The repaired picture, the scores of the turns, and the vector of the contrastive task.

        Raises:
            ValueError: `images` is not (batch, channels, side, side) in the config's sizes, or not of floating point.
        """
        vit = self.config.vit
        states = self.encoder(images)
        pictures = from_patches(self.repair(states[:, N_TOKENS:]), vit.patch_size, vit.image_size, vit.image_size)
        return SiTOutput(pictures, self.turns(states[:, 0]), self.contrast(states[:, 1]))

    def classifier(self) -> ViT:
        """A fresh classifier whose encoder starts from a copy of what was learned here: for fine-tuning."""
        classifier = ViT(self.config.vit)
        classifier.encoder.load_state_dict(self.encoder.state_dict())
        return classifier


def _initialise(module: nn.Module) -> None:
    """Xavier for matrices, zeros for biases: with PyTorch's own biases all views begin with nearly one direction."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def _mlp(d_in: int, d_hidden: int, d_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(d_in, d_hidden), nn.GELU(), nn.Linear(d_hidden, d_hidden), nn.GELU(), nn.Linear(d_hidden, d_out)
    )


# Damaging, turning and moving pictures: pure functions of the pictures and a generator


class SiTBatch(NamedTuple):
    """Two views of every picture, the first views first: 2 · batch rows.

    `damaged` (rows, channels, side, side) is what the model sees and `clean` what it should make of it; `changed`
    (rows, 1, side, side) is True at the pixels that were damaged, and `turns` (rows,) has the quarter turns, 0 to 3.
    """

    damaged: Tensor
    clean: Tensor
    changed: Tensor
    turns: Tensor

    def to(self, device: torch.device) -> SiTBatch:
        """The same on another device."""
        return SiTBatch(*(tensor.to(device) for tensor in self))

    def shard(self, index: int, count: int) -> SiTBatch:
        """Every `count`-th picture from `index` on, with both of its views; their strangers are then fewer."""
        pictures = torch.arange(len(self) // 2, device=self.turns.device)[index::count]
        rows = torch.cat([pictures, pictures + len(self) // 2])
        return SiTBatch(*(tensor[rows] for tensor in self))

    def __len__(self) -> int:
        return len(self.turns)


def two_views(
    images: Float[Tensor, "*images"],
    *,
    generator: torch.Generator,
    flip: bool = False,
    shift: int = 0,
    turn: int | float = 0.75,
    noise: int | float = 0.7,
    foreign: int | float = 0.35,
) -> SiTBatch:
    """Two views of every picture, each moved, perhaps mirrored, turned, and damaged by itself.

    The mirror comes before the turn: afterwards a mirrored quarter turn left would look like one to the right of
    another picture. `shift` is in pixels; `flip` only suits pictures whose mirror image means the same. `turn` is the
    share of views that do not stay upright: with 0.75, the paper's, all four turns are equally many. `noise` and
    `foreign` are shares of the pixels, see `damage`.

    Raises:
        ValueError: `images` is not (batch, channels, side, side), `turn` is outside [0, 1], or as `damage`.
    """
    _check_square(images)
    if not 0 <= turn <= 1:
        raise ValueError(f"turn must lie in [0, 1], got {turn}")
    views = []
    for _ in range(2):
        view = random_shift(images, shift, generator=generator)
        if flip:
            mirrored = torch.rand(len(view), generator=generator).to(view.device) < 0.5
            view = torch.where(mirrored[:, None, None, None], view.flip(-1), view)
        quarter = torch.randint(1, 4, (len(view),), generator=generator)
        quarter = quarter.where(torch.rand(len(view), generator=generator) < turn, 0).to(view.device)
        clean = turned(view, quarter)
        views.append((*damage(clean, noise=noise, foreign=foreign, generator=generator), clean, quarter))
    damaged, changed, clean, turns = (torch.cat(parts) for parts in zip(*views, strict=True))
    return SiTBatch(damaged, clean, changed, turns)


def turned(images: Float[Tensor, "*images"], turns: Int[Tensor, "*turns"]) -> Float[Tensor, "batch channels side side"]:
    """Every picture turned by its number of quarter turns, counter-clockwise.

    Raises:
        ValueError: `images` is not (batch, channels, side, side), or `turns` is not one number a picture.

    Source: Gidaris et al. 2018, whose task this is.
    """
    _check_square(images)
    if turns.shape != images.shape[:1]:
        raise ValueError(f"turns must have shape {tuple(images.shape[:1])}, got {tuple(turns.shape)}")
    all_turns = torch.stack([images.rot90(k, (-2, -1)) for k in range(4)])
    return all_turns[turns % 4, torch.arange(len(images), device=images.device)]


def random_shift(
    images: Float[Tensor, "batch channels height width"], largest: int, *, generator: torch.Generator
) -> Float[Tensor, "batch channels height width"]:
    """Every picture moved by up to `largest` pixels along both axes; the pixels at the border are repeated.

    Raises:
        ValueError: `largest` is negative.
    """
    if largest < 0:
        raise ValueError(f"largest must not be negative, got {largest}")
    if largest == 0:
        return images
    batch, _, height, width = images.shape
    down, right = torch.randint(-largest, largest + 1, (2, batch, 1), generator=generator).to(images.device)
    rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)  # (batch, height)
    columns = (torch.arange(width, device=images.device) - right).clamp(0, width - 1)
    which = torch.arange(batch, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def damage(
    images: Float[Tensor, "*images"],
    *,
    noise: int | float = 0.7,
    foreign: int | float = 0.35,
    smallest: int = 2,
    largest: int | None = None,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "batch channels side side"], Bool[Tensor, "batch 1 side side"]]:
    """The pictures with blocks of noise and blocks out of other pictures in them, and where: True at damaged pixels.

    Noise covers at least the share `noise` of a picture, and then pieces of another picture of the batch at least the
    share `foreign`; both may overlap. Blocks have sides of `smallest` to `largest` pixels (a third of the picture, if
    not given) and are not aligned with patches, so that no patch can be copied from a neighbour.

    Raises:
        ValueError: `images` is not (batch, channels, side, side); a share is outside [0, 1); `foreign` is above 0 and
            there is no other picture; or no block of such a size fits.

    Source: Atito et al. 2021, section 3.1.
    """
    _check_square(images)
    batch, _, side, _ = images.shape
    if foreign > 0 and batch < 2:
        raise ValueError(
            "images must be at least 2 where foreign is above 0: blocks come out of another picture, got 1"
        )
    options = dict(smallest=smallest, largest=largest or max(smallest, side // 3), generator=generator)
    noisy = random_blocks(batch, side, noise, **options).to(images.device)
    replaced = random_blocks(batch, side, foreign, **options).to(images.device)
    static = torch.randn(images.shape, generator=generator).to(images.device, images.dtype)
    damaged = torch.where(noisy, static, images)
    if foreign > 0:
        step = int(torch.randint(1, batch, (), generator=generator))  # never a picture's own pieces
        damaged = torch.where(replaced, images.roll(step, dims=0), damaged)
    return damaged, noisy | replaced


def random_blocks(
    batch: int, side: int, share: int | float, *, smallest: int, largest: int, generator: torch.Generator
) -> Bool[Tensor, "batch 1 side side"]:
    """Random rectangles, added to every picture until they cover at least `share` of it. Drawn on the CPU.

    Raises:
        ValueError: `share` is outside [0, 1), or not 1 ≤ smallest ≤ largest ≤ side.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must lie in [0, 1), got {share}")
    if not 1 <= smallest <= largest <= side:
        raise ValueError(f"sides must rise from 1 to {side}, got smallest {smallest} and largest {largest}")
    covered = torch.zeros(batch, side, side, dtype=torch.bool)
    places = torch.arange(side)
    while True:
        wanting = covered.float().mean(dim=(1, 2)) < share
        if not wanting.any():
            return covered.unsqueeze(1)
        size = torch.randint(smallest, largest + 1, (2, batch, 1), generator=generator)
        # A block may stick out: otherwise the rim would hardly ever be covered.
        start = (torch.rand(2, batch, 1, generator=generator) * (side + size - 1)).long() - size + 1
        rows, columns = (start <= places) & (places < start + size)  # each (batch, side)
        covered |= rows[:, :, None] & columns[:, None, :] & wanting[:, None, None]


def _check_square(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
        raise ValueError(f"images must have shape (batch, channels, side, side), got {tuple(images.shape)}")
