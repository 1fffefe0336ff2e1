"""Word2Vec's benchmark: both trainings take turns, with the same seeds and threads; the threads are put back."""

import torch

from benchmarks.word2vec import RUNS, THREADS, compare
from lectures_lib.evaluation.words import WordVectors


def test_both_take_turns_and_are_scored_on_what_was_timed():
    order, threads = [], []

    def train(name):
        def run(seed):
            order.append((name, seed))
            threads.append(torch.get_num_threads())
            return WordVectors([f"{name}{seed}", "x"], torch.eye(2))

        return run

    before = torch.get_num_threads()
    row = compare(train("ours"), train("peer"), words=1000, score=lambda v: float(v.words[0][-1]))
    assert order == [(name, seed) for seed in range(RUNS) for name in ("ours", "peer")]
    assert set(threads) == {THREADS}
    assert torch.get_num_threads() == before
    assert row["wordsim"] == {"ours": 1.0, "peer": 1.0}  # the median of the seeds 0, 1 and 2
    assert row["ratio"] == row["ours"] / row["peer"]
    assert (row["unit"], row["threads"]) == ("words/s", THREADS)
