"""Train a GPT on tiny Shakespeare for a given time and measure it on the text's last tenth.

    python -m lectures_lib.experiments shakespeare --recipe 3min

nanoGPT's setting for a CPU (4 layers, 4 heads, width 128, 64 characters of context) reports a validation loss of 1.88
after about three minutes.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import time
from pathlib import Path

import torch

from lectures_lib.data.corpus import Characters, RandomWindows, TextCorpus, tiny_shakespeare
from lectures_lib.device import choose_device
from lectures_lib.evaluation.language import bits_per_character, held_out_nats
from lectures_lib.evaluation.ngrams import NGram
from lectures_lib.experiments.record import write_result
from lectures_lib.inference import continue_text
from lectures_lib.models.gpt import GPT, GPTConfig
from lectures_lib.training import History, decayed_adamw, fit, save_weights, warmup_cosine
from lectures_lib.training.language import language_loss

TRIAL_STEPS = 40  # to see how many steps fit into the time
RESERVE = 0.95  # of the time: a disturbance must not carry the run beyond it
ORDERS = (5, 6, 7, 8)  # of the n-grams; five is what GPT is usually put beside, the others are often better


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A model and how it is trained for so many seconds."""

    seconds: int
    context: int
    d_model: int
    n_heads: int
    n_layers: int
    batch_size: int
    learning_rate: float
    dropout: float = 0.0
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_share: float = 0.05
    precision: str = "no"

    def config(self, vocabulary: int) -> GPTConfig:
        """The model's sizes."""
        return GPTConfig(
            vocabulary,
            context=self.context,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            d_feed_forward=4 * self.d_model,
            dropout=self.dropout,
        )


RECIPES = {
    # nanoGPT's sizes.
    "3min": Recipe(180, context=64, d_model=128, n_heads=4, n_layers=4, batch_size=16, learning_rate=5e-3),
    "30min": Recipe(
        1_800, context=128, d_model=192, n_heads=6, n_layers=5, batch_size=12, learning_rate=3e-3, dropout=0.1
    ),
}


def train(recipe: Recipe, corpus: TextCorpus, *, seed: int, steps: int | None = None) -> tuple[GPT, History, int]:
    """(model, history, steps): as many steps as fit into the recipe's time, or as asked for.

    How many fit is found out with some steps of a copy, whose time counts.
    """
    torch.manual_seed(seed)
    model = GPT(recipe.config(len(corpus.code))).to(choose_device())
    batches = RandomWindows(corpus.train, time=recipe.context, batch_size=recipe.batch_size, seed=seed)
    run = functools.partial(
        fit,
        loss=language_loss,
        batches=batches,
        seed=seed,
        learning_rate=recipe.learning_rate,
        optimizer=functools.partial(decayed_adamw, weight_decay=recipe.weight_decay, betas=recipe.betas),
        precision=recipe.precision,
    )
    steps = steps or steps_that_fit(run, copy.deepcopy(model), recipe.seconds)
    schedule = warmup_cosine(steps, warmup=int(recipe.warmup_share * steps))
    return model, run(model, steps=steps, schedule=schedule, log_every=100), steps


def steps_that_fit(run: functools.partial, model: GPT, seconds: int | float) -> int:
    """How many steps the time allows, less what this trial takes. The first quarter of the trial warms up."""
    began = time.perf_counter()
    history = run(model, steps=TRIAL_STEPS, log_every=TRIAL_STEPS // 4, progress=False)
    each = (history.seconds[-1] - history.seconds[0]) / (TRIAL_STEPS - TRIAL_STEPS // 4)
    return max(int(RESERVE * (seconds - (time.perf_counter() - began)) / each), 1)


def main(arguments: list[str]) -> None:
    """Train, measure, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments shakespeare", description=__doc__)
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="3min")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="so many, instead of as many as fit into the recipe's time")
    parser.add_argument("--limit", type=int, help="use so many characters only (for a first try)")
    parser.add_argument("--weights", type=Path, help="file for the trained weights")
    parser.add_argument("--out", type=Path, help="result file (default: results/shakespeare-RECIPE.json)")
    options = parser.parse_args(arguments)
    recipe = RECIPES[options.recipe]
    text = tiny_shakespeare()[: options.limit]
    corpus = TextCorpus.split(text, Characters(text))
    began = time.perf_counter()
    model, history, steps = train(recipe, corpus, seed=options.seed, steps=options.steps)
    spent = time.perf_counter() - began  # the trial's steps included
    nats = held_out_nats(model, corpus.held_out)
    windows = steps * recipe.batch_size * recipe.context
    measured = {
        "validation_loss": nats,
        "bits_per_character": bits_per_character(nats, tokens=1, characters=1),
        "ngram_bits_per_character": {
            str(order): NGram(corpus.train, order=order, vocabulary=len(corpus.code)).bits(corpus.held_out)
            for order in ORDERS
        },
        "training_loss": history.loss[-1],
        "seconds": round(spent, 1),
        "steps": steps,
        "characters_trained_on": windows,
        "characters_per_second": round(windows / history.seconds[-1]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "held_out_characters": corpus.held_out_characters,
        "sample": continue_text(
            model, corpus.code, "\n", max_new_tokens=500, generator=torch.Generator(choose_device()).manual_seed(0)
        ),
    }
    name = f"shakespeare-{options.recipe}" + ("" if options.seed == 0 else f"-seed{options.seed}")
    path = options.out or Path("results") / f"{name}.json"
    settings = {**dataclasses.asdict(recipe), "model": dataclasses.asdict(model.config), "limit": options.limit}
    write_result(path, name=name, seed=options.seed, settings=settings, measured=measured)
    print(
        f"validation loss {nats:.3f} after {steps} steps in {spent:.0f} s; "
        f"{measured['bits_per_character']:.3f} bits a character, 5-gram "
        f"{measured['ngram_bits_per_character']['5']:.3f}; written to {path}"
    )
    if options.weights:
        save_weights(model, options.weights, {"result": str(path)})
