"""Measures of translated pictures: known values, what they see and what they do not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.data.unpaired import scene_domains
from lectures_lib.evaluation.unpaired import object_kept, pixel_error

BOXES = torch.tensor([[1, 1, 5, 6]] * 4)


def pictures(seed=0):
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_error_goes_from_0_to_1():
    black, white = -torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    assert pixel_error(black, black).tolist() == [0, 0]
    assert pixel_error(black, white).tolist() == [1, 1]
    grey = black.clone()
    grey[0, :, :2] = 0
    assert pixel_error(black, grey).tolist() == [0.25, 0]


def test_the_right_answer_keeps_its_object_and_anothers_does_not():
    truth = pictures()
    assert object_kept(truth, truth, BOXES).tolist() == [1] * 4
    assert object_kept(truth.roll(1, dims=0), truth, BOXES).tolist() == [0] * 4


@given(gain=st.floats(0.1, 1), shift=st.floats(-0.5, 0.5))
def test_brightness_and_contrast_do_not_count(gain, shift):
    truth = pictures()
    assert object_kept(gain * truth + shift, truth, BOXES).tolist() == [1] * 4


def test_what_is_outside_the_box_does_not_count():
    truth = pictures()
    elsewhere = truth.roll(1, dims=0)
    elsewhere[:, :, 1:6, 1:5] = truth[:, :, 1:6, 1:5]
    assert object_kept(elsewhere, truth, BOXES).tolist() == [1] * 4


def test_a_blank_picture_keeps_nothing():
    assert object_kept(torch.zeros(4, 3, 8, 8), pictures(), BOXES).tolist() == [0] * 4


def test_equal_right_answers_are_no_mistake():
    truth = pictures()
    truth[1] = truth[0]
    assert object_kept(truth, truth, BOXES).tolist() == [1] * 4


def test_in_the_world_of_scenes_the_answer_is_found_and_the_average_night_is_not():
    _, pairs = scene_domains("day-night", size=1, test=40)
    assert_close(object_kept(pairs.y, pairs.y, pairs.boxes).mean(), torch.tensor(1.0))
    average = pairs.y.mean(dim=0, keepdim=True).expand_as(pairs.y)
    assert object_kept(average, pairs.y, pairs.boxes).mean() < 0.3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pixel_error(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 4, 4)), r"alike, got \(1, .* and \(2, "),
        (lambda: object_kept(pictures(), pictures()[:, :1], BOXES), "alike"),
        (lambda: object_kept(pictures(), pictures(), BOXES[:2]), r"shape \(4, 4\), got \(2, 4\)"),
        (lambda: object_kept(pictures(), pictures(), BOXES + 5), r"within 8 × 8 pixels, got \(6, 6, 10, 11\)"),
        (lambda: object_kept(pictures(), pictures(), BOXES * 0), "must lie within"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
