"""BERT on news: a whole small run, and the measures on cases that can be counted."""

import dataclasses
import json
import math

import pytest
import torch
from torch import nn

from lectures_lib.experiments import bert_text as experiment
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result
from lectures_lib.losses.pretraining import NO_TARGET

SMALL = dataclasses.replace(experiment.Recipe(), pieces=300, d_model=8, n_heads=2, n_layers=1, held_out=5, batch_size=8)
REPORTS = "\n".join(
    f"The mayor of town {n} spoke. She said it was the year of the mayor. Who knows?" for n in range(20)
)


@pytest.fixture
def text(monkeypatch):
    monkeypatch.setattr(experiment, "lee_text", lambda: REPORTS)
    return experiment.news(SMALL)


def test_the_committed_result_is_of_the_present_recipe_and_the_order_is_the_one_the_chapter_tells():
    result = load_result("bert_text")
    assert result["settings"] == dataclasses.asdict(experiment.Recipe())
    assert len(result["seed"]) >= 3
    named = result["measured"]["named"]
    counted = named["counting"]["nats"][0]
    for both, left in zip(named["both directions"]["nats"], named["left to right"]["nats"], strict=True):
        assert both < left < counted


def test_reports_become_sentences_and_the_last_ones_are_held_out(text):
    assert experiment.sentences(" One. Two! Is it three? Mr.Four ") == ["One.", "Two!", "Is it three?", "Mr.Four"]
    assert (len(text.train), len(text.held_out)) == (15, 5)
    assert text.held_out[-1][0] == "The mayor of town 19 spoke."
    with pytest.raises(ValueError, match="held_out must lie between 1 and 19, got 20"):
        experiment.news(dataclasses.replace(SMALL, held_out=20))


def test_the_whole_experiment_writes_its_result(text, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "Recipe", type("Recipe", (), {"__new__": lambda cls: SMALL, "steps": 3}))
    out = tmp_path / "r.json"
    assert main(["bert_text", "--seeds", "0", "1", "--steps", "2", "--out", str(out)]) == 0
    measured = json.loads(out.read_text())["measured"]
    assert set(measured["named"]) == {"both directions", "left to right", "counting"}
    assert all(len(values) == 2 for name in experiment.MODELS for values in measured["named"][name].values())
    assert all(len(words) == 4 for said in measured["guesses"].values() for words in said.values())


def test_training_learns_what_stands_around_a_gap(text):
    recipe = dataclasses.replace(SMALL, d_model=32, dropout=0.0, steps=150, warmup=10, learning_rate=5e-3)
    counted = experiment.by_counting(text, recipe)
    named = experiment.named(experiment.pretrain(0, recipe, text), text, recipe)
    assert named.nats < counted.nats - 1
    assert named.accuracy > counted.accuracy + 0.3


def test_whoever_knows_the_truth_names_every_hidden_piece(text):
    shown, targets = experiment.hidden_pieces(text, SMALL)
    hidden = targets != NO_TARGET
    assert (shown.tokens[hidden] == text.vocabulary.mask_id).all()
    assert hidden.any(dim=1).all()

    class Sage(nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing, self.seen = nn.Parameter(torch.zeros(1)), 0

        def forward(self, tokens, segments, present, places):
            truth = targets[hidden][self.seen : self.seen + len(places)]
            self.seen += len(places)
            return 50.0 * nn.functional.one_hot(truth, len(text.vocabulary)).float(), None

    knows = experiment.named(Sage(), text, SMALL)
    assert knows.accuracy == 1.0
    assert knows.nats == pytest.approx(0.0, abs=1e-6)


def test_counting_says_the_same_of_every_gap(text):
    shares = experiment.piece_shares(text)
    assert float(shares.sum()) == pytest.approx(1.0)
    assert text.vocabulary.tokens[int(shares.argmax())] in (".", "the")
    asked = experiment.hidden_pieces(text, SMALL)[1]
    asked = asked[asked != NO_TARGET]
    counted = experiment.by_counting(text, SMALL)
    assert counted.nats == pytest.approx(-sum(math.log(shares[i]) for i in asked) / len(asked))
