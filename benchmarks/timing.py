"""How every benchmark takes its times."""

from __future__ import annotations

import time
from collections.abc import Callable


def interleaved(tasks: list[Callable[[], None]], *, runs: int) -> list[list[float]]:
    """Seconds of every run of every task; the tasks take turns, after one round to warm up."""
    times: list[list[float]] = [[] for _ in tasks]
    for run in range(runs + 1):
        for task, record in zip(tasks, times, strict=True):
            started = time.perf_counter()
            task()
            if run > 0:
                record.append(time.perf_counter() - started)
    return times
