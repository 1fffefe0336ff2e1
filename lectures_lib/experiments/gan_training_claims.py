"""The claims of the chapter `gan_training`, over several seeds: four patients, and every treatment on each of them.

    python -m lectures_lib.experiments gan_training_claims --seeds 0 1 2 3 4

The chapter runs the same functions with the same recipe on one seed, live: the patients, one cure, and the measures.
The table of treatments it reads from the result file; a test holds the two against each other.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.data.digits import digits, only_classes
from lectures_lib.data.samples import numbered
from lectures_lib.data.toy import Mixture, grid, ring
from lectures_lib.device import choose_device
from lectures_lib.evaluation.distributions import PairedEffect, count_modes, paired_effect
from lectures_lib.evaluation.images import digit_features, frechet_distance, neighbours, with_interval
from lectures_lib.experiments.record import load_result, write_result
from lectures_lib.models.fully_connected_gan import (
    FullyConnectedConfig,
    FullyConnectedDiscriminator,
    fully_connected_gan,
)
from lectures_lib.training.gan import (
    GanHistory,
    GanRules,
    Players,
    adam,
    discriminator_step,
    draw_latent,
    fit_gan,
    generator_step,
    pretrain_discriminator,
    pretrain_generator,
    sample,
)

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": adam,
    "adam, momentum 0.9": lambda parameters, lr: torch.optim.Adam(list(parameters), lr=lr, fused=True),
    "sgd": lambda parameters, lr: torch.optim.SGD(parameters, lr=lr),
}


@dataclass(frozen=True)
class Setup:
    """One training run: the data, the rules, the learning rates, and what happens before the game begins.

    `moves` counts the steps of both networks together, so that nobody gains by moving more often.
    """

    real: Mixture
    rules: GanRules = GanRules()
    config: FullyConnectedConfig = FullyConnectedConfig()
    moves: int = 1_000
    batch: int = 128
    generator_learning_rate: int | float = 1e-3
    discriminator_learning_rate: int | float = 1e-3
    optimizer: str = "adam"
    lessons: int = 0  # of the discriminator, on another data set
    drafts: int = 0  # of the generator, without a discriminator
    head_start: int = 0  # moves of the discriminator alone, on the data

    @property
    def rounds(self) -> int:
        """As many as the moves allow."""
        return self.moves // (self.rules.discriminator_steps + self.rules.generator_steps)


@dataclass(frozen=True)
class Patient:
    """A setup that fails, the sign by which it is told (a field of `Outcome`), and where that sign is healthier."""

    setup: Setup
    sign: str
    unit: str
    better: str  # "above" or "below"
    limit: float  # of pictures


SMALL = FullyConnectedConfig(d_hidden=32)

PATIENTS: dict[str, Patient] = {
    "mode collapse": Patient(
        Setup(
            grid(5, spacing=1.0, std=0.1), config=SMALL, moves=1_600, generator_learning_rate=1e-2
        ),  # ten times the discriminator's
        "modes",
        "modes covered, of 25",
        "above",
        2.7,
    ),
    "vanishing gradient": Patient(
        Setup(
            ring(4, radius=1.0, std=0.1).shifted(4.0),
            GanRules("minimax"),
            config=SMALL,
            optimizer="sgd",
            generator_learning_rate=0.05,
            discriminator_learning_rate=0.2,
            head_start=150,
        ),
        "gradient",
        "log10 of the generator's gradient norm",
        "above",
        5.5,
    ),
    "oscillation": Patient(
        Setup(
            ring(8, radius=2.0, std=0.1),
            config=SMALL,
            optimizer="adam, momentum 0.9",
            generator_learning_rate=5e-3,
            discriminator_learning_rate=5e-3,
        ),
        "amplitude",
        "amplitude of the samples' mean",
        "below",
        3.0,
    ),
    "over-strong discriminator": Patient(
        Setup(
            ring(8, radius=2.0, std=0.1),
            config=SMALL,
            generator_learning_rate=1e-4,
            discriminator_learning_rate=1e-2,
        ),
        "accuracy",
        "discriminator's accuracy",
        "below",
        3.0,
    ),
}


def rules(**changes: Any) -> Callable[[Setup], Setup]:
    """A treatment that changes the rules of the game."""
    return lambda setup: replace(setup, rules=replace(setup.rules, **changes))


def twice(who: str) -> Callable[[Setup], Setup]:
    """A treatment that lets one of them move twice as often in a round."""
    return lambda setup: rules(**{who: 2 * getattr(setup.rules, who)})(setup)


def slower(*who: str, by: int | float = 4) -> Callable[[Setup], Setup]:
    """A treatment that divides learning rates."""
    return lambda setup: replace(setup, **{name: getattr(setup, name) / by for name in who})


UNTREATED = "nothing"

# In the order of the lecture's slide.
TREATMENTS: dict[str, Callable[[Setup], Setup]] = {
    UNTREATED: lambda setup: setup,
    "pretrain the discriminator": lambda setup: replace(setup, lessons=300),
    "pretrain the generator": lambda setup: replace(setup, drafts=150),
    "2:1 for the discriminator": twice("discriminator_steps"),
    "2:1 for the generator": twice("generator_steps"),
    "slower discriminator": slower("discriminator_learning_rate"),
    "slower generator": slower("generator_learning_rate"),
    "both slower": slower("generator_learning_rate", "discriminator_learning_rate"),
    "generator's loss times 8": rules(generator_weight=8.0),
    "generated samples count half": rules(fake_weight=0.5),
    "label smoothing": rules(label_smoothing=0.1),
    "loss: non-saturating": rules(loss="non-saturating"),
    "loss: least squares": rules(loss="least-squares"),
    "loss: hinge": rules(loss="hinge"),
    "loss: Wasserstein, penalty": rules(loss="wasserstein", discriminator_steps=5, gradient_penalty=1.0),
}


@dataclass(frozen=True)
class Recipe:
    """What the chapter provokes, treats and measures."""

    patients: dict[str, Patient] = dataclasses.field(default_factory=lambda: dict(PATIENTS))
    treatments: tuple[str, ...] = tuple(TREATMENTS)
    cure: tuple[str, str] = ("mode collapse", "slower generator")  # the one that the chapter runs
    looks: int = 40  # at the mean of the samples, over a run
    samples: int = 2_500
    covered: int = 20  # good samples that a mode needs: a fifth of its due on the grid
    neighbours: int = 500  # samples of either kind for the coverage
    kept: int = 200  # points in the result file
    digits: int = 400  # real and generated ones for a planted collapse
    classes: tuple[int, ...] = (10, 5, 3, 1)  # that a planted collapse leaves
    weight: float = 8.0  # of the generator's loss


class Thresholds(NamedTuple):
    """What the chapter claims: set before the seeds 0 to 4 were measured.

    Patients were made ill, and the cure of the page was chosen, on the seeds 100 to 104.
    """

    modes: float = 8.0  # of 25, untreated
    gradient: float = -2.0  # log10 of the generator's gradient norm, untreated
    amplitude: float = 0.5  # of the mean of the samples, untreated
    accuracy: float = 0.85  # of the discriminator, untreated
    cure: float = 5.0  # modes that the cure of the page gains
    frechet: float = 3.0  # a collapse to three digits: its Fréchet distance over that of all ten
    coverage: float = 0.3  # the coverage that it loses
    blind: float = 0.1  # the Fréchet distance of a collapse that keeps mean and covariance
    adam: float = 0.01  # how much an Adam step changes when its loss counts eight times


class Outcome(NamedTuple):
    """What became of a patient. The four signs are measured on every one."""

    modes: float  # that have enough good samples
    gradient: float  # log10 of the mean norm of the generator's gradient, second half
    amplitude: float  # how far the mean of the samples wanders, second half
    accuracy: float  # of the discriminator in training, second half
    coverage: float  # of real samples with a generated one among their neighbours
    samples: Tensor  # (samples, 2)
    trail: Tensor  # (looks, 2): the mean of the samples over time
    history: GanHistory | None = None  # of all runs that were trained together


# Running


class SideBySide(nn.Module):
    """Several fully connected networks of one shape as one, so that a small machine trains all seeds at once.

    Samples and logits of all members lie one after the other: (members * batch, …). No member sees another: a loss that
    is a mean over all samples is a mean of the members' losses.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.config = networks[0].config
        self.ends = () if isinstance(networks[0], FullyConnectedDiscriminator) else self.config.sample_shape
        layers = list(zip(*(network.layers for network in networks), strict=True))
        # (members, inputs, outputs) and (members, 1, outputs)
        self.weights = nn.ParameterList(torch.stack([one.weight.detach().T for one in layer]) for layer in layers)
        self.biases = nn.ParameterList(torch.stack([one.bias.detach()[None] for one in layer]) for layer in layers)

    def forward(self, x: Tensor) -> Tensor:
        """What each member makes of its own part."""
        x = x.reshape(len(self.weights[0]), -1, self.weights[0].shape[1])
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, F.leaky_relu(x, self.config.slope) if number else x, weight)
        return x.reshape(-1, *self.ends)

    @torch.no_grad()
    def into(self, networks: Sequence[nn.Module]) -> None:
        """Copy the members' weights back into networks of their own."""
        for number, layers in enumerate(zip(*(network.layers for network in networks), strict=True)):
            for member, layer in enumerate(layers):
                layer.weight.copy_(self.weights[number][member].T)
                layer.bias.copy_(self.biases[number][member, 0])


class Look(NamedTuple):
    """What is seen of each member at one time: tensors with a row a member."""

    mean: Tensor  # (members, 2), of the samples
    gradient: Tensor  # (members,), its norm at the generator's weights
    accuracy: Tensor  # (members,), of the discriminator


def run(
    setup: Setup, seeds: Sequence[int], recipe: Recipe | None = None, *, progress: bool = False, **options: Any
) -> list[Outcome]:
    """Train one GAN a seed as the setup says, side by side, and measure everything; `options` go to `fit_gan`.

    A seed decides on the first weights, the data and the measures; the latents are drawn for all together.
    """
    recipe = recipe or Recipe()
    pairs = [fully_connected_gan(setup.config, seed=seed) for seed in seeds]
    for pair, seed in zip(pairs, seeds, strict=True):
        before_the_game(*pair, setup, seed)
    generators, discriminators = zip(*pairs, strict=True)
    together = SideBySide(generators), SideBySide(discriminators)
    looks: list[Look] = []

    def look(_: nn.Module) -> dict[str, float]:
        looks.append(look_at(*together, setup, seeds))
        return {}

    draws = [setup.real.batches(setup.batch, seed=seed) for seed in seeds]
    # The loss is a mean over the members, which divides each one's gradient by their number. Adam does not mind.
    share = len(seeds) if setup.optimizer == "sgd" else 1
    history = fit_gan(
        *together,
        lambda number: torch.cat([draw(number) for draw in draws]),
        setup.rules,
        steps=setup.rounds,
        seed=min(seeds),
        generator_learning_rate=share * setup.generator_learning_rate,
        discriminator_learning_rate=share * setup.discriminator_learning_rate,
        optimizer=OPTIMIZERS[setup.optimizer],
        validate=look,
        validate_every=max(1, setup.rounds // recipe.looks),
        log_every=max(1, setup.rounds // 50),
        progress=progress,
        **options,
    )
    together[0].into(generators)
    outcomes = []
    for member, (generator, seed) in enumerate(zip(generators, seeds, strict=True)):
        latent = torch.randn(recipe.samples, setup.config.d_latent, generator=numbered(seed, 3))
        made = sample(generator, latent)
        outcomes.append(measured(setup.real, made, [Look(*(p[member] for p in one)) for one in looks], seed, recipe))
    return [outcome._replace(history=history) for outcome in outcomes]


def look_at(generator: SideBySide, discriminator: SideBySide, setup: Setup, seeds: Sequence[int]) -> Look:
    """Where the samples lie, how hard the generator is pushed, how often the discriminator is right; by member."""
    device, count = choose_device(), 256
    latent = torch.cat([torch.randn(count, setup.config.d_latent, generator=numbered(seed, 8)) for seed in seeds])
    real = torch.cat([setup.real.sample(count, numbered(seed, 9)) for seed in seeds]).to(device)
    with torch.enable_grad():
        made = generator(latent.to(device))
        fake_logits = discriminator(made)
        # Times the number of members: each has a mean of its own.
        loss = len(seeds) * setup.rules.generator_weight * setup.rules.losses.generator(fake_logits)
        slopes = torch.autograd.grad(loss, list(generator.parameters()))
    with torch.no_grad():
        logits = zip(*(part.detach().view(len(seeds), -1) for part in (discriminator(real), fake_logits)), strict=True)
        accuracy = [sum(setup.rules.losses.accuracy(*pair)) / 2 for pair in logits]
    gradient = torch.cat([slope.flatten(1) for slope in slopes], dim=1).norm(dim=1)
    return Look(
        made.detach().view(len(seeds), count, -1).mean(dim=1).cpu(), gradient.cpu(), torch.stack(accuracy).cpu()
    )


def before_the_game(generator: nn.Module, discriminator: nn.Module, setup: Setup, seed: int) -> None:
    """Lessons for the discriminator, drafts of the generator, and the discriminator's head start, where there are any.

    The discriminator's other data set is a blurred copy of the data, against noise of the same spread.
    """
    if setup.lessons:
        blurred = replace(setup.real, std=4 * setup.real.std)
        others = [m.batches(setup.batch, seed=seed + 50) for m in (blurred, noise_around(setup.real))]
        pretrain_discriminator(discriminator, *others, steps=setup.lessons, seed=seed, learning_rate=1e-3)
    if setup.drafts:
        real = setup.real.batches(setup.batch, seed=seed + 60)
        pretrain_generator(generator, real, steps=setup.drafts, seed=seed, learning_rate=1e-3)
    if setup.head_start:
        head_start(generator, discriminator, setup, seed)


def noise_around(mixture: Mixture) -> Mixture:
    """One wide Gaussian over the whole mixture."""
    centres = torch.tensor(mixture.centres)
    middle = centres.mean(dim=0)
    spread = float((centres - middle).square().sum(dim=1).mean().sqrt())
    return Mixture((tuple(middle.tolist()),), 1.5 * max(spread, mixture.std))


def head_start(generator: nn.Module, discriminator: nn.Module, setup: Setup, seed: int) -> None:
    """The discriminator moves alone, by the rules of the game, against the generator as it is."""
    torch.manual_seed(seed + 70)
    device, real = choose_device(), setup.real.batches(setup.batch, seed=seed + 70)
    generator.to(device)
    optimizer = OPTIMIZERS[setup.optimizer](discriminator.to(device).parameters(), lr=setup.discriminator_learning_rate)
    players = Players(generator, discriminator, None, optimizer)
    for step in range(setup.head_start):
        latent = draw_latent(generator, setup.batch).to(device)
        discriminator_step(players, real(step).to(device), latent, setup.rules)


def measured(real: Mixture, made: Tensor, looks: Sequence[Look], seed: int, recipe: Recipe) -> Outcome:
    """All signs of a run, from looks at it and its last samples, and how much of the data these cover."""
    later = looks[len(looks) // 2 :]
    gradient = float(torch.stack([look.gradient for look in later]).mean())
    fresh = real.sample(recipe.neighbours, numbered(seed, 4))
    return Outcome(
        float(count_modes(made, real).covered(recipe.covered)),
        math.log10(max(gradient, 1e-12)),
        amplitude(torch.stack([look.mean for look in later])),
        float(torch.stack([look.accuracy for look in later]).mean()),
        neighbours(fresh, made[: recipe.neighbours]).coverage,
        made,
        torch.stack([look.mean for look in looks]),
    )


def amplitude(trail: Tensor) -> float:
    """How far a path, (times, axes), strays from its own mean: the root of the mean squared distance."""
    return float((trail - trail.mean(dim=0)).square().sum(dim=1).mean().sqrt())


def treat(patient: str, treatment: str, seed: int, recipe: Recipe | None = None, **options: Any) -> Outcome:
    """One patient, one treatment, one seed.

    Raises:
        ValueError: an unknown patient or treatment; the message lists those there are.
    """
    recipe = recipe or Recipe()
    if patient not in recipe.patients:
        raise ValueError(f"patient must be one of {', '.join(recipe.patients)}, got {patient!r}")
    if treatment not in TREATMENTS:
        raise ValueError(f"treatment must be one of {', '.join(TREATMENTS)}, got {treatment!r}")
    return run(TREATMENTS[treatment](recipe.patients[patient].setup), [seed], recipe, **options)[0]


# Two numbers


class Point(nn.Module):
    """A generator with one weight: whatever the latent, its sample is the number `place`."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(float(place)))

    def forward(self, latent: Tensor) -> Tensor:
        """`place`, once for each latent: (batch, 1)."""
        return self.place.expand(len(latent), 1)


class Slope(nn.Module):
    """A discriminator with one weight: the logit of x is `slope` times x."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(float(slope)))

    def forward(self, samples: Tensor) -> Tensor:
        """One logit a sample: (batch)."""
        return self.slope * samples.squeeze(1)


def two_numbers(
    place: int | float, slope: int | float, *, rounds: int, learning_rate: int | float, loss: str = "non-saturating"
) -> Tensor:
    """The smallest GAN there is, trained by the library's two steps: its (place, slope) over time, (rounds + 1, 2).

    All real samples are 0.

    Source: the Dirac-GAN, Mescheder et al. 2018, section 2.
    """
    generator, discriminator = Point(place), Slope(slope)
    optimizers = (torch.optim.SGD(network.parameters(), lr=learning_rate) for network in (generator, discriminator))
    players, real, path = Players(generator, discriminator, *optimizers), torch.zeros(1, 1), []
    for _ in range(rounds + 1):
        path.append([generator.place.item(), discriminator.slope.item()])
        discriminator_step(players, real, torch.zeros(1, 1), GanRules(loss))
        generator_step(players, torch.zeros(1, 1), GanRules(loss))
    return torch.tensor(path)


def weighed_step(optimizer: str, weight: int | float, seed: int, recipe: Recipe) -> Tensor:
    """By how much one step moves the generator's weights when its loss is multiplied by `weight`: all in one vector."""
    setup = recipe.patients["mode collapse"].setup
    networks = [network.to(choose_device()) for network in fully_connected_gan(setup.config, seed=seed)]
    players = Players(*networks, *(OPTIMIZERS[optimizer](network.parameters(), lr=1e-3) for network in networks))
    before = nn.utils.parameters_to_vector(players.generator.parameters()).detach().clone()
    latent = torch.randn(setup.batch, setup.config.d_latent, generator=numbered(seed, 2)).to(players.device)
    generator_step(players, latent, GanRules(generator_weight=weight))
    return (nn.utils.parameters_to_vector(players.generator.parameters()).detach() - before).cpu()


def change_by_weight(optimizer: str, seed: int, recipe: Recipe) -> float:
    """How much a step differs from that with `recipe.weight` times the loss, as a share of its own length."""
    one, many = (weighed_step(optimizer, weight, seed, recipe) for weight in (1.0, recipe.weight))
    return float((many - one).norm() / one.norm())


# Honest measures


class Judged(NamedTuple):
    """Samples, and what two measures say of them; `interval` is that of the Fréchet distance, by the bootstrap."""

    samples: Tensor
    frechet: float
    coverage: float
    interval: tuple[float, float]


def _judged(samples: Tensor, real: Tensor, features: Tensor, coverage: float) -> Judged:
    value, low, high, _ = with_interval(frechet_distance, real, features, repeats=10)
    return Judged(samples, value, coverage, (max(low, 0.0), high))  # no distance is negative


def planted_collapse(seed: int, recipe: Recipe) -> dict[int, Judged]:
    """Real digits that stand for generated ones, with ever fewer classes: by the number of classes that are left.

    They come from the training digits, and are compared with held-out ones.
    """
    generator = numbered(seed, 6)
    held_out = digits("test").images
    real = digit_features(held_out[torch.randperm(len(held_out), generator=generator)[: recipe.digits]])
    images, labels = digits("train")
    order = torch.randperm(10, generator=generator).tolist()
    by_classes = {}
    for count in recipe.classes:
        left, _ = only_classes(images, labels, order[:count])
        chosen = left[torch.randperm(len(left), generator=generator)[: recipe.digits]]
        features = digit_features(chosen)
        by_classes[count] = _judged(chosen, real, features, neighbours(real, features).coverage)
    return by_classes


BLIND_SPOT = Mixture(((2.0, 0.0), (-2.0, 0.0), (0.0, 2.0), (0.0, -2.0)), 0.1)


def blind_spot(seed: int, recipe: Recipe) -> dict[str, Judged]:
    """Points of the whole grid, and points of four of its modes with the very mean and covariance of all."""
    modes = recipe.patients["mode collapse"].setup.real
    real = modes.sample(recipe.samples, numbered(seed, 11))
    judged = {}
    for number, (name, mixture) in enumerate({"all 25 modes": modes, "4 modes": BLIND_SPOT}.items()):
        made = mixture.sample(recipe.samples, numbered(seed, 12 + number))
        few = recipe.neighbours
        coverage = neighbours(real[:few], made[:few]).coverage
        judged[name] = _judged(made, real.double(), made.double(), coverage)
    return judged


# Claims and table


def claims(
    untreated: Mapping[str, Outcome],
    cured: Outcome,
    collapse: Mapping[int, Judged],
    blind: Mapping[str, Judged],
    adam_change: float,
    recipe: Recipe,
) -> dict[str, float]:
    """The measured value of every claim, by its id."""
    sick, sign = untreated[recipe.cure[0]], recipe.patients[recipe.cure[0]].sign
    return {
        "clinic-collapse": untreated["mode collapse"].modes,
        "clinic-vanishing": untreated["vanishing gradient"].gradient,
        "clinic-oscillation": untreated["oscillation"].amplitude,
        "clinic-strong": untreated["over-strong discriminator"].accuracy,
        "clinic-cure": getattr(cured, sign) - getattr(sick, sign),
        "clinic-frechet-sees": collapse[3].frechet / collapse[10].frechet,
        "clinic-coverage-sees": collapse[10].coverage - collapse[3].coverage,
        "clinic-frechet-blind": blind["4 modes"].frechet,
        "clinic-adam-weight": adam_change,
    }


def effects(cases: Sequence[Mapping[str, Any]], measure: str = "sign") -> dict[str, dict[str, PairedEffect | None]]:
    """What each treatment changes, by treatment and patient: paired differences over the seeds, None after a NaN.

    Args:
        cases: the `cases` of the result file.
        measure: "sign" for each patient's own sign, or "coverage".

    Raises:
        ValueError: an unknown measure, or a patient without an untreated case.
    """
    if measure not in ("sign", "coverage"):
        raise ValueError(f"measure must be sign or coverage, got {measure!r}")
    untreated = {case["patient"]: case for case in cases if case["treatment"] == UNTREATED}
    missing = {case["patient"] for case in cases} - set(untreated)
    if missing:
        raise ValueError(f"cases must hold every patient untreated, got none of {', '.join(sorted(missing))}")
    table: dict[str, dict[str, PairedEffect | None]] = {}
    for case in cases:
        if case["treatment"] == UNTREATED:
            continue
        better = "above" if measure == "coverage" else PATIENTS[case["patient"]].better
        before = untreated[case["patient"]][measure]
        row = table.setdefault(case["treatment"], {})
        row[case["patient"]] = paired_effect(case[measure], before, better=better) if case[measure] else None
    return table


def pack(points: Tensor) -> str:
    """Points of the plane as whole hundredths in one line of text, "x y x y …"."""
    return " ".join(str(round(100 * number)) for number in points.flatten().tolist())


def unpack(text: str) -> Tensor:
    """The points, (n, 2), that `pack` wrote down."""
    numbers = [int(number) for number in text.split()]
    return torch.tensor(numbers).reshape(len(numbers) // 2, 2) / 100


def cases_of(result: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The committed cases: patient, treatment, the sign and the coverage on every seed, points and trail of the first.

    `sign` and `coverage` are lists; `points` and `trail` are tensors, (n, 2).
    """
    result = load_result("gan_training_claims") if result is None else result
    return [
        {**case, "points": unpack(case["points"]), "trail": unpack(case["trail"])}
        for case in result["measured"]["cases"]
    ]


def whole_clinic(seeds: Sequence[int], recipe: Recipe) -> dict[tuple[str, str], list[Outcome]]:
    """Every patient under every treatment, one after the other; all seeds of a case side by side.

    A case is empty where a loss became NaN.
    """
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    for name, patient in recipe.patients.items():
        for treatment in recipe.treatments:
            setup, began = TREATMENTS[treatment](patient.setup), time.process_time()
            if setup == patient.setup and treatment != UNTREATED:
                outcomes[name, treatment] = outcomes[name, UNTREATED]  # it is so already
                continue
            try:
                outcomes[name, treatment] = found = run(setup, seeds, recipe)
            except ValueError as error:  # a loss that is no number ends the training of all seeds
                if "became" not in str(error):
                    raise
                outcomes[name, treatment] = []
                print(f"{name}, {treatment}: {error}", flush=True)
                continue
            told = [f"{getattr(one, patient.sign):.3g} ({one.coverage:.2f})" for one in found]
            took = time.process_time() - began
            print(f"{name}, {treatment}: {patient.sign} (coverage) {' '.join(told)}, {took:.0f} s", flush=True)
    return outcomes


def as_case(patient: str, treatment: str, by_seed: Sequence[Outcome], recipe: Recipe) -> dict[str, Any]:
    """One row of the result file; without numbers where training ended in NaN."""
    sign = recipe.patients[patient].sign
    return {
        "patient": patient,
        "treatment": treatment,
        "sign": [round(getattr(found, sign), 5) for found in by_seed],
        "coverage": [round(found.coverage, 5) for found in by_seed],
        "points": pack(by_seed[0].samples[: recipe.kept]) if by_seed else "",
        "trail": pack(by_seed[0].trail) if by_seed else "",
    }


def main(arguments: Sequence[str]) -> None:
    """Measure every claim on every seed, treat every patient, and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments gan_training_claims", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("results/gan_training_claims.json"))
    options = parser.parse_args(arguments)
    recipe = Recipe()
    outcomes = whole_clinic(options.seeds, recipe)
    values = []
    for number, seed in enumerate(options.seeds):
        untreated = {name: outcomes[name, UNTREATED][number] for name in recipe.patients}
        measures = planted_collapse(seed, recipe), blind_spot(seed, recipe), change_by_weight("adam", seed, recipe)
        values.append(claims(untreated, outcomes[recipe.cure][number], *measures, recipe))
    write_result(
        options.out,
        name="gan_training_claims",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "thresholds": Thresholds()._asdict()},
        measured={
            "claims": {name: [value[name] for value in values] for name in values[0]},
            "cases": [as_case(*key, found, recipe) for key, found in outcomes.items()],
        },
    )
