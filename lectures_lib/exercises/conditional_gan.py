"""Checkers for the exercises of the chapter `conditional_gan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lectures_lib.exercises.checking import WrongAnswer, as_number, as_tensor, close, right, unanswered


def check_rare_label(answer: Any, *, real_share: int | float, asked_share: int | float) -> None:
    """Exercise 1: what the best discriminator says of a perfect forgery whose label is rarer among real images.

    Raises:
        WrongAnswer: the answer is not p / (p + q) for the shares p and q of the label; a known mistake is named.
    """
    if unanswered(answer):
        return
    said, p, q = as_number("The probability", answer), real_share, asked_share
    if close(said, p / (p + q)):
        right("No image gives itself away, and the label still does. Ask for labels as often as the data have them.")
        return
    mistakes = [
        (0.5, "one half is right for the image alone; the pair of image and label is rarer among the real ones."),
        (q / (p + q), "that is the probability that the pair is generated."),
        (p, "that is the label's share among real images; hold it against its share among generated ones."),
        (p / q, "a probability, please: p / (p + q), not p / q."),
        (100 * p / (p + q), "a share between 0 and 1, please, not a percentage."),
    ]
    for wrong, message in mistakes:
        if close(said, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(f"it is not {said:g}. Of all pairs with this label, which share is real?")


def check_confusion(answer: Callable[[Tensor, Tensor, int], Any]) -> None:
    """Exercise 2: `confusion(asked, seen, n_classes)`, shares of shape (n_classes, n_classes), rows sum to 1.

    Raises:
        WrongAnswer: naming swapped axes, counts, or shares of something else than the row.
    """
    asked = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2])
    seen = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 0])
    result = answer(asked.clone(), seen.clone(), 3)
    if unanswered(result):
        return
    counts = torch.zeros(3, 3)
    for a, s in zip(asked.tolist(), seen.tolist(), strict=True):
        counts[a, s] += 1
    truth = counts / counts.sum(dim=1, keepdim=True)
    table = as_tensor("The table", result, (3, 3)).double()
    if close(table, truth):
        right("The diagonal is the accuracy on each digit. Look at a row to see what a digit is mistaken for.")
        return
    mistakes = [
        (counts, "these are counts; divide each row by its sum."),
        (truth.T, "rows and columns are swapped: a row is a digit that was asked for."),
        (
            counts.T / counts.T.sum(dim=1, keepdim=True),
            "your rows are what was seen; they should be what was asked for.",
        ),
        (
            counts / counts.sum(dim=0),
            "you divided by the sums of the columns: that answers who was asked, given what is seen.",
        ),
        (counts / counts.sum(), "you divided by the number of all images; divide each row by its own sum."),
        ((counts > 0).float(), "you marked which pairs occur; count how often."),
    ]
    for wrong, message in mistakes:
        if close(table, wrong.double()):
            raise WrongAnswer(message)
    raise WrongAnswer(f"expected {_rounded(truth)}, got {_rounded(table)}.")


def check_projection(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
    """Exercise 3: `projection(features, weight, rows)` of (batch, channels, height, width), (channels, height, width)
    and (batch, channels): one logit an image.

    Raises:
        WrongAnswer: naming the half that is missing, a mean instead of a sum, or labels that go to the wrong image.
    """
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 3, 2, 2, generator=generator)
    weight, rows = torch.randn(3, 2, 2, generator=generator), torch.randn(4, 3, generator=generator)
    result = answer(features.clone(), weight.clone(), rows.clone())
    if unanswered(result):
        return
    plain = (features * weight).sum(dim=(1, 2, 3))
    pooled = features.sum(dim=(2, 3))
    told = (pooled * rows).sum(dim=1)
    logits = as_tensor("The logits", result, (4,))
    if close(logits, plain + told):
        right("The first term asks whether it is a digit, the second whether it is this one.")
        return
    mistakes = [
        (plain, "the label has no say: add the inner product of its row with the features."),
        (told, "only the label speaks: add the plain logit, features times weight, summed."),
        (plain - told, "the inner product is added, not taken away."),
        (plain + told / 4, "sum the features over height and width; yours is their mean."),
        (plain + pooled @ rows.sum(dim=0), "each image gets the sum of all rows; it should get its own."),
        (plain + (pooled * rows.roll(1, 0)).sum(dim=1), "the rows go to the neighbouring images."),
        (plain.mean() + told, "keep one plain logit for each image."),
    ]
    for wrong, message in mistakes:
        if close(logits, wrong):
            raise WrongAnswer(message)
    raise WrongAnswer(
        f"it differs from the library's logits by up to {float((logits - plain - told).abs().max()):.3g}."
    )


def check_two_channels(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
    """Exercise 4: `two_channels(images, labels, table)` of (batch, 1, n, n), (batch,) and (classes, n · n): images with
    the label's picture as their second channel.

    Raises:
        WrongAnswer: naming a wrong shape, the wrong label's picture, or one that lies on its side.
    """
    generator = torch.Generator().manual_seed(1)
    images, table = torch.randn(3, 1, 4, 4, generator=generator), torch.randn(5, 16, generator=generator)
    labels = torch.tensor([4, 0, 2])
    result = answer(images.clone(), labels.clone(), table.clone())
    if unanswered(result):
        return
    planes = table[labels].view(3, 1, 4, 4)
    both = as_tensor("The images with their labels", result, (3, 2, 4, 4))
    if close(both, torch.cat([images, planes], dim=1)):
        right("From its first convolution on, the discriminator sees image and label together.")
        return
    mistakes = [
        (torch.cat([planes, images], dim=1), "the order is swapped: the image is the first channel."),
        (
            torch.cat([images, planes.mT], dim=1),
            "the label's picture lies on its side: rows of the table go row by row.",
        ),
        (
            torch.cat([images, table[:3].view(3, 1, 4, 4)], dim=1),
            "these are the first rows of the table; look labels up.",
        ),
        (
            torch.cat([images, images], dim=1),
            "the second channel is the image again; it should be the label's picture.",
        ),
    ]
    for wrong, message in mistakes:
        if close(both, wrong):
            raise WrongAnswer(message)
    if close(both[:, :1], images):
        raise WrongAnswer(
            "the first channel is right; the second should be the label's row of the table, as a picture."
        )
    raise WrongAnswer("neither channel is right: first the image as it came, then the label's row of the table.")


def _rounded(table: Tensor) -> list[list[float]]:
    return [[round(float(x), 2) for x in row] for row in table]
