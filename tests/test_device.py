"""The one place that chooses the device."""

import pytest
import torch

from lectures_lib.device import choose_device


def test_the_environment_decides(monkeypatch):
    monkeypatch.setenv("LECTURES_DEVICE", "cpu")
    assert choose_device() == torch.device("cpu")


def test_without_a_word_the_best_there_is(monkeypatch):
    monkeypatch.delenv("LECTURES_DEVICE", raising=False)
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device().type == best


@pytest.mark.parametrize("name", ["gpu", "cuda:99"])
def test_a_device_that_is_not_here_is_named(monkeypatch, name):
    monkeypatch.setenv("LECTURES_DEVICE", name)
    with pytest.raises(ValueError, match=name):
        choose_device()
