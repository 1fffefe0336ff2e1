"""The benchmarks run and compare like with like; how fast they are is nobody's test."""

import json

import torch
from torch.testing import assert_close

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


def test_an_unknown_benchmark_lists_those_there_are(capsys):
    assert main(["nothing"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in BENCHMARKS)
