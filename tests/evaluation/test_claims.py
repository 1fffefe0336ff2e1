"""The claims ledger: what is recorded is what was measured, and bad input is refused by name."""

import json
import math

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.testing.globalipapp import start_ipython

from lectures_lib.evaluation import claims as module
from lectures_lib.evaluation import collect_claims, record_claim, write_ledger

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def notebook_with(*claims):
    outputs = [
        nbformat.v4.new_output("display_data", data={module.CLAIM_MIME: claim.as_dict(), "text/plain": "…"})
        for claim in claims
    ]
    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("prose"),
            nbformat.v4.new_code_cell("…", outputs=outputs),
        ]
    )


def test_a_claim_holds_on_the_promised_side_and_on_the_threshold_itself():
    assert record_claim("gain", "It gains.", 3.0, 2.0).holds
    assert record_claim("gain", "It gains.", 2.0, 2.0).holds
    assert not record_claim("gain", "It gains.", 1.9, 2.0).holds
    assert record_claim("loss", "It is small.", 1.0, 2.0, better="below").holds
    assert record_claim("loss", "It is small.", 2.0, 2.0, better="below").holds
    assert not record_claim("loss", "It is small.", 2.1, 2.0, better="below").holds


@given(measured=FINITE, threshold=FINITE)
def test_apart_from_equality_exactly_one_side_holds(measured, threshold):
    above = record_claim("side", "Above.", measured, threshold).holds
    below = record_claim("side", "Below.", measured, threshold, better="below").holds
    assert (above and below) == (measured == threshold)
    assert above or below


@given(
    measured=FINITE,
    threshold=FINITE,
    better=st.sampled_from(["above", "below"]),
    text=st.text(min_size=1),
)
def test_what_is_recorded_comes_back_from_the_executed_notebook(measured, threshold, better, text):
    claim = record_claim(
        "one",
        "It is so.",
        measured,
        threshold,
        better=better,
        caveat=text,
        interval=(measured, measured),
        unit="BLEU",
    )
    notebook = nbformat.reads(nbformat.writes(notebook_with(claim)), 4)
    (found,) = collect_claims(notebook, chapter="book/part/chapter")
    assert found.as_dict() == {**claim.as_dict(), "chapter": "book/part/chapter"}


def test_of_several_seeds_the_mean_stands_beside_its_interval_and_one_seed_has_none():
    claim = record_claim("gain", "It gains.", 2.0, 1.0, seeds=[1.0, 2.0, 3.0])
    half = 4.302652729911275 / 3**0.5  # of Student's t with two degrees of freedom
    assert claim.seeds_mean == pytest.approx((2.0, 2.0 - half, 2.0 + half))
    assert "mean 2 with 95 % interval [-0.4841, 4.484]" in claim.numbers
    assert claim.as_dict()["seeds_mean"] == pytest.approx([2.0, 2.0 - half, 2.0 + half])
    one = record_claim("gain", "It gains.", 2.0, 1.0, seeds=[1.5])
    assert one.seeds_mean is None
    assert "mean" not in one.numbers


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"id": ""}, "id"),
        ({"id": "Long Sentences"}, "id"),
        ({"statement": "  "}, "statement"),
        ({"measured": math.nan}, "measured"),
        ({"measured": math.inf}, "measured"),
        ({"threshold": -math.inf}, "threshold"),
        ({"better": "more"}, "better"),
        ({"interval": (2.0, 1.0)}, "interval"),
        ({"interval": (5.0, 6.0)}, "interval"),
        ({"interval": (1.0,)}, "interval"),
        ({"interval": (math.nan, 3.0)}, "interval"),
    ],
)
def test_bad_input_is_refused_by_the_name_of_the_argument(change, name):
    good = {"id": "gain", "statement": "It gains.", "measured": 1.5, "threshold": 1.0}
    with pytest.raises(ValueError, match=f"^{name} must"):
        record_claim(**{**good, **change})


def test_one_id_twice_is_refused_within_a_notebook_and_across_chapters(tmp_path):
    claim = record_claim("gain", "It gains.", 2.0, 1.0)
    with pytest.raises(ValueError, match="'gain' is recorded twice"):
        collect_claims(notebook_with(claim, claim))
    one, two = (collect_claims(notebook_with(claim), chapter=name) for name in ("book/a", "book/b"))
    with pytest.raises(ValueError, match="'book/a' and 'book/b'"):
        write_ledger(one + two, tmp_path / "claims.json")
    assert not (tmp_path / "claims.json").exists()


def test_the_ledger_is_a_json_list_with_the_verdicts(tmp_path):
    claims = [
        record_claim("a", "A.", 2, 1),
        record_claim("b", "B.", 2, 1, better="below", unit="s"),
    ]
    write_ledger(claims, tmp_path / "claims.json")
    ledger = json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))
    assert [(entry["id"], entry["holds"]) for entry in ledger] == [("a", True), ("b", False)]
    assert set(ledger[0]) >= {"id", "chapter", "statement", "measured", "threshold", "holds"}


def test_by_the_clock_the_build_goes_by_the_seeds_and_the_reader_sees_both():
    slow_machine = record_claim("fast", "It is fast.", 1.5, 2.0, seeds=[2.5, 3.0], by_clock=True)
    assert not slow_machine.holds
    assert not slow_machine.refused
    assert "on this machine" in slow_machine.verdict
    assert record_claim("fast", "It is fast.", 2.5, 2.0, seeds=[1.9, 3.0], by_clock=True).refused
    assert record_claim("fast", "It is fast.", 1.5, 2.0, seeds=[2.5, 3.0]).refused
    assert module.Claim.from_dict(slow_machine.as_dict()) == slow_machine


def test_by_the_clock_without_seeds_is_refused_at_once():
    with pytest.raises(ValueError, match="seeds must hold what an experiment measured"):
        record_claim("fast", "It is fast.", 2.5, 2.0, by_clock=True)


def test_in_a_script_the_verdict_is_one_printed_line(capsys, monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    record_claim("gain", "It gains.", 2.5, 1.0, unit="BLEU", interval=(2.0, 3.0))
    assert capsys.readouterr().out == "✓ holds: It gains. (measured 2.5 [2, 3] BLEU, claimed ≥ 1 BLEU)\n"


def test_in_a_notebook_the_claim_is_shown_once_even_as_the_last_line_of_a_cell():
    pytest.importorskip("IPython.utils.capture")
    from IPython.utils.capture import capture_output

    shell = start_ipython() or __import__("IPython").get_ipython()
    with capture_output() as captured:
        shell.run_cell(
            "from lectures_lib.evaluation import record_claim\nrecord_claim('gain', 'It <gains>.', 1, 2, caveat='& b')"
        )
    (shown,) = captured.outputs
    assert shown.data[module.CLAIM_MIME]["holds"] is False
    assert "It &lt;gains&gt;." in shown.data["text/html"]
    assert "&amp; b" in shown.data["text/html"]
    assert shown.data["text/plain"].startswith("✗ does not hold: It <gains>.")
