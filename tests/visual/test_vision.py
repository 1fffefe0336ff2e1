"""The pictures of the chapter `vision` show the numbers they were given."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.models.vit import ViT, ViTConfig
from lectures_lib.visual import vision
from lectures_lib.visual.style import as_img

IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def build():
    torch.manual_seed(0)
    return ViT(ViTConfig(8, 2, 3, 8, 2, 16, 2, 4, position_std=1.0))


def test_every_patch_has_its_place_and_its_number():
    figure = vision.patch_figure(IMAGES[0], 4)
    whole, apart = figure.axes
    assert_close(torch.as_tensor(whole.images[0].get_array()), vision.as_pixels(IMAGES[0]))
    assert [text.get_text() for text in apart.texts] == ["1", "2", "3", "4"]
    second = torch.as_tensor(apart.images[1].get_array())
    assert_close(second, vision.as_pixels(IMAGES[0])[:4, 4:])
    as_img(figure, "patches")


def test_where_nobody_looks_it_is_dark_and_the_strongest_patch_has_the_cross():
    maps = torch.zeros(3, 4, 4)
    maps[:, 1, 2] = 0.5
    boxes = torch.tensor([[1, 2, 5, 6]] * 3)
    figure = vision.looking_panels(IMAGES, maps, boxes, titles=["a", "b", "c"])
    above, below = figure.axes[0], figure.axes[3]
    light, full = torch.as_tensor(below.images[0].get_array()), torch.as_tensor(above.images[0].get_array())
    assert_close(light[2:4, 4:6], full[2:4, 4:6])
    assert_close(light[:2], full[:2] * vision.DIMMED)
    assert [float(x) for x in (*below.lines[0].get_xdata(), *below.lines[0].get_ydata())] == [4.5, 2.5]
    frame = below.patches[0]
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (0.5, 1.5, 4, 4)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["a", "b", "c"]
    as_img(figure, "looks")


def test_rows_of_pictures_have_their_names():
    figure = vision.repair_rows({"clean": IMAGES, "damaged": -IMAGES})
    assert len(figure.axes) == 6
    assert figure.axes[3].texts[0].get_text() == "damaged"
    as_img(figure, "rows")


def test_lines_go_through_the_means_and_dots_are_the_runs():
    scores = {"pretrained": {40: [60, 70], 400: [90, 92]}, "from scratch": {40: [50, 40], 400: [85, 85]}}
    axes = vision.label_lines(scores, chance=10).axes[0]
    assert list(axes.lines[0].get_ydata()) == [65, 91]
    assert list(axes.lines[1].get_ydata()) == [60, 70]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["40", "400"]


def test_the_diagram_names_tokens_and_their_heads():
    said = [t.get_text() for t in vision.vit_diagram(64, tokens=("turns", "contrast"), heads=("a", "b")).axes[0].texts]
    assert {"turns", "contrast", "a", "b", "patch\n64"} <= set(said)


def test_the_widget_has_a_frame_a_layer():
    frames = vision.layer_frames(build(), IMAGES[0])
    assert len(frames) == 2
    assert "after 1 of 2 layers" in frames[0]
    assert "after 2 of 2 layers" in frames[1]
    assert frames[0] != frames[1]


def test_a_digit_is_dark_on_light():
    assert vision.as_pixels(torch.ones(1, 2, 2)).tolist() == torch.zeros(2, 2, 3).tolist()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: vision.looking_panels(IMAGES, torch.zeros(2, 4, 4)), "maps and titles must be one a picture, 3"),
        (lambda: vision.repair_rows({"a": IMAGES, "b": IMAGES[:1]}), "rows must be equally long"),
        (lambda: vision.label_lines({}, chance=0), "at least one line"),
        (lambda: vision.vit_diagram(4, heads=("a", "b")), "one head a token, 1"),
        (lambda: vision.patch_figure(IMAGES[0], 3), "whole patches"),
    ],
)
def test_figures_of_nothing_are_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
