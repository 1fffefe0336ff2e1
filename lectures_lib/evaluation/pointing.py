"""Where a Vision Transformer looks, and whether that is where the thing is: attention rollout and the pointing game."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lectures_lib.attention import recorded_weights


def attention_rollout(
    layers: Sequence[Float[Tensor, "batch heads places places"]], *, skip: int | float = 0.5
) -> Float[Tensor, "batch places places"]:
    """How much of each first vector has come into each last one, if attention were all that mixes them.

    `layers` are the weights of every layer, the lowest first. A layer hands on the share `skip` of a place's own vector
    past its attention, as the residual connection does, and mixes the rest with the mean of its heads; layers follow
    each other as a product of matrices. Rows sum to 1.

    Raises:
        ValueError: there is no layer, or `skip` is outside [0, 1].

    Source: Abnar and Zuidema 2020, section 3 (attention rollout).
    """
    if not len(layers):
        raise ValueError("layers must hold the weights of at least one layer, got none")
    if not 0 <= skip <= 1:
        raise ValueError(f"skip must lie in [0, 1], got {skip}")
    places = layers[0].shape[-1]
    itself = torch.eye(places, dtype=layers[0].dtype, device=layers[0].device)
    total = itself.expand(len(layers[0]), places, places)
    for weights in layers:
        total = (skip * itself + (1 - skip) * weights.mean(dim=1)) @ total
    return total


@torch.no_grad()
def layer_weights(
    model: nn.Module, images: Float[Tensor, "*images"]
) -> list[Float[Tensor, "batch heads places places"]]:
    """The attention of every layer of a model with a `VisionEncoder` as its `encoder`, the lowest first.

    Raises:
        ValueError: the pictures do not fit the model.
    """
    with recorded_weights(model.encoder) as weights:
        model.encoder(images.to(next(model.parameters()).device))
    return [weights[f"layers.{number}.self_attention"].cpu() for number in range(len(model.encoder.layers))]


def rollout_maps(
    model: nn.Module, images: Float[Tensor, "*images"], *, depth: int | None = None, skip: int | float = 0.5
) -> Float[Tensor, "batch rows columns"]:
    """How much the tokens before the patches have taken from each patch, laid out as the patches are; sums to 1.

    `depth` counts layers from below: what has come in after so many; None for all.

    Raises:
        ValueError: `depth` is not between 1 and the model's layers, or the pictures do not fit the model.
    """
    config = model.encoder.config
    if depth is not None and not 1 <= depth <= config.n_layers:
        raise ValueError(f"depth must lie between 1 and {config.n_layers}, the model's layers, got {depth}")
    total = attention_rollout(layer_weights(model, images)[:depth], skip=skip)
    return token_map(total, config.n_tokens)


def token_map(total: Float[Tensor, "batch places places"], n_tokens: int) -> Float[Tensor, "batch rows columns"]:
    """The rows of the tokens at the columns of the patches, averaged over tokens, as a square that sums to 1.

    Raises:
        ValueError: the patches do not make a square.
    """
    looked = total[:, :n_tokens, n_tokens:].mean(dim=1)  # (batch, patches)
    side = round(looked.shape[1] ** 0.5)
    if side**2 != looked.shape[1]:
        raise ValueError(f"the patches must make a square, got {looked.shape[1]} of them")
    return (looked / looked.sum(dim=1, keepdim=True).clamp(min=1e-12)).view(-1, side, side)


def strongest(maps: Float[Tensor, "batch rows columns"], patch_size: int) -> Float[Tensor, "batch 2"]:
    """The middle of the strongest patch of each map, as (x, y) in pixels from the upper left corner."""
    best = maps.flatten(1).argmax(dim=1)
    return (torch.stack([best % maps.shape[2], best // maps.shape[2]], dim=1) + 0.5) * patch_size


def inside(points: Float[Tensor, "*points"], boxes: Int[Tensor, "batch 4"]) -> Bool[Tensor, " batch"]:
    """Whether each point (x, y), or one point for all, lies in its box (x0, y0, x1, y1).

    Raises:
        ValueError: `points` is neither (2,) nor one point a box.
    """
    if tuple(points.shape) not in ((2,), (len(boxes), 2)):
        raise ValueError(f"points must have shape (2,) or {(len(boxes), 2)}, got {tuple(points.shape)}")
    return ((points >= boxes[:, :2]) & (points <= boxes[:, 2:])).all(dim=1)


def pointing_game(maps: Float[Tensor, "batch rows columns"], boxes: Int[Tensor, "*boxes"], patch_size: int) -> float:
    """The share of maps whose strongest patch has its middle in the box of the thing.

    Raises:
        ValueError: there is no map, or not one box (x0, y0, x1, y1) a map.

    Source: Zhang et al. 2018, section 4.1; there a miss by a few pixels counts as a hit, here it does not.
    """
    if not len(maps) or tuple(boxes.shape) != (len(maps), 4):
        raise ValueError(f"boxes must have shape {(len(maps), 4)} for at least one map, got {tuple(boxes.shape)}")
    return float(inside(strongest(maps, patch_size), boxes).double().mean())


def best_fixed_place(boxes: Int[Tensor, "n 4"], side: int) -> tuple[Float[Tensor, " 2"], float]:
    """The one pixel's middle that lies in most boxes, and in what share: the best that pointing without looking can do.

    Of equals the first, row by row. Choose it on training pictures and test it with `inside` on others.

    Raises:
        ValueError: there is no box.
    """
    if not len(boxes):
        raise ValueError("boxes must hold at least one box, got none")
    middle = torch.arange(side) + 0.5
    in_columns = (middle >= boxes[:, 0, None]) & (middle <= boxes[:, 2, None])  # (n, side)
    in_rows = (middle >= boxes[:, 1, None]) & (middle <= boxes[:, 3, None])
    covered = in_rows.double().T @ in_columns.double() / len(boxes)  # (row, column)
    row, column = divmod(int(covered.argmax()), side)
    return torch.tensor([column + 0.5, row + 0.5]), float(covered.max())
