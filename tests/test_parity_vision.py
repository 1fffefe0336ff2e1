"""The parity checks of pictures would notice a mistake."""

import pytest
import torch

from lectures_lib import layers
from lectures_lib.models import vilbert, vit
from parity import vision
from parity.__main__ import CHECKS, TOLERANCE


def their_default_epsilon(monkeypatch):
    right = vision.vit_config
    monkeypatch.setattr(vision, "vit_config", lambda c: right(c | {"layer_norm_eps": 1e-12}))


def patches_column_by_column(monkeypatch):
    right = vit.patches
    monkeypatch.setattr(vit, "patches", lambda images, size: right(images.transpose(2, 3), size))


def gelu_by_its_tanh_cousin(monkeypatch):
    cousin = lambda x: torch.nn.functional.gelu(x, approximate="tanh")  # noqa: E731
    monkeypatch.setitem(layers.ACTIVATIONS, "gelu", cousin)


def no_norm_at_the_end(monkeypatch):
    right = vit.VisionEncoder.forward

    def wrong(self, images):
        kept, self.norm = self.norm, torch.nn.Identity()
        out = right(self, images)
        self.norm = kept
        return out

    monkeypatch.setattr(vit.VisionEncoder, "forward", wrong)
    monkeypatch.setattr(vision, "named_gradients", gradients_or_zeros)  # the norm has none then


def gradients_or_zeros(module):
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in module.named_parameters()}


def words_look_at_hidden_regions(monkeypatch):
    right = vilbert.CoAttentionLayer.forward

    def wrong(self, text, image, text_mask=None, image_mask=None):
        return right(self, text, image, text_mask, image_mask.new_ones(image_mask.shape))

    monkeypatch.setattr(vilbert.CoAttentionLayer, "forward", wrong)


def one_stream_goes_first(monkeypatch):
    right = vilbert.CoAttentionLayer.forward

    def wrong(self, text, image, text_mask=None, image_mask=None):
        new_text, _ = right(self, text, image, text_mask, image_mask)
        return new_text, right(self, new_text, image, text_mask, image_mask)[1]

    monkeypatch.setattr(vilbert.CoAttentionLayer, "forward", wrong)


def a_view_is_its_own_stranger(monkeypatch):
    right = vision.nt_xent_loss

    def wrong(first, second, *, temperature):
        total, count = right(first, second, temperature=temperature)
        views = torch.nn.functional.normalize(torch.cat([first, second]), dim=-1)
        scores = views @ views.T / temperature
        partner = torch.arange(count).roll(int(count) // 2)
        return torch.nn.functional.cross_entropy(scores, partner, reduction="sum"), count

    monkeypatch.setattr(vision, "nt_xent_loss", wrong)


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        (their_default_epsilon, "vit"),
        (patches_column_by_column, "vit"),
        (gelu_by_its_tanh_cousin, "vit"),
        (no_norm_at_the_end, "vit"),
        (words_look_at_hidden_regions, "vilbert-co-attention"),
        (one_stream_goes_first, "vilbert-co-attention"),
        (a_view_is_its_own_stranger, "nt-xent"),
    ],
)
def test_a_planted_mistake_is_noticed(mistake, check, monkeypatch):
    mistake(monkeypatch)
    assert CHECKS[check]().worst > 10 * TOLERANCE
