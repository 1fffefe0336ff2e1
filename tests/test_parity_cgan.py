"""The parity checks of the conditional GAN agree, and would notice a mistake: one is planted in each network."""

import pytest
import torch

from lectures_lib.models import cgan
from parity.__main__ import CHECKS, TOLERANCE

NAMES = ["cgan-generator", "cgan-channel", "cgan-projection"]


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_theirs_forward_and_backward(name):
    result = CHECKS[name]()
    assert result.worst <= TOLERANCE
    assert result.scale > 0.1
    assert result.gradient_scale > 0.1


def the_neighbours_label(monkeypatch):
    right = cgan.CganGenerator.forward
    monkeypatch.setattr(cgan.CganGenerator, "forward", lambda self, z, labels: right(self, z, labels.roll(1)))


def a_picture_on_its_side(monkeypatch):
    right = torch.nn.Embedding.forward

    def wrong(self, labels):
        rows = right(self, labels)
        return rows.unflatten(1, (64, 64)).transpose(1, 2).flatten(1) if rows.shape[1] == 64 * 64 else rows

    monkeypatch.setattr(torch.nn.Embedding, "forward", wrong)


def means_instead_of_sums(monkeypatch):
    right = torch.nn.Embedding.forward
    monkeypatch.setattr(torch.nn.Embedding, "forward", lambda self, labels: right(self, labels) / 16)


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        (the_neighbours_label, "cgan-generator"),
        (a_picture_on_its_side, "cgan-channel"),
        (means_instead_of_sums, "cgan-projection"),
    ],
)
def test_a_planted_mistake_is_noticed(mistake, check, monkeypatch):
    mistake(monkeypatch)
    assert CHECKS[check]().worst > 10 * TOLERANCE
