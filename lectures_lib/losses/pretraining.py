"""The losses that BERT is pretrained with, and the one it is fine-tuned with.

Each returns (sum, count), as the losses over sequences do.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.losses.sequence import smoothed_cross_entropy

NO_TARGET = -100  # in a rectangle of targets: nothing is asked here (PyTorch's own sign for it)


def target_places(targets: Int[Tensor, "batch time"]) -> Int[Tensor, " places"]:
    """Where something is asked, as indices into the batch laid out in one row: `row · time + column`, rising."""
    return (targets.flatten() != NO_TARGET).nonzero().squeeze(1)


def masked_language_loss(
    logits: Float[Tensor, "places vocabulary"], targets: Int[Tensor, "*targets"]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Cross-entropy of the hidden words in nats, summed, and how many they are.

    `targets` is one integer a row of `logits`, or the whole rectangle (batch, time) that has `NO_TARGET` where nothing
    is asked and as many targets as `logits` has rows.

    Raises:
        ValueError: another number of targets, or one outside the vocabulary.

    Source: Devlin et al. 2019, section 3.1, task 1.
    """
    if targets.ndim > 1:
        targets = targets.flatten()[target_places(targets)]
    if targets.shape != logits.shape[:1]:
        raise ValueError(f"targets must be {len(logits)}, one a row of logits, got {tuple(targets.shape)}")
    return classification_loss(logits, targets, name="targets")


def next_sentence_loss(
    logits: Float[Tensor, "batch 2"], labels: Int[Tensor, "*labels"]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Cross-entropy of "it follows" (label 0) against "it does not" (label 1), summed, and how many pairs.

    Raises:
        ValueError: not one label a row, or a label other than 0 and 1.

    Source: Devlin et al. 2019, section 3.1, task 2.
    """
    return classification_loss(logits, labels)


def pretraining_loss(
    hidden: tuple[Float[Tensor, ""], Int[Tensor, ""]], follows: tuple[Float[Tensor, ""], Int[Tensor, ""]]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Both losses as one (sum, count), whose quotient is the sum of the two means.

    Source: Devlin et al. 2019, appendix A.2.
    """
    (total, count), (of_pairs, pairs) = hidden, follows
    return total + of_pairs * (count / pairs), count


def classification_loss(
    logits: Float[Tensor, "n classes"], labels: Int[Tensor, "*labels"], *, name: str = "labels"
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Cross-entropy in nats, summed, and how many rows. `name` is how an error calls the labels.

    Raises:
        ValueError: not one label a row, or a label outside the classes.
    """
    if labels.shape != logits.shape[:1]:
        raise ValueError(f"{name} must be {len(logits)}, one a row of logits, got shape {tuple(labels.shape)}")
    classes = logits.shape[1]
    if labels.device.type == "cpu" and len(labels):  # elsewhere a look would wait for the device at every step
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise ValueError(f"{name} must lie between 0 and {classes - 1}, the classes of logits, got {wrong}")
    # A softmax over thousands of words needs more than bf16's three digits: in float32, whatever the model runs in.
    each = smoothed_cross_entropy(logits.float(), labels)
    return each.sum(), torch.tensor(len(labels), device=logits.device)
