"""The benchmarks run and compare like with like; how fast they are is nobody's test."""

import json

import torch
from torch.testing import assert_close

from benchmarks import __main__ as program
from benchmarks import goals
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.seq2seq import WordByWord
from lectures_lib.data.batching import pair_batch
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig


def test_the_peer_of_the_training_step_computes_the_same():
    config = Seq2SeqConfig(12, 11, 6, 8)
    ours, peer = Seq2Seq(config), WordByWord(config)
    peer.load_state_dict(ours.state_dict())
    batch = pair_batch([([5, 6, 7], [4, 5]), ([9], [6, 7, 8])])
    arguments = (batch.source, batch.source_lengths, batch.decoder_input)
    assert_close(ours(*arguments), peer(*arguments), atol=1e-6, rtol=1e-5)


def test_a_benchmark_leaves_its_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["seq2seq-step"]) == 0
    (row,) = json.loads((tmp_path / "_build" / "benchmarks.json").read_text())
    assert row["ratio"] == row["peer"] / row["ours"]
    assert row["unit"] == "ms"
    assert torch.__version__.split("+")[0] in row["hardware"]
    assert "seq2seq-step" in capsys.readouterr().out


def test_a_recorded_benchmark_replaces_its_row_and_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    times = {"slow": 2.0, "fast": 8.0}
    rest = {"ours": 1.0, "unit": "ms", "spread": 0.1}
    fake = {name: lambda name=name: {**rest, "peer": times[name], "ratio": times[name]} for name in times}
    monkeypatch.setattr(program, "BENCHMARKS", fake)
    monkeypatch.setattr(goals, "GOALS", {"slow": goals.Goal(3.0, "small products")})
    assert main(["--record"]) == 0
    times["slow"] = 4.0
    assert main(["slow", "--record"]) == 0
    result = json.loads((tmp_path / "results" / "benchmarks.json").read_text())
    assert result["measured"]["fast"]["ratio"] == 8.0
    assert result["measured"]["slow"]["ratio"] == 4.0
    assert result["measured"]["slow"]["reached"]


def test_a_missed_goal_says_why_and_a_reached_one_need_not(monkeypatch):
    monkeypatch.setitem(goals.GOALS, "x", goals.Goal(2.0, "small products"))
    assert goals.beside_goal("x", 1.5) == {"goal": 2.0, "reached": False, "reason": "small products"}
    assert goals.beside_goal("x", 2.0) == {"goal": 2.0, "reached": True}
    assert goals.beside_goal("unheard of", 1.0) == {}


def test_every_goal_is_of_a_benchmark_there_is():
    assert set(goals.GOALS) <= set(BENCHMARKS)


def test_an_unknown_benchmark_lists_those_there_are(capsys):
    assert main(["nothing"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in BENCHMARKS)
