"""Sick GANs and their treatments: the table of effects, and a widget to choose a patient and a cure.

Real samples are blue and generated ones orange, as in every picture of a GAN.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib.pyplot as plt
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from lectures_lib.evaluation.distributions import PairedEffect
from lectures_lib.visual.plots import LINE_COLOURS
from lectures_lib.visual.stepper import chooser
from lectures_lib.visual.style import GENERATED, INK, REAL, house_style

SIDE = 200  # of a picture, in the units of its drawing
MARKS = {"helps": "▲", "harms": "▼", "unclear": "·"}


def two_number_paths(paths: Mapping[str, Float[Tensor, "times 2"]]) -> Figure:
    """The two weights of the smallest GAN over time, one panel a path: from the dot; the cross is the aim.

    Raises:
        ValueError: there is no path.
    """
    if not paths:
        raise ValueError("paths must hold at least one, got none")
    with house_style():
        figure, row = plt.subplots(
            1, len(paths), figsize=(1.7 * len(paths), 2.3), squeeze=False, sharex=True, sharey=True
        )
        for axes, colour, (name, path) in zip(row[0], LINE_COLOURS * len(paths), paths.items(), strict=False):
            axes.plot(*path.T.tolist(), color=colour, linewidth=1.2)
            axes.plot(*path[0].tolist(), "o", color=INK, markersize=5)
            axes.plot(0, 0, "x", color=INK, markersize=7)
            axes.set(xlabel="generator's number", aspect="equal")
            axes.xaxis.label.set_size(9)
            axes.set_title(name, color=INK, fontsize=9)
        row[0, 0].set_ylabel("discriminator's slope")
    return figure


def effect_table(
    effects: Mapping[str, Mapping[str, PairedEffect]], units: Mapping[str, str], *, digits: int = 2
) -> str:
    """HTML of a table, a row a treatment and a column a patient: mean difference, interval and a mark.

    ▲ stands where the whole interval is on the better side of 0, ▼ where it is on the worse one. `units` says for each
    patient, in the order of the columns, what is measured.

    Raises:
        ValueError: a treatment lacks one of the patients.
    """
    head = "".join(
        f'<th scope="col">{html.escape(patient)}<br><small>{html.escape(unit)}</small></th>'
        for patient, unit in units.items()
    )
    rows = []
    for treatment, by_patient in effects.items():
        missing = set(units) - set(by_patient)
        if missing:
            raise ValueError(
                f"effects[{treatment!r}] must hold every patient, got none of {', '.join(sorted(missing))}"
            )
        cells = "".join(f"<td>{_effect(by_patient[patient], digits)}</td>" for patient in units)
        rows.append(f'<tr><th scope="row">{html.escape(treatment)}</th>{cells}</tr>')
    return (
        '<div tabindex="0" role="region" aria-label="Treatments and patients" style="overflow-x: auto">'
        f'<table class="table lectures-clinic"><thead><tr><th scope="col">treatment</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _effect(effect: PairedEffect | None, digits: int) -> str:
    if effect is None:
        return "ended in NaN"
    if effect.mean == effect.low == effect.high == 0:
        return "–"  # the very same runs
    mean, low, high = (f"{number:+.{digits}f}".replace("-", "\u2212") for number in effect[:3])
    return (
        f'<span title="{effect.verdict}" aria-label="{effect.verdict}">{MARKS[effect.verdict]}</span> {mean} '
        f"<small>[{low}, {high}]</small>"
    )


class Case(NamedTuple):
    """A run as the widget shows it: samples (n, 2), the path of their mean (times, 2), and its numbers in words."""

    points: Tensor
    trail: Tensor
    words: str


def points_svg(case: Case, real: Float[Tensor, "m 2"], *, limit: int | float, alt: str) -> str:
    """Real points, generated ones and the path of their mean, drawn as SVG of a few kilobytes.

    Raises:
        ValueError: `alt` is empty, or `limit` is not positive.
    """
    if not alt.strip():
        raise ValueError("alt must say what is to be seen, got an empty text")
    if not limit > 0:
        raise ValueError(f"limit must be positive, got {limit}")
    path = " ".join(f"{x},{y}" for x, y in _on_paper(case.trail, limit))
    dots = _dots(real, limit, REAL, 2.4) + _dots(case.points, limit, GENERATED, 3)
    return (
        f'<svg role="img" aria-label="{html.escape(alt, quote=True)}" viewBox="0 0 {SIDE} {SIDE}" '
        'style="width: 15rem; max-width: 48%; height: auto">'
        f'<g fill="none" stroke-linecap="round">{dots}'
        f'<polyline points="{path}" stroke="{INK}" stroke-width="1.2"/></g></svg>'
    )


def _dots(points: Tensor, limit: int | float, colour: str, width: int | float) -> str:
    # A line of no length with round ends is a dot: a third of the bytes of a circle.
    drawn = "".join(f"M{x} {y}h0" for x, y in _on_paper(points, limit))
    return f'<path d="{drawn}" stroke="{colour}" stroke-width="{width}" stroke-opacity="0.7"/>'


def _on_paper(points: Tensor, limit: int | float) -> list[tuple[int, int]]:
    """Whole coordinates, the second axis downwards; points beyond the limit lie on the edge."""
    share = (points.clamp(-limit, limit) / limit + 1) / 2
    return [(round(SIDE * x), round(SIDE * (1 - y))) for x, y in share.tolist()]


def clinic_widget(
    cases: Mapping[str, Mapping[str, Case]],
    real: Mapping[str, Float[Tensor, "m 2"]],
    limits: Mapping[str, int | float],
    *,
    untreated: str,
    chosen: str | None = None,
    display: bool = True,
) -> str:
    """Choose a patient and a treatment, and see its samples beside those of no treatment; returns the HTML.

    `cases` maps each patient to its treatments, `untreated` among them; `real` and `limits` map each patient to real
    points and to how far its picture reaches.

    Raises:
        ValueError: a patient lacks the untreated case.
    """
    frames: dict[str, dict[str, str]] = {}
    for patient, by_treatment in cases.items():
        if untreated not in by_treatment:
            raise ValueError(f"cases[{patient!r}] must hold the treatment {untreated!r}, got {list(by_treatment)}")
        frames[patient] = {
            treatment: _side_by_side(
                {untreated: by_treatment[untreated], treatment: case}, real[patient], limits[patient], patient
            )
            for treatment, case in by_treatment.items()
        }
    widget = chooser(frames, first="Patient", second="Treatment", chosen=chosen)
    if display:
        from IPython.display import HTML
        from IPython.display import display as show_object

        show_object(HTML(widget))
    return widget


def _side_by_side(cases: Mapping[str, Case], real: Tensor, limit: int | float, patient: str) -> str:
    """The pictures of one case or two, and under them their numbers."""
    pictures = "".join(
        points_svg(case, real, limit=limit, alt=f"{patient}, {name}: {case.words}") for name, case in cases.items()
    )
    sides = ("",) if len(cases) == 1 else ("Left, ", "Right, ")
    words = "<br>".join(
        f"{side}{html.escape(name)}: {html.escape(case.words)}"
        for side, (name, case) in zip(sides, cases.items(), strict=True)
    )
    return f"{pictures}<p>{words}</p>"
