"""The Vision Transformer: its patches, the sizes of the paper, how it begins, and that it learns."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.attention import recorded_weights
from lectures_lib.layers import SelfAttentionLayer
from lectures_lib.models.vit import ViT, ViTConfig, from_patches, patches

PROPERTY = settings(deadline=None, max_examples=15)


def build(**options):
    torch.manual_seed(0)
    sizes = dict(image_size=6, patch_size=2, n_channels=3, d_model=8, n_heads=2, d_feed_forward=16, n_layers=2)
    model = ViT(ViTConfig(**sizes | dict(n_classes=4, zero_head=False) | options)).eval()
    with torch.no_grad():  # biases and tokens begin at zero: a bug that loses one must show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 4)
    return model


def count(model_of, config):
    with torch.device("meta"):
        return sum(p.numel() for p in model_of(config).parameters())


# Patches


def test_the_first_patch_is_the_top_left_corner_channel_by_channel():
    image = torch.arange(2 * 4 * 4.0).view(1, 2, 4, 4)
    assert patches(image, 2)[0, 0].tolist() == [0, 1, 4, 5, 16, 17, 20, 21]
    assert patches(image, 2)[0, 1].tolist() == [2, 3, 6, 7, 18, 19, 22, 23]  # then to the right


@PROPERTY
@given(size=st.integers(1, 3), rows=st.integers(1, 3), columns=st.integers(1, 3), channels=st.integers(1, 3))
def test_what_was_cut_can_be_put_together(size, rows, columns, channels):
    images = torch.randn(2, channels, rows * size, columns * size)
    cut = patches(images, size)
    assert cut.shape == (2, rows * columns, channels * size**2)
    assert torch.equal(from_patches(cut, size, rows * size, columns * size), images)


def test_a_linear_map_of_each_patch_is_a_convolution_with_its_stride():
    model, images = build(), torch.randn(2, 3, 6, 6)
    embed = model.encoder.embed_patch
    kernel = embed.weight.view(8, 3, 2, 2)
    assert_close(embed(patches(images, 2)), F.conv2d(images, kernel, embed.bias, stride=2).flatten(2).transpose(1, 2))


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((1, 3, 6, 7), 2, "whole patches of 2 × 2 pixels, got 6 × 7 pixels"),
        ((3, 6, 6), 2, r"images must have shape \(batch, channels, height, width\), got \(3, 6, 6\)"),
        ((1, 3, 6, 6), 0, "patch_size must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_cut_is_refused(shape, size, message):
    with pytest.raises(ValueError, match=message):
        patches(torch.zeros(shape), size)


def test_patches_of_another_picture_are_refused():
    with pytest.raises(ValueError, match=r"picture of 6 × 6 pixels in patches of 2 × 2, got shape \(1, 4, 12\)"):
        from_patches(torch.zeros(1, 4, 12), 2, 6, 6)


# What it computes


def test_a_forward_pass_is_the_papers_four_equations():
    model, images = build(), torch.randn(2, 3, 6, 6)
    encoder = model.encoder
    z = torch.cat([encoder.tokens.expand(2, 1, 8), encoder.embed_patch(patches(images, 2))], dim=1)
    z = z + encoder.positions.table
    for layer in encoder.layers:
        z = z + layer.self_attention(layer.add_attention.norm(z))
        inner = layer.feed_forward.widen(layer.add_feed_forward.norm(z))
        z = z + layer.feed_forward.narrow(inner * (1 + torch.erf(inner / 2**0.5)) / 2)  # GELU, not its tanh cousin
    expected = encoder.norm(z)
    assert_close(model.features(images), expected)
    assert_close(model(images), model.head(expected[:, 0]))


def test_every_normalisation_has_the_papers_small_epsilon():
    norms = [module for module in build().modules() if isinstance(module, nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-6}
    assert len(norms) == 2 * 2 + 1


def test_the_class_token_looks_at_every_patch_and_a_patch_moves_the_answer():
    model, images = build(), torch.randn(1, 3, 6, 6, requires_grad=True)
    with recorded_weights(model) as weights:
        model(images)
    assert weights["encoder.layers.0.self_attention"].shape == (1, 2, 10, 10)
    model(images).sin().sum().backward()
    assert (patches(images.grad, 2).abs().sum(-1) > 0).all()


def test_without_positions_it_could_not_tell_a_picture_from_its_shuffled_patches():
    model, images = build(), torch.randn(1, 3, 6, 6)
    shuffled = from_patches(patches(images, 2)[:, torch.randperm(9)], 2, 6, 6)
    assert not torch.allclose(model(images), model(shuffled), atol=1e-3)
    with torch.no_grad():
        model.encoder.positions.table.zero_()
    assert_close(model(images), model(shuffled), atol=1e-5, rtol=1e-5)


def test_with_two_tokens_the_classifier_reads_their_mean():
    model, images = build(n_tokens=2), torch.randn(2, 3, 6, 6)
    states = model.features(images)
    assert states.shape == (2, 2 + 9, 8)
    assert_close(model(images), model.head((states[:, 0] + states[:, 1]) / 2))


# Sizes, and how it begins


def test_the_papers_base_has_as_many_parameters_as_everybody_elses():
    """86,567,656 is also what `transformers` makes of ViT-B/16 with 1,000 classes, when it is asked here."""
    from transformers import ViTConfig as TheirConfig
    from transformers import ViTForImageClassification

    with torch.device("meta"):
        theirs = ViTForImageClassification(TheirConfig(num_labels=1000))
    number = count(ViT, ViTConfig.paper("base"))
    assert number == sum(p.numel() for p in theirs.parameters()) == 86_567_656


@pytest.mark.parametrize(
    ("size", "patch", "published"), [("base", 16, 86e6), ("large", 16, 307e6), ("huge", 14, 632e6)]
)
def test_the_papers_sizes_have_the_papers_number_of_parameters(size, patch, published):
    """Table 1, last column, which is rounded and counts no classifier."""
    config = ViTConfig.paper(size, patch_size=patch, n_classes=1)
    assert abs(count(ViT, config) / published - 1) < 0.02


def test_tiny_is_small_enough_for_a_notebook():
    assert count(ViT, ViTConfig.tiny(10)) < 200_000


def test_it_begins_knowing_nothing_of_the_classes():
    torch.manual_seed(0)
    model = ViT(ViTConfig.tiny(10))
    assert model(torch.randn(2, 1, 28, 28)).count_nonzero() == 0
    assert model.encoder.tokens.count_nonzero() == 0
    assert_close(model.encoder.positions.table[1:].std(), torch.tensor(1.0), atol=0.1, rtol=0)
    assert_close(model.encoder.positions.table[0].std(), torch.tensor(0.02), atol=0.01, rtol=0)  # the token's own
    small = ViT(ViTConfig(28, 7, 1, 64, 4, 128, 1, 10)).encoder.positions.table
    assert_close(small.std(), torch.tensor(0.02), atol=2e-3, rtol=0)  # the paper's
    for part in model.encoder.layers[0].self_attention.project_in.weight.chunk(3):
        assert 0.95 * (6 / 128) ** 0.5 < part.abs().max() <= (6 / 128) ** 0.5
    assert ViT(ViTConfig(8, 4, 1, 8, 2, 8, 1, 3, zero_head=False)).head.weight.count_nonzero() > 0


def test_dropout_falls_on_the_sum_of_patches_and_positions_and_on_every_part():
    model, images = build(dropout=0.5), torch.randn(2, 3, 6, 6)
    places = [name for name, module in model.named_modules() if type(module).__name__ == "Dropout"]
    assert len(places) == 1 + 2 * 2
    assert_close(model(images), model(images))
    model.train()
    assert not torch.allclose(model(images), model(images))


# Learning, the meta device, and bad input


def test_it_learns_where_a_bright_patch_is():
    torch.manual_seed(0)
    model = ViT(ViTConfig(6, 2, 1, 32, 2, 64, 1, n_classes=9, position_std=1.0))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def draw(number):
        where = torch.randint(0, 9, (number,))
        cut = torch.randn(number, 9, 4) / 10
        cut[torch.arange(number), where] += 2
        return from_patches(cut, 2, 6, 6), where

    for _ in range(120):
        images, where = draw(64)
        loss = F.cross_entropy(model(images), where)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, where = draw(200)
    assert (model(images).argmax(1) == where).float().mean() > 0.9


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        model = ViT(ViTConfig.tiny(10))
    logits = model(torch.zeros(2, 1, 28, 28, device="meta"))
    assert (logits.device.type, logits.shape) == ("meta", (2, 10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(patch_size=4), "image_size must be divisible by patch_size, got 6 and 4"),
        (dict(n_heads=3), "d_model must be divisible by n_heads, got 8 and 3"),
        (dict(n_classes=0), "n_classes must be at least 1, got 0"),
        (dict(n_tokens=0), "n_tokens must be at least 1, got 0"),
        (dict(position_std=0), "position_std must be positive, got 0"),
        (dict(dropout=1.0), r"dropout must lie in \[0, 1\), got 1.0"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_the_paper_has_three_sizes():
    with pytest.raises(ValueError, match="size must be one of .*got 'tiny'"):
        ViTConfig.paper("tiny")


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 1, 6, 6), (3, 6, 6)])
def test_a_picture_of_another_size_is_refused_with_both_shapes(shape):
    message = f"images must have shape (batch, 3, 6, 6), got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        build()(torch.zeros(shape))


def test_bytes_are_refused_before_they_are_taken_for_numbers_from_minus_one_to_one():
    with pytest.raises(ValueError, match="images must be floating-point numbers, .* got torch.uint8"):
        build()(torch.zeros(1, 3, 6, 6, dtype=torch.uint8))


# What only the tokens need


@pytest.mark.parametrize("n_tokens", [1, 2])
def test_the_last_layer_without_the_patches_gives_the_tokens_what_the_whole_layer_gives(n_tokens):
    model, images = build(n_tokens=n_tokens), torch.randn(2, 3, 6, 6)
    short, whole = model.encoder.read_tokens(images), model.encoder(images)[:, :n_tokens]
    assert_close(short, whole)
    gradients = []
    for states in (short, whole):
        model.zero_grad()
        states.sin().sum().backward(retain_graph=True)
        gradients.append({name: p.grad.clone() for name, p in model.encoder.named_parameters()})
    assert_close(*gradients)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_layer_of_the_first_places_is_the_layer_at_the_first_places(norm):
    torch.manual_seed(0)
    layer, x = SelfAttentionLayer(8, 2, 16, norm=norm), torch.randn(2, 5, 8)
    mask = torch.tensor([True, True, False, True, True])
    assert_close(layer.of_first(x, 2, mask), layer(x, mask)[:, :2])
    with recorded_weights(layer) as weights:
        layer.of_first(x, 2)
    assert weights["self_attention"].shape == (2, 2, 2, 5)
    assert_close(
        weights["self_attention"],
        layer.self_attention.weights(x if norm == "post" else layer.add_attention.norm(x))[:, :, :2],
    )
