"""Train the generator of digits whose weights travel with the book, longer than a page may.

    python -m lectures_lib.experiments dcgan_digits --seed 0

The networks and the recipe are those of the chapter `dcgan`, with more rounds than a page has. (Smaller steps on larger
batches, 5,000 rounds of 64 at a third of the rates, were tried: 89 instead of 78, no better by any measure.) The
weights go into `book/checkpoints` in half precision, what they are worth into `results/dcgan_digits.json`.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from lectures_lib.evaluation.images import checkpoint_path
from lectures_lib.experiments.dcgan_claims import CONFIG, Recipe, data, real_features, train_dcgan
from lectures_lib.experiments.gan_mnist import judge
from lectures_lib.experiments.record import command, commit, hardware, write_result
from lectures_lib.models.dcgan import DcganGenerator
from lectures_lib.training import load_weights, save_weights
from lectures_lib.training.gan import sample

RECIPE = dataclasses.replace(Recipe(), rounds=4_000)
CHECKPOINT = "dcgan.safetensors"


def stored_generator(path: str | Path | None = None) -> tuple[DcganGenerator, dict[str, str]]:
    """The stored generator, in evaluation mode on the CPU, and how it was made.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or of another model.
    """
    generator = DcganGenerator(CONFIG)
    made = load_weights(generator, checkpoint_path(CHECKPOINT) if path is None else path)
    return generator.eval(), made


def main(arguments: Sequence[str]) -> None:
    """Train, judge, store the weights with their recipe, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments dcgan_digits", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=RECIPE.rounds)
    parser.add_argument("--weights", type=Path, default=Path("book/checkpoints") / CHECKPOINT)
    parser.add_argument("--out", type=Path, default=Path("results/dcgan_digits.json"))
    options = parser.parse_args(list(arguments))
    recipe = dataclasses.replace(RECIPE, rounds=options.rounds)
    began = time.process_time()
    generator, _, _ = train_dcgan(options.seed, recipe)
    seconds = time.process_time() - began
    made = {"command": command(), "commit": commit(), "seed": str(options.seed), "hardware": hardware()}
    save_weights(copy.deepcopy(generator).cpu().half(), options.weights, {**made, "rounds": f"{options.rounds}"})
    # What is judged is what was stored, rounded to half precision.
    stored, _ = stored_generator(options.weights)
    latent = torch.randn(recipe.samples, stored.config.d_latent, generator=torch.Generator().manual_seed(0))
    measured = judge(sample(stored, latent), real_features(recipe.samples))
    print(measured, flush=True)
    write_result(
        options.out,
        name="dcgan_digits",
        seed=options.seed,
        settings={**dataclasses.asdict(recipe), "train_digits": len(data()[0].labels)},
        measured={
            **measured,
            "processor_seconds": seconds,
            "weights_bytes": options.weights.stat().st_size,
        },
    )
