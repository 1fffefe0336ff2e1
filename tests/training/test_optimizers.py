"""AdamW decays matrices only; batches taken together give the update of one large batch."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lectures_lib.training import decayed_adamw, fit, warmup_cosine

sys.path.insert(0, str(Path(__file__).parent))
import small


@pytest.fixture
def on_cpu(monkeypatch):
    monkeypatch.setenv("LECTURES_DEVICE", "cpu")


def test_matrices_shrink_and_vectors_stay_where_there_is_no_gradient():
    module = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2), nn.Embedding(4, 3))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    optimizer = decayed_adamw(module.parameters(), lr=0.1, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, tensor in module.state_dict().items():
        assert_close(tensor, before[name] * (0.95 if tensor.ndim >= 2 else 1.0))


def test_the_groups_have_names_and_the_settings_of_gpt():
    optimizer = decayed_adamw(nn.Linear(3, 2).parameters(), lr=0.1)
    assert [(g["name"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups] == [
        ("matrices", 0.1, 1),
        ("vectors", 0.0, 1),
    ]
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.95)


def test_frozen_parameters_are_left_out_and_a_group_may_be_missing():
    linear = nn.Linear(3, 2)
    linear.weight.requires_grad_(False)
    (group,) = decayed_adamw(linear.parameters(), lr=0.1).param_groups
    assert group["name"] == "vectors"


def test_nothing_to_train_and_a_negative_decay_are_refused():
    with pytest.raises(ValueError, match="at least one that is trained"):
        decayed_adamw([], lr=0.1)
    with pytest.raises(ValueError, match="weight_decay must be 0 or more, got -1"):
        decayed_adamw(nn.Linear(1, 1).parameters(), lr=0.1, weight_decay=-1)


def test_a_run_with_groups_goes_on_where_it_stopped_bit_for_bit(on_cpu, tmp_path):
    options = dict(steps=8, learning_rate=1e-2, schedule=warmup_cosine(8), progress=False)
    options["optimizer"] = partial(decayed_adamw, weight_decay=0.3)
    whole, part = small.model(), small.model()
    fit(whole, small.loss, small.batches(), **options)
    path = tmp_path / "run.safetensors"
    fit(part, small.loss, small.batches(), checkpoint=path, stop_at=3, **options)
    resumed = small.model(seed=9)
    fit(resumed, small.loss, small.batches(), checkpoint=path, **options)
    assert_close(dict(resumed.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


class Joined:
    """Batches of `small`, `size` of them joined into one by hand: sums of losses and of tokens."""

    def __init__(self, parts):
        self.parts = parts

    def to(self, device):
        return Joined([part.to(device) for part in self.parts])

    def shard(self, index, count):
        return Joined([part.shard(index, count) for part in self.parts])

    def __len__(self):
        return min(map(len, self.parts))


def joined_loss(model, batch):
    pairs = [small.loss(model, part) for part in batch.parts]
    return sum(total for total, _ in pairs), sum(count for _, count in pairs)


@pytest.mark.parametrize("accumulate", [2, 3])
def test_batches_taken_together_are_one_large_batch_though_they_differ_in_tokens(on_cpu, accumulate):
    stream = [batch for epoch in range(8) for batch in small.batches()(epoch)]
    large = [Joined(stream[i : i + accumulate]) for i in range(0, 4 * accumulate, accumulate)]
    ours, theirs = small.model(), small.model()
    options = dict(steps=4, learning_rate=0.3, optimizer=torch.optim.SGD, clip=0.5, log_every=1, progress=False)
    together = fit(ours, small.loss, small.batches(), accumulate=accumulate, **options)
    at_once = fit(theirs, joined_loss, lambda epoch: iter(large), **options)
    assert together.loss == pytest.approx(at_once.loss, rel=1e-5)
    assert together.gradient_norm == pytest.approx(at_once.gradient_norm, rel=1e-4)
    assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), atol=1e-6, rtol=1e-5)
    tokens = {int(small.loss(ours, batch)[1]) for batch in stream[:5]}
    assert len(tokens) > 1  # otherwise a mean of means would do as well


def test_a_run_that_accumulates_goes_on_where_it_stopped_bit_for_bit(on_cpu, tmp_path):
    options = dict(steps=7, learning_rate=1e-2, accumulate=2, progress=False)
    whole, part, resumed = small.model(), small.model(), small.model(seed=9)
    fit(whole, small.loss, small.batches(), **options)
    path = tmp_path / "run.safetensors"
    fit(part, small.loss, small.batches(), checkpoint=path, stop_at=3, **options)
    fit(resumed, small.loss, small.batches(), checkpoint=path, **options)
    assert_close(dict(resumed.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


def test_accumulating_nothing_is_refused():
    with pytest.raises(ValueError, match="accumulate must be positive, got 0"):
        fit(small.model(), small.loss, small.batches(), steps=1, accumulate=0)
