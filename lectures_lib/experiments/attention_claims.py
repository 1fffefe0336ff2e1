"""The claims of the chapter `attention`, over several seeds.

    python -m lectures_lib.experiments attention_claims --seeds 0 1 2

The chapter runs the same functions with the same recipe on one seed, live; a test holds the two against each other. The
scores of the model without attention are those that the experiment `seq2seq_claims` has measured with the same seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from lectures_lib.data.batching import BucketedBatches, pair_batch
from lectures_lib.data.scenes import Scene, sample_scenes
from lectures_lib.data.vocabulary import Vocabulary
from lectures_lib.device import choose_device
from lectures_lib.evaluation.alignment import (
    Link,
    alignment_error_rate,
    best_single_links,
    diagonal_links,
    hard_links,
    random_links,
)
from lectures_lib.experiments.record import load_result, write_result
from lectures_lib.experiments.seq2seq_claims import Recipe as PlainRecipe
from lectures_lib.experiments.seq2seq_claims import scores_by_clauses
from lectures_lib.experiments.translation import sequence_loss
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.training import History, fit, warmup_cosine

SMALL_WORDS = frozenset("a an is the and in on by at".split())
"""English words that the decoder can often say from its own memory, wherever it looks."""


@dataclasses.dataclass(frozen=True)
class Recipe(PlainRecipe):
    """The recipe of the chapter `seq2seq`; the model with attention gets fewer steps of the same kind."""

    attention: str = "additive"
    attention_steps: int = 600


class Thresholds(NamedTuple):
    """What the chapter claims: set after pilot runs on seed 7, before the three seeds were run."""

    gain_trained: float = 20.0  # BLEU points at two clauses, which both models have seen in training
    gain_longer: float = 5.0  # BLEU points at three to six clauses on average, which neither has
    error_rate: float = 0.15  # alignment error rate of content words
    error_gain: float = 0.1  # how far the error rate of all words lies below the diagonal's


class Trained(NamedTuple):
    """A model with all that is needed to translate with it, and what its training cost."""

    model: Seq2Seq
    chinese: Vocabulary
    english: Vocabulary
    history: History
    cpu_seconds: float

    @property
    def parameters(self) -> int:
        """How many numbers training has set."""
        return sum(p.numel() for p in self.model.parameters())


def vocabularies(scenes: Sequence[Scene]) -> tuple[Vocabulary, Vocabulary]:
    """The Chinese and the English vocabulary of some scenes."""
    chinese = Vocabulary.words(scene.chinese_tokens for scene in scenes)
    english = Vocabulary.words(scene.english_tokens for scene in scenes)
    return chinese, english


def with_attention(seed: int, recipe: Recipe) -> Trained:
    """Train the model that looks back, on the smaller budget."""
    return _train(seed, recipe, recipe.attention, recipe.attention_steps)


def without_attention(seed: int, recipe: Recipe) -> Trained:
    """Train the model of the chapter `seq2seq`, as that chapter does."""
    return _train(seed, recipe, None, recipe.steps)


def _train(seed: int, recipe: Recipe, attention: str | None, steps: int) -> Trained:
    scenes = sample_scenes(recipe.scenes, seed=seed, clauses=recipe.clauses)
    chinese, english = vocabularies(scenes)
    pairs = [(chinese.encode(scene.chinese_tokens), english.encode(scene.english_tokens)) for scene in scenes]
    torch.manual_seed(seed)
    model = Seq2Seq(Seq2SeqConfig.tiny(len(chinese), len(english), attention)).to(choose_device())
    started = time.process_time()  # of the processor: what else the machine does counts less
    history = fit(
        model,
        sequence_loss(),
        BucketedBatches(pairs, batch_size=recipe.batch_size, seed=seed),
        steps=steps,
        seed=seed,
        learning_rate=recipe.learning_rate,
        schedule=warmup_cosine(steps, warmup=recipe.warmup),
    )
    return Trained(model, chinese, english, history, time.process_time() - started)


def scores(trained: Trained, recipe: Recipe) -> dict[int, dict[str, float]]:
    """BLEU and exact match on held-out sentences of one to six clauses."""
    return scores_by_clauses(trained.model, trained.chinese, trained.english, recipe)


@torch.no_grad()
def links_of(trained: Trained, scenes: Sequence[Scene]) -> list[set[Link]]:
    """Where the model looks for each word of the true translation, as links (English index, Chinese index).

    A word for which it looks at the end of the source gets no link.
    """
    pairs = [(trained.chinese.encode(s.chinese_tokens), trained.english.encode(s.english_tokens)) for s in scenes]
    batch = pair_batch(pairs).to(next(trained.model.parameters()).device)
    trained.model.eval()
    weights = trained.model.attention_weights(batch.source, batch.source_lengths, batch.decoder_input)
    links = []
    for row, (source, target) in zip(weights, pairs, strict=True):
        found = hard_links(row[: len(target), : len(source) + 1])
        links.append({(t, s) for t, s in found if s < len(source)})
    return links


def error_rates(
    trained: Trained, recipe: Recipe, clauses: int | tuple[int, int] | None = None
) -> dict[str, dict[str, float]]:
    """Alignment error rate on held-out sentences: of attention, of two baselines, and the least that is possible.

    "all" counts every English word, "content" leaves out `SMALL_WORDS`. The sentences have as many clauses as those of
    the training, unless `clauses` says otherwise.
    """
    clauses = recipe.clauses if clauses is None else clauses
    scenes = sample_scenes(recipe.test_sentences, seed=recipe.test_seed, clauses=clauses, split="test")
    gold = [set(scene.alignment) for scene in scenes]
    sizes = [(len(scene.english_tokens), len(scene.chinese_tokens)) for scene in scenes]
    generator = torch.Generator().manual_seed(recipe.test_seed)
    predicted: dict[str, list[set[Link]]] = {
        "attention": links_of(trained, scenes),
        "diagonal": [diagonal_links(*size) for size in sizes],
        "random": [random_links(*size, generator) for size in sizes],
        "one true link a word": [best_single_links(links) for links in gold],
    }
    return {
        name: {
            "all": alignment_error_rate(links, gold),
            "content": alignment_error_rate(_content(links, scenes), _content(gold, scenes)),
        }
        for name, links in predicted.items()
    }


def _content(links: Sequence[set[Link]], scenes: Sequence[Scene]) -> list[set[Link]]:
    """The links of English words that are not small."""
    words = [scene.english_tokens for scene in scenes]
    return [{(t, s) for t, s in of if english[t] not in SMALL_WORDS} for of, english in zip(links, words, strict=True)]


def scores_without_attention(seed: int) -> dict[int, dict[str, float]]:
    """BLEU by clauses of the chapter `seq2seq`'s model on this seed, as the committed result has it.

    Raises:
        ValueError: that result does not know the seed.
    """
    result = load_result("seq2seq_claims")
    if seed not in result["seed"]:
        raise ValueError(f"seed must be one of those of the result seq2seq_claims, {result['seed']}, got {seed}")
    index = result["seed"].index(seed)
    bleu = result["measured"]["bleu_by_clauses"]
    return {clauses: {"bleu": bleu[f"BLEU at {clauses}"][index]} for clauses in range(1, 7)}


def score_claims(attention: dict[int, dict[str, float]], plain: dict[int, dict[str, float]]) -> dict[str, float]:
    """The measured values of the claims about translations, by their ids."""
    gain = {clauses: attention[clauses]["bleu"] - plain[clauses]["bleu"] for clauses in attention}
    longer = [gain[clauses] for clauses in (3, 4, 5, 6)]
    return {
        "attention-long-sentences": gain[2],
        "attention-longer-than-trained": sum(longer) / len(longer),
    }


def alignment_claims(rates: dict[str, dict[str, float]]) -> dict[str, float]:
    """The measured values of the claims about alignment, by their ids."""
    return {
        "attention-alignment": rates["attention"]["content"],
        "attention-beats-diagonal": rates["diagonal"]["all"] - rates["attention"]["all"],
    }


def main(arguments: list[str]) -> None:
    """Measure every claim on every seed and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments attention_claims", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=Recipe.attention_steps)
    parser.add_argument("--out", type=Path, default=Path("results/attention_claims.json"))
    options = parser.parse_args(arguments)
    recipe = dataclasses.replace(Recipe(), attention_steps=options.steps)
    by_seed: list[dict[str, float]] = []
    bleu: dict[str, list[list[float]]] = {"attention": [], "plain": []}
    rates = []
    for seed in options.seeds:
        measured = {"plain": scores_without_attention(seed)}
        trained = with_attention(seed, recipe)
        measured["attention"] = scores(trained, recipe)
        rates.append(
            {
                "trained lengths": error_rates(trained, recipe),
                "3 to 6 clauses": error_rates(trained, recipe, (3, 6)),
            }
        )
        by_seed.append({**score_claims(**measured), **alignment_claims(rates[-1]["trained lengths"])})
        for name, by_clauses in measured.items():
            bleu[name].append([score["bleu"] for score in by_clauses.values()])
        print(f"seed {seed}: {by_seed[-1]}", flush=True)
    write_result(
        options.out,
        name="attention_claims",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "thresholds": Thresholds()._asdict()},
        measured={
            "claims": {name: [values[name] for values in by_seed] for name in by_seed[0]},
            "bleu_from_one_clause_to_six": bleu,
            "alignment_error_rates": rates,
            "parameters": trained.parameters,
        },
    )
