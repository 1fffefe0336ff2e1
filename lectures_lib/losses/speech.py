"""Losses of speech: letters without a timetable (CTC), and spectrograms with a stop sign.

Source: Graves et al. 2006; Li et al. 2019; Tachibana et al. 2018.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def ctc_loss(
    logits: Float[Tensor, "batch time vocabulary"],
    frames: Int[Tensor, "*frames"],
    labels: Int[Tensor, "*labels"],
    label_lengths: Int[Tensor, "*label_lengths"],
    *,
    blank: int = 0,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """-log of the probability of all ways to spread the labels over the frames: in nats, summed; and the labels.

    `frames` (batch,) and `label_lengths` (batch,) say how much of each row is real; `labels` is (batch, longest).
    Every label needs a frame, and between two equal labels in a row there must be a blank, so a recording can be too
    short for its text. PyTorch's loss is then infinite, and its gradient NaN; here that is an error which says whose.

    Raises:
        ValueError: a shape or a length does not fit, a label is the blank or outside the vocabulary, or a row has
            fewer frames than its labels need.

    Source: Graves et al. 2006, section 3 and equation 8.
    """
    batch, time, vocabulary = logits.shape
    for name, tensor, shape in (
        ("frames", frames, (batch,)),
        ("label_lengths", label_lengths, (batch,)),
        ("labels", labels, (batch, labels.shape[-1] if labels.ndim else 0)),
    ):
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
    if not 0 <= blank < vocabulary:
        raise ValueError(f"blank must lie between 0 and {vocabulary - 1}, got {blank}")
    _check_lengths("frames", frames, time)
    _check_lengths("label_lengths", label_lengths, labels.shape[1])
    _check_labels(labels, label_lengths, vocabulary, blank)
    _check_room(frames, labels, label_lengths)
    log_probabilities = logits.float().log_softmax(dim=-1).transpose(0, 1)  # (time, batch, vocabulary)
    total = F.ctc_loss(log_probabilities, labels, frames, label_lengths, blank=blank, reduction="sum")
    return total, label_lengths.sum()


def frames_needed(
    labels: Int[Tensor, "batch longest"], label_lengths: Int[Tensor, "*lengths"]
) -> Int[Tensor, " batch"]:
    """How many frames each row's labels need at least: one each, and a blank between equal neighbours."""
    real = torch.arange(1, labels.shape[1], device=labels.device) < label_lengths.unsqueeze(1)
    repeats = (labels[:, 1:] == labels[:, :-1]) & real
    return label_lengths + repeats.sum(dim=1)


def _check_lengths(name: str, lengths: Tensor, longest: int, least: int = 0) -> None:
    if lengths.device.type == "meta" or not len(lengths):
        return
    low, high = int(lengths.min()), int(lengths.max())
    if low < least or high > longest:
        raise ValueError(f"{name} must lie between {least} and {longest}, got {low if low < least else high}")


def _check_labels(labels: Tensor, label_lengths: Tensor, vocabulary: int, blank: int) -> None:
    if labels.device.type == "meta":
        return
    real = labels[torch.arange(labels.shape[1], device=labels.device) < label_lengths.unsqueeze(1)]
    wrong = real[(real < 0) | (real >= vocabulary) | (real == blank)]
    if len(wrong):
        raise ValueError(
            f"labels must lie between 0 and {vocabulary - 1} without the blank {blank}, got {int(wrong[0])}"
        )


def _check_room(frames: Tensor, labels: Tensor, label_lengths: Tensor) -> None:
    if labels.device.type == "meta":
        return
    needed = frames_needed(labels, label_lengths)
    short = (frames < needed).nonzero()
    if len(short):
        row = int(short[0])
        count = int(label_lengths[row])
        raise ValueError(
            f"frames of row {row} must be at least {int(needed[row])} for its {count} labels "
            f"({int(needed[row]) - count} of them repeat the one before), got {int(frames[row])}"
        )


def guided_attention_loss(
    weights: Float[Tensor, "batch heads query key"],
    query_lengths: Int[Tensor, "*query_lengths"],
    key_lengths: Int[Tensor, "*key_lengths"],
    *,
    width: int | float = 0.4,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """Attention weights far from the diagonal, summed, and how many weights were looked at.

    A voice reads a text from front to back, so query t of T should look near key n of N with n / N = t / T. A weight
    there costs nothing, elsewhere 1 - exp(-(n / N - t / T)² / 2 width²). Only real queries and keys count.

    Raises:
        ValueError: the lengths do not fit, or `width` is not positive.

    Source: Tachibana et al. 2018, equations 6 and 7 (width 0.2; toolkits for Transformers use 0.4).
    """
    batch, heads, queries, keys = weights.shape
    if not width > 0:
        raise ValueError(f"width must be positive, got {width}")
    for name, lengths, longest in (
        ("query_lengths", query_lengths, queries),
        ("key_lengths", key_lengths, keys),
    ):
        if tuple(lengths.shape) != (batch,):
            raise ValueError(f"{name} must have shape ({batch},), got {tuple(lengths.shape)}")
        _check_lengths(name, lengths, longest)
    at_query, real_query = _progress(query_lengths, queries)
    at_key, real_key = _progress(key_lengths, keys)
    distance = at_query.unsqueeze(2) - at_key.unsqueeze(1)  # (batch, query, key)
    cost = 1 - torch.exp(-distance.square() / (2 * width**2))
    real = real_query.unsqueeze(2) & real_key.unsqueeze(1)
    total = (weights * (cost * real).unsqueeze(1)).sum()
    return total, real.sum() * heads


def _progress(lengths: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """How far along each position is, from 0 to 1, and which positions are real; both (batch, longest)."""
    position = torch.arange(longest, device=lengths.device)
    return position / lengths.clamp(min=1).unsqueeze(1), position < lengths.unsqueeze(1)


def spectrogram_loss(
    before: Float[Tensor, "batch frames bands"],
    after: Float[Tensor, "*after"],
    stop: Float[Tensor, "*stop"],
    target: Float[Tensor, "*target"],
    lengths: Int[Tensor, "*lengths"],
    *,
    stop_weight: int | float = 5.0,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """L1 + mean square error of the spectrogram before and after the post-net, and the stop sign's cross-entropy.

    Summed over the real frames (within a frame: the mean over its bands), with the number of those frames. `stop`
    (batch, frames) are logits that should be 1 at the last real frame and 0 before. There is one such frame in
    hundreds, so it counts `stop_weight` times.

    Raises:
        ValueError: the shapes do not fit together, or a length is below 1 or too long.

    Source: Li et al. 2019 (Transformer TTS), sections 3.6 and 3.7; Shen et al. 2018 (Tacotron 2), section 2.2.
    """
    batch, frames, _ = before.shape
    whole = tuple(before.shape)
    for name, tensor, shape in (
        ("after", after, whole),
        ("target", target, whole),
        ("stop", stop, whole[:2]),
        ("lengths", lengths, (batch,)),
    ):
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
    _check_lengths("lengths", lengths, frames, least=1)
    position = torch.arange(frames, device=before.device)
    real = position < lengths.unsqueeze(1)
    last = (position == lengths.unsqueeze(1) - 1).to(stop.dtype)
    weight = torch.as_tensor(stop_weight, dtype=stop.dtype, device=stop.device)
    each = F.binary_cross_entropy_with_logits(stop, last, pos_weight=weight, reduction="none")
    for guess in (before, after):
        each = each + (guess - target).abs().mean(dim=-1) + (guess - target).square().mean(dim=-1)
    return (each * real).sum(), real.sum()
