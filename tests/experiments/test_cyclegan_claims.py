"""The experiment behind the chapter `cyclegan`: what it measures; the committed result is of the present one."""

import dataclasses
import json
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch.testing import assert_close

from lectures_lib.experiments import cyclegan_claims
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result
from lectures_lib.training.cyclegan import CycleHistory

ROOT = Path(__file__).parents[2]
FEW = cyclegan_claims.Recipe(width=2, discriminator_width=2, copy_steps=2, steps=2, test=12)


def test_the_committed_claims_are_of_the_present_recipe_and_of_the_chapters_claims():
    result = load_result("cyclegan_claims")
    settings = {**dataclasses.asdict(cyclegan_claims.Recipe()), "thresholds": cyclegan_claims.Thresholds()._asdict()}
    assert result["settings"] == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 3
    notebook = nbformat.read(ROOT / "book/gan_family/cyclegan.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = set(re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', source))
    assert recorded == set(result["measured"]["claims"])


def test_the_whole_experiment_writes_its_result(tmp_path, monkeypatch):
    monkeypatch.setattr(cyclegan_claims, "Recipe", lambda: FEW)
    assert main(["cyclegan_claims", "--seeds", "0", "1", "--out", str(tmp_path / "r.json")]) == 0
    measured = json.loads((tmp_path / "r.json").read_text())["measured"]
    assert all(len(values) == 2 for part in measured.values() for values in part.values())
    assert all(math.isfinite(value) for part in measured.values() for values in part.values() for value in values)
    assert {"day-night, no pool: kept", "horse-zebra, no cycle: error", "day-night, copied: error"} <= set(
        measured["beside"]
    )


def test_the_claims_are_the_ratios_and_differences_they_say():
    found = {
        "cycle": {"error": 0.1, "kept": 0.9},
        "no cycle": {"error": 0.2, "kept": 0.5},
        "untouched": {"error": 0.25, "kept": 1.0},
    }
    assert cyclegan_claims.claims(found) == pytest.approx(
        {
            "cyclegan-closer-with-cycle": 0.5,
            "cyclegan-content-lost-without-cycle": 0.4,
            "cyclegan-really-repaints": 0.4,
        }
    )


def test_each_condition_changes_one_thing():
    base = cyclegan_claims.rules(FEW, "cycle")
    changed = {"no cycle": {"cycle_weight": 0.0}, "no pool": {"pool_size": 0}, "identity": {"identity_share": 0.5}}
    for condition, change in changed.items():
        assert cyclegan_claims.rules(FEW, condition) == dataclasses.replace(base, **change)
    with pytest.raises(ValueError, match="condition must be one of .* got 'none'"):
        cyclegan_claims.rules(FEW, "none")


def test_right_answers_have_no_error_and_keep_everything():
    _, pairs = cyclegan_claims.data("day-night", 0, 12)
    found = cyclegan_claims.judge(pairs.y, pairs.x, pairs)
    assert found["error"] == 0
    assert found["kept"] == 1
    assert cyclegan_claims.untouched(pairs)["error"] > 0.1


def test_all_conditions_of_a_seed_begin_alike_and_see_the_same_pictures(monkeypatch):
    seen = []

    def note(model, x, y, rules, **options):
        seen.append(({k: v.clone() for k, v in model.state_dict().items()}, x(3), y(5), options["seed"]))
        return CycleHistory()

    monkeypatch.setattr(cyclegan_claims, "fit_cyclegan", note)
    copier, losses = cyclegan_claims.learn_to_copy(7, FEW)
    assert len(losses) == FEW.copy_steps
    for condition in cyclegan_claims.CONDITIONS:
        model, _ = cyclegan_claims.train(copier, 7, FEW, condition)
        model.to_x.conv_out.bias.data.fill_(9)  # what is trained is a copy
    for state, x, y, seed in seen[1:]:
        assert_close(state, seen[0][0], rtol=0, atol=0)
        assert torch.equal(x, seen[0][1])
        assert torch.equal(y, seen[0][2])
        assert seed == 7
