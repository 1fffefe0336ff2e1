"""The pictures of CycleGAN show the numbers they were given, and the widget works without a kernel."""

import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lectures_lib.models.cyclegan import CycleGanConfig, PatchDiscriminator
from lectures_lib.visual import cyclegan as pictures
from lectures_lib.visual.gan import PNG_ADDRESS
from lectures_lib.visual.style import as_img

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def judge(n_layers):
    return PatchDiscriminator(CycleGanConfig(discriminator_width=1, n_layers=n_layers))


def test_the_diagram_has_both_loops_and_both_losses():
    figure = pictures.cycle_diagram()
    said = [{text.get_text() for text in axes.texts} for axes in figure.axes]
    assert {"x", "to_y", "fake_y", "to_x", "back_x"} <= said[0]
    assert {"y", "to_x", "fake_x", "to_y", "back_y", "cycle loss: |back_y - y|"} <= said[1]
    assert "discriminator_x: adversarial loss" in said[1]
    as_img(figure, "two loops")


def test_the_widget_carries_both_pictures_and_named_controls():
    widget = pictures.before_after({"a horse": (IMAGES[0], IMAGES[1]), "a <cow>": (IMAGES[1], IMAGES[2])})
    assert widget.count(PNG_ADDRESS) == 4
    assert "<option>a &lt;cow&gt;</option>" in widget
    assert 'alt="a horse, repainted"' in widget
    (identity,) = set(re.findall(r'<div id="(before-after-\w+)"', widget))
    for control in ("c", "s"):
        assert f'<label for="{identity}-{control}">' in widget
        assert f'id="{identity}-{control}"' in widget
    assert f'getElementById("{identity}")' in widget
    assert "http" not in widget
    assert pictures.before_after({"a": (IMAGES[0], IMAGES[1])}) != pictures.before_after({"a": (IMAGES[0], IMAGES[1])})


def test_without_scripts_both_pictures_are_there_and_no_dead_control():
    widget = pictures.before_after({"a horse": (IMAGES[0], IMAGES[1])})
    assert "<form hidden" in widget
    assert "<div data-story><div><img data-before" in widget
    assert "data-story hidden" not in widget


def test_a_picture_survives_its_way_into_the_page():
    import base64
    import io

    import numpy as np
    from PIL import Image

    address = pictures.picture_png(IMAGES[0])
    with Image.open(io.BytesIO(base64.b64decode(address.removeprefix(PNG_ADDRESS)))) as image:
        back = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1
    assert_close(back.float(), IMAGES[0], atol=1 / 127, rtol=0)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_logit_reaches_the_pixels_that_can_change_it(n_layers):
    discriminator = judge(n_layers).double()
    layers = [*discriminator.convs, discriminator.to_logits]
    for layer in layers:
        nn.init.constant_(layer.weight, 1.0)
    pixels = torch.rand(1, 3, 64, 64, dtype=torch.double, requires_grad=True)
    x = pixels
    for layer in layers:  # without normalisation, which sees the whole picture
        x = layer(x)
    for index in (4, 6):
        (slope,) = torch.autograd.grad(x[0, 0, index, index], pixels, retain_graph=True)
        touched = slope[0].abs().sum(dim=(0, 1)).nonzero().flatten()
        first, last = pictures.reach(layers, index)
        assert (max(first, 0), min(last, 64)) == (int(touched.min()), int(touched.max()) + 1)
        assert last - first == discriminator.patch
    assert pictures.logits_across(discriminator, 64) == x.shape[-1]


def test_the_papers_patch_is_drawn_70_pixels_wide():
    figure = pictures.reach_figure(torch.zeros(3, 256, 256), {"3 halvings": judge(3), "1 halving": judge(1)})
    squares = figure.axes[0].patches
    assert [(s.get_width(), s.get_height()) for s in squares] == [(70, 70), (16, 16)]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["3 halvings: 70 × 70", "1 halving: 16 × 16"]
    as_img(figure, "squares")


def test_doublings_are_shown_as_they_are():
    features = torch.ones(1, 2, 4, 4)
    figure = pictures.doubling_figure({"one": nn.Upsample(scale_factor=2), "other": nn.Identity()}, features)
    assert figure.axes[0].images[0].get_array().shape == (8, 8)
    assert [axes.get_title() for axes in figure.axes] == ["one", "other"]
    as_img(figure, "panels")


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: pictures.before_after({}), "pairs must hold at least one"),
        (
            lambda: pictures.before_after({"a": (IMAGES[0], IMAGES[0][:, :4])}),
            r"pairs\['a'\] .* \(3, 8, 8\) and \(3, 4",
        ),
        (lambda: pictures.reach_figure(torch.zeros(3, 32, 32), {}), "one to 3, got 0"),
        (lambda: pictures.doubling_figure({}, torch.ones(1, 1, 2, 2)), "doublings must hold"),
    ],
)
def test_what_cannot_be_drawn_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
