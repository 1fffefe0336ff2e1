"""Contrastive losses: find the partner among strangers. And what keeps wav2vec 2.0's codes from becoming all the same.

Source: van den Oord et al. 2018 (arXiv 1807.03748) for the idea.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def nt_xent_loss(
    first: Float[Tensor, "batch d_contrast"], second: Float[Tensor, "*second"], *, temperature: int | float = 0.5
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """How badly every view finds its partner among all other views of the batch: in nats, summed; and the views.

    Row i of `first` and row i of `second` are two views of one picture. Each of the 2 · batch views is compared by
    cosine, divided by `temperature`, with the 2 · batch - 1 others; the loss is the cross-entropy of its partner.

    Raises:
        ValueError: the shapes differ, there are fewer than two pictures, or `temperature` is not positive.

    Source: Chen et al. 2020 (SimCLR), equation 1.
    """
    if first.shape != second.shape:
        raise ValueError(f"second must have shape {tuple(first.shape)}, got {tuple(second.shape)}")
    if len(first) < 2:
        raise ValueError(f"first must have at least 2 rows (there is no stranger otherwise), got {len(first)}")
    _check_temperature(temperature)
    views = F.normalize(torch.cat([first, second]).float(), dim=-1)
    count = len(views)
    itself = torch.eye(count, dtype=torch.bool, device=views.device)
    scores = (views @ views.T / temperature).masked_fill(itself, float("-inf"))
    partner = torch.arange(count, device=views.device).roll(count // 2)
    return F.cross_entropy(scores, partner, reduction="sum"), torch.tensor(count, device=views.device)


def info_nce_loss(
    context: Float[Tensor, "masked d_final"],
    targets: Float[Tensor, "*targets"],
    distractors: Int[Tensor, "*distractors"],
    *,
    temperature: int | float = 0.1,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """How badly every masked step finds its own quantised target among distractors: in nats, summed; and the steps.

    Row i of `context` is what the Transformer makes of a masked step, row i of `targets` the quantised truth there;
    `distractors` (masked, n) are rows of `targets`, of other masked steps. They are compared by cosine, divided by
    `temperature`. A distractor that has the very same vector as the true target (few codes are in use at first) does
    not count: to punish it would be wrong.

    Raises:
        ValueError: the shapes do not fit together, a distractor is not a row of `targets`, or `temperature` is not
            positive.

    Source: Baevski et al. 2020 (wav2vec 2.0), equation 3.
    """
    if targets.shape != context.shape:
        raise ValueError(f"targets must have shape {tuple(context.shape)}, got {tuple(targets.shape)}")
    if distractors.ndim != 2 or len(distractors) != len(context):
        raise ValueError(f"distractors must have shape ({len(context)}, n), got {tuple(distractors.shape)}")
    _check_temperature(temperature)
    rows = len(targets)
    if distractors.device.type == "cpu" and distractors.numel():
        low, high = int(distractors.min()), int(distractors.max())
        if low < 0 or high >= rows:
            raise ValueError(f"distractors must lie between 0 and {rows - 1}, got {low if low < 0 else high}")
    # One product of all with all, then a look-up, instead of n copies of every target.
    every = F.normalize(context.float(), dim=-1) @ F.normalize(targets.float(), dim=-1).T / temperature
    true = every.diagonal().unsqueeze(1)
    false = every.gather(1, distractors).masked_fill(_same_as_own(targets, distractors), float("-inf"))
    scores = torch.cat([true, false], dim=1)
    first = torch.zeros(rows, dtype=torch.long, device=scores.device)
    return F.cross_entropy(scores, first, reduction="sum"), torch.tensor(rows, device=scores.device)


def _same_as_own(
    targets: Float[Tensor, "masked d_final"], distractors: Int[Tensor, "masked n"]
) -> Bool[Tensor, "masked n"]:
    if targets.device.type == "meta":  # a meta tensor has no values to compare
        return torch.zeros(distractors.shape, dtype=torch.bool, device="meta")
    _, number = torch.unique(targets.detach(), dim=0, return_inverse=True)  # equal rows, equal numbers
    return number[distractors] == number.unsqueeze(1)


def diversity_loss(
    probabilities: Float[Tensor, "batch time groups codes"], masked: Bool[Tensor, "*masked"] | None = None
) -> Float[Tensor, ""]:
    """The share of the codes that goes unused: (G V - Σ_g exp H(p̄_g)) / G V, between 0 and nearly 1.

    p̄_g is the mean of the code probabilities of group g over the steps where `masked` (batch, time) is True; exp H is
    its perplexity, the number of codes in use. It is a property of the whole batch, and so no (sum, count).

    Raises:
        ValueError: `masked` does not have the batch and time of `probabilities`.

    Source: Baevski et al. 2020, section 3.2, equation 4, in the form of its published code.
    """
    if masked is None:
        mean = probabilities.mean(dim=(0, 1))
    else:
        if masked.shape != probabilities.shape[:2]:
            raise ValueError(f"masked must have shape {tuple(probabilities.shape[:2])}, got {tuple(masked.shape)}")
        mean = (probabilities * masked[:, :, None, None]).sum(dim=(0, 1)) / masked.sum()
    perplexity = torch.exp(-torch.special.xlogy(mean, mean).sum(dim=-1))  # 0 log 0 is 0
    return 1 - perplexity.sum() / mean.numel()


def wav2vec2_loss(
    context: Float[Tensor, "batch time d_final"],
    targets: Float[Tensor, "*targets"],
    probabilities: Float[Tensor, "batch time groups codes"],
    features: Float[Tensor, "batch time channels"],
    masked: Bool[Tensor, "*masked"],
    distractors: Int[Tensor, "*distractors"],
    *,
    temperature: int | float = 0.1,
    diversity: int | float = 0.1,
    penalty: int | float = 10,
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """What wav2vec 2.0 is pretrained with: contrast + `diversity` · L_d + `penalty` · mean square of the features.

    As (sum over the masked steps, how many those are): each of the latter two is counted once a masked step. The
    penalty, which keeps the features from growing, stands in the published code, not in the paper. The first four
    arguments are what `Wav2Vec2ForPretraining` returns.

    Raises:
        ValueError: no step is masked, or as `info_nce_loss` and `diversity_loss`.

    Source: Baevski et al. 2020, equation 2.
    """
    if masked.shape != context.shape[:2]:
        raise ValueError(f"masked must have shape {tuple(context.shape[:2])}, got {tuple(masked.shape)}")
    if not len(distractors):
        raise ValueError("masked must be True at one step at least, got none")
    total, steps = info_nce_loss(context[masked], targets[masked], distractors, temperature=temperature)
    extra = diversity * diversity_loss(probabilities, masked) + penalty * features.float().square().mean()
    return total + extra * steps, steps


def _check_temperature(temperature: int | float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
