"""Experiments: a whole small run on files laid out like the real ones, result files, and what bad input says."""

import dataclasses
import gzip
import hashlib
import json
import re
from pathlib import Path

import nbformat
import pytest
import torch

from lectures_lib.data import translation as corpora
from lectures_lib.experiments.__main__ import EXPERIMENTS, main
from lectures_lib.experiments.record import command, commit, hardware, load_result, write_result
from lectures_lib.experiments.seq2seq_claims import (
    Recipe,
    Thresholds,
    claims,
    read_one_by_one,
    read_side_by_side,
    seconds,
)

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "results").glob("*.json"))


@pytest.fixture
def tiny_multi30k(tmp_path, monkeypatch):
    """Three splits of a dozen made-up captions, in the layout of the cache."""
    folder = tmp_path / "multi30k"
    folder.mkdir()
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    for split in ("train", "val", "test_2016_flickr"):
        for language, words in (("de", ("Ein Hund", "Eine Katze")), ("en", ("A dog", "A cat"))):
            path = folder / f"{split}.{language}.gz"
            path.write_bytes(gzip.compress("".join(f"{words[i % 2]} {i}.\n" for i in range(12)).encode()))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            monkeypatch.setitem(corpora.MULTI30K_SHA256, f"{split}.{language}", digest)
    return tmp_path


def test_translation_trains_measures_and_writes_its_result(tiny_multi30k, capsys):
    out, weights = tiny_multi30k / "result.json", tiny_multi30k / "model.safetensors"
    arguments = ["--epochs", "2", "--out", str(out), "--weights", str(weights)]
    assert main(["translation", "--model", "seq2seq", "--data", "multi30k", "--pair", "de-en", *arguments]) == 0
    result = json.loads(out.read_text())
    assert set(result) == {"name", "command", "commit", "seed", "hardware", "date", "settings", "measured"}
    measured = result["measured"]
    assert 0 <= measured["bleu"] <= 100
    assert "case:lc" in measured["bleu_signature"]
    assert measured["perplexity_per_token"] > 1
    assert (measured["train_pairs"], measured["test_pairs"]) == (12, 12)
    assert weights.is_file()
    assert "written to" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pair", "german"], "--pair must be two languages"),
        (["--pair", "de-xx"], "train.xx"),
        (["--data", "tatoeba", "--pair", "de-en"], 'must be "zh" and "en"'),
    ],
)
def test_bad_input_ends_in_a_sentence(tiny_multi30k, arguments, message, capsys):
    assert main(["translation", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_an_unknown_experiment_lists_those_there_are(capsys):
    assert main(["translations"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in EXPERIMENTS)


def test_a_result_says_how_to_measure_it_again(tmp_path):
    write_result(tmp_path / "r.json", name="x", seed=3, settings={"a": 1}, measured={"b": 2.0})
    result = load_result("r", tmp_path)
    assert (result["name"], result["seed"], result["measured"]) == ("x", 3, {"b": 2.0})
    assert re.match(r"[0-9a-f]{40}|unknown", commit())
    assert command().startswith("python ")
    assert torch.__version__.split("+")[0] in hardware()
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_a_missing_result_says_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="no result 'nothing'.*lectures_lib.experiments"):
        load_result("nothing", tmp_path)


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(ValueError, match=r"r\.json is damaged"):
        load_result("r", tmp_path)


def test_reading_one_by_one_is_what_the_cell_does_and_side_by_side_does_not_wait():
    torch.manual_seed(0)
    cell, layer = torch.nn.GRUCell(3, 4), torch.nn.Linear(3, 4)
    hidden = torch.zeros(1, 4)
    for _ in range(5):
        hidden = cell(torch.ones(1, 3), hidden)
    torch.testing.assert_close(read_one_by_one(cell, 5), hidden)
    assert read_side_by_side(layer, 5).shape == (1, 4)


def test_every_task_runs_in_turn_once_to_warm_up_and_then_as_often_as_asked():
    order = []
    best = seconds([lambda: order.append("a"), lambda: order.append("b")], repeats=3)
    assert order == ["a", "b"] * 4
    assert all(0 <= value < float("inf") for value in best)


def test_the_claims_are_the_ratios_they_say():
    scores = {1: {"bleu": 90.0, "exact": 0.8}, 2: {"bleu": 50.0, "exact": 0.2}}
    values = claims(scores, {128: 10, 256: 20}, {64: 1.0, 256: 4.0})
    assert values == {
        "seq2seq-long-sentences": 40.0,
        "seq2seq-long-exact": 0.25,
        "seq2seq-slow-chain": 2.0,
        "seq2seq-slow-time": 4.0,
    }


def test_the_committed_claims_are_of_the_present_recipe_and_of_the_chapters_claims():
    result = load_result("seq2seq_claims")
    settings = {**dataclasses.asdict(Recipe()), "thresholds": Thresholds()._asdict()}
    assert result["settings"] == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 3
    notebook = nbformat.read(ROOT / "book/sequences/seq2seq.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = set(re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', source))
    assert recorded == set(result["measured"]["claims"])


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_every_committed_result_was_made_by_committed_code(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert re.fullmatch(r"[0-9a-f]{40}", result["commit"])
    assert result["command"].startswith(("python -m lectures_lib.experiments ", "python -m benchmarks "))
