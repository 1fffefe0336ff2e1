"""The training loop: one function for a laptop, a GPU, or several processes under `torchrun`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import Tensor, nn
from tqdm import tqdm

from lectures_lib.device import choose_device
from lectures_lib.training.checkpoint import load_run, save_run
from lectures_lib.training.history import History
from lectures_lib.training.schedules import Schedule


@runtime_checkable
class Batch(Protocol):
    """What the loop asks of a batch: to move, to be shared out among processes, and to tell its size."""

    def to(self, device: torch.device) -> Batch:
        """The batch on that device."""
        ...

    def shard(self, index: int, count: int) -> Batch:
        """Every `count`-th row from `index` on."""
        ...

    def __len__(self) -> int: ...


Batches = Callable[[int], Iterable[Batch]]  # the batches of an epoch, the same whenever asked for the same epoch
Loss = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]  # (model, batch) → (sum of losses, how many they are)


def fit(
    model: nn.Module,
    loss: Loss,
    batches: Batches,
    *,
    steps: int,
    seed: int = 0,
    learning_rate: int | float = 1e-3,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    schedule: Schedule | None = None,
    clip: int | float | None = 1.0,
    accumulate: int = 1,
    precision: str = "no",
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    validate_every: int | None = None,
    log_every: int = 20,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    stop_at: int | None = None,
    progress: bool = True,
) -> History:
    """Train `model` in place for `steps` updates and return what happened.

    Where a file `checkpoint` exists already, the run goes on from it and ends with the very weights of a run that never
    stopped. Under `torchrun` every process takes its share of each batch; the average is over all tokens of all
    processes, so the weights are those of a single process up to rounding.

    Args:
        loss: gives the sum of a batch's losses and their number; the update follows their quotient.
        batches: gives the batches of an epoch by its number; asked for epochs 0, 1, … until `steps` are done.
        learning_rate: times `schedule(step)`, if there is one.
        clip: the largest norm of all gradients together; None for no limit.
        accumulate: how many batches make one update; it is the update of one large batch of them all.
        precision: "no" (float32), "bf16" or "fp16", as in Accelerate.
        validate: called every `validate_every` steps and at the end, with the model in evaluation mode.
        stop_at: save the checkpoint and return after this many steps of the whole, as if interrupted.

    Raises:
        ValueError: an argument makes no sense, the checkpoint is of another model, or the loss is not a number.
    """
    _check(steps=steps, log_every=log_every, learning_rate=learning_rate, accumulate=accumulate)
    if stop_at is not None and checkpoint is None:
        raise ValueError("stop_at needs a checkpoint to go on from later, got checkpoint=None")
    accelerator = _accelerator(precision)
    set_seed(seed, device_specific=True)
    trainer = optimizer(model.to(accelerator.device).parameters(), lr=learning_rate)
    history, done = History(), 0
    if checkpoint is not None and Path(checkpoint).exists():
        stored = load_run(checkpoint, model, trainer)
        history, done = History.from_dict(stored["history"]), stored["step"]
        if accelerator.process_index > 0:  # the file has the first process's random state: the others draw their own
            set_seed(seed + done, device_specific=True)
    wrapped, trainer = accelerator.prepare(model, trainer)
    wrapped.train()

    began = time.perf_counter() - (history.seconds[-1] if history.seconds else 0.0)
    last = min(steps, stop_at or steps)
    pending: list[Tensor] = []
    norms: list[Tensor] = []
    bar = tqdm(total=steps, initial=done, desc="training", disable=not (progress and accelerator.is_main_process))
    for step, group_of_batches in _updates(batches, done, last, accumulate):
        for group in trainer.param_groups:
            group["lr"] = learning_rate * (schedule(step) if schedule else 1.0)
        mean, norm = _update(accelerator, wrapped, trainer, loss, group_of_batches, clip)
        pending.append(mean)
        norms.append(norm)
        bar.update()
        finished = step + 1
        if finished % log_every == 0 or finished == last:
            _log(history, finished, pending, norms, time.perf_counter() - began)
            bar.set_postfix(loss=f"{history.loss[-1]:.3f}")
        if validate and (finished == steps or (validate_every and finished % validate_every == 0)):
            history.validation.append((finished, _validated(model, validate)))
        due = checkpoint_every is not None and finished % checkpoint_every == 0
        if checkpoint is not None and (due or finished == last) and accelerator.is_main_process:
            save_run(checkpoint, model, trainer.optimizer, {"step": finished, "history": history.as_dict()})
    bar.close()
    accelerator.wait_for_everyone()
    accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)  # leave `model` as it came, without autocast
    model.eval()
    return history


def average_loss(model: nn.Module, loss: Loss, batches: Iterable[Batch]) -> float:
    """The mean loss over some batches, per token, without training. The model is in evaluation mode meanwhile."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for batch in batches:
            batch_total, batch_count = loss(model, batch.to(device))
            total += float(batch_total)
            count += int(batch_count)
    model.train(was_training)
    if count == 0:
        raise ValueError("batches must hold at least one token to average over, got none")
    return total / count


def _check(**positive: int | float) -> None:
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")


def _accelerator(precision: str) -> Accelerator:
    if precision not in ("no", "bf16", "fp16"):
        raise ValueError(f'precision must be "no", "bf16" or "fp16", got {precision!r}')
    # Accelerate keeps one precision for the whole process; a notebook trains many models, each with its own.
    AcceleratorState._reset_state()
    return Accelerator(cpu=choose_device().type == "cpu", mixed_precision=precision)


def _from_step(batches: Batches, first: int, last: int) -> Iterator[tuple[int, Batch]]:
    """(step, batch) for the steps from `first` to before `last`, epoch after epoch."""
    epoch = first // len(batches) if hasattr(batches, "__len__") else 0
    step = epoch * len(batches) if epoch else 0
    while step < last:
        before = step
        for batch in batches(epoch):
            if step >= last:
                return
            if step >= first:
                yield step, batch
            step += 1
        if step == before:
            raise ValueError(f"batches({epoch}) must give at least one batch, got none")
        epoch += 1


def _updates(batches: Batches, first: int, last: int, accumulate: int) -> Iterator[tuple[int, list[Batch]]]:
    """(step, its batches) for the steps from `first` to before `last`; each takes the next `accumulate` batches."""
    stream = (batch for _, batch in _from_step(batches, first * accumulate, last * accumulate))
    for step in range(first, last):
        yield step, list(islice(stream, accumulate))


def _update(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    batches: Sequence[Batch],
    clip: int | float | None,
) -> tuple[Tensor, Tensor]:
    """One update of the weights; returns the mean loss and the norm of all gradients before clipping."""
    optimizer.zero_grad(set_to_none=True)
    totals, counts = [], []
    for batch in batches:
        total, count = _own_share(accelerator, model, loss, batch)
        counts.append(accelerator.reduce(count, reduction="sum"))
        # Gradients are averaged over processes, so each one's part must be multiplied by their number. They add up over
        # the batches; how many tokens those have together is known at the end only: until then the first one's count.
        unit = counts[0].clamp(min=1)
        accelerator.backward(total * accelerator.num_processes / unit)
        totals.append(total.detach())
    everywhere = torch.stack(counts).sum() if len(counts) > 1 else counts[0]
    if len(counts) > 1:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(unit / everywhere)
    norm = accelerator.clip_grad_norm_(model.parameters(), float("inf") if clip is None else clip)
    optimizer.step()
    return accelerator.reduce(sum(totals), reduction="sum") / everywhere, norm


def _own_share(accelerator: Accelerator, model: nn.Module, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
    """The loss over this process' rows of a batch."""
    processes, rank = accelerator.num_processes, accelerator.process_index
    idle = rank >= len(batch)  # fewer rows than processes: take any row along, but let it weigh nothing
    share = batch.shard(0, len(batch)) if idle else batch.shard(rank, processes)
    total, count = loss(model, share.to(accelerator.device))
    return (total * 0, count * 0) if idle else (total, count)


def _log(history: History, step: int, losses: list[Tensor], norms: list[Tensor], seconds: float) -> None:
    """Move the means since the last entry into the history. Here, and only here, the loop waits for the device."""
    mean = torch.stack(losses).mean().item()
    if not math.isfinite(mean):
        raise ValueError(f"the loss became {mean} before step {step}: try a lower learning rate or stronger clipping")
    history.step.append(step)
    history.loss.append(mean)
    history.gradient_norm.append(torch.stack(norms).mean().item())
    history.seconds.append(seconds)
    losses.clear()
    norms.clear()


def _validated(model: nn.Module, validate: Callable[[nn.Module], dict[str, float]]) -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        values = validate(model)
    model.train()
    return values
