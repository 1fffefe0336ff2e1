"""Claims: what a chapter says, measured and held against a threshold.

A chapter records each of its claims with `record_claim`. The cell shows the verdict to the reader and carries the
numbers as JSON beside it; the book's build collects them from the executed notebooks into one ledger,
`_build/claims.json`, and fails when a claim no longer holds. One thing is not the book's to promise: how fast the
machine that builds it is. A claim that is measured by the clock is shown with its verdict like any other, but what
the build holds it to are the seeds of its result file.
"""

from __future__ import annotations

import html
import json
import math
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

from lectures_lib.evaluation.distributions import mean_interval

CLAIM_MIME = "application/vnd.lectures.claim+json"


@dataclass(frozen=True)
class Claim:
    """One measured statement; `better` says on which side of the threshold it holds ("above" or "below", inclusive).

    `by_clock` tells that `measured` is a time, or a ratio of times, of the machine that ran the chapter.
    """

    id: str
    statement: str
    measured: float
    threshold: float
    better: str = "above"
    unit: str = ""
    caveat: str = ""
    interval: tuple[float, float] | None = None
    seeds: tuple[float, ...] = ()
    chapter: str = ""
    by_clock: bool = False

    @property
    def holds(self) -> bool:
        """Whether the measured value, and that of every seed, lies on the promised side of the threshold."""
        return self._all_hold((self.measured, *self.seeds))

    @property
    def refused(self) -> bool:
        """Whether the book may not be built with it: it does not hold, and this machine's clock is not to blame."""
        return not self._all_hold(self.seeds if self.by_clock and self.seeds else (self.measured, *self.seeds))

    def _all_hold(self, values: Sequence[float]) -> bool:
        if self.better == "above":
            return min(values) >= self.threshold
        return max(values) <= self.threshold

    def as_dict(self) -> dict[str, Any]:
        """The claim as it stands in the ledger: plain JSON types, with the verdict."""
        return {
            "id": self.id,
            "chapter": self.chapter,
            "statement": self.statement,
            "measured": self.measured,
            "threshold": self.threshold,
            "holds": self.holds,
            "unit": self.unit,
            "better": self.better,
            "caveat": self.caveat,
            "interval": None if self.interval is None else list(self.interval),
            "seeds": list(self.seeds),
            "seeds_mean": None if self.seeds_mean is None else list(self.seeds_mean),
            "by_clock": self.by_clock,
        }

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any], chapter: str = "") -> Claim:
        """The claim of one ledger entry, placed in `chapter` where that is given."""
        fields = {name: value for name, value in entry.items() if name not in ("holds", "seeds_mean")}
        if fields.get("interval") is not None:
            fields["interval"] = tuple(fields["interval"])
        fields["seeds"] = tuple(fields.get("seeds", ()))
        return cls(**{**fields, "chapter": chapter or fields.get("chapter", "")})

    @property
    def verdict(self) -> str:
        """The verdict in a few words."""
        if self.holds:
            return "✓ holds"
        return "✗ does not hold" if self.refused else "✗ does not hold on this machine, at this moment"

    @property
    def numbers(self) -> str:
        """Measured value, interval and threshold as a reader wants them."""
        unit = f" {self.unit}" if self.unit else ""
        spread = "" if self.interval is None else " [{:.4g}, {:.4g}]".format(*self.interval)
        sign = "≥" if self.better == "above" else "≤"
        return (
            f"measured {self.measured:.4g}{spread}{unit}{self._over_seeds}, claimed {sign} {self.threshold:.4g}{unit}"
        )

    @property
    def _over_seeds(self) -> str:
        if not self.seeds:
            return ""
        return f" (over {len(self.seeds)} seeds {min(self.seeds):.4g} to {max(self.seeds):.4g}{self._mean_over_seeds})"

    @property
    def _mean_over_seeds(self) -> str:
        if self.seeds_mean is None:
            return ""
        return ", mean {:.4g} with 95 % interval [{:.4g}, {:.4g}]".format(*self.seeds_mean)

    @property
    def seeds_mean(self) -> tuple[float, float, float] | None:
        """Mean over the seeds, and the ends of its 95 % interval by Student's t; None with fewer than two seeds."""
        if len(self.seeds) < 2:
            return None
        return (sum(self.seeds) / len(self.seeds), *mean_interval(self.seeds))

    def _ipython_display_(self) -> None:
        """Nothing: `record_claim` has shown the claim, and a cell that ends with the call must not show it twice."""


def record_claim(
    id: str,
    statement: str,
    measured: SupportsFloat,
    threshold: SupportsFloat,
    *,
    better: str = "above",
    unit: str = "",
    caveat: str = "",
    interval: Sequence[SupportsFloat] | None = None,
    seeds: Sequence[SupportsFloat] = (),
    by_clock: bool = False,
) -> Claim:
    """Show a claim with its verdict and put it on record.

    `measured` must be at least `threshold` (`better="above"`) or at most (`better="below"`). `interval` is (low,
    high) around the measured value, `caveat` says what the measurement does not show. A claim that does not hold
    raises nothing here, so that a reader who changes a cell can go on; the book's build is what refuses it. With
    `by_clock`, for a value measured in seconds, the build goes by `seeds` alone, which must be given: those were
    measured on a machine with nothing else to do.

    Errors: `ValueError` for an `id` that is not words of a–z, 0–9 joined by hyphens, an empty statement, a number
    that is not finite, an unknown `better`, an interval that is not (low, high) around the measured value, `by_clock`
    without `seeds`.
    """
    if not isinstance(id, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id):
        raise ValueError(f"id must be words of a-z and 0-9 joined by hyphens, such as 'long-sentences'; got {id!r}")
    if not isinstance(statement, str) or not statement.strip():
        raise ValueError(f"statement must be a sentence; got {statement!r}")
    if better not in ("above", "below"):
        raise ValueError(f"better must be 'above' or 'below'; got {better!r}")
    if by_clock and not len(seeds):
        raise ValueError(f"seeds must hold what an experiment measured where a claim goes by the clock; got {seeds!r}")
    claim = Claim(
        id=id,
        statement=statement,
        measured=_finite("measured", measured),
        threshold=_finite("threshold", threshold),
        better=better,
        unit=unit,
        caveat=caveat,
        interval=_interval(interval, measured),
        seeds=tuple(_finite("seeds", value) for value in seeds),
        by_clock=by_clock,
    )
    _show(claim)
    return claim


def collect_claims(notebook: Mapping[str, Any], chapter: str = "") -> list[Claim]:
    """The claims in the outputs of an executed notebook (nbformat 4), in order; `chapter` is written into each.

    Errors: `ValueError` naming an id that occurs twice.
    """
    claims = [
        Claim.from_dict(output["data"][CLAIM_MIME], chapter)
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if CLAIM_MIME in output.get("data", {})
    ]
    _refuse_duplicates(claims)
    return claims


def write_ledger(claims: Iterable[Claim], path: str | pathlib.Path) -> None:
    """Write the claims as a JSON list, in the order given. Errors: `ValueError` naming an id that occurs twice."""
    claims = list(claims)
    _refuse_duplicates(claims)
    text = json.dumps([claim.as_dict() for claim in claims], indent=1, ensure_ascii=False) + "\n"
    pathlib.Path(path).write_text(text, encoding="utf-8")


def _finite(name: str, value: SupportsFloat) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a number; got {value!r}") from error
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite number; got {number}")
    return number


def _interval(interval: Sequence[SupportsFloat] | None, measured: SupportsFloat) -> tuple[float, float] | None:
    if interval is None:
        return None
    ends = [_finite("interval", end) for end in interval]
    if len(ends) != 2 or not ends[0] <= float(measured) <= ends[1]:
        raise ValueError(f"interval must be (low, high) around measured {float(measured)}; got {tuple(ends)}")
    return ends[0], ends[1]


def _refuse_duplicates(claims: Sequence[Claim]) -> None:
    first: dict[str, Claim] = {}
    for claim in claims:
        if claim.id in first:
            places = " and ".join(repr(c.chapter) for c in (first[claim.id], claim) if c.chapter) or "the same notebook"
            raise ValueError(f"id {claim.id!r} is recorded twice, in {places}: every claim needs an id of its own")
        first[claim.id] = claim


def _show(claim: Claim) -> None:
    plain = f"{claim.verdict}: {claim.statement} ({claim.numbers})"
    caveat = f"<br><small>It does not show: {html.escape(claim.caveat)}</small>" if claim.caveat else ""
    # currentColor follows the theme, so the line is as legible in the dark as in the light.
    rich = (
        '<div class="lectures-claim" style="border-left: 0.25em solid currentColor; padding-left: 0.75em; '
        'margin: 0.75em 0">'
        f"<strong>{claim.verdict}</strong> {html.escape(claim.statement)}<br>{html.escape(claim.numbers)}{caveat}</div>"
    )
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(plain)
        return
    if get_ipython() is None:  # a script: display() would print the dictionary
        print(plain)
    else:
        display({"text/plain": plain, "text/html": rich, CLAIM_MIME: claim.as_dict()}, raw=True)
