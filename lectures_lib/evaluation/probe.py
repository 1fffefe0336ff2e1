"""A linear probe: how much of a task can be read off vectors that are not allowed to change?"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class Probe(NamedTuple):
    """A logistic regression on standardised features: logits = (x - mean) / deviation · weightᵀ + bias."""

    weight: Float[Tensor, "classes d"]
    bias: Float[Tensor, " classes"]
    mean: Float[Tensor, " d"]
    deviation: Float[Tensor, " d"]

    def logits(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        """The scores of the classes."""
        return F.linear((features - self.mean) / self.deviation, self.weight, self.bias)

    def accuracy(self, features: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> float:
        """The share of rows whose best class is the true one."""
        return float((self.logits(features).argmax(dim=1) == labels).double().mean())


def linear_probe(
    features: Float[Tensor, "n d"], labels: Int[Tensor, "*labels"], *, n_classes: int, penalty: int | float
) -> Probe:
    """Fit a logistic regression: mean cross-entropy + `penalty` / 2 · |weight|², to its one minimum.

    Raises:
        ValueError: not one label a row, a label outside the classes, no rows, or a penalty that is not positive.
    """
    if labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(f"labels must be {len(features)}, one a row and at least one, got {tuple(labels.shape)}")
    if not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise ValueError(f"labels must lie between 0 and {n_classes - 1}, got {labels.unique().tolist()}")
    if not penalty > 0:
        raise ValueError(f"penalty must be positive, got {penalty}")
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0).clamp(min=1e-6)
    x = (features - mean) / deviation
    weight = torch.zeros(n_classes, features.shape[1], device=x.device, requires_grad=True)
    bias = torch.zeros(n_classes, device=x.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias), labels) + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(objective)
    return Probe(weight.detach(), bias.detach(), mean, deviation)


def tuned_probe(features: Float[Tensor, "n d"], labels: Int[Tensor, "*labels"], *, n_classes: int) -> Probe:
    """A `linear_probe` whose penalty did best on the last fifth of the rows, then fitted to all of them.

    The rows must come in no particular order. Raises ValueError as `linear_probe`, and for fewer than ten rows.
    """
    if len(features) < 10:
        raise ValueError(f"features must be at least ten rows, to choose a penalty, got {len(features)}")
    cut = len(features) - len(features) // 5
    scores = {
        penalty: linear_probe(features[:cut], labels[:cut], n_classes=n_classes, penalty=penalty).accuracy(
            features[cut:], labels[cut:]
        )
        for penalty in PENALTIES
    }
    best = max(scores, key=lambda penalty: (scores[penalty], penalty))  # of equals the simplest model
    return linear_probe(features, labels, n_classes=n_classes, penalty=best)
