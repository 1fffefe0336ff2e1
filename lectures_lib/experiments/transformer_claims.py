"""The claims of the chapter `transformer`, over several seeds.

    python -m lectures_lib.experiments transformer_claims --seeds 0 1 2

The chapter runs the same functions with the same recipe on one seed, live; a test holds the two against each other.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lectures_lib.data.batching import BucketedBatches, IdPair
from lectures_lib.data.scenes import sample_scenes
from lectures_lib.data.vocabulary import Vocabulary
from lectures_lib.device import choose_device
from lectures_lib.evaluation import sequential_depth
from lectures_lib.experiments.record import write_result
from lectures_lib.experiments.seq2seq_claims import scores_by_clauses, seconds
from lectures_lib.experiments.translation import sequence_loss
from lectures_lib.models.transformer import EncoderLayer, Transformer, TransformerConfig
from lectures_lib.training import History, fit, warmup_cosine


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How the chapter trains its models from Chinese to English."""

    scenes: int = 24_000
    clauses: tuple[int, int] = (1, 2)
    batch_size: int = 32
    steps: int = 500
    learning_rate: float = 3e-3
    warmup: int = 60
    betas: tuple[float, float] = (0.9, 0.98)
    test_sentences: int = 200
    test_seed: int = 1
    ablation_steps: int = 200  # for the model without residual connections, and its twin with them
    deep_layers: int = 6  # on either side, for the twins with and without layer normalisation
    deep_steps: int = 240
    deep_learning_rate: float = 1e-3
    deep_warmup: int = 40
    deep_loss: float = 2.0  # nats a token that both are timed to


class Thresholds(NamedTuple):
    """What the chapter claims: set after pilot runs on one seed, before the three seeds were run.

    The claim about layer normalisation missed its threshold at first: runs of 150 steps ended soon after the model with
    normalisation had reached the loss (ratios of 1.25 to 1.5). The runs are longer now; the threshold is the same.
    """

    exact: float = 0.9  # share of new two-clause sentences right word for word
    apart: float = 100.0  # a word's own share of its vector after six layers, with over without residuals
    gradient: float = 0.1  # gradient at the bottom of six plain layers over that at the top
    damage: float = 1.0  # nats a token that leaving the residuals out costs after the same steps
    norm: float = 1.5  # steps to a loss without layer normalisation over those with
    chain: float = 1.05  # longest chain of dependent operations, four times the tokens over once
    time: float = 2.0  # growth of the GRU's time from 32 to 256 tokens over that of the encoder layer
    real: float = 1.0  # BLEU points on Multi30k over the GRU with attention, after training of about an hour each


def scene_pairs(seed: int, recipe: Recipe) -> tuple[Vocabulary, Vocabulary, list[IdPair]]:
    """Chinese and English vocabularies of the training scenes, and the scenes as integers."""
    scenes = sample_scenes(recipe.scenes, seed=seed, clauses=recipe.clauses)
    chinese = Vocabulary.words(scene.chinese_tokens for scene in scenes)
    english = Vocabulary.words(scene.english_tokens for scene in scenes)
    return chinese, english, [(chinese.encode(s.chinese_tokens), english.encode(s.english_tokens)) for s in scenes]


def train(
    seed: int,
    recipe: Recipe,
    data: tuple[Vocabulary, Vocabulary, list[IdPair]],
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
    warmup: int | None = None,
    **changes: object,
) -> tuple[Transformer, History]:
    """Train the tiny Transformer, with `changes` to its config; a history entry for each ten steps."""
    chinese, english, pairs = data
    steps = steps or recipe.steps
    torch.manual_seed(seed)
    config = dataclasses.replace(TransformerConfig.tiny(len(chinese), len(english)), **changes)
    model = Transformer(config).to(choose_device())
    history = fit(
        model,
        sequence_loss(),
        BucketedBatches(pairs, batch_size=recipe.batch_size, seed=seed),
        steps=steps,
        seed=seed,
        learning_rate=learning_rate or recipe.learning_rate,
        optimizer=functools.partial(torch.optim.Adam, betas=recipe.betas, fused=True),
        schedule=warmup_cosine(steps, warmup=warmup or recipe.warmup),
        log_every=10,
    )
    return model, history


def train_deep(seed: int, recipe: Recipe, data: tuple, norm: str) -> History:
    """A stack of many layers, with LayerNorm before each part ("pre"), after it ("post") or nowhere ("none")."""
    _, history = train(
        seed,
        recipe,
        data,
        steps=recipe.deep_steps,
        learning_rate=recipe.deep_learning_rate,
        warmup=recipe.deep_warmup,
        n_encoder_layers=recipe.deep_layers,
        n_decoder_layers=recipe.deep_layers,
        norm=norm,
    )
    return history


def steps_to(history: History, loss: float) -> int | None:
    """The first logged step at which the training loss was at most `loss`; None where it never was."""
    return next((step for step, value in zip(history.step, history.loss, strict=True) if value <= loss), None)


def norm_ratio(with_norm: History, without: History, loss: float) -> float:
    """Steps to a loss without layer normalisation over those with; one that never gets there counts its whole run."""
    reached = [steps_to(history, loss) or history.step[-1] for history in (without, with_norm)]
    return reached[0] / reached[1]


def stack(seed: int, layers: int = 6, d_model: int = 64, **changes: object) -> list[EncoderLayer]:
    """Encoder layers with fresh weights, with `changes` to the tiny config."""
    torch.manual_seed(seed)
    config = dataclasses.replace(TransformerConfig.tiny(8, 8), d_model=d_model, n_encoder_layers=layers, **changes)
    return list(Transformer(config).encoder_layers)


def own_share(x: Tensor) -> float:
    """How much of the vectors (batch, time, d) is a word's own: the part that is not the mean over the sentence."""
    return float((x - x.mean(dim=1, keepdim=True)).norm() / x.norm())


@torch.no_grad()
def own_share_by_depth(layers: Sequence[nn.Module], seed: int = 0) -> list[float]:
    """`own_share` of random sentences of 12 words before the first layer, and after each."""
    x = torch.randn(16, 12, 64, generator=torch.Generator().manual_seed(seed))
    shares = [own_share(x)]
    for layer in layers:
        x = layer(x)
        shares.append(own_share(x))
    return shares


def gradient_by_depth(layers: Sequence[nn.Module], seed: int = 0) -> list[float]:
    """The norm of a random loss' gradient before the first layer and after each, as a share of that at the top."""
    generator = torch.Generator().manual_seed(seed)
    states = [torch.randn(16, 12, 64, generator=generator, requires_grad=True)]
    for layer in layers:
        states.append(layer(states[-1]))
        states[-1].retain_grad()
    (states[-1] * torch.randn(16, 12, 64, generator=generator)).sum().backward()
    return [float(x.grad.norm() / states[-1].grad.norm()) for x in states]


def readers(seed: int, d_model: int = 64) -> dict[str, Callable[[int], Tensor]]:
    """Two ways to read a sentence of n random words, one layer each: a GRU and a Transformer's encoder layer."""
    torch.manual_seed(seed)
    device = choose_device()
    gru, layer = nn.GRU(d_model, d_model, batch_first=True).to(device), stack(seed, 1, d_model)[0].to(device)
    words = torch.randn(1, 256, d_model, device=device)
    return {"GRU": lambda n: gru(words[:, :n])[0], "encoder layer": lambda n: layer(words[:, :n])}


def cell_by_cell(seed: int, d_model: int = 64) -> Callable[[int], Tensor]:
    """The GRU again, as a loop over its cell, so that PyTorch records what waits for what."""
    torch.manual_seed(seed)
    cell, word = nn.GRUCell(d_model, d_model), torch.randn(1, d_model)

    def read(length: int) -> Tensor:
        hidden = torch.zeros(1, d_model)
        for _ in range(length):
            hidden = cell(word, hidden)
        return hidden

    return read


def time_growth(seed: int, short: int = 32, long: int = 256) -> dict[str, float]:
    """How many times as long the long sentence takes, for each of `readers`.

    Each time is taken by itself, after a warm-up of its own: a task that follows a larger one finds the caches full. A
    hundred repeats, since these are fractions of a millisecond, and whatever else runs disturbs most of them.
    """
    growth = {}
    for name, read in readers(seed).items():
        with torch.no_grad():
            times = [seconds([functools.partial(read, n)], repeats=100)[0] for n in (short, long)]
        growth[name] = times[1] / times[0]
    return growth


def measure(seed: int, recipe: Recipe) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
    """Every claim that has a seed, by its id, and the scores by clauses."""
    data = scene_pairs(seed, recipe)
    model, _ = train(seed, recipe, data)
    scores = scores_by_clauses(model, data[0], data[1], recipe, clauses=range(1, 4))
    twins = [
        train(seed, recipe, data, steps=recipe.ablation_steps, residual=residual)[1].loss[-1]
        for residual in (True, False)
    ]
    deep = {norm: train_deep(seed, recipe, data, norm) for norm in ("pre", "none")}
    layer, growth = readers(seed)["encoder layer"], time_growth(seed)
    return {
        "transformer-translates": scores[2]["exact"],
        "transformer-words-apart": own_share_by_depth(stack(seed))[-1]
        / own_share_by_depth(stack(seed, residual=False))[-1],
        "transformer-gradient": gradient_by_depth(stack(seed, norm="none", residual=False))[0],
        "transformer-residual-damage": twins[1] - twins[0],
        "transformer-norm-steps": norm_ratio(deep["pre"], deep["none"], recipe.deep_loss),
        "transformer-chain": sequential_depth(layer(128)) / sequential_depth(layer(32)),
        "transformer-parallel-time": growth["GRU"] / growth["encoder layer"],
    }, scores


def main(arguments: list[str]) -> None:
    """Measure every claim on every seed and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments transformer_claims", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--out", type=Path, default=Path("results/transformer_claims.json"))
    options = parser.parse_args(arguments)
    recipe = dataclasses.replace(Recipe(), steps=options.steps)
    by_seed, by_clauses = [], []
    for seed in options.seeds:
        values, scores = measure(seed, recipe)
        by_seed.append(values)
        by_clauses.append(scores)
        print(f"seed {seed}: {values}", flush=True)
    write_result(
        options.out,
        name="transformer_claims",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "thresholds": Thresholds()._asdict()},
        measured={
            "claims": {name: [values[name] for values in by_seed] for name in by_seed[0]},
            "bleu_by_clauses": {f"BLEU at {n}": [s[n]["bleu"] for s in by_clauses] for n in by_clauses[0]},
            "exact_by_clauses": {f"exact at {n}": [s[n]["exact"] for s in by_clauses] for n in by_clauses[0]},
        },
    )
