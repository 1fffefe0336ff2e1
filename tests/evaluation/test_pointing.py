"""Attention rollout in plain loops, and a pointing game whose winners are known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.evaluation.pointing import (
    attention_rollout,
    best_fixed_place,
    inside,
    layer_weights,
    pointing_game,
    rollout_maps,
    strongest,
    token_map,
)
from lectures_lib.models.vit import ViT, ViTConfig

PROPERTY = settings(deadline=None, max_examples=15)


def weights(layers, *, heads=2, places=4, seed=0):
    torch.manual_seed(seed)
    return [torch.randn(2, heads, places, places).softmax(dim=-1) for _ in range(layers)]


def build(n_tokens=1):
    torch.manual_seed(0)
    return ViT(ViTConfig(8, 2, 3, 8, 2, 16, 3, 4, n_tokens=n_tokens, zero_head=False, position_std=1.0)).eval()


# Rollout


def test_rollout_is_its_formula_in_loops():
    layers = weights(3)
    for picture in range(2):
        total = torch.eye(4)
        for layer in layers:
            mixed = torch.zeros(4, 4)
            for query in range(4):
                for key in range(4):
                    mean = sum(float(layer[picture, head, query, key]) for head in range(2)) / 2
                    mixed[query, key] = 0.5 * (query == key) + 0.5 * mean
            total = mixed @ total
        assert_close(attention_rollout(layers)[picture], total)


@PROPERTY
@given(count=st.integers(1, 5), skip=st.floats(0, 1), seed=st.integers(0, 99))
def test_rows_of_a_rollout_are_shares(count, skip, seed):
    total = attention_rollout(weights(count, seed=seed), skip=skip)
    assert (total >= 0).all()
    assert_close(total.sum(dim=-1), torch.ones(2, 4))


def test_what_goes_past_every_layer_stays_where_it_is_and_one_layer_without_is_its_heads_mean():
    layers = weights(2)
    assert_close(attention_rollout(layers, skip=1), torch.eye(4).expand(2, 4, 4))
    assert_close(attention_rollout(layers[:1], skip=0), layers[0].mean(dim=1))


def test_the_lowest_layer_comes_first():
    """The token looks at patch 1 in the last layer, which has looked at patch 2 in the first: it comes from patch 2."""
    first, last = torch.eye(3), torch.eye(3)
    first[1], last[0] = torch.tensor([0, 0, 1.0]), torch.tensor([0, 1.0, 0])
    total = attention_rollout([first.view(1, 1, 3, 3), last.view(1, 1, 3, 3)], skip=0)
    assert total[0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(([],), "at least one layer"), ((weights(1), 1.5), r"skip must lie in \[0, 1\], got 1.5")],
)
def test_a_rollout_of_nothing_or_with_a_strange_share_is_refused(arguments, message):
    layers, *skip = arguments
    with pytest.raises(ValueError, match=message):
        attention_rollout(layers, **({"skip": skip[0]} if skip else {}))


# Maps of a model


@pytest.mark.parametrize("n_tokens", [1, 2])
def test_a_map_is_the_tokens_share_of_each_patch_row_by_row(n_tokens):
    model, images = build(n_tokens), torch.randn(2, 3, 8, 8)
    maps = rollout_maps(model, images)
    assert maps.shape == (2, 4, 4)
    assert_close(maps.sum(dim=(1, 2)), torch.ones(2))
    total = attention_rollout(layer_weights(model, images))[0, :n_tokens].mean(dim=0)
    assert_close(maps[0, 1, 2] / maps[0, 0, 0], total[n_tokens + 6] / total[n_tokens])


def test_depth_counts_layers_from_below():
    model, images = build(), torch.randn(1, 3, 8, 8)
    layers = layer_weights(model, images)
    assert [layer.shape for layer in layers] == [(1, 2, 17, 17)] * 3
    assert_close(rollout_maps(model, images, depth=1), token_map(attention_rollout(layers[:1]), 1))
    assert_close(rollout_maps(model, images, depth=3), rollout_maps(model, images))
    for depth in (0, 4):
        with pytest.raises(ValueError, match=f"depth must lie between 1 and 3.*got {depth}"):
            rollout_maps(model, images, depth=depth)


def test_a_model_that_looks_at_one_patch_has_it_as_its_strongest():
    """Keys that answer to position alone: the map finds the patch whose key was made large."""
    model = build()
    with torch.no_grad():
        for layer in model.encoder.layers:
            layer.self_attention.project_in.weight.zero_()
            layer.self_attention.project_in.bias.zero_()
        first = model.encoder.layers[0].self_attention
        model.encoder.positions.table.zero_()
        model.encoder.positions.table[1 + 9, 0] = 100.0  # row 2, column 1
        first.project_in.weight[8, 0] = 10.0  # the first number of the key
        first.project_in.bias[0] = 1.0  # every query asks for it
    assert strongest(rollout_maps(model, torch.zeros(1, 3, 8, 8)), 2).tolist() == [[3.0, 5.0]]


def test_patches_that_make_no_square_are_refused():
    with pytest.raises(ValueError, match="must make a square, got 3"):
        token_map(torch.ones(1, 4, 4), 1)


# The pointing game


def test_the_strongest_patch_is_told_in_pixels_across_first():
    maps = torch.zeros(2, 3, 3)
    maps[0, 0, 2] = maps[1, 2, 1] = 1.0
    assert strongest(maps, 4).tolist() == [[10, 2], [6, 10]]


def test_a_hit_is_a_middle_inside_the_box_with_its_rim():
    boxes = torch.tensor([[0, 0, 4, 4], [2, 2, 4, 4], [3, 0, 8, 8]])
    assert inside(torch.tensor([2.0, 2.0]), boxes).tolist() == [True, True, False]
    assert inside(torch.tensor([[9.0, 2.0], [3, 3], [3, 8]]), boxes).tolist() == [False, True, True]
    with pytest.raises(ValueError, match=r"points must have shape \(2,\) or \(3, 2\), got \(2, 2\)"):
        inside(torch.zeros(2, 2), boxes)


def test_the_game_counts_hits():
    maps = torch.zeros(4, 2, 2)
    maps[:, 0, 1] = 1.0  # the middle is (6, 2)
    boxes = torch.tensor([[4, 0, 8, 4], [0, 4, 4, 8], [5, 1, 7, 3], [0, 0, 5, 4]])
    assert pointing_game(maps, boxes, 4) == 0.5
    for wrong in (boxes[:2], torch.zeros(4, 2, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"boxes must have shape \(4, 4\)"):
            pointing_game(maps, wrong, 4)
    with pytest.raises(ValueError, match="at least one map"):
        pointing_game(maps[:0], boxes[:0], 4)


def test_the_best_fixed_place_lies_where_most_boxes_overlap():
    boxes = torch.tensor([[0, 0, 3, 3], [2, 2, 5, 5], [2, 0, 6, 3]])
    place, share = best_fixed_place(boxes, 8)
    assert place.tolist() == [2.5, 2.5]
    assert share == 1.0
    assert inside(place, boxes).all()
    place, share = best_fixed_place(torch.tensor([[0, 0, 1, 1], [4, 1, 6, 2], [5, 0, 7, 4]]), 8)
    assert (place.tolist(), share) == ([5.5, 1.5], pytest.approx(2 / 3))
    with pytest.raises(ValueError, match="at least one box"):
        best_fixed_place(boxes[:0], 8)
