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
