"""The sentiment experiment: a whole small run on files laid out like the real ones."""

import dataclasses
import hashlib
import json

import pytest
import torch

from lectures_lib.data import sentiment as corpus
from lectures_lib.experiments import sentiment as experiment
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.sentiment import METHODS, Recipe, steps_for
from lectures_lib.models.bert import Bert
from lectures_lib.pretrained.bert import Reader, minilm


@pytest.fixture(scope="module")
def reader():
    full = minilm()
    torch.manual_seed(0)
    config = dataclasses.replace(full.model.config, d_model=8, n_heads=2, d_feed_forward=8, n_layers=1)
    return Reader(Bert(config).eval(), full.vocabulary)


@pytest.fixture
def films(tmp_path, monkeypatch):
    folder = tmp_path / "rt-polarity"
    folder.mkdir()
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    for ending, word in (("neg", "awful"), ("pos", "lovely")):
        path = folder / f"rt-polarity.{ending}"
        path.write_text("".join(f"film number {n} is {word} .\n" for n in range(30)))
        monkeypatch.setitem(corpus.RT_POLARITY_SHA256, ending, hashlib.sha256(path.read_bytes()).hexdigest())
    return tmp_path


def test_few_labels_get_at_least_some_steps_and_many_their_epochs():
    assert steps_for(100, Recipe()) == Recipe().least_steps
    assert steps_for(9_600, Recipe()) == 3 * 300


def test_every_method_is_trained_at_every_size_and_the_result_says_how(films, reader, monkeypatch, capsys):
    monkeypatch.setattr(experiment, "minilm", lambda **_: reader)
    out = films / "r.json"
    arguments = ["--labels", "20", "--epochs", "1", "--precision", "no", "--out", str(out)]
    assert main(["sentiment", *arguments]) == 0
    result = json.loads(out.read_text())
    runs = result["measured"]["runs"]
    assert set(runs) == set(METHODS)
    for method, by_size in runs.items():
        assert {size: run[0]["labels"] for size, run in by_size.items()} == {"20": 20, "all": 54}
        for (run,) in by_size.values():
            assert 0 <= run["accuracy"] <= 1
            assert (run["steps"] == 0) is (method == "frozen")
    assert (result["measured"]["train_reviews"], result["measured"]["test_reviews"]) == (54, 6)
    assert result["settings"]["epochs"] == 1
    assert "written to" in capsys.readouterr().out


def test_what_is_measured_already_is_kept_and_only_the_rest_is_run(films, reader, monkeypatch):
    monkeypatch.setattr(experiment, "minilm", lambda **_: reader)
    out = films / "r.json"
    arguments = ["sentiment", "--labels", "20", "--epochs", "1", "--out", str(out), "--keep"]
    assert main([*arguments, "--few", "--seeds", "1"]) == 0
    before = json.loads(out.read_text())["measured"]["runs"]
    assert set(before["frozen"]) == {"20"}
    assert main([*arguments, "--seeds", "0", "1"]) == 0
    after = json.loads(out.read_text())["measured"]["runs"]
    for method in METHODS:
        assert [run["seed"] for run in after[method]["20"]] == [0, 1]
        assert after[method]["20"][1] == before[method]["20"][0]
        assert [run["seed"] for run in after[method]["all"]] == ([0] if method == "frozen" else [0, 1])
    assert main([*arguments, "--epochs", "2"]) == 2  # other settings must not be mixed in
    assert json.loads(out.read_text())["measured"]["runs"] == after


def test_a_seed_draws_the_labels_as_many_of_either_class():
    reviews = [(f"review {n}", n % 2) for n in range(40)]
    first, again, other = (experiment.draw(reviews, 10, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert sum(label for _, label in first) == 5
    assert len({text for text, _ in first}) == 10


def test_the_gain_is_fine_tuned_minus_from_scratch_and_the_smallest_counts():
    def runs(*accuracies):
        return [{"seed": seed, "accuracy": accuracy} for seed, accuracy in enumerate(accuracies)]

    both = {"fine-tuned": {"10": runs(0.7, 0.8), "20": runs(0.9, 0.9)}}
    both["from scratch"] = {"10": runs(0.5, 0.7), "20": runs(0.8, 0.5)}
    by_size = experiment.gains(both, (10, 20))
    assert by_size[10] == pytest.approx([0.2, 0.1])
    assert experiment.smallest_gains(both, (10, 20)) == pytest.approx([0.1, 0.1])
    both["from scratch"]["10"].pop()
    with pytest.raises(ValueError, match="same seeds for both methods at 10 labels"):
        experiment.gains(both, (10, 20))


def test_an_unknown_method_is_refused(reader):
    with pytest.raises(ValueError, match="method must be one of.*'magic'"):
        experiment.run("magic", [], reader.vocabulary.batch(["a"], labels=[0]), reader, Recipe(), 0)


def test_missing_films_end_in_a_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))

    def refuse(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("pooch.retrieve", refuse)
    assert main(["sentiment"]) == 2
    assert "rt-polarity.neg" in capsys.readouterr().err
