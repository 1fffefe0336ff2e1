"""The experiments behind the chapter `vision`: what they measure; the committed result is of the present recipe."""

import dataclasses
import json
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.animals import animal_pictures
from lectures_lib.experiments import sit_vit, vision_claims
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result

ROOT = Path(__file__).parents[2]
FEW = vision_claims.Recipe(
    pictures=90, test_pictures=12, steps=2, batch_size=8, warmup=1, pretrain_steps=2, pretrain_batch=8,
    labels=(6, 12), tune_steps=2, tune_batch=8, tune_warmup=1,
)  # fmt: skip
SHORT = sit_vit.Recipe(pictures=600, test_pictures=12, pretrain_steps=2, pretrain_batch=4, tune_steps=2, warmup=1)


def test_the_committed_claims_are_of_the_present_recipe_and_of_the_chapters_claims():
    result = load_result("vision_claims")
    settings = {**dataclasses.asdict(vision_claims.Recipe()), "thresholds": vision_claims.Thresholds()._asdict()}
    assert result["settings"] == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 3
    notebook = nbformat.read(ROOT / "book/beyond_text/vision.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = set(re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', source))
    assert recorded == set(result["measured"]["claims"])


def test_the_whole_experiment_writes_its_result(tmp_path, monkeypatch):
    monkeypatch.setattr(vision_claims, "Recipe", lambda: FEW)
    assert main(["vision_claims", "--seeds", "0", "1", "--out", str(tmp_path / "r.json")]) == 0
    measured = json.loads((tmp_path / "r.json").read_text())["measured"]
    assert all(len(values) == 2 for part in measured.values() for values in part.values())
    assert all(math.isfinite(value) for part in measured.values() for values in part.values() for value in values)


def test_sit_beside_vit_writes_its_result(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sit_vit, "Recipe", lambda: SHORT)
    monkeypatch.setattr(sit_vit, "SHARES", (0.02, 0.1))
    assert main(["sit_vit", "--data", "animals", "--out", str(tmp_path / "r.json")]) == 0
    measured = json.loads((tmp_path / "r.json").read_text())["measured"]
    assert set(measured) == {"animals"}
    assert "pretrained, 2% (12 labels)" in measured["animals"]
    assert all(len(values) == 1 for values in measured["animals"].values())
    assert main(["sit_vit", "--data", "letters"]) == 2
    assert "data must be one of" in capsys.readouterr().err


def test_the_claims_are_the_differences_they_say():
    known = {"turns right": 0.9, "nats over guessing": 2.0}
    values = vision_claims.claims({"rollout": 0.9, "best fixed place": 0.4}, 0.6, known)
    assert values == pytest.approx(
        {
            "vision-attention-lands": 0.5,
            "vision-animal-decides": 0.6,
            "vision-knows-turns": 0.9,
            "vision-finds-partner": 2.0,
        }
    )


def test_covered_pictures_differ_from_the_others_inside_the_box_only():
    drawn = animal_pictures(12)
    for before, after, (x0, y0, x1, y1) in zip(
        drawn.images, vision_claims.covered(drawn), drawn.boxes.tolist(), strict=True
    ):
        rows, columns = (before != after).any(dim=0).nonzero().unbind(dim=1)
        assert (x0 <= columns).all()
        assert (columns < x1).all()
        assert (y0 <= rows).all()
        assert (rows < y1).all()
        inside = after[:, y0:y1, x0:x1].flatten(1)
        assert_close(inside, before.mean(dim=(1, 2))[:, None].expand_as(inside))


def test_a_model_that_knows_nothing_guesses_turns_and_partners():
    torch.manual_seed(0)
    sit = vision_claims.SiT(vision_claims.sit_config(FEW))
    torch.nn.init.zeros_(sit.turns.weight)
    torch.nn.init.zeros_(sit.contrast[-1].weight)
    known = vision_claims.knows(sit, 0, FEW, animal_pictures(80).images)
    assert known["nats over guessing"] == pytest.approx(0, abs=1e-5)
    assert 0.15 < known["turns right"] < 0.35  # it always says no turn


def test_few_labels_are_spread_over_the_classes_and_come_from_their_own_draw():
    labels = torch.arange(40) % 4
    rows = vision_claims.few(labels, 10, seed=0)
    assert labels[rows].bincount().tolist() == [3, 3, 2, 2]
    assert len(set(rows.tolist())) == 10
    assert torch.equal(rows, vision_claims.few(labels, 10, seed=0))
    assert not torch.equal(rows, vision_claims.few(labels, 10, seed=1))
    with pytest.raises(ValueError, match="count asks for 11 examples of class 0, and there are 10"):
        vision_claims.few(labels, 44, seed=0)


def test_shuffled_patches_are_the_same_patches_elsewhere_and_alike_for_all():
    images = animal_pictures(2).images
    mixed = vision_claims.shuffled_patches(images, 8, seed=0)
    cut, moved = (vision_claims.patches(some, 8) for some in (images, mixed))
    assert not torch.equal(images, mixed)
    assert_close(cut.sum(dim=1), moved.sum(dim=1))
    order = [(cut[0] == patch).all(dim=1).nonzero()[0, 0] for patch in moved[0]]
    assert all(torch.equal(cut[0, at], patch) for at, patch in zip(order, moved[0], strict=True))
    assert torch.equal(vision_claims.shuffled_patches(images[1:], 8, seed=0), mixed[1:])


def test_pretrained_and_fresh_models_see_the_same_pictures_and_only_the_first_knows_anything(monkeypatch):
    seen = []
    monkeypatch.setattr(vision_claims, "tuned", lambda model, *rest: seen.append((model, rest[-2])) or model)
    data = animal_pictures(90)
    torch.manual_seed(0)
    sit = vision_claims.SiT(vision_claims.sit_config(FEW))
    vision_claims.by_labels(sit, 0, FEW, data, data)
    assert len(seen) == 4
    for (known, images), (fresh, same) in (seen[:2], seen[2:]):
        assert torch.equal(images, same)
        assert_close(known.encoder.embed_patch.weight.cpu(), sit.encoder.embed_patch.weight)
        assert not torch.equal(fresh.encoder.embed_patch.weight.cpu(), sit.encoder.embed_patch.weight)
