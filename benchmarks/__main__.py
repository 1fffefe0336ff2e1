"""`python -m benchmarks [NAME …]`: run the benchmarks (or those named) and write `_build/benchmarks.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks import bert, gan, gpt, seq2seq, transformer, word2vec
from lectures_lib.experiments.record import hardware

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
    "dcgan-round": gan.equal_precision,
    "dcgan-round-bf16": gan.best_precision,
}


def main(names: list[str]) -> int:
    """Run, print a line each, write the file; the exit status is 2 for an unknown name."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(f"no benchmark called {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    rows = []
    for name in names or BENCHMARKS:
        row = {"task": name, **BENCHMARKS[name](), "hardware": hardware()}
        beside = "" if row["peer"] is None else f", peer {row['peer']:.4g}, ratio {row['ratio']:.2f}"
        print(f"{name}: {row['ours']:.4g} {row['unit']}{beside} (spread {row['spread']:.2g})")
        rows.append(row)
    path = Path("_build/benchmarks.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
