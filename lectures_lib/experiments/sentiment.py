"""Film reviews, for or against: a BERT from scratch, frozen, and fine-tuned, by the number of labels.

    python -m lectures_lib.experiments sentiment

The network is MiniLM in all three cases: with fresh weights; with its own and a linear probe on top; with its own, all
of them moving. A tenth of the reviews is held out and looked at once, at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from lectures_lib.data.sentiment import rt_polarity
from lectures_lib.data.wordpiece import TextBatch, TextOrPair
from lectures_lib.evaluation.probe import tuned_probe
from lectures_lib.experiments.bert_claims import balanced, class_accuracy, labelled, train_classifier
from lectures_lib.experiments.record import write_result
from lectures_lib.models.bert import Bert, mean_pool
from lectures_lib.pretrained.bert import Reader, minilm

METHODS = ("from scratch", "frozen", "fine-tuned")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of a run, stated in the result file."""

    labels: tuple[int, ...] = (100, 500, 2_000)  # and all
    epochs: int = 3
    least_steps: int = 60  # few labels are gone through more often
    batch_size: int = 32
    learning_rate: float = 1e-4
    max_length: int = 48  # pieces; longer reviews lose their end
    attention_dropout: float = 0.0  # its 0.1 has no fused kernel on a CPU
    precision: str = "no"  # float32: without special instructions a CPU is far slower in bf16
    split_seed: int = 0


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


def main(arguments: list[str]) -> None:
    """Train by every method at every number of labels, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments sentiment", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--labels", type=int, nargs="+", default=list(Recipe.labels), help="beside all")
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
    everything, held_out = rt_polarity("train", seed=recipe.split_seed), rt_polarity("test", seed=recipe.split_seed)
    everything = everything[: options.limit]
    reader = minilm(attention_dropout=recipe.attention_dropout)
    test = labelled(reader.vocabulary, held_out[: options.limit], max_length=recipe.max_length, cut=True)
    sizes = [n for n in recipe.labels if n < len(everything)] + [len(everything)]
    measured: dict[str, dict[str, list[dict]]] = {method: {} for method in METHODS}
    for method in METHODS:
        for n in sizes:
            train = balanced(everything, n) if n < len(everything) else everything
            seeds = options.seeds[:1] if method == "frozen" else options.seeds  # a probe has one minimum
            runs = [run(method, train, test, reader, recipe, seed) for seed in seeds]
            measured[method]["all" if n == len(everything) else str(n)] = runs
            print(f"{method}, {n} labels: {runs}", flush=True)
    write_result(
        options.out,
        name="sentiment",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "data": "rt-polarity"},
        measured={
            "test_reviews": len(test),
            "train_reviews": len(everything),
            "accuracy": {
                f"{method}, {size} labels:": [run["accuracy"] for run in runs] if len(runs) > 1 else runs[0]["accuracy"]
                for method, by_size in measured.items()
                for size, runs in by_size.items()
            },
            "runs": measured,
        },
    )
    print(f"written to {options.out}")
