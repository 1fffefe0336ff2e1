"""The claims of the chapter `seq2seq`, over several seeds.

    python -m lectures_lib.experiments seq2seq_claims --seeds 0 1 2

The chapter runs the same functions with the same recipe on one seed, live; a test holds the two against each other.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lectures_lib.data.batching import BucketedBatches
from lectures_lib.data.scenes import sample_scenes
from lectures_lib.data.vocabulary import Vocabulary
from lectures_lib.device import choose_device
from lectures_lib.evaluation import bleu, exact_match, sequential_depth
from lectures_lib.experiments.record import write_result
from lectures_lib.experiments.translation import sequence_loss
from lectures_lib.inference import translate
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.training import History, fit, warmup_cosine


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the chapter trains its model from Chinese to English."""

    scenes: int = 24_000
    clauses: tuple[int, int] = (1, 2)
    batch_size: int = 16
    steps: int = 1_500
    learning_rate: float = 5e-3
    warmup: int = 20
    test_sentences: int = 200
    test_seed: int = 1


class Thresholds(NamedTuple):
    """What the chapter claims: set after pilot runs of similar recipes on one seed, before the three seeds were run."""

    bleu_drop: float = 15.0  # BLEU points from one clause to two
    exact_ratio: float = 0.5  # exact matches at two clauses over those at one
    depth_ratio: float = 1.9  # longest chain of dependent steps, twice the length over once
    time_ratio: float = 2.5  # seconds for 256 tokens over seconds for 64


def chinese_to_english(seed: int, recipe: Recipe) -> tuple[Seq2Seq, Vocabulary, Vocabulary, History]:
    """Train the chapter's model: (model, Chinese vocabulary, English vocabulary, history)."""
    scenes = sample_scenes(recipe.scenes, seed=seed, clauses=recipe.clauses)
    chinese = Vocabulary.words(scene.chinese_tokens for scene in scenes)
    english = Vocabulary.words(scene.english_tokens for scene in scenes)
    pairs = [(chinese.encode(scene.chinese_tokens), english.encode(scene.english_tokens)) for scene in scenes]
    torch.manual_seed(seed)
    model = Seq2Seq(Seq2SeqConfig.tiny(len(chinese), len(english))).to(choose_device())
    history = fit(
        model,
        sequence_loss(),
        BucketedBatches(pairs, batch_size=recipe.batch_size, seed=seed),
        steps=recipe.steps,
        seed=seed,
        learning_rate=recipe.learning_rate,
        schedule=warmup_cosine(recipe.steps, warmup=recipe.warmup),
    )
    return model, chinese, english, history


@runtime_checkable
class HeldOut(Protocol):
    """What a recipe says about the sentences a model is scored on."""

    test_sentences: int  # for each number of clauses
    test_seed: int


def scores_by_clauses(
    model: nn.Module, chinese: Vocabulary, english: Vocabulary, recipe: HeldOut, clauses: Sequence[int] = range(1, 7)
) -> dict[int, dict[str, float]]:
    """BLEU and exact match on held-out sentences of every number of clauses."""
    scores = {}
    for number in clauses:
        scenes = sample_scenes(recipe.test_sentences, seed=recipe.test_seed, clauses=number, split="test")
        said = translate(model, [scene.chinese_tokens for scene in scenes], chinese, english)
        true = [" ".join(scene.english_tokens) for scene in scenes]
        # The sentences are split into words already: sacreBLEU need not split them again.
        scores[number] = {"bleu": bleu(said, true, tokenize="none").score, "exact": exact_match(said, true)}
    return scores


def read_one_by_one(cell: nn.GRUCell, length: int) -> Tensor:
    """The last hidden state after `length` tokens, read one after the other; returns (1, hidden)."""
    tokens = torch.ones(length, 1, cell.input_size, device=cell.weight_ih.device)
    hidden = torch.zeros(1, cell.hidden_size, device=cell.weight_ih.device)
    for token in tokens:
        hidden = cell(token, hidden)
    return hidden


def read_side_by_side(layer: nn.Linear, length: int) -> Tensor:
    """The opposite: one matrix for all tokens at once, then their mean; returns (1, hidden)."""
    tokens = torch.ones(length, layer.in_features, device=layer.weight.device)
    return layer(tokens).tanh().mean(dim=0, keepdim=True)


def seconds(tasks: Sequence[Callable[[], object]], repeats: int = 20) -> list[float]:
    """The shortest time of several runs of each task: what it takes when nothing disturbs it.

    The tasks take turns, so that a disturbance that lasts hits all of them alike.
    """
    best = [float("inf")] * len(tasks)
    for repeat in range(repeats + 1):
        for index, task in enumerate(tasks):
            started = time.perf_counter()
            task()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat > 0:  # the first run warms up
                best[index] = min(best[index], time.perf_counter() - started)
    return best


def claims(scores: dict[int, dict[str, float]], depth: dict[int, int], times: dict[int, float]) -> dict[str, float]:
    """The measured value of every claim, by its id."""
    return {
        "seq2seq-long-sentences": scores[1]["bleu"] - scores[2]["bleu"],
        "seq2seq-long-exact": scores[2]["exact"] / max(scores[1]["exact"], 1e-9),
        "seq2seq-slow-chain": depth[256] / depth[128],
        "seq2seq-slow-time": times[256] / times[64],
    }


def main(arguments: list[str]) -> None:
    """Measure every claim on every seed and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments seq2seq_claims", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--out", type=Path, default=Path("results/seq2seq_claims.json"))
    options = parser.parse_args(arguments)
    recipe = dataclasses.replace(Recipe(), steps=options.steps)
    by_seed, by_clauses = [], []
    for seed in options.seeds:
        model, chinese, english, _ = chinese_to_english(seed, recipe)
        scores = scores_by_clauses(model, chinese, english, recipe)
        torch.manual_seed(seed)
        cell = nn.GRUCell(64, 192).to(choose_device())
        depth = {length: sequential_depth(read_one_by_one(cell, length)) for length in (128, 256)}
        tasks = [lambda cell=cell, n=length: read_one_by_one(cell, n) for length in (64, 256)]
        times = dict(zip((64, 256), seconds(tasks), strict=True))
        by_seed.append(claims(scores, depth, times))
        by_clauses.append(scores)
        print(f"seed {seed}: {by_seed[-1]}", flush=True)
    write_result(
        options.out,
        name="seq2seq_claims",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "thresholds": Thresholds()._asdict()},
        measured={
            "claims": {name: [values[name] for values in by_seed] for name in by_seed[0]},
            "bleu_by_clauses": {f"BLEU at {n}": [scores[n]["bleu"] for scores in by_clauses] for n in by_clauses[0]},
            "exact_by_clauses": {f"exact at {n}": [scores[n]["exact"] for scores in by_clauses] for n in by_clauses[0]},
        },
    )
