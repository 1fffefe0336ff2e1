"""Learning-rate schedules: functions from the step (0 is the first) to a factor of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def warmup_cosine(steps: int, *, warmup: int = 0, final: float = 0.0) -> Schedule:
    """Rise linearly over `warmup` steps, then fall along half a cosine to `final` at `steps`.

    Source: Loshchilov and Hutter 2017, equation 5, with a warm-up before it.
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup must lie between 0 and steps - 1 = {steps - 1}, got {warmup}")

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min((step - warmup) / (steps - warmup), 1.0)
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def warmup_inverse_square_root(d_model: int, *, warmup: int = 4000) -> Schedule:
    """The paper's schedule: d^-0.5 · min(s^-0.5, s · warmup^-1.5) at step s = 1, 2, …; to be used with learning rate 1.

    It rises linearly for `warmup` steps and then falls with the square root of the step, without an end.

    Raises:
        ValueError: `d_model` or `warmup` is below 1.

    Source: Vaswani et al. 2017, equation 3.
    """
    if d_model < 1 or warmup < 1:
        raise ValueError(f"d_model and warmup must be at least 1, got {d_model} and {warmup}")
    return lambda step: d_model**-0.5 * min((step + 1) ** -0.5, (step + 1) * warmup**-1.5)


def constant_then_linear(steps: int, *, constant: int | float = 0.5) -> Schedule:
    """Full for the first share `constant` of `steps`, then down on a straight line that would reach 0 at `steps`.

    Raises:
        ValueError: `steps` is below 1, or `constant` outside [0, 1].

    Source: Zhu et al. 2017, section 4: 100 epochs at the full rate, 100 on the way to zero.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if not 0 <= constant <= 1:
        raise ValueError(f"constant must lie between 0 and 1, got {constant}")
    kept = constant * steps
    return lambda step: 1.0 if step < kept else max(0.0, (steps - step) / max(steps - kept, 1))
