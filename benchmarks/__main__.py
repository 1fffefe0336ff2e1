"""`python -m benchmarks [--record] [NAME …]`: run the benchmarks (or those named) and write `_build/benchmarks.json`.

With `--record` the rows also go into `results/benchmarks.json`, which the book shows: on a machine that does nothing
else. Rows of benchmarks that were not named stay as they are in there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from benchmarks import bert, cyclegan, gan, gpt, seq2seq, transformer, vision, word2vec
from benchmarks.goals import beside_goal
from lectures_lib.experiments.record import commit, hardware, load_result, write_result

BENCHMARKS = {
    "scenes": seq2seq.scenes,
    "seq2seq-step": seq2seq.training_step,
    "word2vec": word2vec.training,
    "transformer-step": transformer.training_step,
    "transformer-greedy": transformer.decode_greedy,
    "transformer-beam": transformer.decode_beam,
    "transformer-cost-per-token": transformer.cost_per_token,
    "gpt-step": gpt.training_step,
    "gpt-sample-1": gpt.sample_one,
    "gpt-sample-8": gpt.sample_eight,
    "bert-step": bert.training_step,
    "vit-step": vision.training_step,
    "dcgan-round": gan.equal_precision,
    "dcgan-round-best": gan.best_precision,
    "cyclegan-round": cyclegan.equal_precision,
}


RECORD = "--record"
RECORDED = Path("results/benchmarks.json")


def main(arguments: list[str]) -> int:
    """Run, print a line each, write the file; the exit status is 2 for an unknown name."""
    names = [argument for argument in arguments if argument != RECORD]
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"no benchmark called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    rows = []
    for name in names or BENCHMARKS:
        measured = BENCHMARKS[name]()
        row = {"task": name, **measured, **beside_goal(name, measured["ratio"]), "hardware": hardware()}
        beside = "" if row["peer"] is None else f", peer {row['peer']:.4g}, ratio {row['ratio']:.2f}"
        print(f"{name}: {row['ours']:.4g} {row['unit']}{beside} (spread {row['spread']:.2g})")
        rows.append(row)
    path = Path("_build/benchmarks.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if RECORD in arguments:
        record(rows)
    return 0


def record(rows: list[dict]) -> None:
    """Put the rows into the committed file, each with the commit it was measured at."""
    before = load_result(RECORDED.stem, RECORDED.parent)["measured"] if RECORDED.is_file() else {}
    fresh = {row["task"]: {k: v for k, v in row.items() if k != "task"} | {"commit": commit()} for row in rows}
    together = {name: row for name in BENCHMARKS if (row := fresh.get(name) or before.get(name))}
    write_result(RECORDED, name="benchmarks", seed=0, settings={"threads": torch.get_num_threads()}, measured=together)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
