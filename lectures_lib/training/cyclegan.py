"""Training CycleGAN: two generators and two discriminators, pictures of two domains of which no two belong together.

`generator_step` and `discriminator_step` are one round: who is updated, what is frozen, and where the loop closes is
all there is to see. `fit_cyclegan` takes turns between them and keeps the books.

Source: Zhu, Park, Isola and Efros 2017, sections 3 and 4.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from lectures_lib.data.samples import RealBatches
from lectures_lib.device import choose_device
from lectures_lib.losses.cyclegan import (
    CYCLE_WEIGHT,
    IDENTITY_SHARE,
    cycle_loss,
    cyclegan_generator_loss,
    identity_loss,
)
from lectures_lib.losses.gan import gan_loss
from lectures_lib.models.cyclegan import CycleGan
from lectures_lib.training.checkpoint import (
    check_model,
    describe,
    optimizer_state,
    random_state,
    read_tensors,
    restore_optimizer,
    restore_random_state,
    tensors_under,
    write_tensors,
)
from lectures_lib.training.gan import PRECISIONS, adam, evaluating, frozen
from lectures_lib.training.image_pool import ImagePool
from lectures_lib.training.schedules import constant_then_linear

LOSS = gan_loss("least-squares")
OPTIMIZERS = ("generator_optimizer", "discriminator_optimizer")
POOLS = ("pool_x", "pool_y")


@dataclass(frozen=True)
class CycleRules:
    """What the generators are held to, and what the discriminators are shown.

    `cycle_weight` is λ; with 0 nothing closes the loop. `identity_share` is the identity loss's weight as a share of λ;
    the paper has one half, for paintings only. `pool_size` counts the generated pictures each discriminator may be
    shown again. The learning rate is full for the share `constant` of the run, then falls to zero on a straight line.

    Raises:
        ValueError: a number out of range.
    """

    cycle_weight: int | float = CYCLE_WEIGHT
    identity_share: int | float = 0.0
    pool_size: int = 50
    constant: int | float = 0.5

    def __post_init__(self) -> None:
        for name in ("cycle_weight", "identity_share", "pool_size"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.constant <= 1:
            raise ValueError(f"constant must lie between 0 and 1, got {self.constant}")

    @classmethod
    def paintings(cls) -> CycleRules:
        """With the identity loss, as the paper has it where photographs are made from paintings."""
        return cls(identity_share=IDENTITY_SHARE)


@dataclass
class CyclePlayers:
    """The networks, an optimizer for both generators and one for both discriminators, and the pools."""

    model: CycleGan
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer
    pool_x: ImagePool
    pool_y: ImagePool
    precision: str = "no"

    def __call__(self, network: nn.Module, images: Tensor) -> Tensor:
        """What a network makes of images, computed in `precision`, returned in float32."""
        if self.precision == "no":
            return network(images)
        with torch.autocast(images.device.type, PRECISIONS[self.precision]):
            return network(images).float()


def cycle_players(
    model: CycleGan,
    rules: CycleRules | None = None,
    *,
    learning_rate: int | float = 2e-4,
    seed: int = 0,
    optimizer: Callable[..., torch.optim.Optimizer] = adam,
    precision: str = "no",
) -> CyclePlayers:
    """Everything a round needs, at the beginning of a run."""
    rules = rules or CycleRules()
    return CyclePlayers(
        model,
        optimizer([p for network in model.generators for p in network.parameters()], lr=learning_rate),
        optimizer([p for network in model.discriminators for p in network.parameters()], lr=learning_rate),
        ImagePool(rules.pool_size, seed=2 * seed),
        ImagePool(rules.pool_size, seed=2 * seed + 1),
        precision,
    )


class GeneratorMove(NamedTuple):
    """What the generators' step was like: three sums over both directions, and the pictures they made."""

    adversarial: Tensor
    cycle: Tensor
    identity: Tensor
    fake_x: Tensor
    fake_y: Tensor


class DiscriminatorMove(NamedTuple):
    """What the discriminators' step was like: means over both of them; accuracies are shares of patches."""

    loss: Tensor
    real_accuracy: Tensor
    fake_accuracy: Tensor


def generator_step(
    players: CyclePlayers,
    x: Float[Tensor, "batch channels rows columns"],
    y: Float[Tensor, "others channels rows columns"],
    rules: CycleRules,
) -> GeneratorMove:
    """One move of both generators: x → y → x and y → x → y. The discriminators are frozen; gradients flow through them.

    With instance normalisation no picture of a batch knows of another. So pictures that go through the same network at
    the same time go together, which is the same and quicker.

    Source: Zhu et al. 2017, equation 3.
    """
    model = players.model
    wants_identity = rules.identity_share > 0
    with frozen(model.discriminator_x), frozen(model.discriminator_y):
        fake_y, same_y = _with(players, model.to_y, x, y if wants_identity else None)
        fake_x, same_x = _with(players, model.to_x, y, x if wants_identity else None)
        # The least squares without the half that the discriminators' loss has: (D - 1)².
        fooled = 2 * (
            LOSS.generator(players(model.discriminator_x, fake_x))
            + LOSS.generator(players(model.discriminator_y, fake_y))
        )
        closed = torch.zeros_like(fooled)
        if rules.cycle_weight:
            closed = cycle_loss(x, players(model.to_x, fake_y)) + cycle_loss(y, players(model.to_y, fake_x))
        same = identity_loss(x, same_x) + identity_loss(y, same_y) if wants_identity else None
        loss = cyclegan_generator_loss(
            fooled, closed, same, cycle_weight=rules.cycle_weight, identity_share=rules.identity_share
        )
        _descend(players.generator_optimizer, loss)
    kept = torch.zeros_like(fooled) if same is None else same
    return GeneratorMove(*(t.detach() for t in (fooled, closed, kept, fake_x, fake_y)))


def discriminator_step(
    players: CyclePlayers,
    x: Float[Tensor, "batch channels rows columns"],
    y: Float[Tensor, "others channels rows columns"],
    fake_x: Float[Tensor, "others channels rows columns"],
    fake_y: Float[Tensor, "batch channels rows columns"],
) -> DiscriminatorMove:
    """One move of both discriminators, on real pictures and on generated ones, half of which come from the pools.

    Source: Zhu et al. 2017, section 4: the discriminators' objective is divided by 2.
    """
    model, losses, shares = players.model, [], []
    for discriminator, real, fake, pool in (
        (model.discriminator_x, x, fake_x, players.pool_x),
        (model.discriminator_y, y, fake_y, players.pool_y),
    ):
        real_logits, fake_logits = _with(players, discriminator, real, pool.exchange(fake))
        losses.append(LOSS.discriminator(real_logits, fake_logits))  # ½ (D(real) - 1)² + ½ D(fake)²
        shares.append(torch.stack(LOSS.accuracy(real_logits.detach(), fake_logits.detach())))
    loss = losses[0] + losses[1]
    _descend(players.discriminator_optimizer, loss)
    return DiscriminatorMove(loss.detach() / 2, *torch.stack(shares).mean(dim=0))


def _with(players: CyclePlayers, network: nn.Module, one: Tensor, other: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A network's outputs for two batches, computed together; None for none."""
    if other is None:
        return players(network, one), None
    together = players(network, torch.cat([one, other]))
    return together[: len(one)], together[len(one) :]


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@dataclass
class CycleHistory:
    """What happened, by round. An entry holds the means since the entry before, at round `step[i]`.

    `adversarial`, `cycle` and `identity` are sums over both directions, without their weights; `discriminator` is the
    mean of both discriminators. `validation` holds (round, measurements) pairs.
    """

    step: list[int] = field(default_factory=list)
    adversarial: list[float] = field(default_factory=list)
    cycle: list[float] = field(default_factory=list)
    identity: list[float] = field(default_factory=list)
    discriminator: list[float] = field(default_factory=list)
    real_accuracy: list[float] = field(default_factory=list)
    fake_accuracy: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    @property
    def accuracy(self) -> list[float]:
        """The share of all patches on the right side."""
        return [(real + fake) / 2 for real, fake in zip(self.real_accuracy, self.fake_accuracy, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CycleHistory:
        """The history that `as_dict` wrote down."""
        return cls(**{**values, "validation": [(step, dict(measured)) for step, measured in values["validation"]]})


def fit_cyclegan(
    model: CycleGan,
    x: RealBatches,
    y: RealBatches,
    rules: CycleRules | None = None,
    *,
    steps: int,
    seed: int = 0,
    learning_rate: int | float = 2e-4,
    optimizer: Callable[..., torch.optim.Optimizer] = adam,
    precision: str = "no",
    validate: Callable[[CycleGan], dict[str, float]] | None = None,
    validate_every: int | None = None,
    log_every: int = 20,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    stop_at: int | None = None,
    progress: bool = True,
) -> CycleHistory:
    """Train all four networks in place for `steps` rounds and return what happened.

    Where a file `checkpoint` exists already, the run goes on from it and ends with the very weights of a run that never
    stopped: it holds networks, optimizers, both pools, random numbers and history. It all happens in one process, on
    the device of `choose_device`.

    Args:
        model: the networks.
        x: the pictures of one domain for a round's number, (batch, channels, rows, columns) in [-1, 1]; see
            `data.unpaired.unpaired_batches`.
        y: those of the other domain; the two domains need not be equally large.
        rules: the weights of the losses, the size of the pools, the course of the learning rate.
        steps: rounds in all; with the rules this fixes the course of the learning rate.
        seed: of the pools and of the global random numbers.
        learning_rate: of all networks, at the beginning.
        optimizer: a function of parameters and `lr`.
        precision: "no" (float32) or "bf16", for the networks' arithmetic.
        validate: called with the model, in evaluation mode, every `validate_every` rounds and at the end.
        validate_every: see there.
        log_every: rounds between entries of the history.
        checkpoint: the file.
        checkpoint_every: rounds between savings; it is saved at the end in any case.
        stop_at: save the checkpoint and return after this many rounds of the whole, as if interrupted.
        progress: whether to show a bar.

    Raises:
        ValueError: an argument makes no sense; a domain is empty, or the two have pictures of different sizes, or not
            of the model's channels; pictures are not finite or outside [-1, 1]; the checkpoint is of another model or
            of a run with other rules or another number of steps; a loss is not a number.
    """
    rules = rules or CycleRules()
    _check_positive(steps=steps, learning_rate=learning_rate, log_every=log_every)
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if stop_at is not None and checkpoint is None:
        raise ValueError("stop_at needs a checkpoint to go on from later, got checkpoint=None")
    device = choose_device()
    torch.manual_seed(seed)
    model.to(device).train()
    players = cycle_players(
        model, rules, learning_rate=learning_rate, seed=seed, optimizer=optimizer, precision=precision
    )
    factor = constant_then_linear(steps, constant=rules.constant)
    history, done = CycleHistory(), 0
    if checkpoint is not None and Path(checkpoint).exists():
        history, done = load_cyclegan(checkpoint, players, rules, steps)

    began = time.perf_counter() - (history.seconds[-1] if history.seconds else 0.0)
    last = min(steps, stop_at or steps)
    pending: list[Tensor] = []
    bar = tqdm(total=steps, initial=done, desc="training", disable=not progress)
    for step in range(done, last):
        real_x, real_y = x(step), y(step)
        check_domains(real_x, real_y, model)
        real_x, real_y = real_x.to(device), real_y.to(device)
        rate = learning_rate * factor(step)
        for name in OPTIMIZERS:
            for group in getattr(players, name).param_groups:
                group["lr"] = rate
        *sums, fake_x, fake_y = generator_step(players, real_x, real_y, rules)
        judged = discriminator_step(players, real_x, real_y, fake_x, fake_y)
        pending.append(torch.stack([*sums, *judged]))
        bar.update()
        finished = step + 1
        if finished % log_every == 0 or finished == last:
            _log(history, finished, pending, rate, time.perf_counter() - began)
            bar.set_postfix(cycle=f"{history.cycle[-1]:.3f}", d=f"{history.discriminator[-1]:.3f}")
        if validate and (finished == steps or (validate_every and finished % validate_every == 0)):
            with evaluating(model):
                history.validation.append((finished, validate(model)))
        due = checkpoint_every is not None and finished % checkpoint_every == 0
        if checkpoint is not None and (due or finished == last):
            save_cyclegan(checkpoint, players, rules, steps, history, finished)
    bar.close()
    model.eval()
    return history


def pretrain_copying(
    model: CycleGan,
    x: RealBatches,
    y: RealBatches,
    *,
    steps: int,
    learning_rate: int | float = 2e-3,
    constant: int | float = 0.5,
    optimizer: Callable[..., torch.optim.Optimizer] = adam,
) -> list[float]:
    """Teach both generators to copy before the game begins, so that they have colours to change rather than noise.

    One generator learns to give pictures of both domains back as they are; the other begins with the same weights. The
    paper has no such phase; where rounds are few it spares many. Returns the mean absolute difference of every step.

    Raises:
        ValueError: `steps` or `learning_rate` is not positive, the domains do not fit (see `check_domains`), or the
            difference is not a number.

    Source: Chen, Lai and Liu 2018, section 3.3 (CartoonGAN's initialization phase); the lecture's trick of pretraining
    the generator.
    """
    _check_positive(steps=steps, learning_rate=learning_rate)
    device = choose_device()
    model.to(device).train()
    trainer = optimizer(model.to_y.parameters(), lr=learning_rate)
    factor = constant_then_linear(steps, constant=constant)
    losses = []
    for step in range(steps):
        some, others = x(step), y(step)
        check_domains(some, others, model)
        for group in trainer.param_groups:
            group["lr"] = learning_rate * factor(step)
        images = torch.cat([some, others]).to(device)
        loss = identity_loss(images, model.to_y(images))
        _descend(trainer, loss)
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise ValueError(f"the difference became {losses[-1]} at step {step + 1}: try a lower learning rate")
    model.to_x.load_state_dict(model.to_y.state_dict())
    return losses


def translate(network: nn.Module, images: Float[Tensor, "*images"], *, batch_size: int = 200) -> Tensor:
    """What a generator makes of pictures, on the CPU; it is in evaluation mode meanwhile."""
    device = next(network.parameters()).device
    with evaluating(network):
        return torch.cat([network(part.to(device)).cpu() for part in images.split(batch_size)])


def check_domains(x: Tensor, y: Tensor, model: CycleGan) -> None:
    """Whether pictures of both domains are fit for the model.

    Raises:
        ValueError: a domain is empty, the two have pictures of different sizes, not of the model's channels, or with
            values that are not finite or outside [-1, 1].
    """
    for name, images in (("x", x), ("y", y)):
        if images.ndim != 4 or len(images) == 0:
            raise ValueError(
                f"{name} must hold at least one picture, (n, channels, rows, columns), got {tuple(images.shape)}"
            )
    if x.shape[1:] != y.shape[1:]:
        raise ValueError(
            f"x and y must have pictures of one size, got {tuple(x.shape[1:])} and {tuple(y.shape[1:])}: "
            "resize or crop those of one domain"
        )
    if x.shape[1] != model.config.channels:
        raise ValueError(f"x and y must have the model's {model.config.channels} channels, got {x.shape[1]}")
    for name, images in (("x", x), ("y", y)):
        low, high = (float(end) for end in torch.aminmax(images))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{name} must hold finite numbers, got pictures from {low} to {high}")
        if max(-low, high) > 1 + 1e-4:
            raise ValueError(f"{name} must lie in [-1, 1] as the generators' pictures do, got {low:g} to {high:g}")


def save_cyclegan(
    path: str | Path, players: CyclePlayers, rules: CycleRules, steps: int, history: CycleHistory, step: int
) -> None:
    """Write a run's whole state: networks, optimizers, pools, random numbers, rules and history."""
    tensors = random_state() | {f"model.{name}": tensor for name, tensor in players.model.state_dict().items()}
    metadata = {"model": describe(players.model), "plan": _plan(rules, steps, players.precision)}
    for name in OPTIMIZERS:
        stored, metadata[name] = optimizer_state(getattr(players, name))
        tensors |= {f"{name}.{entry}": tensor for entry, tensor in stored.items()}
    for name in POOLS:
        tensors |= {f"{name}.{entry}": tensor for entry, tensor in getattr(players, name).state().items()}
    metadata["progress"] = json.dumps({"step": step, "history": history.as_dict()})
    write_tensors(path, tensors, metadata)


def load_cyclegan(path: str | Path, players: CyclePlayers, rules: CycleRules, steps: int) -> tuple[CycleHistory, int]:
    """Bring everything back to where `save_cyclegan` left it; returns the history and the rounds done.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, is of another model or of a run with another plan, or holds weights only.
    """
    tensors, metadata = read_tensors(path)
    check_model(players.model, metadata, path)
    if "progress" not in metadata or "plan" not in metadata:
        raise ValueError(f"{path} holds weights only: a run cannot go on from it (use load_weights)")
    plan = _plan(rules, steps, players.precision)
    if metadata["plan"] != plan:
        raise ValueError(f"{path} is of a run with {metadata['plan']}; the one at hand has {plan}")
    device = next(players.model.parameters()).device
    players.model.load_state_dict(tensors_under(tensors, "model."))
    for name in OPTIMIZERS:
        restore_optimizer(getattr(players, name), tensors_under(tensors, f"{name}."), metadata[name])
    for name in POOLS:
        state = tensors_under(tensors, f"{name}.")
        getattr(players, name).load_state({**state, "images": state["images"].to(device)})
    restore_random_state(tensors)
    progress = json.loads(metadata["progress"])
    return CycleHistory.from_dict(progress["history"]), progress["step"]


def _plan(rules: CycleRules, steps: int, precision: str) -> str:
    return f"{rules}, steps={steps}, precision={precision}"


def _log(history: CycleHistory, step: int, pending: list[Tensor], rate: float, seconds: float) -> None:
    """Move the means since the last entry into the history. Here, and only here, the loop waits for the device."""
    adversarial, cycle, identity, discriminator, real, fake = torch.stack(pending).mean(dim=0).tolist()
    pending.clear()
    for who, loss in (
        ("generators' adversarial loss", adversarial),
        ("cycle loss", cycle),
        ("identity loss", identity),
        ("discriminators' loss", discriminator),
    ):
        if not math.isfinite(loss):
            raise ValueError(f"the {who} became {loss} before round {step}: try a lower learning rate")
    history.step.append(step)
    history.adversarial.append(adversarial)
    history.cycle.append(cycle)
    history.identity.append(identity)
    history.discriminator.append(discriminator)
    history.real_accuracy.append(real)
    history.fake_accuracy.append(fake)
    history.learning_rate.append(rate)
    history.seconds.append(seconds)


def _check_positive(**positive: int | float) -> None:
    for name, value in positive.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive, got {value}")
