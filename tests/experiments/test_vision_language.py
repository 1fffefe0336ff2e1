"""The experiment behind the chapter `vision_language`: what it measures; the committed result is of its recipe."""

import dataclasses
import json
import math

import pytest
import torch

from lectures_lib.data.captioned import NOUN_PLACES, captioned_pictures
from lectures_lib.experiments import vision_language_claims as measure
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result
from lectures_lib.models.vilbert import ViLBertForPretraining

FEW = measure.Recipe(pictures=24, test_pictures=12, batch_size=6, steps=2, warmup=1, gallery=3)


def test_the_committed_claims_are_of_the_present_recipe():
    result = load_result("vision_language_claims")
    settings = {**dataclasses.asdict(measure.Recipe()), "thresholds": measure.Thresholds()._asdict()}
    assert result["settings"] == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 3


def test_the_whole_experiment_writes_its_result(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "Recipe", lambda: FEW)
    assert main(["vision_language_claims", "--seeds", "0", "1", "--out", str(tmp_path / "r.json")]) == 0
    measured = json.loads((tmp_path / "r.json").read_text())["measured"]
    assert all(len(values) == 2 for part in measured.values() for values in part.values())
    assert all(math.isfinite(value) for part in measured.values() for values in part.values() for value in values)


def test_both_models_have_the_same_number_of_weights():
    with torch.device("meta"):
        both = [ViLBertForPretraining(measure.config(FEW, co_attention=co)) for co in (True, False)]
    shapes = [{name: tuple(p.shape) for name, p in model.named_parameters()} for model in both]
    assert shapes[0] == shapes[1]


def test_the_claims_are_the_differences_they_say():
    pointed = {"noun": 0.7, "the other noun": 0.1, "any region": 0.3}
    assert measure.claims({"R@1": 0.8}, {"R@1": 0.5}, pointed) == pytest.approx(
        {"vilbert-co-attention-helps": 0.3, "vilbert-noun-points": 0.4}
    )


def test_retrieval_knows_a_perfect_score_and_one_that_cannot_tell_verbs():
    kinds = ["true", "person", "person", "animal", "animal", "verb"]
    perfect = torch.tensor([[1.0, 0, 0, 0, 0, 0]]).expand(4, 6)
    assert set(measure.retrieval(perfect, kinds).values()) == {1.0}
    nouns_only = torch.tensor([[1.0, 0, 0, 0, 0, 1]]).expand(4, 6)
    found = measure.retrieval(nouns_only, kinds)
    assert found["R@1"] == found["beats verb"] == 0.5
    assert found["beats person"] == found["beats animal"] == 1.0


def test_pointing_is_perfect_for_looks_at_the_nouns_own_regions_and_tells_the_nouns_apart():
    test = captioned_pictures(60, split="test")
    looks = torch.nn.functional.one_hot(test.nouns, 6).float()
    found = measure.pointing(looks, test)
    assert found["noun"] == found["person"] == found["animal"] == 1
    assert found["the other noun"] < 0.1
    assert 1 / 6 <= found["any region"] < 0.25


def test_a_fresh_model_neither_finds_captions_nor_points():
    test = captioned_pictures(60, split="test")
    torch.manual_seed(0)
    model = ViLBertForPretraining(measure.config(FEW))
    scenes, kinds = measure.choices(0, test)
    assert measure.retrieval(measure.choice_scores(model, test, scenes), kinds)["R@1"] < 0.4
    looks = measure.noun_looks(model, test)
    assert looks.shape == (60, len(NOUN_PLACES), 6)
    assert measure.pointing(looks, test)["noun"] < 0.5


def test_without_the_picture_nothing_but_the_boxes_is_left():
    test = captioned_pictures(4, split="test")
    grey = measure.blank(test)
    assert not grey.images.any()
    assert torch.equal(grey.regions, test.regions)
    assert grey.captions == test.captions


def test_the_gallery_has_every_picture_beside_every_caption():
    test = captioned_pictures(5, split="test")
    torch.manual_seed(0)
    model = ViLBertForPretraining(measure.config(FEW))
    every = measure.gallery(model, test, 3)
    assert every.shape == (3, 3)
    third = type(test)(*(part[2:3] for part in test))
    alone = measure.choice_scores(model, third, [[test.scenes[1]]])
    torch.testing.assert_close(every[2, 1], alone[0, 0], atol=1e-5, rtol=1e-4)
