"""How good are digits after so many seconds? DCGAN as this book trains it beside PyTorch's own example.

    python -m lectures_lib.experiments gan_quality --seconds 60 300

Both have the same layers, the same digits and the same clock. What differs is the training: the example's, re-expressed
here, takes the paper's learning rate and shows its last weights; ours is the chapter's recipe. The clock stands still
while samples are judged. (The example's own size, 64 × 64, is left out: it would have less than a tenth of the rounds.)
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lectures_lib.data.samples import RealBatches, shuffled
from lectures_lib.evaluation.images import digit_features, frechet_distance
from lectures_lib.experiments.dcgan_claims import CONFIG, Recipe, data, real_features
from lectures_lib.experiments.record import write_result
from lectures_lib.models.dcgan import DcganConfig, dcgan
from lectures_lib.training.average import WeightAverage
from lectures_lib.training.gan import GanRules, Players, adam, discriminator_step, generator_step

EXAMPLE_BATCH, EXAMPLE_LEARNING_RATE = 64, 2e-4
PACKET = 64  # so many samples go through the generator together, as the example does it


class Contestant(NamedTuple):
    """A training that goes on for as long as it is asked to: `one_round(number)`, and `samples(count)` at any time.

    Where it is not plain which samples to show, `samples` returns several sets, and the best counts.
    """

    one_round: Callable[[int], object]
    samples: Callable[[int], list[Tensor]]


def peer_networks(config: DcganConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """The same layers for 28 × 28 as the example writes them: one `nn.Sequential` each, a sigmoid at the end."""
    w, d = config.width, config.d_latent
    generator = nn.Sequential(
        nn.ConvTranspose2d(d, 2 * w, 7, 1, 0, bias=False),
        nn.BatchNorm2d(2 * w),
        nn.ReLU(True),
        nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False),
        nn.BatchNorm2d(w),
        nn.ReLU(True),
        nn.ConvTranspose2d(w, config.channels, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(config.channels, w, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False),
        nn.BatchNorm2d(2 * w),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(2 * w, 1, 7, 1, 0, bias=False),
        nn.Sigmoid(),
    )
    return generator, discriminator


def example_init(module: nn.Module) -> None:
    """The example's first weights: N(0, 0.02²), and N(1, 0.02²) for the scales of norms."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def peer_round(
    generator: nn.Module, discriminator: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> Callable[[Tensor, Tensor], tuple[float, float]]:
    """A round as the example does it: the discriminator on real, then on fake samples; then the generator on the same
    fakes, with gradients for the discriminator's weights computed along the way. Losses are read after every round.
    """
    criterion = nn.BCELoss()

    def one_round(real: Tensor, latent: Tensor) -> tuple[float, float]:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        discriminator.zero_grad()
        on_real = criterion(discriminator(real).view(-1), ones)
        on_real.backward()
        fake = generator(latent[:, :, None, None])
        on_fake = criterion(discriminator(fake.detach()).view(-1), zeros)
        on_fake.backward()
        optimizers[1].step()
        generator.zero_grad()
        wish = criterion(discriminator(fake).view(-1), ones)
        wish.backward()
        optimizers[0].step()
        return on_real.item() + on_fake.item(), wish.item()

    return one_round


def example(config: DcganConfig, images: Tensor, seed: int) -> Contestant:
    """PyTorch's example with the layers of `config`.

    It shows its samples while its norms use the statistics of the batch; judged are these and those of evaluation
    mode, and the better ones count.
    """
    torch.manual_seed(seed)
    networks = peer_networks(config)
    for network in networks:
        network.apply(example_init)
    rates = {"lr": EXAMPLE_LEARNING_RATE, "betas": (0.5, 0.999)}
    step = peer_round(*networks, [torch.optim.Adam(network.parameters(), **rates) for network in networks])
    batches: RealBatches = shuffled(images, EXAMPLE_BATCH, seed=seed)

    @torch.no_grad()
    def samples(count: int) -> list[Tensor]:
        generator, sets = networks[0], []
        kept = {name: buffer.clone() for name, buffer in generator.named_buffers()}
        latent = torch.randn(count, config.d_latent, 1, 1, generator=torch.Generator().manual_seed(seed))
        for training in (True, False):
            generator.train(training)
            sets.append(torch.cat([generator(part) for part in latent.split(PACKET) if len(part) > 1]))
            for name, buffer in generator.named_buffers():
                buffer.copy_(kept[name])
        generator.train()
        return sets

    return Contestant(lambda n: step(batches(n), torch.randn(EXAMPLE_BATCH, config.d_latent)), samples)


def ours(config: DcganConfig, images: Tensor, seed: int, recipe: Recipe) -> Contestant:
    """The chapter's recipe, as `fit_gan` runs it, without an end."""
    generator, discriminator = dcgan(config, seed=seed)
    players = Players(
        generator.train(),
        discriminator.train(),
        adam(generator.parameters(), lr=recipe.generator_learning_rate),
        adam(discriminator.parameters(), lr=recipe.discriminator_learning_rate),
        average=WeightAverage(generator, recipe.average),
    )
    batches, rules = shuffled(images, recipe.batch, seed=seed), GanRules()

    def one_round(number: int) -> None:
        discriminator_step(players, batches(number), torch.randn(recipe.batch, config.d_latent), rules)
        generator_step(players, torch.randn(recipe.batch, config.d_latent), rules)
        players.average.update()

    @torch.no_grad()
    def samples(count: int) -> list[Tensor]:
        latent = torch.randn(count, config.d_latent, generator=torch.Generator().manual_seed(seed))
        mean = players.average.settled()
        return [torch.cat([mean(part) for part in latent.split(500)])]

    return Contestant(one_round, samples)


def distances_by_seconds(
    contestant: Contestant, seconds: Sequence[int | float], judge: Callable[[Tensor], float]
) -> dict[int | float, tuple[float, int]]:
    """(distance, rounds) when so many seconds of training have passed; the clock stands still meanwhile.

    Raises:
        ValueError: no seconds, or some that are not positive.
    """
    if not seconds or min(seconds) <= 0:
        raise ValueError(f"seconds must be positive, at least one, got {list(seconds)}")
    spent, rounds, found = 0.0, 0, {}
    for mark in sorted(seconds):
        while spent < mark:
            began = time.perf_counter()
            contestant.one_round(rounds)
            spent += time.perf_counter() - began
            rounds += 1
        found[mark] = min(map(judge, contestant.samples(Recipe.samples))), rounds
    return found


def main(arguments: Sequence[str]) -> None:
    """Train both by the clock, one after the other, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments gan_quality", description=__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0, 300.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("results/gan_quality.json"))
    options = parser.parse_args(list(arguments))
    recipe, config, images = Recipe(), CONFIG, data()[0].images
    real = real_features(recipe.samples)

    def judge(made: Tensor) -> float:
        return frechet_distance(real, digit_features(made))

    measured: dict[str, dict[str, list[float]]] = {}
    for seed in options.seeds:
        runs = {
            "example": distances_by_seconds(example(config, images, seed), options.seconds, judge),
            "ours": distances_by_seconds(ours(config, images, seed, recipe), options.seconds, judge),
        }
        for name, found in runs.items():
            for mark, (far, rounds) in found.items():
                measured.setdefault(f"{name} at {mark:g} s", {}).setdefault("distance", []).append(far)
                measured[f"{name} at {mark:g} s"].setdefault("rounds", []).append(rounds)
        for mark in sorted(options.seconds):
            share = runs["ours"][mark][0] / runs["example"][mark][0]
            measured.setdefault(f"share at {mark:g} s", {}).setdefault("ours of the example's", []).append(share)
        print(f"seed {seed}: {runs}", flush=True)
    write_result(
        options.out,
        name="gan_quality",
        seed=options.seeds,
        settings={
            **dataclasses.asdict(recipe),
            "example_learning_rate": EXAMPLE_LEARNING_RATE,
            "seconds": options.seconds,
            "threads": torch.get_num_threads(),
            "threshold_at_60_s": 0.5,
        },
        measured=measured,
    )
