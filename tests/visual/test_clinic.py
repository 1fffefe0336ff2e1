"""The clinic's pictures: a table that marks what helps, dots where the points are, a widget with two choices."""

import re

import pytest
import torch

from lectures_lib.evaluation.distributions import PairedEffect
from lectures_lib.visual.clinic import Case, clinic_widget, effect_table, points_svg, two_number_paths
from lectures_lib.visual.stepper import chooser

REAL = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
CASE = Case(torch.tensor([[-1.0, 0.5]]), torch.zeros(3, 2), "1 mode")


def test_a_table_marks_what_helps_and_what_harms():
    effects = {
        "a": {"p": PairedEffect(2.0, 1.0, 3.0), "q": PairedEffect(2.0, 1.0, 3.0, "below")},
        "b": {"p": PairedEffect(0.5, -1.0, 2.0), "q": PairedEffect(0.0, 0.0, 0.0)},
        "c": {"p": None, "q": None},
    }
    table = effect_table(effects, {"p": "modes", "q": "accuracy"}, digits=1)
    cells = re.findall(r"<td>(.*?)</td>", table)
    assert "▲" in cells[0]
    assert "▼" in cells[1]
    assert "·" in cells[2]
    assert "+0.5 <small>[\u22121.0, +2.0]" in cells[2]
    assert cells[3] == "–"
    assert re.findall(r'scope="row">(.*?)<', table) == ["a", "b", "c"]
    assert cells[4] == "ended in NaN"
    with pytest.raises(ValueError, match=r"effects\['a'\] must hold every patient, got none of r"):
        effect_table(effects, {"r": "modes"})


def test_dots_lie_where_the_points_are_and_strays_on_the_edge():
    drawn = points_svg(CASE, REAL, limit=1, alt="two dots")
    blue, orange = re.findall(r'<path d="(.*?)"', drawn)
    assert blue == "M100 100h0M200 0h0"  # the middle; the corner above on the right
    assert orange == "M0 50h0"
    far = Case(torch.tensor([[9.0, -9.0]]), torch.zeros(1, 2), "gone")
    assert "M200 200h0" in points_svg(far, REAL, limit=1, alt="gone")
    with pytest.raises(ValueError, match="alt must say"):
        points_svg(CASE, REAL, limit=1, alt=" ")
    with pytest.raises(ValueError, match="limit must be positive, got 0"):
        points_svg(CASE, REAL, limit=0, alt="x")


def test_the_widget_shows_each_treatment_beside_none():
    cases = {"p": {"nothing": CASE, "rest": CASE._replace(words="2 modes")}}
    widget = clinic_widget(cases, {"p": REAL}, {"p": 1}, untreated="nothing", chosen="rest", display=False)
    assert widget.count("<svg") == 1 + 2
    assert 'aria-label="p, rest: 2 modes"' in widget
    assert "Left, nothing: 1 mode<br>Right, rest: 2 modes" in widget
    assert "<option selected>rest</option>" in widget
    with pytest.raises(ValueError, match="must hold the treatment 'sleep'"):
        clinic_widget(cases, {"p": REAL}, {"p": 1}, untreated="sleep", display=False)


def test_a_chooser_has_a_frame_for_each_pair_of_choices():
    frames = {one: {other: f"<b>{one}{other}</b>" for other in ("x", "<y>")} for one in ("1", "2")}
    widget = chooser(frames, first="One", second="Other")
    assert re.findall(r"<b>(.*?)</b>", widget) == ["1x", "1<y>", "2x", "2<y>"]
    assert "&lt;y&gt;</option>" in widget
    labels = re.findall(r'<label for="(.*?)"', widget)
    assert all(f'<select id="{label}"' in widget for label in labels)
    assert len(set(labels)) == 2


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ({}, {}, "at least one frame"),
        ({"a": {}}, {}, "at least one frame"),
        ({"a": {"x": ""}, "b": {"y": ""}}, {}, "same second choices"),
        ({"a": {"x": ""}}, {"chosen": "z"}, "chosen must be one of x, got 'z'"),
    ],
)
def test_a_chooser_without_a_frame_for_each_is_refused(frames, options, message):
    with pytest.raises(ValueError, match=message):
        chooser(frames, first="One", second="Other", **options)


def test_paths_of_two_numbers_are_drawn_as_they_are():
    path = torch.tensor([[1.0, 0.0], [0.5, -0.5], [0.0, 0.25]])
    figure = two_number_paths({"one": path, "two": 2 * path})
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    assert figure.axes[1].lines[0].get_xydata().tolist() == (2 * path).tolist()
    with pytest.raises(ValueError, match="at least one"):
        two_number_paths({})
