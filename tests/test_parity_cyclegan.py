"""The parity checks of CycleGAN agree, and would notice a mistake."""

import pytest
from torch.nn import functional as F

from lectures_lib.models import cyclegan as models
from parity.__main__ import CHECKS, TOLERANCE

NAMES = [name for name in CHECKS if name.startswith(("cyclegan", "patch-"))]


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_theirs_forward_and_backward(name):
    assert len(NAMES) == 3
    result = CHECKS[name]()
    assert result.worst <= TOLERANCE
    assert result.scale > 0.1
    assert result.gradient_scale > 0.1


def no_skip_connection(monkeypatch):
    right = models.ResidualBlock.forward
    monkeypatch.setattr(models.ResidualBlock, "forward", lambda self, x: right(self, x) - x)


def zeros_at_the_edge(monkeypatch):
    right = models._reflected

    def wrong(*arguments, **options):
        layer = right(*arguments, **options)
        layer.padding_mode = "zeros"
        return layer

    monkeypatch.setattr(models, "_reflected", wrong)


def another_slope(monkeypatch):
    monkeypatch.setattr(models, "SLOPE", 0.1)


def no_normalisation(monkeypatch):
    monkeypatch.setattr(models, "F", _WithoutNorm())


class _WithoutNorm:
    instance_norm = staticmethod(lambda x: x)
    relu, leaky_relu = staticmethod(F.relu), staticmethod(F.leaky_relu)


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        (no_skip_connection, "cyclegan-transposed"),
        (zeros_at_the_edge, "cyclegan-resize"),
        (another_slope, "patch-discriminator"),
        (no_normalisation, "patch-discriminator"),
    ],
)
def test_a_planted_mistake_is_noticed(mistake, check, monkeypatch):
    mistake(monkeypatch)
    assert CHECKS[check]().worst > 10 * TOLERANCE
