"""GPT on tiny Shakespeare: a whole small run on a file laid out like the real one."""

import dataclasses
import functools
import hashlib
import json
import time

import pytest

from lectures_lib.data import corpus
from lectures_lib.experiments import shakespeare as experiment
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result
from lectures_lib.models.gpt import GPT, GPTConfig
from lectures_lib.training import History


@pytest.fixture
def a_little_shakespeare(tmp_path, monkeypatch):
    path = tmp_path / "tinyshakespeare" / "input.txt"
    path.parent.mkdir()
    path.write_bytes(b"First Citizen:\nBefore we proceed any further, hear me speak.\n\n" * 60)
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    monkeypatch.setattr(corpus, "SHAKESPEARE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return tmp_path


def test_a_run_trains_measures_and_writes_its_result(a_little_shakespeare, monkeypatch, capsys):
    small = experiment.Recipe(5, context=16, d_model=16, n_heads=2, n_layers=1, batch_size=4, learning_rate=1e-2)
    monkeypatch.setitem(experiment.RECIPES, "3min", small)
    out, weights = a_little_shakespeare / "r.json", a_little_shakespeare / "w.safetensors"
    arguments = ["--steps", "30", "--limit", "3000", "--out", str(out), "--weights", str(weights)]
    assert main(["shakespeare", "--recipe", "3min", *arguments]) == 0
    measured = json.loads(out.read_text())["measured"]
    assert measured["steps"] == 30
    assert measured["characters_trained_on"] == 30 * 4 * 16
    assert measured["held_out_characters"] == 300
    assert measured["bits_per_character"] == pytest.approx(measured["validation_loss"] / 0.693147, rel=1e-5)
    assert measured["ngram_bits_per_character"]["5"] < 1  # the text repeats itself
    assert len(measured["sample"]) == 501
    assert weights.is_file()
    assert "validation loss" in capsys.readouterr().out


def test_as_many_steps_are_taken_as_fit_into_the_time(monkeypatch):
    """A trial of a tenth of a second a step, of which the first quarter is slow: 60 seconds hold some 560 steps."""
    clock = [0.0]

    def run(model, *, steps, log_every, progress):
        assert (steps, log_every, progress) == (40, 10, False)
        clock[0] += 6.0  # 10 slow steps of 0.3 s, 30 of 0.1 s
        return History(step=[10, 20, 30, 40], loss=[1.0] * 4, seconds=[3.0, 4.0, 5.0, 6.0])

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    model = GPT(GPTConfig(4, 4, d_model=4, n_heads=1, n_layers=1, d_feed_forward=4))
    steps = experiment.steps_that_fit(functools.partial(run), model, 60)
    assert steps == int(0.95 * (60 - 6) / 0.1)


@pytest.mark.parametrize("name", ["3min", "30min"])
def test_the_committed_results_are_of_these_recipes_within_their_time(name):
    result, recipe = load_result(f"shakespeare-{name}"), experiment.RECIPES[name]
    settings = json.loads(json.dumps(dataclasses.asdict(recipe)))
    assert {key: result["settings"][key] for key in settings} == settings
    assert result["settings"]["model"] == dataclasses.asdict(recipe.config(65))
    assert result["measured"]["seconds"] <= recipe.seconds
    assert result["measured"]["validation_loss"] <= {"3min": 1.75, "30min": 1.55}[name]


def test_after_three_minutes_the_best_ngram_is_ahead_and_after_thirty_gpt_is():
    for name, gpt_is_ahead in {"3min": False, "30min": True}.items():
        measured = load_result(f"shakespeare-{name}")["measured"]
        counted = min(measured["ngram_bits_per_character"].values())
        assert (measured["bits_per_character"] < counted) is gpt_is_ahead


def test_both_recipes_are_of_gpts_kind_and_the_short_one_has_nanogpts_sizes():
    three, thirty = experiment.RECIPES["3min"], experiment.RECIPES["30min"]
    assert (three.seconds, thirty.seconds) == (180, 1800)
    config = three.config(65)
    assert (config.n_layers, config.n_heads, config.d_model, config.context) == (4, 4, 128, 64)
    assert thirty.config(65).d_feed_forward == 4 * thirty.d_model
