"""Where in the picture a word looks: the attention of ViLBERT's text over regions, and whether it finds its thing."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lectures_lib.attention import recorded_weights
from lectures_lib.models.vilbert import with_whole_picture


@torch.no_grad()
def word_looks(
    model: nn.Module,
    tokens: Int[Tensor, "batch time"],
    features: Float[Tensor, "batch regions numbers"],
    where: Float[Tensor, "batch regions 5"],
    *,
    bridge: int | None = None,
) -> Float[Tensor, "batch time regions"]:
    """How much each word looks at each region, the mean over heads; a word's looks sum to 1.

    `bridge` counts the co-attention layers from below, None is the mean over all of them. What a word gives to the
    whole picture's region is left out.

    Raises:
        ValueError: there is no such bridge, or the model has no co-attention.
    """
    config = model.config
    if not config.co_attention:
        raise ValueError("model must have co-attention: without it no word looks at the picture")
    if bridge is not None and not 0 <= bridge < config.n_co_layers:
        raise ValueError(f"bridge must lie between 0 and {config.n_co_layers - 1}, got {bridge}")
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    features, where, _ = with_whole_picture(features, where)
    with recorded_weights(model) as weights:
        model(tokens.to(device), features.to(device), where.to(device))
    model.train(was_training)
    chosen = range(config.n_co_layers) if bridge is None else [bridge]
    looked = torch.stack([weights[f"vilbert.co_layers.{number}.text_looks"] for number in chosen])
    looked = looked.mean(dim=(0, 2))[..., 1:].cpu()  # (batch, time, regions)
    return looked / looked.sum(dim=-1, keepdim=True).clamp(min=1e-12)


def overlap(boxes: Int[Tensor, "*boxes 4"], others: Int[Tensor, "*others 4"]) -> Float[Tensor, "*both"]:
    """The area that two boxes share, over the area that they cover together: 1 for the same box, 0 for strangers.

    Also known as intersection over union. Boxes are (first column, first row, column after the last, row after it).
    """
    corner = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    shared = corner.clamp(min=0).prod(dim=-1)
    together = [(some[..., 2:] - some[..., :2]).prod(dim=-1) for some in (boxes, others)]
    return shared / (together[0] + together[1] - shared)


def finds(
    looks: Float[Tensor, "batch nouns regions"],
    regions: Int[Tensor, "*regions"],
    boxes: Int[Tensor, "*boxes"],
    *,
    least: int | float = 0.5,
) -> Float[Tensor, "batch nouns"]:
    """1 where the region that a noun looks at most overlaps the noun's box by `least` or more, else 0.

    `regions` is (batch, regions, 4) and `boxes` (batch, nouns, 4).

    Raises:
        ValueError: the shapes do not fit together.

    Source: Plummer et al. 2015, section 4.1: half of the union is the usual bar for a phrase that is found.
    """
    batch, nouns, count = looks.shape
    for name, tensor, shape in (("regions", regions, (batch, count, 4)), ("boxes", boxes, (batch, nouns, 4))):
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
    best = looks.argmax(dim=-1)  # (batch, nouns)
    chosen = regions.gather(1, best.unsqueeze(-1).expand(-1, -1, 4))
    return (overlap(chosen, boxes) >= least).double()
