"""Checkpoints: whole or not at all, and only for the model they are of."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.models.dcgan import DcganConfig, DcganGenerator
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.training import average_weights, load_weights, save_weights
from lectures_lib.training.checkpoint import describe, load_run, save_run, write_tensors


def build(seed=0, **options):
    torch.manual_seed(seed)
    return Seq2Seq(Seq2SeqConfig(9, 9, 4, 6, **options))


def test_weights_come_back(tmp_path):
    first, second = build(0), build(1)
    save_weights(first, tmp_path / "w.safetensors", {"seed": "0"})
    assert load_weights(second, tmp_path / "w.safetensors")["seed"] == "0"
    assert_close(dict(first.state_dict()), dict(second.state_dict()), rtol=0, atol=0)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*nowhere"):
        load_weights(build(), tmp_path / "nowhere.safetensors")


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 3000), data=st.binary(max_size=20))
def test_a_damaged_file_is_named_whatever_the_damage(tmp_path_factory, cut, data):
    path = tmp_path_factory.mktemp("damage") / "w.safetensors"
    save_weights(build(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: min(cut, len(whole) - 1)] + data[: max(0, len(whole) - cut - 1)])
    model = build(1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"w\.safetensors"):
        load_weights(model, path)
    assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_another_models_weights_are_refused(tmp_path):
    save_weights(build(), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="n_layers=1.*the model at hand.*n_layers=2"):
        load_weights(build(n_layers=2), tmp_path / "w.safetensors")


def test_weights_alone_are_no_run_to_go_on_from(tmp_path):
    model = build()
    save_weights(model, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="weights only"):
        load_run(tmp_path / "w.safetensors", model, torch.optim.Adam(model.parameters()))


def test_a_run_brings_back_optimizer_and_random_numbers(tmp_path):
    model = build()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    sum(p.square().sum() for p in model.parameters()).backward()
    optimizer.step()
    save_run(tmp_path / "r.safetensors", model, optimizer, {"step": 1})
    drawn = torch.rand(3)
    other = build(4)
    fresh = torch.optim.Adam(other.parameters(), lr=0.7)
    assert load_run(tmp_path / "r.safetensors", other, fresh) == {"step": 1}
    assert_close(torch.rand(3), drawn, rtol=0, atol=0)
    assert fresh.param_groups[0]["lr"] == 0.1
    assert_close(fresh.state_dict()["state"], optimizer.state_dict()["state"], rtol=0, atol=0)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(build(), path)
    content = path.read_bytes()
    with pytest.raises(Exception, match="metadata|argument"):
        write_tensors(path, {"x": torch.ones(2)}, {"not a string": 3})
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_the_average_of_checkpoints_is_the_mean_of_every_weight(tmp_path):
    models = [build(seed) for seed in range(3)]
    paths = [tmp_path / f"{seed}.safetensors" for seed in range(3)]
    for model, path in zip(models, paths, strict=True):
        save_weights(model, path)
    mean, other_order = build(7), build(8)
    average_weights(mean, paths)
    average_weights(other_order, paths[::-1])
    for name, tensor in mean.state_dict().items():
        assert_close(tensor, torch.stack([model.state_dict()[name] for model in models]).mean(0))
        assert_close(tensor, other_order.state_dict()[name], rtol=0, atol=0)


def test_an_average_with_another_models_file_leaves_the_model_alone(tmp_path):
    save_weights(build(), tmp_path / "a.safetensors")
    save_weights(build(n_layers=2), tmp_path / "b.safetensors")
    model = build(5)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"b\.safetensors is a checkpoint of .*n_layers=2"):
        average_weights(model, [tmp_path / "a.safetensors", tmp_path / "b.safetensors"])
    with pytest.raises(ValueError, match="at least one weights file"):
        average_weights(model, [])
    assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_a_field_that_was_added_later_is_told_only_where_it_is_set():
    plain, changed = (DcganGenerator(DcganConfig(28, 1, d_latent=2, width=1, start=start)) for start in (None, 4))
    assert "start" not in describe(plain)
    assert describe(changed).endswith("start=4)")
