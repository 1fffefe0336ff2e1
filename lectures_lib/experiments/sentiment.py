"""Film reviews, for or against: a BERT from scratch, frozen, and fine-tuned, by the number of labels.

    python -m lectures_lib.experiments sentiment --seeds 0 1 2 --few --keep

The network is MiniLM in all three cases: with fresh weights; with its own and a linear probe on top; with its own, all
of them moving. A tenth of the reviews is held out and looked at once, at the end. A seed draws the labels, the fresh
weights and the batches. The result file is written after every run; with `--keep` the runs it has are not made again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from lectures_lib.data.sentiment import rt_polarity
from lectures_lib.data.wordpiece import TextBatch, TextOrPair
from lectures_lib.evaluation.probe import tuned_probe
from lectures_lib.experiments.bert_claims import balanced, class_accuracy, labelled, train_classifier
from lectures_lib.experiments.record import commit, write_result
from lectures_lib.models.bert import Bert, mean_pool
from lectures_lib.pretrained.bert import Reader, minilm

METHODS = ("from scratch", "frozen", "fine-tuned")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of a run, stated in the result file."""

    labels: tuple[int, ...] = (100, 500, 2_000, 5_000)  # and all
    epochs: int = 3
    least_steps: int = 60  # few labels are gone through more often
    batch_size: int = 32
    learning_rate: float = 1e-4
    max_length: int = 48  # pieces; longer reviews lose their end
    attention_dropout: float = 0.0  # its 0.1 has no fused kernel on a CPU
    precision: str = "no"  # float32: without special instructions a CPU is far slower in bf16
    split_seed: int = 0


class Thresholds(NamedTuple):
    """What the chapter claims; set when one seed at 100, 500 and 2,000 labels was known, and before the others."""

    gain: float = 0.05  # accuracy, fine-tuned minus from scratch, at each number of labels of the recipe


ALL = "all"
Runs = dict[str, dict[str, list[dict]]]  # by method and number of labels


def draw(reviews: Sequence[tuple[TextOrPair, int]], n: int, seed: int) -> list[tuple[TextOrPair, int]]:
    """`n` of the reviews, as many for as against, drawn by `seed`."""
    mixed = list(reviews)
    random.Random(seed).shuffle(mixed)
    return balanced(mixed, n)


def gains(runs: Runs, labels: Sequence[int]) -> dict[int, list[float]]:
    """Accuracy of fine-tuned minus from scratch: by number of labels, for every seed in its order.

    Raises:
        ValueError: a seed has the one and lacks the other.
    """
    found = {}
    for n in labels:
        tuned, fresh = ({run["seed"]: run["accuracy"] for run in runs[m][str(n)]} for m in ("fine-tuned", METHODS[0]))
        if set(tuned) != set(fresh):
            raise ValueError(f"runs must have the same seeds for both methods at {n} labels, got {tuned} and {fresh}")
        found[n] = [tuned[seed] - fresh[seed] for seed in sorted(tuned)]
    return found


def smallest_gains(runs: Runs, labels: Sequence[int]) -> list[float]:
    """The smallest of the `gains` over all numbers of labels, for every seed in its order."""
    return [min(of_seed) for of_seed in zip(*gains(runs, labels).values(), strict=True)]


def steps_for(n: int, recipe: Recipe) -> int:
    """How many updates `n` labels get."""
    return max(recipe.least_steps, recipe.epochs * -(-n // recipe.batch_size))


def run(
    method: str, train: Sequence[tuple[TextOrPair, int]], test: TextBatch, reader: Reader, recipe: Recipe, seed: int
) -> dict:
    """Train by one method and measure on the held-out reviews: accuracy, seconds of training, updates.

    Raises:
        ValueError: `method` is not one of METHODS.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {method!r}")
    options = dict(max_length=recipe.max_length, cut=True)
    texts = labelled(reader.vocabulary, train, **options)
    started = time.perf_counter()
    if method == "frozen":
        features = features_of(reader, texts)
        probe = tuned_probe(features, texts.labels, n_classes=2)
        seconds = time.perf_counter() - started
        accuracy = probe.accuracy(features_of(reader, test), test.labels)
        return {"labels": len(texts), "accuracy": accuracy, "seconds": round(seconds, 1), "steps": 0}
    torch.manual_seed(seed)
    bert = reader.model if method == "fine-tuned" else Bert(reader.model.config)
    steps = steps_for(len(texts), recipe)
    model = train_classifier(
        bert,
        texts,
        steps=steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        seed=seed,
        precision=recipe.precision,
    )
    seconds = time.perf_counter() - started
    accuracy = class_accuracy(model, test)
    return {"labels": len(texts), "accuracy": accuracy, "seconds": round(seconds, 1), "steps": steps}


@torch.no_grad()
def features_of(reader: Reader, texts: TextBatch, *, batch_size: int = 64) -> torch.Tensor:
    """The mean of the last layer's states of every text, (texts, d_model), in float32."""
    reader.model.eval()
    device = next(reader.model.parameters()).device
    length = texts.present.sum(dim=1)
    result = torch.empty(len(texts), reader.model.config.d_model)
    for rows in length.argsort().split(batch_size):
        batch = texts.rows(rows).trimmed().to(device)
        states = reader.model(batch.tokens, batch.segments, batch.present)
        result[rows] = mean_pool(states, batch.present).cpu()
    return result


def kept_runs(path: Path, settings: dict) -> Runs:
    """The runs of a result file that was measured with these settings; none where there is no file.

    Raises:
        ValueError: it was measured with others.
    """
    if not path.exists():
        return {method: {} for method in METHODS}
    result = json.loads(path.read_text(encoding="utf-8"))
    others = {name for name, value in settings.items() if result["settings"].get(name) != json.loads(json.dumps(value))}
    if others:
        raise ValueError(f"out has runs with other settings, {', '.join(sorted(others))}: {path}")
    return {method: result["measured"]["runs"].get(method, {}) for method in METHODS}


def main(arguments: list[str]) -> None:
    """Train by every method at every number of labels, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments sentiment", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--labels", type=int, nargs="+", default=list(Recipe.labels), help="beside all")
    parser.add_argument("--few", action="store_true", help="leave out the runs with all labels")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--keep", action="store_true", help="go on from the runs that the result file has")
    parser.add_argument("--limit", type=int, help="no more training reviews than this, to try it out")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs)
    parser.add_argument("--learning-rate", type=float, default=Recipe.learning_rate)
    parser.add_argument("--precision", default=Recipe.precision, choices=("no", "bf16", "fp16"))
    parser.add_argument("--out", type=Path, default=Path("results/sentiment.json"))
    options = parser.parse_args(arguments)
    recipe = dataclasses.replace(
        Recipe(),
        labels=tuple(options.labels),
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        precision=options.precision,
    )
    settings = {**dataclasses.asdict(recipe), "data": "rt-polarity", "thresholds": Thresholds()._asdict()}
    everything, held_out = rt_polarity("train", seed=recipe.split_seed), rt_polarity("test", seed=recipe.split_seed)
    everything = everything[: options.limit]
    reader = minilm(attention_dropout=recipe.attention_dropout)
    test = labelled(reader.vocabulary, held_out[: options.limit], max_length=recipe.max_length, cut=True)
    sizes = [str(n) for n in recipe.labels if n < len(everything)]
    runs = kept_runs(options.out, settings) if options.keep else {method: {} for method in METHODS}
    wanted = [
        (size, seed, method)
        for size in sizes + [ALL] * (not options.few)
        for seed in options.seeds
        for method in options.methods
        if not (method == "frozen" and size == ALL and seed != options.seeds[0])  # a probe has one minimum
    ]
    for size, seed, method in wanted:
        done = runs[method].setdefault(size, [])
        if any(other["seed"] == seed for other in done):
            continue
        train = everything if size == ALL else draw(everything, int(size), seed)
        made = run(method, train, test, reader, recipe, seed)
        done.append({"seed": seed, **made, "commit": commit()})
        done.sort(key=lambda run: run["seed"])
        print(f"{method}, {size} labels: {done[-1]}", flush=True)
        _write(options.out, settings, runs, [*sizes, ALL], len(test), len(everything))
    print(f"written to {options.out}")


def _write(out: Path, settings: dict, runs: Runs, sizes: Sequence[str], n_test: int, n_train: int) -> None:
    runs = {method: {size: runs[method][size] for size in sizes if runs[method].get(size)} for method in METHODS}
    write_result(
        out,
        name="sentiment",
        seed=sorted({run["seed"] for by_size in runs.values() for made in by_size.values() for run in made}),
        settings=settings,
        measured={
            "test_reviews": n_test,
            "train_reviews": n_train,
            "accuracy": {
                f"{method}, {size} labels:": [run["accuracy"] for run in made]
                for method, by_size in runs.items()
                for size, made in by_size.items()
            },
            "runs": runs,
        },
    )
