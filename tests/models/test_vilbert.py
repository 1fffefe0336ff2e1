"""ViLBERT: co-attention beside two plain attentions, who sees what, the sizes, and that the bridge helps to match."""

import re

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.attention import recorded_weights
from lectures_lib.losses.self_supervised import masked_region_loss
from lectures_lib.models.bert import BertConfig
from lectures_lib.models.vilbert import (
    CoAttentionLayer,
    ViLBertConfig,
    ViLBertForPretraining,
    locations,
    with_whole_picture,
)


def config(**options):
    text = BertConfig(12, 8, 2, 16, options.pop("n_text_layers", 2), max_length=10, init_std=0.2)
    sizes = dict(d_image=12, n_image_heads=3, d_image_feed_forward=10, n_image_layers=2, d_feature=5)
    sizes |= dict(n_region_classes=4, d_co=6, n_co_heads=2, n_co_layers=2)
    return ViLBertConfig(text, **sizes | options)


def build(**options):
    torch.manual_seed(0)
    model = ViLBertForPretraining(config(**options)).eval()
    with torch.no_grad():  # biases begin at zero: a bug that loses one must show
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) / 4)
    return model


def sample(batch=2, time=4, regions=3):
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 12, (batch, time), generator=generator)
    return tokens, torch.randn(batch, regions, 5, generator=generator), torch.rand(batch, regions, 5)


# Co-attention


def looked(module, query_from, memory, mask):
    """A `CrossAttention` written out with PyTorch's own function."""
    query = module.project_query(query_from)
    key, value = module.project_key_value(memory).chunk(2, dim=-1)
    query, key, value = (x.unflatten(-1, (2, -1)).transpose(1, 2) for x in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return module.project_out(mixed.transpose(1, 2).flatten(2))


def test_a_co_attention_layer_is_two_attentions_with_keys_and_values_exchanged():
    torch.manual_seed(0)
    layer = CoAttentionLayer(config())
    text, image = torch.randn(2, 4, 8), torch.randn(2, 3, 12)
    text_mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]).bool()[:, None, None]
    image_mask = torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()[:, None, None]
    expected_text = layer.add_text_attention.norm(text + looked(layer.text_looks, text, image, image_mask))
    expected_image = layer.add_image_attention.norm(image + looked(layer.image_looks, image, text, text_mask))
    expected_text = layer.add_text_feed_forward.norm(expected_text + layer.text_feed_forward(expected_text))
    expected_image = layer.add_image_feed_forward.norm(expected_image + layer.image_feed_forward(expected_image))
    new_text, new_image = layer(text, image, text_mask, image_mask)
    assert_close(new_text, expected_text)
    assert_close(new_image, expected_image)


def test_words_look_at_regions_and_regions_at_words():
    model = build()
    with recorded_weights(model) as weights:
        model(*sample())
    assert weights["vilbert.co_layers.0.text_looks"].shape == (2, 2, 4, 3)
    assert weights["vilbert.co_layers.0.image_looks"].shape == (2, 2, 3, 4)


def test_without_co_attention_nothing_crosses_but_the_product_at_the_end():
    model = build(co_attention=False)
    tokens, features, where = sample()
    output, other = model(tokens, features, where), model(tokens, features.flip(1), where)
    assert torch.equal(output.words, other.words)
    assert not torch.allclose(output.regions, other.regions)
    assert not torch.allclose(output.match, other.match)
    crossing = build()
    assert not torch.allclose(crossing(tokens, features, where).words, crossing(tokens, features.flip(1), where).words)


def test_the_first_text_layers_and_image_layers_run_before_the_first_bridge():
    """Published: text layers 6 to 11 and image layers 0 to 5 each follow a bridge."""
    model = build(n_text_layers=3, n_image_layers=2, n_co_layers=1)
    order = []
    stream = model.vilbert
    named = {**{f"text {i}": m for i, m in enumerate(stream.text.layers)}}
    named |= {f"image {i}": m for i, m in enumerate(stream.image_layers)}
    named |= {f"bridge {i}": m for i, m in enumerate(stream.co_layers)}
    for name, module in named.items():
        module.register_forward_hook(lambda *_, name=name: order.append(name))
    model(*sample())
    assert order == ["text 0", "text 1", "image 0", "bridge 0", "text 2", "image 1"]


# Padding


def test_what_stands_in_the_padding_of_either_stream_is_never_read():
    model = build()
    tokens, features, where = sample()
    present = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]).bool()
    visible = torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    before = model(tokens, features, where, present, visible)
    after = model(tokens.where(present, 7), features.where(visible[..., None], 9.0), where, present, visible)
    assert_close(after.words[present], before.words[present])
    assert_close(after.regions[visible], before.regions[visible])
    assert_close(after.match, before.match)
    alone = model(tokens[:1, :3], features[:1, :2], where[:1, :2])
    assert_close(alone.match, before.match[:1], atol=1e-5, rtol=1e-5)


# Locations


def test_a_location_is_the_boxs_corners_and_area_as_shares():
    boxes = torch.tensor([[8.0, 0.0, 16.0, 32.0], [0, 0, 32, 64]])
    assert locations(boxes, 32, 64).tolist() == [[0.25, 0, 0.5, 0.5, 0.125], [0, 0, 1, 1, 1]]


def test_the_whole_picture_comes_first_and_is_the_mean_of_what_is_visible():
    features, where = torch.tensor([[[1.0], [3.0], [100.0]]]), torch.rand(1, 3, 5)
    more, at, seen = with_whole_picture(features, where, torch.tensor([[True, True, False]]))
    assert more.flatten().tolist() == [2, 1, 3, 100]
    assert at[0, 0].tolist() == [0, 0, 1, 1, 1]
    assert seen.tolist() == [[True, True, True, False]]
    assert torch.equal(at[:, 1:], where)


@pytest.mark.parametrize(
    ("boxes", "size", "message"),
    [
        ([[0.0, 0, 33, 5]], (32, 32), "boxes must lie within 32 × 32 pixels, left before right, got [0.0, "),
        ([[9.0, 0, 5, 5]], (32, 32), "left before right, got [9.0, 0.0, 5.0, 5.0]"),
        ([[0.0, 0, 5]], (32, 32), "boxes must have 4 numbers in the last axis, got 3"),
        ([[0.0, 0, 5, 5]], (0, 32), "width and height must be positive, got 0 and 32"),
    ],
)  # fmt: skip
def test_a_box_outside_the_picture_is_refused(boxes, size, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        locations(torch.tensor(boxes), *size)


# Sizes


def linear(d_in, d_out):
    return d_in * d_out + d_out


def test_the_papers_size_is_the_sum_of_its_published_parts():
    with torch.device("meta"):
        model = ViLBertForPretraining(ViLBertConfig.paper())
    text, image, co = 768, 1024, 1024
    embeddings = (30_522 + 512 + 2) * text + 2 * text
    text_layer = 4 * linear(text, text) + linear(text, 3072) + linear(3072, text) + 4 * text
    image_layer = 4 * linear(image, image) + 2 * linear(image, 1024) + 4 * image
    bridge = linear(text, co) + linear(image, 2 * co) + linear(co, text)  # the text looks at the picture
    bridge += linear(image, co) + linear(text, 2 * co) + linear(co, image)
    bridge += linear(text, 3072) + linear(3072, text) + 2 * linear(image, 1024) + 4 * text + 4 * image
    eyes = linear(2048, image) + linear(5, image) + 2 * image
    words = linear(text, text) + 2 * text + 30_522
    regions = linear(image, image) + 2 * image + linear(image, 1601)
    match = linear(text, co) + linear(image, co) + linear(co, 1)
    expected = embeddings + 12 * text_layer + 6 * image_layer + 6 * bridge + eyes + words + regions + match
    assert sum(p.numel() for p in model.parameters()) == expected


def test_tiny_is_small_enough_for_a_notebook():
    with torch.device("meta"):
        model = ViLBertForPretraining(ViLBertConfig.tiny(60, d_feature=48, n_region_classes=8))
    assert sum(p.numel() for p in model.parameters()) < 400_000


# Learning, the meta device, and bad input


def test_it_learns_to_match_words_with_regions_and_to_fill_in_either_from_the_other():
    torch.manual_seed(0)
    text = BertConfig(12, 16, 2, 32, 1, max_length=10, init_std=0.2)
    model = ViLBertForPretraining(
        ViLBertConfig(text, 16, 2, 32, 1, 5, n_region_classes=5, d_co=16, n_co_heads=2, n_co_layers=1)
    )
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)

    def draw(number):
        kind = torch.randint(0, 5, (number,))
        said = torch.where(torch.rand(number) < 0.5, kind, torch.randint(0, 5, (number,)))
        tokens = torch.stack([torch.zeros_like(said), said + 2], dim=1)
        features, where, _ = with_whole_picture(F.one_hot(kind, 5).float()[:, None], torch.rand(number, 1, 5))
        return tokens, features, where, kind, said

    for _ in range(80):
        tokens, features, where, kind, said = draw(64)
        match = model(tokens, features, where).match
        loss = F.binary_cross_entropy_with_logits(match, (kind == said).float())
        hidden = model(tokens.index_fill(1, torch.tensor([1]), 1), features, where)  # the word is hidden: look it up
        loss = loss + F.cross_entropy(hidden.words[:, 1], kind + 2)
        blind = model(torch.stack([tokens[:, 0], kind + 2], 1), torch.zeros_like(features), where)
        masked = torch.tensor([False, True]).expand(64, 2)
        target = F.one_hot(kind, 5).float()[:, None].expand(64, 2, 5)
        regions, count = masked_region_loss(blind.regions, target, masked)
        loss = loss + regions / count
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tokens, features, where, kind, said = draw(300)
    with torch.no_grad():
        right = (model.eval()(tokens, features, where).match > 0) == (kind == said)
        hidden = model(tokens.index_fill(1, torch.tensor([1]), 1), features, where).words[:, 1].argmax(-1)
        blind = model(torch.stack([tokens[:, 0], kind + 2], 1), torch.zeros_like(features), where)
    assert right.float().mean() > 0.9
    assert (hidden == kind + 2).float().mean() > 0.9
    assert (blind.regions[:, 1].argmax(-1) == kind).float().mean() > 0.9


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        model = ViLBertForPretraining(config())
    tokens, features, where = (x.to("meta") for x in sample())
    features, where, visible = with_whole_picture(features, locations(where[..., :4], 32, 32))
    present = torch.ones(2, 4, dtype=torch.bool, device="meta")
    output = model(tokens, features, where, present, visible)
    assert [tuple(part.shape) for part in output] == [(2, 4, 12), (2, 4, 4), (2,)]
    assert {part.device.type for part in output} == {"meta"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(n_co_layers=3), "n_co_layers must be at most 2, one a layer, got 3"),
        (dict(d_co=7), "d_co must be divisible by n_co_heads, got 7 and 2"),
        (dict(n_image_heads=5), "d_image must be divisible by n_image_heads, got 12 and 5"),
        (dict(d_feature=0), "d_feature must be at least 1, got 0"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_a_text_that_is_read_one_way_only_is_refused():
    with pytest.raises(ValueError, match="text.look_ahead must be False"):
        ViLBertConfig(BertConfig(12, 8, 2, 16, 2, look_ahead=True), 8, 2, 8, 2, 5, 4, 8, 2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(features=torch.zeros(2, 3, 6)), "features must have shape (2, 3, 5), got (2, 3, 6)"),
        (dict(features=torch.zeros(3, 3, 5)), "features must have shape (2, 3, 5), got (3, 3, 5)"),
        (dict(locations=torch.zeros(2, 3, 4)), "locations must have shape (2, 3, 5), got (2, 3, 4)"),
        (dict(present=torch.ones(2, 3).bool()), "present must have shape (2, 4), got (2, 3)"),
        (dict(visible=torch.ones(2, 4).bool()), "visible must have shape (2, 3), got (2, 4)"),
    ],
)
def test_inputs_that_do_not_fit_together_are_shown(change, message):
    tokens, features, where = sample()
    with pytest.raises(ValueError, match=re.escape(message)):
        build()(**dict(tokens=tokens, features=features, locations=where) | change)
