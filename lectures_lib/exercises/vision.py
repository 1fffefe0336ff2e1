"""Checkers for the exercises of the chapter `vision`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.evaluation.pointing import attention_rollout
from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered
from lectures_lib.losses.contrastive import nt_xent_loss
from lectures_lib.models.vit import patches


def check_places(answer: Any, *, image_size: int, patch_size: int, n_tokens: int = 1) -> None:
    """Exercise 1: how many places the Transformer reads for one picture.

    Raises:
        WrongAnswer: the answer is not patches + tokens; a known mistake is named.
    """
    if unanswered(answer):
        return
    said = as_number("The count", answer)
    side = image_size // patch_size
    if said == side**2 + n_tokens:
        right("Patches in rows and columns, and the token that will answer.")
        return
    mistakes = [
        (side**2, "those are the patches; a token stands before them."),
        (side + n_tokens, "that is one row of patches; there are as many rows as columns."),
        (side, "that is one row of patches, and the token is missing."),
        (image_size**2 + n_tokens, "those are pixels; a place is a whole patch."),
        (3 * side**2 + n_tokens, "a patch's three colours go into one vector, not into three places."),
    ]
    _name(said, mistakes)


def check_patches(answer: Callable[[Tensor, int], Any]) -> None:
    """Exercise 2: `cut(images, size)`: (batch, channels, height, width) to (batch, patches, channels · size²).

    Raises:
        WrongAnswer: naming which axes went astray.
    """
    images, size = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6), 2
    result = answer(images.clone(), size)
    if unanswered(result):
        return
    true = patches(images, size)
    got = as_tensor("The patches", result, tuple(true.shape))
    if torch.equal(got, true):
        right("Row by row, each patch channel by channel: now it can be read like a sentence.")
        return
    blocks = images.reshape(2, 3, 2, size, 3, size)  # batch, channel, row, y, column, x
    mistakes = [
        (images.reshape(true.shape), "a reshape alone keeps the pixels in their order, and cuts rows into stretches."),
        (blocks.permute(0, 4, 2, 1, 3, 5), "your patches go down the columns; they should go along the rows."),
        (blocks.permute(0, 2, 4, 3, 5, 1), "each patch has its colours last; this book puts the channel first."),
        (blocks.permute(0, 2, 4, 1, 5, 3), "each patch is mirrored along its diagonal: y comes before x inside it."),
    ]
    for wrong, message in mistakes:
        if torch.equal(got, wrong.reshape(true.shape)):
            raise WrongAnswer(message)
    place = int((got != true).flatten().nonzero()[0]) % (true.shape[1] * true.shape[2]) // true.shape[2]
    raise WrongAnswer(f"patch {place + 1} of a picture has the wrong numbers. Which pixels should be in it?")


def check_rollout(answer: Callable[[list[Tensor]], Any]) -> None:
    """Exercise 3: `rollout(layers)`: weights (heads, places, places) of each layer, the lowest first, to one matrix.

    Raises:
        WrongAnswer: naming what was left out or multiplied the wrong way round.
    """
    generator = torch.Generator().manual_seed(0)
    layers = [torch.randn(2, 3, 3, generator=generator).softmax(dim=-1) for _ in range(3)]
    result = answer([layer.clone() for layer in layers])
    if unanswered(result):
        return
    batch = [layer.unsqueeze(0) for layer in layers]
    got = as_tensor("The rollout", result, (3, 3))
    if close(got, attention_rollout(batch)[0]):
        right("Each row says where that place's vector comes from, over all layers.")
        return
    summed = [layer.sum(dim=0) for layer in layers]
    added = torch.eye(3)
    for layer in layers:
        added = (torch.eye(3) + layer.mean(dim=0)) @ added
    doubled = torch.eye(3)
    for layer in summed:
        doubled = (0.5 * torch.eye(3) + 0.5 * layer) @ doubled
    mistakes = [
        (attention_rollout(batch, skip=0)[0], "the residual connection is missing: half of a vector goes past."),
        (attention_rollout(batch[::-1])[0], "the order: the last layer's matrix stands on the left of the product."),
        (added, "you added the identity and did not halve: rows no longer sum to 1."),
        (doubled, "you summed the heads; take their mean."),
        (attention_rollout(batch)[0].T, "transposed: a row should be the place that looks."),
        (attention_rollout(batch[-1:])[0], "that is the last layer alone."),
    ]
    for wrong, message in mistakes:
        if close(got, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"the first row should be {[round(x, 3) for x in attention_rollout(batch)[0, 0].tolist()]}.")


def check_repair(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
    """Exercise 4: the mean of |repaired - clean| where `changed` (batch, 1, height, width) is True: at damaged pixels.

    Raises:
        WrongAnswer: naming which other mean was taken.
    """
    generator = torch.Generator().manual_seed(0)
    repaired, clean = torch.randn(2, 2, 3, 4, 4, generator=generator).unbind()
    changed = torch.rand(2, 1, 4, 4, generator=generator) < 0.4
    result = answer(repaired.clone(), clean.clone(), changed.clone())
    if unanswered(result):
        return
    value = as_number("The loss", result)
    each, everywhere = (repaired - clean).abs(), changed.expand(2, 3, 4, 4)
    if close(value, each[everywhere].mean()):
        right("What was not damaged asks nothing of the model: it could copy it.")
        return
    square = (repaired - clean).square()
    mistakes = [
        (each.mean(), "you averaged over all pixels; only damaged ones count."),
        ((each * changed).mean(), "the sum leaves the others out, but the count does not."),
        (each[everywhere].sum() / changed.sum(), "a pixel has three channels: divide by the numbers, not the pixels."),
        (each[everywhere].sum(), "that is the sum; divide by how many numbers were damaged."),
        (square[everywhere].mean(), "you squared; this loss takes the absolute value."),
        (each[~everywhere].mean(), "the mask is upside down: True marks damaged pixels."),
    ]
    _name(value, mistakes)


def check_nt_xent(answer: Callable[[Tensor, Tensor, float], Any]) -> None:
    """Exercise 5: the mean NT-Xent loss of views `first` and `second` (n, d) at a temperature, in nats.

    Raises:
        WrongAnswer: naming who was compared with whom that should not be.
    """
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4, 5, generator=generator).unbind()
    temperature = 0.5
    result = answer(first.clone(), second.clone(), temperature)
    if unanswered(result):
        return
    value = as_number("The loss", result)
    total, count = nt_xent_loss(first, second, temperature=temperature)
    if close(value, total / count):
        right("Each view looks for its partner among all others but itself.")
        return
    for wrong, message in _contrast_mistakes(first, second, temperature):
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it should be {float(total / count):.4f} and is {value:.4f}.")


def _contrast_mistakes(first: Tensor, second: Tensor, temperature: float) -> list[tuple[Tensor, str]]:
    raw = torch.cat([first, second])
    views = F.normalize(raw, dim=1)
    partner, itself = torch.arange(8).roll(4), torch.eye(8, dtype=torch.bool)
    scores = views @ views.T
    without_itself = (scores / temperature).masked_fill(itself, float("-inf"))
    total = F.cross_entropy(without_itself, partner, reduction="sum")
    return [
        (F.cross_entropy(scores / temperature, partner), "a view must not be compared with itself: mask the diagonal."),
        (F.cross_entropy(scores.masked_fill(itself, float("-inf")), partner), "divide by the temperature."),
        (
            F.cross_entropy((scores * temperature).masked_fill(itself, float("-inf")), partner),
            "you multiplied by the temperature; divide by it.",
        ),
        (
            F.cross_entropy((raw @ raw.T / temperature).masked_fill(itself, float("-inf")), partner),
            "compare by cosine: bring every vector to length 1 first.",
        ),
        (
            F.cross_entropy(views[:4] @ views[4:].T / temperature, torch.arange(4)),
            "the first views have strangers among the first views as well: compare all with all.",
        ),
        (total, "that is the sum over the views; take the mean."),
        (total / 4, "divide by the views, twice as many as the pictures."),
    ]


def _name(value: float, mistakes: list[tuple[Any, str]]) -> None:
    for wrong, message in mistakes:
        if close(value, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it is not {value:g}.")
