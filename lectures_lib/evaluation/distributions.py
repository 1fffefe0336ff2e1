"""How far apart two distributions are, where their densities or samples can be counted; and modes that went missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.data.toy import Mixture


def optimal_discriminator(
    log_real: Float[Tensor, "*points"], log_generated: Float[Tensor, "*points"]
) -> Float[Tensor, "*points"]:
    """p/(p + q), the best answer to "how probable is it that this point is real?", from two log-densities.

    Source: Goodfellow et al. 2014, proposition 1.
    """
    return torch.sigmoid(log_real - log_generated)


def jensen_shannon(
    log_real: Float[Tensor, " points"], log_generated: Float[Tensor, " points"], spacing: int | float
) -> float:
    """The Jensen–Shannon divergence in nats, from log-densities on an even grid that is `spacing` fine: 0 to log 2.

    Raises:
        ValueError: `spacing` is not positive, or a density does not sum to 1 within a hundredth: the grid is too
            coarse or too short.

    Source: Lin 1991; its part in GANs: Goodfellow et al. 2014, theorem 1.
    """
    if not spacing > 0:
        raise ValueError(f"spacing must be positive, got {spacing}")
    for name, log_density in (("log_real", log_real), ("log_generated", log_generated)):
        mass = float(log_density.exp().sum()) * spacing
        if abs(mass - 1) > 0.01:
            raise ValueError(f"{name} must cover its distribution: on this grid it sums to {mass:.3f}, not 1")
    log_mean = torch.logaddexp(log_real, log_generated) - math.log(2)

    def divergence(log_density: Tensor) -> float:
        return float((log_density.exp() * (log_density - log_mean)).sum()) * spacing

    return (divergence(log_real) + divergence(log_generated)) / 2


def earth_mover(one: Float[Tensor, " n"], other: Float[Tensor, " m"]) -> float:
    """The earth mover's distance (Wasserstein-1) of two sets of numbers: how far a grain must be carried, on average.

    On a line the cheapest plan keeps the order: the smallest goes to the smallest. That is the area between the two
    cumulative distributions, which also serves where the sets differ in size.

    Raises:
        ValueError: a set is empty.

    Source: Villani 2009; the same as `scipy.stats.wasserstein_distance`.
    """
    if len(one) == 0 or len(other) == 0:
        raise ValueError(f"both sets must have at least one number, got {len(one)} and {len(other)}")
    if len(one) == len(other):
        return float((one.sort().values - other.sort().values).abs().mean())
    edges = torch.cat([one, other]).sort().values
    below = [torch.searchsorted(s.sort().values, edges[:-1], right=True) / len(s) for s in (one, other)]
    return float(((below[0] - below[1]).abs() * edges.diff()).sum())


def pushes(real: Mixture, generated: Mixture, points: Float[Tensor, " points"]) -> dict[str, Float[Tensor, " points"]]:
    """Where the best discriminator would send a generated sample at each point of an even line, under every loss.

    A push is minus the slope of the generator's loss at the sample: positive is to the right. With l = log p - log q
    and D = p/(p + q), it is D l' for minimax, (1 - D) l' for non-saturating, (1 - D) D' for least squares; a
    Wasserstein critic of slope 1 pushes with 1 towards where mass is missing.

    Raises:
        ValueError: the mixtures are not on a line.

    Sources: the slopes follow from Goodfellow et al. 2014, proposition 1; Mao et al. 2017, equation 5; Villani 2009.
    """
    if real.n_axes != 1 or generated.n_axes != 1:
        raise ValueError(f"both mixtures must be on a line, got {real.n_axes} and {generated.n_axes} axes")
    x = points.double()
    log_p, log_q = (mixture.log_density(x.unsqueeze(1)) for mixture in (real, generated))
    (slope,) = torch.gradient(log_p - log_q, spacing=(x,))
    best = optimal_discriminator(log_p, log_q)
    # Left of a point lies more generated mass than real mass: some of it must go right.
    excess = log_q.exp().cumsum(0) / log_q.exp().sum() - log_p.exp().cumsum(0) / log_p.exp().sum()
    return {
        "minimax": best * slope,
        "non-saturating": (1 - best) * slope,
        "least-squares": (1 - best).square() * best * slope,
        "wasserstein": excess.sign() * (excess.abs() > 1e-9),
    }


class Modes(NamedTuple):
    """What samples make of a mixture: `counts` of good samples at each mode, and the share of good ones."""

    counts: Int[Tensor, " modes"]
    good: float

    def covered(self, at_least: int = 1) -> int:
        """How many modes have at least so many good samples."""
        return int((self.counts >= at_least).sum())


def count_modes(samples: Float[Tensor, "n axes"], mixture: Mixture, *, within: int | float = 3.0) -> Modes:
    """Count samples by their nearest mode; good ones lie within `within` standard deviations of it.

    Raises:
        ValueError: no samples, or not of the mixture's dimension.

    Source: as counted by Srivastava et al. 2017 (VEEGAN) and Lin et al. 2018 (PacGAN).
    """
    if len(samples) == 0 or samples.shape[1] != mixture.n_axes:
        raise ValueError(f"samples must have shape (n, {mixture.n_axes}) with n > 0, got {tuple(samples.shape)}")
    mode, distance = mixture.nearest(samples)
    good = distance <= within
    counts = torch.bincount(mode[good], minlength=len(mixture.centres))
    return Modes(counts, float(good.float().mean()))


def mean_interval(values: Sequence[int | float], *, level: int | float = 0.95) -> tuple[float, float]:
    """A confidence interval for the mean of a few independent runs, by Student's t.

    Raises:
        ValueError: fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"values must be at least two for an interval, got {len(values)}")
    from scipy.stats import t

    numbers = torch.tensor(values, dtype=torch.float64)
    half = float(t.ppf((1 + level) / 2, len(values) - 1) * numbers.std() / len(values) ** 0.5)
    return float(numbers.mean()) - half, float(numbers.mean()) + half


class PairedEffect(NamedTuple):
    """What a change does: the mean difference over seeds with its interval, and which side of 0 is the better one.

    `better` is "above" where more is better, "below" where less is.
    """

    mean: float
    low: float
    high: float
    better: str = "above"

    @property
    def verdict(self) -> str:
        """ "helps" or "harms" where the whole interval lies on one side of 0, else "unclear"."""
        if self.low <= 0 <= self.high:
            return "unclear"
        return "helps" if (self.low > 0) == (self.better == "above") else "harms"


def paired_effect(
    treated: Sequence[int | float],
    untreated: Sequence[int | float],
    *,
    better: str = "above",
    level: int | float = 0.95,
) -> PairedEffect:
    """The mean difference of runs that differ in one thing only, seed by seed, with its interval by Student's t.

    Raises:
        ValueError: not one run of either kind for each seed, fewer than two seeds, or an unknown `better`.
    """
    if better not in ("above", "below"):
        raise ValueError(f"better must be 'above' or 'below', got {better!r}")
    if len(treated) != len(untreated):
        raise ValueError(f"treated must have a run for each untreated one, got {len(treated)} and {len(untreated)}")
    differences = [one - other for one, other in zip(treated, untreated, strict=True)]
    low, high = mean_interval(differences, level=level)
    return PairedEffect(sum(differences) / len(differences), low, high, better)
