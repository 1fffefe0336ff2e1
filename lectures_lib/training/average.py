"""A running mean of a network's weights: what a training that swings round its goal is near on average."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from lectures_lib.data.samples import numbered
from lectures_lib.models.cgan import Told

NORM_BATCHES, NORM_BATCH = 10, 200  # latents on which the mean generator's norms take their statistics


class WeightAverage:
    """A copy of a network whose weights follow the network's own with a delay: mean ← decay · mean + (1 - decay) · w.

    Early on, when the weights still travel far, the mean follows faster: the decay is at most (1 + n) / (10 + n) at
    step n.

    Raises:
        ValueError: `decay` is outside (0, 1).

    Source: Yazıcı et al. 2019 (for GANs); the warm-up as in TensorFlow's moving averages.
    """

    def __init__(self, network: nn.Module, decay: int | float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}")

        def follow(mean: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
            at_most = (1 + int(count)) / (10 + int(count))
            return torch.lerp(mean, new, 1 - min(decay, at_most))

        self.network = network
        self.averaged = AveragedModel(network, avg_fn=follow)

    def update(self) -> None:
        """Let the mean follow, after a step of the network."""
        self.averaged.update_parameters(self.network)

    def settled(self) -> nn.Module:
        """A copy with the mean weights, in evaluation mode.

        The statistics of batch normalisation belong to other weights; they are taken anew, on latents that are the
        same at every call. The network's config tells its `d_latent`, and its `n_classes` if it is told labels; then
        all classes are asked for in turn.
        """
        mean = copy.deepcopy(self.averaged.module)
        device, d_latent = next(mean.parameters()).device, mean.config.d_latent
        latents = (torch.randn(NORM_BATCH, d_latent, generator=numbered(0, n)) for n in range(NORM_BATCHES))
        with torch.no_grad():
            update_bn(latents, _without_labels(mean, device), device)
        return mean.eval()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs."""
        return self.averaged.state_dict()

    def restore(self, state: dict[str, Tensor]) -> None:
        """Bring the mean back to what `state` gave."""
        self.averaged.load_state_dict(state)


def _without_labels(network: nn.Module, device: torch.device) -> nn.Module:
    """The network itself, or, where it is told labels, one that takes latents alone."""
    n_classes = getattr(network.config, "n_classes", None)
    if n_classes is None:
        return network
    return Told(network, torch.arange(NORM_BATCH, device=device) % n_classes)
