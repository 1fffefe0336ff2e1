"""The training loop: it learns, it repeats, it goes on where it stopped, and two processes equal one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.training import average_loss, fit, load_weights, warmup_cosine

sys.path.insert(0, str(Path(__file__).parent))
import small


@pytest.fixture
def on_cpu(monkeypatch):
    """Bit for bit is a promise for the CPU: a GPU may add numbers in another order."""
    monkeypatch.setenv("LECTURES_DEVICE", "cpu")


def train(model=None, **options):
    model = model or small.model(dropout=0.2)
    options = {"steps": small.STEPS, "learning_rate": 1e-2, "progress": False, **options}
    return model, fit(model, small.loss, small.batches(), **options)


def weights(model):
    return dict(model.state_dict())


def test_a_run_really_learns_to_copy():
    model = small.model()
    before = average_loss(model, small.loss, small.batches()(0))
    _, history = train(model, steps=300)
    after = average_loss(model, small.loss, small.batches()(0))
    assert after < before / 4
    assert history.loss[-1] < history.loss[0] / 4
    assert not model.training


def test_the_same_seed_gives_the_same_weights_bit_for_bit(on_cpu):
    first, second = train(seed=5)[0], train(seed=5)[0]
    assert_close(weights(first), weights(second), rtol=0, atol=0)


def test_another_seed_draws_another_dropout(on_cpu):
    first, second = train(seed=5)[0], train(seed=6)[0]
    assert not torch.equal(first.encoder.embed.weight, second.encoder.embed.weight)


@pytest.mark.parametrize("stop_at", [1, 5, 9])
def test_stopping_and_going_on_gives_the_weights_of_not_stopping_bit_for_bit(on_cpu, tmp_path, stop_at):
    schedule = warmup_cosine(small.STEPS, warmup=3)
    whole, history = train(schedule=schedule, log_every=1)
    path = tmp_path / "run.safetensors"
    train(schedule=schedule, log_every=1, checkpoint=path, stop_at=stop_at)
    resumed, resumed_history = train(small.model(0.2, seed=99), schedule=schedule, log_every=1, checkpoint=path)
    assert_close(weights(resumed), weights(whole), rtol=0, atol=0)
    assert resumed_history.loss == history.loss
    assert resumed_history.step == list(range(1, small.STEPS + 1))


def test_a_finished_run_is_not_trained_again(on_cpu, tmp_path):
    path = tmp_path / "run.safetensors"
    first, history = train(checkpoint=path)
    second, again = train(small.model(0.2, seed=3), checkpoint=path)
    assert_close(weights(first), weights(second), rtol=0, atol=0)
    assert again.loss == history.loss


def test_another_models_checkpoint_is_refused_and_left_alone(on_cpu, tmp_path):
    path = tmp_path / "run.safetensors"
    train(checkpoint=path)
    content = path.read_bytes()
    with pytest.raises(ValueError, match="cell='gru'.*the model at hand is.*cell='lstm'"):
        train(small.model(0.2, cell="lstm"), checkpoint=path)
    assert path.read_bytes() == content


def test_an_update_follows_the_mean_over_tokens(on_cpu):
    """One step of plain gradient descent, by hand."""
    model, batch = small.model(), next(small.batches()(0))
    total, count = small.loss(model, batch)
    gradients = torch.autograd.grad(total / count, list(model.parameters()))
    expected = [p.detach() - 0.5 * g for p, g in zip(model.parameters(), gradients, strict=True)]
    fit(model, small.loss, small.batches(), steps=1, learning_rate=0.5, clip=None, optimizer=torch.optim.SGD)
    for ours, theirs in zip(model.parameters(), expected, strict=True):
        assert_close(ours.detach(), theirs, atol=1e-6, rtol=1e-5)


def test_clipping_limits_the_update(on_cpu):
    model = small.model()
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    fit(model, small.loss, small.batches(), steps=1, learning_rate=1.0, clip=0.01, optimizer=torch.optim.SGD)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert_close((after - before).norm(), torch.tensor(0.01), atol=1e-4, rtol=1e-2)


def test_validation_is_called_in_evaluation_mode_and_recorded():
    modes = []

    def validate(model):
        modes.append(model.training)
        return {"value": float(len(modes))}

    _, history = train(validate=validate, validate_every=5)
    assert modes == [False] * 3
    assert history.validation == [(5, {"value": 1.0}), (10, {"value": 2.0}), (12, {"value": 3.0})]


def test_a_loss_that_is_not_a_number_stops_the_run():
    def broken(model, batch):
        total, count = small.loss(model, batch)
        return total * float("nan"), count

    with pytest.raises(ValueError, match="the loss became nan before step 2"):
        fit(small.model(), broken, small.batches(), steps=4, log_every=2, progress=False)


def test_bf16_learns_too_and_leaves_a_float32_model():
    model, history = train(small.model(), steps=60, precision="bf16")
    assert history.loss[-1] < history.loss[0]
    batch = next(small.batches()(0)).to(next(model.parameters()).device)
    with torch.no_grad():
        assert small.loss(model, batch)[0].dtype == torch.float32
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert "autocast" not in repr(model.forward)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "steps must be positive, got 0"),
        (dict(learning_rate=-1.0), "learning_rate must be positive, got -1.0"),
        (dict(precision="int8"), "precision must be .* got 'int8'"),
        (dict(stop_at=3), "stop_at needs a checkpoint"),
    ],
)
def test_arguments_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        train(**options)


def test_no_batches_is_an_error_not_an_endless_loop():
    with pytest.raises(ValueError, match=r"batches\(0\) must give at least one batch"):
        fit(small.model(), small.loss, lambda epoch: [], steps=1, progress=False)


def test_two_processes_give_the_weights_of_one(tmp_path):
    """The same script, once plain and once under torchrun with two gloo processes."""
    environment = {**os.environ, "LECTURES_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
    script = str(Path(small.__file__))
    alone, together = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    subprocess.run([sys.executable, script, str(alone)], check=True, env=environment)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    subprocess.run([*torchrun, script, str(together)], check=True, env=environment)
    one, two = small.model(), small.model()
    load_weights(one, alone)
    load_weights(two, together)
    assert_close(weights(one), weights(two), atol=1e-6, rtol=0)
    assert not torch.equal(one.encoder.embed.weight, small.model().encoder.embed.weight)
