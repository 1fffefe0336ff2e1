"""The parity checks of HiFi-GAN agree, the generator's to 1e-6, and would notice a mistake."""

import pytest
import torch
from torch.nn import functional as F

from lectures_lib import audio
from lectures_lib.losses import hifigan as losses
from lectures_lib.models import hifigan as models
from parity import hifigan
from parity.__main__ import CHECKS, TOLERANCE

NAMES = [name for name in CHECKS if name.startswith(("hifigan", "log-mel"))]


def test_all_checks_are_registered():
    assert len(NAMES) == 7


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_theirs_forward_and_backward(name):
    result = CHECKS[name]()
    assert result.worst <= TOLERANCE
    assert result.scale > 0.1
    assert result.gradient_scale > 0.1


@pytest.mark.parametrize("kind", ["V1", "V2"])
def test_the_generators_waveform_is_hugging_faces_to_a_millionth(kind):
    assert hifigan.generator(kind).forward <= 1e-6


def test_the_loops_are_pytorchs_convolutions():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 13)
    layer = torch.nn.Conv1d(4, 6, 5, stride=3, dilation=2, padding=4, groups=2)
    ours = hifigan.convolve(x, layer, padding=4, stride=3, dilation=2, groups=2)
    torch.testing.assert_close(ours, layer(x), atol=1e-6, rtol=1e-5)
    up = torch.nn.ConvTranspose1d(4, 6, 8, stride=4, padding=2)
    torch.testing.assert_close(hifigan.stretch(x, up, 4, 2), up(x), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(hifigan.halved(x[0]), F.avg_pool1d(x[0], 4, 2, 2))


# Planted mistakes


def the_last_slope_like_the_others(monkeypatch):
    monkeypatch.setattr(models, "LAST_SLOPE", 0.1)


def a_sum_instead_of_a_mean(monkeypatch):
    def wrong(self, x):
        return sum(block(x) for block in self.blocks)

    monkeypatch.setattr(models.Fusion, "forward", wrong)


def no_second_convolution(monkeypatch):
    right = models.ResidualBlock.__init__
    monkeypatch.setattr(models.ResidualBlock, "__init__", lambda self, c, k, d, kind: right(self, c, k, d, kind))

    def wrong(self, x):
        for dilated in self.dilated:
            x = dilated(F.leaky_relu(x, 0.1)) + x
        return x + 0 * sum(plain.weight.sum() + plain.bias.sum() for plain in self.plain)

    monkeypatch.setattr(models.ResidualBlock, "forward", wrong)


def rows_and_columns_mixed_up(monkeypatch):
    right = models._judge

    def wrong(layers, conv_out, x):
        return right(layers, conv_out, x.flatten(2).unflatten(2, x.shape[:1:-1]).transpose(2, 3) if x.ndim == 4 else x)

    monkeypatch.setattr(models, "_judge", wrong)


def scales_of_the_same_rate(monkeypatch):
    right = models.MultiScaleDiscriminator.__init__

    def wrong(self, config):
        right(self, config)
        self.halve = torch.nn.MaxPool1d(4, 2, 2)

    monkeypatch.setattr(models.MultiScaleDiscriminator, "__init__", wrong)


def features_averaged_over_layers(monkeypatch):
    right = losses.feature_matching_loss
    monkeypatch.setattr(losses, "feature_matching_loss", lambda real, generated: right(real, generated) / 3)


def centred_frames(monkeypatch):
    right = audio._padded
    monkeypatch.setattr(audio, "_padded", lambda samples, config: right(samples, config).roll(1, -1))


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        (the_last_slope_like_the_others, "hifigan-v1"),
        (a_sum_instead_of_a_mean, "hifigan-v3"),
        (no_second_convolution, "hifigan-v1"),
        (rows_and_columns_mixed_up, "hifigan-periods"),
        (scales_of_the_same_rate, "hifigan-scales"),
        (features_averaged_over_layers, "hifigan-losses"),
        (centred_frames, "log-mel"),
    ],
)
def test_a_planted_mistake_is_noticed(mistake, check, monkeypatch):
    mistake(monkeypatch)
    assert CHECKS[check]().worst > 10 * TOLERANCE
