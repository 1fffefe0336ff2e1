"""Where a word looks: the recorded weights without the whole picture; overlap and hits on known boxes."""

import dataclasses
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.attention import recorded_weights
from lectures_lib.evaluation.grounding import finds, overlap, word_looks
from lectures_lib.models.bert import BertConfig
from lectures_lib.models.vilbert import ViLBertConfig, ViLBertForPretraining, with_whole_picture

TOKENS = torch.randint(0, 9, (3, 4), generator=torch.Generator().manual_seed(1))
FEATURES = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(2))
WHERE = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(3))


def small(**options):
    torch.manual_seed(0)
    text = BertConfig(9, 8, 2, 16, 2, max_length=6, init_std=0.5)
    config = ViLBertConfig(text, 8, 2, 16, 2, 5, n_region_classes=3, d_co=8, n_co_heads=2, n_co_layers=2)
    return ViLBertForPretraining(dataclasses.replace(config, **options))


def test_a_look_is_the_mean_over_heads_of_what_the_text_looks_at():
    model = small()
    with torch.no_grad(), recorded_weights(model) as weights:
        features, where, _ = with_whole_picture(FEATURES, WHERE)
        model.eval()(TOKENS, features, where)
    lower, upper = (weights[f"vilbert.co_layers.{n}.text_looks"].mean(dim=1)[..., 1:] for n in (0, 1))
    for bridge, looked in ((0, lower), (1, upper), (None, (lower + upper) / 2)):
        looks = word_looks(model, TOKENS, FEATURES, WHERE, bridge=bridge)
        assert looks.shape == (3, 4, 6)
        assert_close(looks, looked / looked.sum(dim=-1, keepdim=True))
        assert_close(looks.sum(dim=-1), torch.ones(3, 4))


def test_a_bridge_that_looks_for_a_kind_of_region_finds_it():
    """The weights are written by hand: every word asks for what regions have whose first number is 1."""
    model = small()
    looks = model.vilbert.co_layers[0].text_looks
    with torch.no_grad():
        model.vilbert.embed_feature.weight.zero_()
        model.vilbert.embed_feature.weight[0, 0] = 5
        looks.project_query.weight.zero_()
        looks.project_query.bias.fill_(3.0)
        looks.project_key_value.weight.zero_()
        looks.project_key_value.weight[:8, 0] = 3
    features = torch.zeros(1, 6, 5)
    features[0, 4, 0] = 1
    found = word_looks(model, TOKENS[:1], features, torch.zeros(1, 6, 5), bridge=0)
    assert (found.argmax(dim=-1) == 4).all()


def test_overlap_on_known_boxes():
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4]])
    others = torch.tensor([[0, 0, 4, 4], [2, 0, 6, 4], [4, 0, 8, 4], [1, 1, 3, 3]])
    assert overlap(boxes, others).tolist() == pytest.approx([1, 1 / 3, 0, 1 / 4])


@given(st.integers(0, 10**6))
def test_overlap_is_what_counting_pixels_gives(seed):
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(8, (2, 2), generator=generator)
    boxes = torch.cat([start, start + 1 + torch.randint(8, (2, 2), generator=generator)], dim=1)
    painted = torch.zeros(2, 17, 17, dtype=torch.bool)
    for canvas, (x0, y0, x1, y1) in zip(painted, boxes.tolist(), strict=True):
        canvas[y0:y1, x0:x1] = True
    counted = (painted[0] & painted[1]).sum() / (painted[0] | painted[1]).sum()
    assert float(overlap(boxes[0], boxes[1])) == pytest.approx(float(counted))


def test_a_noun_finds_its_thing_where_the_region_overlaps_by_half():
    regions = torch.tensor([[[0, 0, 4, 4], [1, 0, 4, 4], [3, 0, 7, 4]]])
    boxes = torch.tensor([[[0, 0, 4, 4]] * 3])
    looks = torch.eye(3).unsqueeze(0)  # each noun looks at another region
    assert finds(looks, regions, boxes).tolist() == [[1, 1, 0]]
    assert finds(looks, regions, boxes, least=0.8).tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("options", "call", "message"),
    [
        ({}, dict(bridge=2), "bridge must lie between 0 and 1, got 2"),
        (dict(co_attention=False), {}, "model must have co-attention"),
    ],
)
def test_what_no_model_has_is_refused(options, call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        word_looks(small(**options), TOKENS, FEATURES, WHERE, **call)


@pytest.mark.parametrize(
    ("regions", "boxes", "message"),
    [
        ((2, 5, 4), (2, 3, 4), "regions must have shape (2, 6, 4), got (2, 5, 4)"),
        ((2, 6, 4), (2, 2, 4), "boxes must have shape (2, 3, 4), got (2, 2, 4)"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(regions, boxes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        finds(torch.zeros(2, 3, 6), torch.zeros(regions, dtype=torch.long), torch.zeros(boxes, dtype=torch.long))
