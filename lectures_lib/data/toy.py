"""Distributions whose density is known: mixtures of Gaussians on a line or a plane.

On a line the best discriminator can be computed; on a plane everything can be drawn, and every mode counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.data.samples import RealBatches, numbered


@dataclass(frozen=True)
class Mixture:
    """Gaussians of one standard deviation: `centres` has a row of coordinates each, `weights` their shares.

    Raises:
        ValueError: no centre, centres of different dimensions, a standard deviation that is not positive, or weights
            that are not one a centre or do not sum to 1.
    """

    centres: tuple[tuple[int | float, ...], ...]
    std: int | float
    weights: tuple[int | float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.centres or len({len(centre) for centre in self.centres}) != 1:
            raise ValueError(f"centres must be at least one row of equally many coordinates, got {self.centres}")
        if not self.std > 0:
            raise ValueError(f"std must be positive, got {self.std}")
        shares = self.weights
        if shares is not None and (
            len(shares) != len(self.centres) or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6)
        ):
            raise ValueError(f"weights must be {len(self.centres)} shares that sum to 1, got {shares}")

    @property
    def n_axes(self) -> int:
        """1 on a line, 2 on a plane."""
        return len(self.centres[0])

    def sample(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "count axes"]:
        """`count` points, drawn anew at every call."""
        return self._sample_with_mode(count, generator)[0]

    def _sample_with_mode(self, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        shares = torch.tensor(self.weights or [1 / len(self.centres)] * len(self.centres))
        mode = torch.multinomial(shares, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.n_axes, generator=generator)
        return torch.tensor(self.centres)[mode] + self.std * noise, mode

    def batches(self, batch_size: int, *, seed: int = 0) -> RealBatches:
        """Fresh points for every number, the same for the same number and seed."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        return lambda number: self.sample(batch_size, numbered(seed, number))

    def log_density(self, points: Float[Tensor, "*points axes"]) -> Float[Tensor, "*points"]:
        """The natural logarithm of the density at every point."""
        centres = torch.tensor(self.centres, dtype=points.dtype, device=points.device)
        shares = torch.tensor(
            self.weights or [1 / len(self.centres)] * len(self.centres), dtype=points.dtype, device=points.device
        )
        squared = (points.unsqueeze(-2) - centres).square().sum(dim=-1)  # (*points, centres)
        volume = self.n_axes * math.log(self.std * math.sqrt(2 * math.pi))
        return (shares.log() - 0.5 * squared / self.std**2).logsumexp(dim=-1) - volume

    def density(self, points: Float[Tensor, "*points axes"]) -> Float[Tensor, "*points"]:
        """The density at every point."""
        return self.log_density(points).exp()

    def nearest(self, points: Float[Tensor, "n axes"]) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """Which centre is nearest to each point, and how far it is, in standard deviations."""
        distance = torch.cdist(points, torch.tensor(self.centres, dtype=points.dtype, device=points.device))
        least = distance.min(dim=1)
        return least.indices, least.values / self.std

    def shifted(self, by: int | float) -> Mixture:
        """The same mixture, moved along the first axis."""
        moved = tuple((centre[0] + float(by), *centre[1:]) for centre in self.centres)
        return Mixture(moved, self.std, self.weights)


def gaussian(mean: int | float = 0.0, std: int | float = 1.0) -> Mixture:
    """One Gaussian on a line."""
    return Mixture(((float(mean),),), std)


def line_mixture(
    means: tuple[int | float, ...], std: int | float, weights: tuple[int | float, ...] | None = None
) -> Mixture:
    """Gaussians on a line."""
    return Mixture(tuple((float(mean),) for mean in means), std, weights)


def grid(side: int = 5, *, spacing: int | float = 1.0, std: int | float = 0.05) -> Mixture:
    """`side` × `side` Gaussians around the origin, as used to count lost modes (Metz et al. 2017; Lin et al. 2018)."""
    if side < 1:
        raise ValueError(f"side must be at least 1, got {side}")
    middle = (side - 1) / 2
    centres = [(spacing * (i - middle), spacing * (j - middle)) for i in range(side) for j in range(side)]
    return Mixture(tuple(centres), std)


def ring(modes: int = 8, *, radius: int | float = 2.0, std: int | float = 0.1) -> Mixture:
    """Gaussians evenly around a circle."""
    if modes < 1:
        raise ValueError(f"modes must be at least 1, got {modes}")
    angles = [2 * math.pi * mode / modes for mode in range(modes)]
    return Mixture(tuple((radius * math.cos(a), radius * math.sin(a)) for a in angles), std)
