"""BERT pretrained on real text: the news reports of the Lee corpus, in pieces of words.

    python -m lectures_lib.experiments bert_text --seeds 0 1 2

A few hundred short reports are next to nothing for BERT, and all that comes with no network. What it learns of them is
put beside its left-to-right twin and beside counting: the share of each piece in the training text, whatever stands
around the gap.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lectures_lib.data.corpus import lee_text
from lectures_lib.data.masking import MaskedBatches, mask_tokens, next_sentence_pairs, word_range
from lectures_lib.data.wordpiece import TextBatch, WordPiece
from lectures_lib.device import choose_device
from lectures_lib.experiments.bert_claims import ADAMW, both_losses
from lectures_lib.experiments.record import write_result
from lectures_lib.inference.fill_mask import fill_mask
from lectures_lib.losses import masked_language_loss, target_places
from lectures_lib.losses.pretraining import NO_TARGET
from lectures_lib.models.bert import BertConfig, BertForPreTraining
from lectures_lib.training import fit, warmup_cosine

MODELS = {"both directions": False, "left to right": True}  # whether there is a look-ahead mask
GAPS = (  # ours, not the corpus'
    "The prime [MASK] said he would not resign.",
    "Police have arrested two [MASK] in Sydney.",
    "Australia won the second [MASK] against South Africa.",
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The model and its training."""

    pieces: int = 2_000
    held_out: int = 30  # reports, the last
    d_model: int = 64
    n_heads: int = 4
    n_layers: int = 2
    dropout: float = 0.0
    max_length: int = 64  # pieces; longer pairs lose their end
    share: float = 0.3  # twice the paper's, as on the stories
    batch_size: int = 32
    steps: int = 6_000  # a trial with 1,500 stayed near counting
    warmup: int = 100
    learning_rate: float = 2e-3

    def config(self, vocabulary: int, *, look_ahead: bool) -> BertConfig:
        """The model's sizes."""
        return BertConfig(
            vocabulary,
            self.d_model,
            self.n_heads,
            2 * self.d_model,
            self.n_layers,
            max_length=self.max_length,
            dropout=self.dropout,
            init_std=0.05,
            look_ahead=look_ahead,
        )


class News(NamedTuple):
    """Reports as lists of sentences, and the pieces learned from those for training."""

    train: list[list[str]]
    held_out: list[list[str]]
    vocabulary: WordPiece


def sentences(report: str) -> list[str]:
    """A report's sentences: what ends in a full stop, an exclamation or a question mark, and a space."""
    return [part for part in re.split(r"(?<=[.!?])\s+", report.strip()) if part]


def news(recipe: Recipe) -> News:
    """The reports, split into training and held-out ones.

    Raises:
        ValueError: there are no more reports than are to be held out.
    """
    reports = [sentences(line) for line in lee_text().splitlines() if line.strip()]
    if not 0 < recipe.held_out < len(reports):
        raise ValueError(f"held_out must lie between 1 and {len(reports) - 1}, got {recipe.held_out}")
    train, held_out = reports[: -recipe.held_out], reports[-recipe.held_out :]
    return News(train, held_out, WordPiece.train([s for report in train for s in report], size=recipe.pieces))


def pairs(reports: Sequence[Sequence[str]], vocabulary: WordPiece, recipe: Recipe, **options) -> TextBatch:
    """Neighbouring sentences, and others, with labels; `options` are those of `next_sentence_pairs`."""
    found = next_sentence_pairs(reports, **options)
    labels = [label for *_, label in found]
    return vocabulary.batch([(a, b) for a, b, _ in found], labels=labels, max_length=recipe.max_length, cut=True)


def pretrain(seed: int, recipe: Recipe, text: News, *, look_ahead: bool = False) -> BertForPreTraining:
    """BERT on hidden words and next sentences, or its twin."""
    torch.manual_seed(seed)
    vocabulary = text.vocabulary
    model = BertForPreTraining(recipe.config(len(vocabulary), look_ahead=look_ahead)).to(choose_device())
    data = pairs(text.train, vocabulary, recipe, seed=seed)
    fit(
        model,
        both_losses,
        MaskedBatches(data, vocabulary, batch_size=recipe.batch_size, seed=seed, share=recipe.share),
        steps=recipe.steps,
        seed=seed,
        learning_rate=recipe.learning_rate,
        schedule=warmup_cosine(recipe.steps, warmup=min(recipe.warmup, recipe.steps - 1)),
        optimizer=ADAMW,
    )
    return model.eval()


class Hidden(NamedTuple):
    """How well hidden pieces are named: the share named rightly, and the surprise at the true one, in nats."""

    accuracy: float
    nats: float


def hidden_pieces(text: News, recipe: Recipe) -> tuple[TextBatch, Tensor]:
    """(shown, targets): the held-out pairs that follow each other, `share` of their pieces shown as `[MASK]`."""
    batch = pairs(text.held_out, text.vocabulary, recipe, seed=0, share=0.0)
    shown, targets = mask_tokens(
        batch.tokens,
        text.vocabulary.is_word(batch.tokens),
        mask=text.vocabulary.mask_id,
        replacements=word_range(text.vocabulary),
        generator=torch.Generator().manual_seed(0),
        share=recipe.share,
        rule=(1, 0, 0),
    )
    return dataclasses.replace(batch, tokens=shown), targets


@torch.no_grad()
def named(model: nn.Module, text: News, recipe: Recipe) -> Hidden:
    """How well a model names the pieces hidden in held-out reports."""
    batch, targets = hidden_pieces(text, recipe)
    device, right, total, count = next(model.parameters()).device, 0, 0.0, 0
    model.eval()
    for rows in torch.arange(len(batch)).split(recipe.batch_size):
        part, asked = batch.rows(rows).to(device), targets[rows].to(device)
        logits, _ = model(part.tokens, part.segments, part.present, target_places(asked))
        loss, number = masked_language_loss(logits, asked)
        right += int((logits.argmax(dim=1) == asked[asked != NO_TARGET]).sum())
        total, count = total + float(loss), count + int(number)
    return Hidden(right / count, total / count)


def by_counting(text: News, recipe: Recipe) -> Hidden:
    """The same for whoever says of every gap what the pieces' shares in the training text are, add-one smoothed."""
    shares = piece_shares(text)
    asked = hidden_pieces(text, recipe)[1]
    asked = asked[asked != NO_TARGET]
    return Hidden(float((asked == shares.argmax()).double().mean()), float(-shares[asked].log().mean()))


def piece_shares(text: News) -> Float[Tensor, " vocabulary"]:
    """The share of each piece in the training text, each counted once more than it occurs."""
    vocabulary = text.vocabulary
    ids = torch.tensor([i for report in text.train for sentence in report for i in vocabulary.encode(sentence)])
    counts = torch.bincount(ids[vocabulary.is_word(ids)], minlength=len(vocabulary)).double() + 1
    return counts / counts.sum()


def measure(seed: int, recipe: Recipe, text: News) -> tuple[dict[str, Hidden], dict[str, dict[str, list[str]]]]:
    """(how well hidden pieces are named, guesses at GAPS), for both models of one seed."""
    scores, guesses = {}, {}
    for name, look_ahead in MODELS.items():
        model = pretrain(seed, recipe, text, look_ahead=look_ahead)
        scores[name] = named(model, text, recipe)
        guesses[name] = {
            gap: [g.word for g in fill_mask(model, text.vocabulary, gap, top=4, unknown="replace")[0]] for gap in GAPS
        }
    return scores, guesses


def main(arguments: list[str]) -> None:
    """Pretrain and measure on every seed, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments bert_text", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--out", type=Path, default=Path("results/bert_text.json"))
    options = parser.parse_args(arguments)
    recipe = dataclasses.replace(Recipe(), steps=options.steps)
    text = news(recipe)
    counted = by_counting(text, recipe)
    scores: dict[str, list[Hidden]] = {name: [] for name in MODELS}
    guesses = None
    for seed in options.seeds:
        of_seed, said = measure(seed, recipe, text)
        guesses = guesses or said
        for name, score in of_seed.items():
            scores[name].append(score)
        print(f"seed {seed}: {of_seed}; by counting {counted}", flush=True)
    write_result(
        options.out,
        name="bert_text",
        seed=options.seeds,
        settings=dataclasses.asdict(recipe),
        measured={
            "named": {
                name: {field: [getattr(score, field) for score in found] for field in Hidden._fields}
                for name, found in {**scores, "counting": [counted]}.items()
            },
            "hidden_pieces": int((hidden_pieces(text, recipe)[1] != NO_TARGET).sum()),
            "training_sentences": sum(map(len, text.train)),
            "perplexity_of_counting": math.exp(counted.nats),
            "guesses": guesses,
        },
    )
