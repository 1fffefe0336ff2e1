"""What we aim at beside each peer, and what stops us where we do not get there.

A goal is a ratio, the peer's time over ours. A reason is what a profile of our side showed; it stands in the table of
the book's results page only while its goal is missed.
"""

from __future__ import annotations

from typing import NamedTuple


class Goal(NamedTuple):
    """The ratio aimed at, and what stops us as far as we know."""

    ratio: float
    reason: str = ""


GOALS: dict[str, Goal] = {
    "word2vec": Goal(0.5),
    "transformer-step": Goal(1.15),
    "transformer-greedy": Goal(
        3.0,
        "20 % of the time are products with weights, 14 % those of attention, 9 % copies, 7 % layer normalisation, and "
        "most of the rest goes into starting small operators, of which a decoding step at these sizes consists",
    ),
    "transformer-beam": Goal(
        2.0,
        "19 % of the time are products with weights, 17 % copies, 11 % picking the cached rows of the hypotheses that "
        "go on, and most of the rest goes into starting small operators",
    ),
    "transformer-cost-per-token": Goal(1 / 1.4),  # at 512 tokens at most 1.4 times what it is at 32
    "gpt-step": Goal(1.2, "half of our step are matrix products and 11 % attention, which both sides share"),
    "gpt-sample-1": Goal(3.0),
    "gpt-sample-8": Goal(3.0),
    "bert-step": Goal(1.2),
    "vit-step": Goal(1.2, "69 % of our step are matrix products, which both sides share"),
    "dcgan-round-best": Goal(
        1.3, "half of the time are convolutions, which both sides share; without bf16 both compute in float32"
    ),
    "cyclegan-round": Goal(1.2),
}


def beside_goal(name: str, ratio: float | None) -> dict[str, float | bool | str]:
    """What a row says about its goal: the goal, whether it is reached, and the reason where not."""
    goal = GOALS.get(name)
    if goal is None or ratio is None:
        return {}
    reached = ratio >= goal.ratio
    return {"goal": goal.ratio, "reached": reached} | ({} if reached else {"reason": goal.reason})
