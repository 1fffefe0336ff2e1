"""Training a GAN: two networks, two optimizers, two steps that take turns.

`discriminator_step` and `generator_step` are short on purpose: who is updated, and what is cut off from whom, is all
there is to see. `fit_gan` takes turns between them and keeps the books; the lecture's tricks are fields of `GanRules`
and arguments of `fit_gan`, or are done before it (`pretrain_discriminator`, `pretrain_generator`). Other GANs can hand
in steps of their own.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from tqdm.auto import tqdm

from lectures_lib.data.samples import Labelled, LabelledBatches, RealBatches
from lectures_lib.device import choose_device
from lectures_lib.losses.gan import GanLoss, gan_loss, gradient_penalty
from lectures_lib.training.average import WeightAverage
from lectures_lib.training.checkpoint import (
    describe,
    optimizer_state,
    random_state,
    read_tensors,
    restore_optimizer,
    restore_random_state,
    tensors_under,
    write_tensors,
)

PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16}


def adam(parameters: Iterable[Tensor], lr: int | float) -> torch.optim.Optimizer:
    """Adam with the first momentum of the DCGAN paper; all weights in one go, where the device can (`fused`).

    Source: Radford et al. 2016, section 4.
    """
    parameters = list(parameters)
    fused = bool(parameters) and parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.Adam(parameters, lr=lr, betas=(0.5, 0.999), fused=fused)


@dataclass(frozen=True)
class GanRules:
    """Who moves when, and what each wants: the loss and the tricks, each off by default.

    `discriminator_steps` and `generator_steps` are the moves of each in one round (2 and 1 is the lecture's 2:1).
    `real_weight`, `fake_weight` and `generator_weight` weigh the parts of the losses. `label_smoothing` asks for 1 - s
    on real samples (Salimans et al. 2016). `instance_noise` is the standard deviation of noise on everything the
    discriminator sees (Sønderby et al. 2017). `clip_weights` holds the discriminator's weights in [-c, c] after each of
    its moves (Arjovsky et al. 2017); `gradient_penalty` is the weight λ of that penalty (Gulrajani et al. 2017), and
    `one_sided_penalty` spares slopes below 1 (Petzka et al. 2018). With `reuse_samples` the generator moves on the very
    samples that the discriminator has moved on, as in PyTorch's example: they are made once instead of twice.

    Raises:
        ValueError: a number out of range, an unknown loss, label smoothing for a loss without labels, or samples to be
            used again for more than one move of the generator.
    """

    loss: str = "non-saturating"
    discriminator_steps: int | float = 1
    generator_steps: int | float = 1
    real_weight: int | float = 1.0
    fake_weight: int | float = 1.0
    generator_weight: int | float = 1.0
    label_smoothing: int | float = 0.0
    instance_noise: int | float = 0.0
    clip_weights: int | float | None = None
    gradient_penalty: int | float = 0.0
    one_sided_penalty: bool = False
    reuse_samples: bool = False

    def __post_init__(self) -> None:
        for name in ("discriminator_steps", "generator_steps"):
            moves = getattr(self, name)
            if moves < 1:
                raise ValueError(f"{name} must be at least 1, got {moves}")
            if moves != int(moves):
                raise ValueError(f"{name} must be a whole number, got {moves}")
        for name in ("real_weight", "fake_weight", "generator_weight", "instance_noise", "gradient_penalty"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.clip_weights is not None and not self.clip_weights > 0:
            raise ValueError(f"clip_weights must be positive or None, got {self.clip_weights}")
        if self.reuse_samples and self.generator_steps > 1:
            raise ValueError(f"generator_steps must be 1 where samples are used again, got {self.generator_steps}")
        self.losses.real(torch.zeros(1), self.label_smoothing)  # refuses what it cannot smooth

    @property
    def losses(self) -> GanLoss:
        """The functions behind the loss's name."""
        return gan_loss(self.loss)


@dataclass
class Players:
    """Both networks, each with an optimizer of its own (None for one that never moves).

    `precision` is that of the networks' arithmetic; `average` follows the generator's weights, if anything does.
    """

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: torch.optim.Optimizer | None
    discriminator_optimizer: torch.optim.Optimizer | None
    precision: str = "no"
    average: WeightAverage | None = None

    @property
    def device(self) -> torch.device:
        """Where both live."""
        return next(self.discriminator.parameters()).device

    def arithmetic(self) -> contextlib.AbstractContextManager:
        """Within this block the networks compute in `precision`; weights stay float32."""
        return torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=self.precision != "no")

    def judge(self, samples: Tensor) -> Tensor:
        """The discriminator's logits, in float32."""
        with self.arithmetic():
            return self.discriminator(samples).float()

    def make(self, latent: Tensor) -> Tensor:
        """The generator's samples, in float32."""
        with self.arithmetic():
            return self.generator(latent).float()


class DiscriminatorMove(NamedTuple):
    """What one step of the discriminator was like, before its weights changed."""

    loss: Tensor
    gradient_norm: Tensor
    real_accuracy: Tensor
    fake_accuracy: Tensor


class GeneratorMove(NamedTuple):
    """What one step of the generator was like, before its weights changed."""

    loss: Tensor
    gradient_norm: Tensor


def discriminator_step(
    players: Players, real: Tensor, latent: Tensor, rules: GanRules, *, fake: Tensor | None = None
) -> DiscriminatorMove:
    """One move of the discriminator: real samples (batch, …) against generated ones. The generator stays as it is.

    `fake` are the samples of these latents, where they are made already.

    Source: Goodfellow et al. 2014, algorithm 1, inner loop.
    """
    with torch.no_grad():  # as `.detach()`: no gradient to the generator, and here not even the means for one
        fake = players.make(latent) if fake is None else fake.detach()
    real, fake = with_noise(real, rules), with_noise(fake, rules)
    real_logits, fake_logits = players.judge(real), players.judge(fake)
    loss = rules.losses.discriminator(
        real_logits,
        fake_logits,
        label_smoothing=rules.label_smoothing,
        real_weight=rules.real_weight,
        fake_weight=rules.fake_weight,
    )
    total = loss
    if rules.gradient_penalty:
        penalty = gradient_penalty(players.discriminator, real, fake, one_sided=rules.one_sided_penalty)
        total = loss + rules.gradient_penalty * penalty
    norm = update(players.discriminator, players.discriminator_optimizer, total)
    if rules.clip_weights is not None:
        clip_weights(players.discriminator, rules.clip_weights)
    return DiscriminatorMove(loss.detach(), norm, *rules.losses.accuracy(real_logits.detach(), fake_logits.detach()))


def generator_step(players: Players, latent: Tensor, rules: GanRules, *, fake: Tensor | None = None) -> GeneratorMove:
    """One move of the generator: the gradient flows *through* the discriminator, whose weights stay as they are.

    `fake` are the samples of these latents, where they are made already, with the means for a gradient.

    Source: Goodfellow et al. 2014, algorithm 1, outer loop.
    """
    with frozen(players.discriminator):
        made = players.make(latent) if fake is None else fake
        logits = players.judge(with_noise(made, rules))
        loss = rules.generator_weight * rules.losses.generator(logits)
        norm = update(players.generator, players.generator_optimizer, loss)
    return GeneratorMove(loss.detach(), norm)


def update(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    """One step of `optimizer` down the slope of `loss`; returns the norm of the network's gradients."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
    optimizer.step()
    return norm


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within this block no gradients are computed for the network's weights; they still flow through it."""
    wanted = [p for p in network.parameters() if p.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


def with_noise(samples: Tensor, rules: GanRules) -> Tensor:
    """The samples as the discriminator sees them: with `rules.instance_noise`, if any."""
    if not rules.instance_noise:
        return samples
    return samples + rules.instance_noise * torch.randn(samples.shape).to(samples)


@torch.no_grad()
def clip_weights(network: nn.Module, limit: int | float) -> None:
    """Hold every weight in [-limit, limit].

    Source: Arjovsky et al. 2017, algorithm 1, line 7.
    """
    for parameter in network.parameters():
        parameter.clamp_(-limit, limit)


@dataclass
class GanHistory:
    """What happened, by round. An entry holds the means since the entry before, at round `step[i]`.

    Losses are those of the rules, without the gradient penalty. Accuracies are the shares of real and of generated
    samples that the discriminator put on the right side. `samples` maps a round to samples of the same latents;
    `validation` holds (round, measurements) pairs.
    """

    step: list[int] = field(default_factory=list)
    discriminator_loss: list[float] = field(default_factory=list)
    generator_loss: list[float] = field(default_factory=list)
    discriminator_gradient: list[float] = field(default_factory=list)
    generator_gradient: list[float] = field(default_factory=list)
    real_accuracy: list[float] = field(default_factory=list)
    fake_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    validation: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    samples: dict[int, Tensor] = field(default_factory=dict)

    @property
    def accuracy(self) -> list[float]:
        """The share of all samples on the right side."""
        return [(real + fake) / 2 for real, fake in zip(self.real_accuracy, self.fake_accuracy, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the samples, as JSON can hold it."""
        return {name: value for name, value in vars(self).items() if name != "samples"}

    @classmethod
    def from_dict(cls, values: dict[str, Any], samples: dict[int, Tensor]) -> GanHistory:
        """The history that `as_dict` wrote down."""
        validation = [(step, dict(measured)) for step, measured in values["validation"]]
        return cls(**{**values, "validation": validation, "samples": samples})


def fit_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    batches: RealBatches | LabelledBatches,
    rules: GanRules | None = None,
    *,
    steps: int,
    seed: int = 0,
    generator_learning_rate: int | float = 2e-4,
    discriminator_learning_rate: int | float = 2e-4,
    optimizer: Callable[..., torch.optim.Optimizer] = adam,
    precision: str = "no",
    average: int | float | None = None,
    n_samples: int = 64,
    sample_every: int | None = None,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    validate_every: int | None = None,
    log_every: int = 20,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    stop_at: int | None = None,
    discriminator_step: Callable[[Players, Tensor, Tensor, GanRules], DiscriminatorMove] = discriminator_step,
    generator_step: Callable[[Players, Tensor, GanRules], GeneratorMove] = generator_step,
    progress: bool = True,
) -> GanHistory:
    """Train both networks in place for `steps` rounds and return what happened.

    A round is `rules.discriminator_steps` moves of the discriminator, each on real samples of its own, and
    `rules.generator_steps` of the generator. Where a file `checkpoint` exists already, the run goes on from it and ends
    with the very weights of a run that never stopped. The generator's config tells its `d_latent`; latents are drawn
    from N(0, 1). It all happens in one process, on the device of `choose_device`.

    Args:
        batches: the real batch of a number; discriminator steps count through 0, 1, 2, … Where they are `Labelled`, so
            are the latents, with the same labels, and `fit_conditional_gan` hands in steps that know what to do.
        precision: "no" (float32) or "bf16", for the networks' arithmetic.
        average: a decay such as 0.99. A running mean of the generator's weights is then what samples and measurements
            along the way are taken of, and what the generator holds when the run returns (`WeightAverage`).
        n_samples: how many samples of fixed latents to keep at the start, every `sample_every` rounds, and at the end;
            with `sample_every=None` none are kept.
        validate: called with the generator, in evaluation mode, every `validate_every` rounds and at the end.
        stop_at: save the checkpoint and return after this many rounds of the whole, as if interrupted.

    Raises:
        ValueError: an argument makes no sense; real samples are not finite, of another shape than the generator's, or
            outside [-1, 1] where those end in tanh; the checkpoint is of other networks, or has no mean weights where
            they are wanted; a loss is not a number.
    """
    rules = rules or GanRules()
    _check(steps=steps, log_every=log_every, n_samples=n_samples)
    _check(generator_learning_rate=generator_learning_rate, discriminator_learning_rate=discriminator_learning_rate)
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    whole = {
        "sample_every": sample_every,
        "validate_every": validate_every,
        "checkpoint_every": checkpoint_every,
        "stop_at": stop_at,
    }
    _check(**{name: value for name, value in whole.items() if value is not None})
    if stop_at is not None and checkpoint is None:
        raise ValueError("stop_at needs a checkpoint to go on from later, got checkpoint=None")
    device = choose_device()
    torch.manual_seed(seed)
    generator.to(device).train()
    discriminator.to(device).train()
    players = Players(
        generator,
        discriminator,
        optimizer(generator.parameters(), lr=generator_learning_rate),
        optimizer(discriminator.parameters(), lr=discriminator_learning_rate),
        precision,
        None if average is None else WeightAverage(generator, average),
    )
    history, done = GanHistory(), 0
    if checkpoint is not None and Path(checkpoint).exists():
        history, done = load_gan(checkpoint, players)
    fixed = _fixed_latent(generator, n_samples, seed)
    if sample_every and not history.samples:
        history.samples[0] = sample(_shown(players), fixed)

    began = time.perf_counter() - (history.seconds[-1] if history.seconds else 0.0)
    last = min(steps, stop_at or steps)
    pending: list[Tensor] = []
    bar = tqdm(total=steps, initial=done, desc="training", disable=not progress)
    for step in range(done, last):
        for k in range(int(rules.discriminator_steps)):
            real = batches(int(step * rules.discriminator_steps) + k)
            check_real(real, generator)
            latent = _latent_beside(generator, real)
            again = {"fake": _made_once(players, latent.to(device))} if rules.reuse_samples else {}
            move = discriminator_step(players, real.to(device), latent.to(device), rules, **again)
        for _ in range(int(rules.generator_steps)):
            latent = latent if rules.reuse_samples else _latent_beside(generator, real)
            answer = generator_step(players, latent.to(device), rules, **again)
        if players.average is not None:
            players.average.update()
        pending.append(torch.stack([*move, *answer]))
        bar.update()
        finished = step + 1
        due = checkpoint is not None and checkpoint_every is not None and finished % checkpoint_every == 0
        # Also before a checkpoint is written over a good one: what is not a number must never get there.
        if finished % log_every == 0 or finished == last or due:
            _log(history, finished, pending, time.perf_counter() - began)
            bar.set_postfix(d=f"{history.discriminator_loss[-1]:.3f}", g=f"{history.generator_loss[-1]:.3f}")
        if sample_every and (finished % sample_every == 0 or finished == steps):
            history.samples[finished] = sample(_shown(players), fixed)
        if validate and (finished == steps or (validate_every and finished % validate_every == 0)):
            shown = _shown(players)
            with evaluating(shown):
                history.validation.append((finished, validate(shown)))
        if due or (checkpoint is not None and finished == last):
            save_gan(checkpoint, players, history, finished)
    bar.close()
    if players.average is not None:
        generator.load_state_dict(players.average.settled().state_dict())
    generator.eval()
    discriminator.eval()
    return history


def _shown(players: Players) -> nn.Module:
    """The generator that samples are taken of: the one with the mean weights, where there is one."""
    return players.generator if players.average is None else players.average.settled()


def draw_latent(generator: nn.Module, count: int) -> Float[Tensor, "count d_latent"]:
    """Random numbers for `count` samples, drawn on the CPU so that a seed means the same everywhere."""
    return torch.randn(count, generator.config.d_latent)


def sample(
    generator: nn.Module, latent: Float[Tensor, "count d_latent"] | Labelled, *, batch_size: int = 500
) -> Float[Tensor, "count ..."]:
    """Samples of these latents, on the CPU; the generator is in evaluation mode meanwhile.

    A generator that is told labels takes them with the latents, as `Labelled`.
    """
    device = next(generator.parameters()).device
    with evaluating(generator):
        return torch.cat([_made(generator, part.to(device)).cpu() for part in latent.split(batch_size)])


def _made(generator: nn.Module, latent: Tensor | Labelled) -> Tensor:
    return generator(latent.samples, latent.labels) if isinstance(latent, Labelled) else generator(latent)


def _made_once(players: Players, latent: Tensor | Labelled) -> Tensor:
    """Samples for both moves of a round.

    Raises:
        ValueError: the latents have labels, which only steps of their own know what to do with.
    """
    if isinstance(latent, Labelled):
        raise ValueError("reuse_samples must be False where samples have labels, got True")
    return players.make(latent)


def _latent_beside(generator: nn.Module, real: Tensor | Labelled) -> Tensor | Labelled:
    """As many latents as there are real samples, under the same labels if those have any."""
    latent = draw_latent(generator, len(real))
    return Labelled(latent, real.labels) if isinstance(real, Labelled) else latent


def _fixed_latent(generator: nn.Module, count: int, seed: int) -> Tensor | Labelled:
    """The latents whose samples are kept; a generator that is told labels is asked for all classes in turn."""
    latent = torch.randn(count, generator.config.d_latent, generator=torch.Generator().manual_seed(seed))
    n_classes = getattr(generator.config, "n_classes", None)
    return latent if n_classes is None else Labelled(latent, torch.arange(count) % n_classes)


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Within this block the network is in evaluation mode and no gradients are kept."""
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(was_training)


def check_real(real: Tensor | Labelled, generator: nn.Module) -> None:
    """Whether real samples, with or without labels, are fit to be compared with the generator's.

    Raises:
        ValueError: they are not finite, of another shape, or outside [-1, 1] where the generator's end in tanh.
    """
    config = getattr(generator, "config", None)
    real = real.samples if isinstance(real, Labelled) else real
    shape = getattr(config, "sample_shape", tuple(real.shape[1:]))
    if tuple(real.shape[1:]) != tuple(shape):
        raise ValueError(f"real samples must have the generator's shape {tuple(shape)}, got {tuple(real.shape[1:])}")
    low, high = (float(end) for end in torch.aminmax(real))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"real samples must be finite numbers, got a batch from {low} to {high}")
    if getattr(config, "bounded", False) and max(-low, high) > 1 + 1e-4:
        raise ValueError(f"real samples must lie in [-1, 1] as the generator's do, got {low:g} to {high:g}")


def pretrain_discriminator(
    discriminator: nn.Module,
    real: RealBatches,
    other: RealBatches,
    *,
    steps: int,
    seed: int = 0,
    learning_rate: int | float = 2e-4,
    loss: str = "non-saturating",
    optimizer: Callable[..., torch.optim.Optimizer] = adam,
) -> list[float]:
    """Teach the discriminator to tell samples of one kind from those of another before the game begins.

    The lecture's "pretrain the discriminator on another data set": `real` may be digits of another set, and `other`
    noise, or blurred ones. Returns the loss of every step.

    Raises:
        ValueError: `steps` or `learning_rate` is not positive, an unknown loss, samples that are not finite, of another
            shape than the discriminator takes or outside [-1, 1] where it expects that, or the loss is not a number.
    """
    _check(steps=steps, learning_rate=learning_rate)
    losses, device = gan_loss(loss), choose_device()
    torch.manual_seed(seed)
    trainer = optimizer(discriminator.to(device).train().parameters(), lr=learning_rate)

    def objective(number: int) -> Tensor:
        shown = real(number), other(number)
        for samples in shown:
            check_real(samples, discriminator)
        logits = [discriminator(samples.to(device)) for samples in shown]
        return losses.discriminator(*logits)

    return _descend(discriminator, trainer, objective, steps)


def pretrain_generator(
    generator: nn.Module,
    real: RealBatches,
    *,
    steps: int,
    seed: int = 0,
    learning_rate: int | float = 2e-4,
    optimizer: Callable[..., torch.optim.Optimizer] = adam,
) -> list[float]:
    """Bring the generator's samples near real ones without a discriminator, before the game begins.

    In every batch generated and real samples are paired so that the sum of squared distances is smallest, and each
    generated one is pulled to its partner. (Pairs fixed beforehand would pull all of them to the mean.) Returns the
    mean squared distance of every step.

    Raises:
        ValueError: `steps` or `learning_rate` is not positive, real samples are unfit as in `fit_gan`, or the distance
            is not a number.

    Source of the pairing: the assignment problem, Kuhn 1955.
    """
    from scipy.optimize import linear_sum_assignment

    _check(steps=steps, learning_rate=learning_rate)
    device = choose_device()
    torch.manual_seed(seed)
    trainer = optimizer(generator.to(device).train().parameters(), lr=learning_rate)

    def objective(number: int) -> Tensor:
        target = real(number)
        check_real(target, generator)
        target = target.to(device)
        made = generator(draw_latent(generator, len(target)).to(device))
        distance = torch.cdist(made.detach().flatten(1), target.flatten(1)).square()
        _check_loss(distance.mean(), "distance", number)
        rows, partners = linear_sum_assignment(distance.cpu().numpy())
        return (made[torch.from_numpy(rows)] - target[torch.from_numpy(partners)]).square().mean()

    return _descend(generator, trainer, objective, steps)


def _descend(
    network: nn.Module, trainer: torch.optim.Optimizer, objective: Callable[[int], Tensor], steps: int
) -> list[float]:
    losses = []
    for number in range(steps):
        loss = objective(number)
        _check_loss(loss, "loss", number)
        update(network, trainer, loss)
        losses.append(loss.item())
    return losses


def _check_loss(loss: Tensor, name: str, step: int) -> None:
    value = loss.item()
    if not math.isfinite(value):
        raise ValueError(f"the {name} became {value} at step {step + 1}: try a lower learning rate")


def save_gan(path: str | Path, players: Players, history: GanHistory, step: int) -> None:
    """Write a run's whole state: both networks, both optimizers, random numbers, history and samples."""
    tensors, metadata = random_state(), {}
    for role in ("generator", "discriminator"):
        network = getattr(players, role)
        stored, rest = optimizer_state(getattr(players, f"{role}_optimizer"))
        tensors |= {f"{role}.{name}": tensor for name, tensor in network.state_dict().items()}
        tensors |= {f"{role}_optimizer.{name}": tensor for name, tensor in stored.items()}
        metadata |= {role: describe(network), f"{role}_optimizer": rest}
    if players.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in players.average.state().items()}
    tensors |= {f"samples.{at}": made for at, made in history.samples.items()}
    metadata["progress"] = json.dumps({"step": step, "history": history.as_dict()})
    write_tensors(path, tensors, metadata)


def load_gan(path: str | Path, players: Players) -> tuple[GanHistory, int]:
    """Bring both players back to where `save_gan` left them; returns the history and the rounds done.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, of other networks, or without the mean weights that are wanted.
    """
    tensors, metadata = read_tensors(path)
    mean = tensors_under(tensors, "average.")
    if players.average is not None and not mean:
        raise ValueError(f"{path} has no mean weights: its run had no `average`")
    for role in ("generator", "discriminator"):
        stored, present = metadata.get(role, "no " + role), describe(getattr(players, role))
        if stored != present:
            raise ValueError(f"{path} is a checkpoint of {stored}; the {role} at hand is {present}")
    for role in ("generator", "discriminator"):
        getattr(players, role).load_state_dict(tensors_under(tensors, f"{role}."))
        name = f"{role}_optimizer"
        restore_optimizer(getattr(players, name), tensors_under(tensors, f"{name}."), metadata[name])
    if players.average is not None:
        players.average.restore(mean)
    restore_random_state(tensors)
    progress = json.loads(metadata["progress"])
    samples = {int(at): made for at, made in tensors_under(tensors, "samples.").items()}
    return GanHistory.from_dict(progress["history"], dict(sorted(samples.items()))), progress["step"]


def _log(history: GanHistory, step: int, pending: list[Tensor], seconds: float) -> None:
    """Move the means since the last entry into the history. Here, and only here, the loop waits for the device."""
    means = torch.stack(pending).mean(dim=0).tolist()
    pending.clear()
    d_loss, d_norm, real, fake, g_loss, g_norm = means
    for who, what, value in (
        ("discriminator", "loss", d_loss),
        ("discriminator", "gradient", d_norm),
        ("generator", "loss", g_loss),
        ("generator", "gradient", g_norm),
    ):
        if not math.isfinite(value):
            raise ValueError(
                f"the {who}'s {what} became {value} before round {step}: try lower learning rates, "
                "or hold the discriminator by a gradient penalty or spectral norm"
            )
    history.step.append(step)
    history.discriminator_loss.append(d_loss)
    history.generator_loss.append(g_loss)
    history.discriminator_gradient.append(d_norm)
    history.generator_gradient.append(g_norm)
    history.real_accuracy.append(real)
    history.fake_accuracy.append(fake)
    history.seconds.append(seconds)


def _check(**positive: int | float) -> None:
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
