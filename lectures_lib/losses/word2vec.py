"""The loss of Word2Vec: tell the true neighbour from noise."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def negative_sampling_loss(
    true_scores: Float[Tensor, " batch"], noise_scores: Float[Tensor, "*noise"]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """-log σ(true) - Σ log σ(-noise) in nats, summed over the pairs, and the number of pairs.

    `true_scores` has one score a pair, `noise_scores` (batch, k) those of the k noise words drawn for it.

    Raises:
        ValueError: `noise_scores` does not have one row a pair.

    Source: Mikolov et al. 2013 (arXiv 1310.4546), equation 4, with its sign turned round: they maximise.
    """
    if noise_scores.ndim != 2 or noise_scores.shape[0] != true_scores.shape[0]:
        raise ValueError(f"noise_scores must have shape ({true_scores.shape[0]}, k), got {tuple(noise_scores.shape)}")
    total = -F.logsigmoid(true_scores).sum() - F.logsigmoid(-noise_scores).sum()
    return total, true_scores.new_tensor(len(true_scores)).long()
