"""The claims of the chapter `self_attention`, over several seeds.

    python -m lectures_lib.experiments self_attention_claims --seeds 0 1 2

The chapter runs the same functions with the same recipe on one seed, live; a test holds the two against each other.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.attention import SelfAttention
from lectures_lib.data.batching import BucketedBatches, PairBatch, pair_batch
from lectures_lib.data.scenes import ADJECTIVES, COLOURS, INTRANSITIVE, NOUNS, TRANSITIVE, sample_scenes
from lectures_lib.data.vocabulary import EOS, PAD_ID, Vocabulary
from lectures_lib.device import choose_device
from lectures_lib.evaluation.heads import head_divergence, mean_divergence
from lectures_lib.experiments.record import write_result
from lectures_lib.layers import LearnedPositions
from lectures_lib.losses import next_token_loss
from lectures_lib.training import History, average_loss, fit, warmup_cosine

WIDTHS = (4, 16, 64, 256, 1024)  # d of the queries and keys


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the chapter trains its one layer of self-attention to guess the next word of a scene."""

    scenes: int = 12_000
    clauses: tuple[int, int] = (1, 2)
    d_model: int = 64
    n_heads: int = 4
    batch_size: int = 32
    steps: int = 1_200
    learning_rate: float = 5e-3
    warmup: int = 50
    test_sentences: int = 200
    test_seed: int = 1
    question_steps: int = 600  # for the two questions
    question_tokens: int = 16
    question_length: int = 12
    keys: int = 16  # that one query looks at, for the saturation
    queries: int = 2_000


class Thresholds(NamedTuple):
    """What the chapter claims.

    The two of the saturation follow from a calculation: with 16 keys and scores of spread 32 the two best are close in
    about a fifth of the rows, and only those have a gradient. Those of the heads were set before the models they speak
    of were trained for the first time.
    """

    scaled_flat: float = 0.8  # smallest over largest gradient norm, d from 4 to 1024, with 1/√d
    unscaled_collapse: float = 0.3  # gradient norm at d = 1024 over that at d = 4, without
    heads_differ: float = 0.1  # bits between two heads after training, mean over the pairs
    two_right: float = 0.95  # share of right answers to two questions at once, heads started at random
    alike_right: float = 0.75  # the same, heads started alike: one pattern can serve one question, that is about a half
    future_masked: int = 0  # pairs (output, later input) with a gradient that is not exactly zero
    future_open: float = 1.0  # the share of them without the mask


class NextWord(nn.Module):
    """One layer of self-attention between an embedding and scores of the next word: the smallest that can show heads.

    words + positions → x + attention(norm(x)) → norm → logits. There is no feed-forward: what the model knows about
    other words has come through its attention.
    """

    def __init__(
        self, vocabulary: int, d_model: int, n_heads: int, *, outputs: int | None = None, max_length: int = 40
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, d_model)
        self.positions = LearnedPositions(max_length, d_model)
        self.norm_in = nn.LayerNorm(d_model)
        self.attention = SelfAttention(d_model, n_heads)
        self.norm_out = nn.LayerNorm(d_model)
        self.to_logits = nn.Linear(d_model, outputs or vocabulary)
        nn.init.normal_(self.embed.weight, std=d_model**-0.5)

    def forward(
        self, tokens: Int[Tensor, "batch time"], *, look_ahead: bool = True
    ) -> Float[Tensor, "batch time outputs"]:
        """Scores of the word after each, or of `outputs` other things.

        `look_ahead=False` leaves the mask out, to see what then happens. Padding stands at the end, where the
        look-ahead mask hides it; without that mask it gets its own.

        Raises:
            ValueError: the sequence is longer than the table of positions.
        """
        x = self.positions(self.embed(tokens))
        mask = None if look_ahead else (tokens != PAD_ID)[:, None, None]
        x = x + self.attention(self.norm_in(x), mask, causal=look_ahead)
        return self.to_logits(self.norm_out(x))


def next_word_loss(model: nn.Module, batch: PairBatch) -> tuple[Tensor, Tensor]:
    """The loss of every next word, summed, and their number."""
    return next_token_loss(model(batch.decoder_input), batch.decoder_target, padding=PAD_ID)


def leaky_loss(model: nn.Module, batch: PairBatch) -> tuple[Tensor, Tensor]:
    """The same without the look-ahead mask: every word may look at the very word it is asked for."""
    return next_token_loss(model(batch.decoder_input, look_ahead=False), batch.decoder_target, padding=PAD_ID)


def sentences(seed: int, recipe: Recipe) -> tuple[Vocabulary, BucketedBatches, list[PairBatch]]:
    """(vocabulary, training batches, held-out batches) of English scenes; each sentence is its own target."""
    scenes = sample_scenes(recipe.scenes, seed=seed, clauses=recipe.clauses)
    held_out = sample_scenes(recipe.test_sentences, seed=recipe.test_seed, clauses=recipe.clauses, split="test")
    words = Vocabulary.words(scene.english_tokens for scene in scenes)
    pairs = [(ids, ids) for ids in (words.encode(scene.english_tokens) for scene in scenes)]
    test = [(ids, ids) for ids in (words.encode(scene.english_tokens) for scene in held_out)]
    batches = [pair_batch(test[start : start + 100]) for start in range(0, len(test), 100)]
    return words, BucketedBatches(pairs, batch_size=recipe.batch_size, seed=seed), batches


def train(
    seed: int, recipe: Recipe, words: Vocabulary, batches: BucketedBatches, *, start_alike: bool = False
) -> tuple[NextWord, History]:
    """Train the chapter's model; with `start_alike` all its heads begin as copies of the first."""
    torch.manual_seed(seed)
    model = NextWord(len(words), recipe.d_model, recipe.n_heads)
    if start_alike:
        copy_first_head(model.attention)
    history = fit(
        model,
        next_word_loss,
        batches,
        steps=recipe.steps,
        seed=seed,
        learning_rate=recipe.learning_rate,
        schedule=warmup_cosine(recipe.steps, warmup=recipe.warmup),
    )
    return model, history


@torch.no_grad()
def copy_first_head(attention: SelfAttention) -> None:
    """Give every head the first one's weights: queries, keys, values, and its share of the output, in place."""
    heads = attention.n_heads
    for parameter in (attention.project_in.weight, attention.project_in.bias):
        parts = parameter.unflatten(0, (3, heads, -1))  # query, key, value; head; width of a head
        parts.copy_(parts[:, :1].expand_as(parts).clone())
    columns = attention.project_out.weight.unflatten(1, (heads, -1))
    columns.copy_(columns[:, :1].expand_as(columns).clone())


@torch.no_grad()
def divergence(model: NextWord, batches: Sequence[PairBatch]) -> Float[Tensor, "heads heads"]:
    """Bits between every two heads on held-out sentences, over all words that see at least two."""
    total, count = torch.zeros(model.attention.n_heads, model.attention.n_heads), 0
    device = model.to_logits.weight.device
    for batch in batches:
        tokens = batch.decoder_input.to(device)
        x = model.norm_in(model.positions(model.embed(tokens)))
        queries = batch.decoder_target.to(device) != PAD_ID
        queries[:, 0] = False  # the first word sees itself only
        matrix = head_divergence(model.attention.weights(x, causal=True), queries)
        total += matrix.cpu() * int(queries.sum())
        count += int(queries.sum())
    return total / count


@dataclasses.dataclass(frozen=True)
class Questions:
    """Sequences of random tokens. At each place from the third on: which token stood one place before, and which two?

    A weighted sum of both tokens does not say which came first, so a single pattern of attention cannot answer both.
    """

    tokens: Int[Tensor, "batch time"]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def answers(self) -> Int[Tensor, "batch answered 2"]:
        """The tokens one and two places before, for the places from the third on."""
        return torch.stack([self.tokens[:, 1:-1], self.tokens[:, :-2]], dim=-1)

    def to(self, device: torch.device) -> Questions:
        """The batch on another device."""
        return Questions(self.tokens.to(device))

    def shard(self, index: int, count: int) -> Questions:
        """Every `count`-th row from `index` on."""
        return Questions(self.tokens[index::count])


def questions(seed: int, recipe: Recipe) -> Questions:
    """A batch of random sequences."""
    generator = torch.Generator().manual_seed(seed)
    shape = (64, recipe.question_length)
    return Questions(torch.randint(4, 4 + recipe.question_tokens, shape, generator=generator))  # 0 to 3 are special


def question_logits(model: NextWord, batch: Questions) -> Float[Tensor, "batch answered 2 vocabulary"]:
    """Scores of both answers for the places from the third on."""
    return model(batch.tokens)[:, 2:].unflatten(-1, (2, -1))


def question_loss(model: NextWord, batch: Questions) -> tuple[Tensor, Tensor]:
    """The loss of both answers, summed, and their number."""
    logits, answers = question_logits(model, batch), batch.answers
    total = F.cross_entropy(logits.flatten(0, 2), answers.flatten(), reduction="sum")
    return total, torch.tensor(answers.numel(), device=total.device)


def train_on_questions(seed: int, recipe: Recipe, *, start_alike: bool = False) -> NextWord:
    """A model of two heads for the two questions; with `start_alike` the second begins as a copy of the first."""
    torch.manual_seed(seed)
    vocabulary = 4 + recipe.question_tokens
    model = NextWord(vocabulary, recipe.d_model, 2, outputs=2 * vocabulary)
    if start_alike:
        copy_first_head(model.attention)
    fit(
        model,
        question_loss,
        lambda epoch: iter([questions(seed * 1_000_003 + epoch, recipe)]),  # new sequences at every step
        steps=recipe.question_steps,
        seed=seed,
        learning_rate=recipe.learning_rate,
        schedule=warmup_cosine(recipe.question_steps, warmup=recipe.warmup),
    )
    return model


@torch.no_grad()
def right_answers(model: NextWord, recipe: Recipe) -> list[float]:
    """The share of right answers to (one place before, two places before) on sequences never seen in training."""
    batch = questions(2**31 - 1, recipe).to(model.to_logits.weight.device)
    return (question_logits(model, batch).argmax(dim=-1) == batch.answers).float().mean(dim=(0, 1)).tolist()


@contextmanager
def silenced(attention: SelfAttention, head: int) -> Iterator[None]:
    """Within this block one head adds nothing to the output.

    Raises:
        ValueError: there is no such head.
    """
    if not 0 <= head < attention.n_heads:
        raise ValueError(f"head must lie between 0 and {attention.n_heads - 1}, got {head}")
    kept = attention.project_out.weight.detach().clone()
    with torch.no_grad():
        attention.project_out.weight.unflatten(1, (attention.n_heads, -1))[:, head] = 0
    try:
        yield
    finally:
        with torch.no_grad():
            attention.project_out.weight.copy_(kept)


KINDS = ("a, an", "noun", "quality", "verb", "place, time", "and, end")


def kind_of(word: str) -> str:
    """What kind of word of the scenes this is, one of `KINDS`; what has no other kind belongs to a place or a time."""
    if word in ("a", "an"):
        return "a, an"
    if word in ("and", EOS):
        return "and, end"
    if word in NOUNS:
        return "noun"
    if word in ADJECTIVES or word in COLOURS:
        return "quality"
    if word == "is" or any(word == verb.english for verb in (*INTRANSITIVE, *TRANSITIVE)):
        return "verb"
    return "place, time"


@torch.no_grad()
def loss_by_kind(model: NextWord, words: Vocabulary, batches: Sequence[PairBatch]) -> dict[str, float]:
    """The mean loss in nats over the next words of each kind."""
    kinds = torch.tensor([KINDS.index(kind_of(token)) for token in words.tokens])
    total, count = torch.zeros(len(KINDS)), torch.zeros(len(KINDS))
    device = model.to_logits.weight.device
    for batch in batches:
        target = batch.decoder_target
        logits = model(batch.decoder_input.to(device)).cpu()
        losses = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
        real = target.flatten() != PAD_ID
        kind = kinds[target.flatten()[real]]
        total.index_add_(0, kind, losses[real])
        count.index_add_(0, kind, torch.ones(len(kind)))
    return dict(zip(KINDS, (total / count).tolist(), strict=True))


def softmax_gradient(weights: Float[Tensor, "*batch key"]) -> Float[Tensor, "*batch"]:
    """How strongly a softmax passes a change of its scores on: the Frobenius norm of its matrix of derivatives.

    That matrix is diag(w) - w wᵀ, (key, key). It is 0 where one weight is 1: then no small change of a score matters.
    """
    squares = weights.square().sum(dim=-1)
    return (squares - 2 * weights.pow(3).sum(dim=-1) + squares.square()).clamp(min=0).sqrt()


def saturation(seed: int, recipe: Recipe, *, scaled: bool) -> dict[int, float]:
    """The mean `softmax_gradient` by width d, for queries and keys of independent standard normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    norms = {}
    for d in WIDTHS:
        query = torch.randn(recipe.queries, 1, d, generator=generator)
        key = torch.randn(recipe.queries, recipe.keys, d, generator=generator)
        scores = query @ key.transpose(1, 2)  # (queries, 1, keys)
        weights = (scores / d**0.5 if scaled else scores).double().softmax(dim=-1)
        norms[d] = float(softmax_gradient(weights).mean())
    return norms


def future_gradients(attention: SelfAttention, x: Float[Tensor, "1 time d_model"], *, causal: bool) -> tuple[int, int]:
    """How many pairs (output, later input) have a gradient that is not exactly zero, and how many pairs there are."""
    x = x.detach().requires_grad_()
    output = attention(x, causal=causal)[0]  # (time, d_model)
    touched = 0
    for position, vector in enumerate(output):
        (gradient,) = torch.autograd.grad(vector.sum(), x, retain_graph=True)
        touched += int((gradient[0, position + 1 :] != 0).any(dim=-1).sum())
    time = len(output)
    return touched, time * (time - 1) // 2


def claims(
    *,
    scaled: dict[int, float],
    unscaled: dict[int, float],
    bits: float,
    two_right: Sequence[float],
    alike_right: Sequence[float],
    masked: tuple[int, int],
    unmasked: tuple[int, int],
) -> dict[str, float]:
    """The measured value of every claim, by its id."""
    return {
        "self-attention-scaled-flat": min(scaled.values()) / max(scaled.values()),
        "self-attention-unscaled-collapse": unscaled[max(WIDTHS)] / unscaled[min(WIDTHS)],
        "self-attention-heads-differ": bits,
        "self-attention-two-questions": sum(two_right) / 2,
        "self-attention-heads-alike": sum(alike_right) / 2,
        "self-attention-future-masked": masked[0],
        "self-attention-future-open": unmasked[0] / unmasked[1],
    }


def main(arguments: list[str]) -> None:
    """Measure every claim on every seed and write the result file."""
    parser = argparse.ArgumentParser(
        prog="python -m lectures_lib.experiments self_attention_claims", description=__doc__
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--out", type=Path, default=Path("results/self_attention_claims.json"))
    options = parser.parse_args(arguments)
    recipe = dataclasses.replace(Recipe(), steps=options.steps)
    by_seed, sides = [], []
    for seed in options.seeds:
        words, batches, test = sentences(seed, recipe)
        torch.manual_seed(seed)
        untrained = NextWord(len(words), recipe.d_model, recipe.n_heads).to(choose_device())
        model, _ = train(seed, recipe, words, batches)
        alike, _ = train(seed, recipe, words, batches, start_alike=True)
        x = torch.randn(1, 12, recipe.d_model, device=choose_device())
        by_seed.append(
            claims(
                scaled=saturation(seed, recipe, scaled=True),
                unscaled=saturation(seed, recipe, scaled=False),
                bits=mean_divergence(divergence(model, test)),
                two_right=right_answers(train_on_questions(seed, recipe), recipe),
                alike_right=right_answers(train_on_questions(seed, recipe, start_alike=True), recipe),
                masked=future_gradients(model.attention, x, causal=True),
                unmasked=future_gradients(model.attention, x, causal=False),
            )
        )
        sides.append(
            {
                "bits between heads, untrained": mean_divergence(divergence(untrained, test)),
                "bits between heads, started alike": mean_divergence(divergence(alike, test)),
                "loss": average_loss(model, next_word_loss, test),
                "loss, heads started alike": average_loss(alike, next_word_loss, test),
            }
        )
        print(f"seed {seed}: {by_seed[-1]} {sides[-1]}", flush=True)
    write_result(
        options.out,
        name="self_attention_claims",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "thresholds": Thresholds()._asdict()},
        measured={
            "claims": {name: [values[name] for values in by_seed] for name in by_seed[0]},
            "heads": {name: [values[name] for values in sides] for name in sides[0]},
        },
    )
