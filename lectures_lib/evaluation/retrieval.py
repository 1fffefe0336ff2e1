"""Retrieval: which of some candidates belongs to a query, and how often the true one is among the best."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lectures_lib.models.vilbert import with_whole_picture


def recall_at(scores: Float[Tensor, "*scores"], k: int, *, truth: Int[Tensor, "*truth"] | None = None) -> float:
    """R@k: the share of queries whose true candidate is among the k that score highest.

    `scores` is (queries, candidates); `truth` (queries,) says which candidate is the true one, the first where it is
    not given. Ties are treated fairly: a true candidate that shares its score with others counts with the chance that
    it comes among the first k when equal ones are put in random order. So a model that scores everything alike gets
    k / candidates, as a guess does, and not 1.

    Raises:
        ValueError: `scores` has not two axes with something in them or holds NaN, `k` is not between 1 and the number
            of candidates, or `truth` is not one candidate's number a query.
    """
    if scores.ndim != 2 or not scores.numel():
        raise ValueError(f"scores must be (queries, candidates), at least one each, got {tuple(scores.shape)}")
    queries, count = scores.shape
    if bool(scores.isnan().any()):
        raise ValueError(f"scores must be numbers, got NaN in {int(scores.isnan().any(dim=1).sum())} queries")
    if not 1 <= k <= count:
        raise ValueError(f"k must lie between 1 and the {count} candidates, got {k}")
    if truth is None:
        truth = torch.zeros(queries, dtype=torch.long, device=scores.device)
    if tuple(truth.shape) != (queries,) or int(truth.min()) < 0 or int(truth.max()) >= count:
        raise ValueError(f"truth must be {queries} numbers from 0 to {count - 1}, got {truth.tolist()}"[:300])
    own = scores.gather(1, truth.unsqueeze(1))  # (queries, 1)
    above = (scores > own).sum(dim=1)
    equal = (scores == own).sum(dim=1)  # the true one among them
    return float(((k - above).double() / equal).clamp(0, 1).mean())


def beats(scores: Float[Tensor, "queries candidates"], other: int) -> float:
    """How often the first candidate scores higher than candidate number `other`; a tie counts one half.

    Raises:
        ValueError: there is no such candidate.
    """
    if not 1 <= other < scores.shape[1]:
        raise ValueError(f"other must lie between 1 and {scores.shape[1] - 1}, got {other}")
    difference = scores[:, 0] - scores[:, other]
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


@torch.no_grad()
def match_scores(
    model: nn.Module,
    captions: Int[Tensor, "*captions"],
    features: Float[Tensor, "pictures regions numbers"],
    where: Float[Tensor, "pictures regions 5"],
    *,
    batch_size: int = 256,
) -> Float[Tensor, "pictures candidates"]:
    """The logit of "these two belong together" for each picture and each of its candidate captions.

    `captions` is (pictures, candidates, time). Every pair goes through the whole model: with co-attention there is no
    other way. The model is in evaluation mode meanwhile.

    Raises:
        ValueError: not one row of candidates a picture.
    """
    if captions.ndim != 3 or len(captions) != len(features):
        raise ValueError(f"captions must be ({len(features)}, candidates, time), got {tuple(captions.shape)}")
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    features, where, _ = with_whole_picture(features, where)
    count = captions.shape[1]
    rows = torch.arange(len(captions)).repeat_interleave(count)
    scores = [
        model(
            captions.flatten(0, 1)[some].to(device), features[rows[some]].to(device), where[rows[some]].to(device)
        ).match
        for some in torch.arange(len(rows)).split(batch_size)
    ]
    model.train(was_training)
    return torch.cat(scores).view(-1, count).cpu()
