"""CycleGAN layer by layer as the paper has it, patches measured by gradients, and input of the wrong size."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.models.cyclegan import (
    UPSAMPLINGS,
    CycleGanConfig,
    CycleGanGenerator,
    PatchDiscriminator,
    receptive_field,
)

SMALL = dict(width=4, n_blocks=2, discriminator_width=4)


def outputs_of(module, images):
    """(kind, output shape without the batch) of every convolution, in the order they run."""
    seen = []

    def note(layer, inputs, output):
        seen.append((type(layer).__name__, layer.kernel_size[0], layer.stride[0], tuple(output.shape[1:])))

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(note)
    module(images)
    return seen


def paper_generator(blocks, size):
    """Appendix 7.2: c7s1-64, d128, d256, R256 …, u128, u64, c7s1-3."""
    rows = [("Conv2d", 7, 1, (64, size, size))]
    rows += [("Conv2d", 3, 2, (128, size // 2, size // 2)), ("Conv2d", 3, 2, (256, size // 4, size // 4))]
    rows += [("Conv2d", 3, 1, (256, size // 4, size // 4))] * 2 * blocks
    rows += [("ConvTranspose2d", 3, 2, (128, size // 2, size // 2)), ("ConvTranspose2d", 3, 2, (64, size, size))]
    return [*rows, ("Conv2d", 7, 1, (3, size, size))]


@pytest.mark.parametrize(("size", "blocks"), [(256, 9), (128, 6)])
def test_the_generator_is_the_papers_layer_by_layer(size, blocks):
    with torch.device("meta"):
        model = CycleGanGenerator(CycleGanConfig.paper(size))
        assert outputs_of(model, torch.empty(1, 3, size, size)) == paper_generator(blocks, size)


def test_the_discriminator_is_the_papers_layer_by_layer():
    """C64-C128-C256-C512 and a last convolution: 30 × 30 logits for 256 × 256 pixels."""
    expected = [("Conv2d", 4, 2, (64, 128, 128)), ("Conv2d", 4, 2, (128, 64, 64)), ("Conv2d", 4, 2, (256, 32, 32))]
    expected += [("Conv2d", 4, 1, (512, 31, 31)), ("Conv2d", 4, 1, (1, 30, 30))]
    with torch.device("meta"):
        model = PatchDiscriminator(CycleGanConfig.paper())
        assert outputs_of(model, torch.empty(1, 3, 256, 256)) == expected


def test_the_papers_networks_have_the_parameters_their_layers_add_up_to():
    def conv(before, after, kernel, bias=False):
        return before * after * kernel**2 + bias * after

    blocks = 18 * conv(256, 256, 3)
    ends = conv(3, 64, 7) + conv(64, 3, 7, bias=True)
    sides = 2 * (conv(64, 128, 3) + conv(128, 256, 3))
    judge = conv(3, 64, 4, bias=True) + conv(64, 128, 4) + conv(128, 256, 4) + conv(256, 512, 4) + conv(512, 1, 4, True)
    with torch.device("meta"):
        models = CycleGanGenerator(CycleGanConfig.paper()), PatchDiscriminator(CycleGanConfig.paper())
    assert [sum(p.numel() for p in model.parameters()) for model in models] == [blocks + ends + sides, judge]


@pytest.mark.parametrize(("n_layers", "side"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_a_patch_of_just_that_side(n_layers, side):
    """The formula, and the pixels whose change a logit in the middle can notice."""
    torch.manual_seed(0)
    model = PatchDiscriminator(CycleGanConfig(discriminator_width=2, n_layers=n_layers)).double()
    nn.init.constant_(model.to_logits.weight, 1.0)
    assert model.patch == side
    layers = [*model.convs, model.to_logits]  # without the normalisation, which looks at the whole picture
    x = images = torch.rand(1, 3, 160, 160, dtype=torch.double, requires_grad=True)
    for layer in layers[:-1]:
        x = F.leaky_relu(layer(x), 0.2)
    logits = layers[-1](x)[0, 0]
    (gradient,) = torch.autograd.grad(logits[logits.shape[0] // 2, logits.shape[1] // 2], images)
    for other_axes in ((0, 2), (0, 1)):
        reached = gradient[0].abs().sum(dim=other_axes).nonzero().flatten()
        assert reached.max() - reached.min() + 1 == side


def test_the_receptive_field_of_one_layer_is_its_kernel():
    assert receptive_field([nn.Conv2d(1, 1, 5, stride=3)]) == 5
    assert receptive_field([nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)]) == 5


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_the_generator_is_the_layers_of_the_paper_written_out(upsampling):
    torch.manual_seed(0)
    model = CycleGanGenerator(CycleGanConfig(**SMALL, upsampling=upsampling))
    weights = {name: 0.2 * torch.randn_like(tensor) for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights)
    images = torch.rand(2, 3, 16, 12) * 2 - 1

    def mirrored(x, name, bias=None):
        weight = weights[f"{name}.weight"]
        side = weight.shape[-1] // 2
        return F.conv2d(F.pad(x, (side,) * 4, mode="reflect"), weight, bias)

    def normed(x):
        mean, variance = x.mean(dim=(2, 3), keepdim=True), x.var(dim=(2, 3), keepdim=True, correction=0)
        return (x - mean) / (variance + 1e-5).sqrt()

    x = F.relu(normed(mirrored(images, "conv_in")))
    for n in range(2):
        x = F.relu(normed(F.conv2d(x, weights[f"downs.{n}.weight"], stride=2, padding=1)))
    for n in range(2):
        y = F.relu(normed(mirrored(x, f"blocks.{n}.conv1")))
        x = x + normed(mirrored(y, f"blocks.{n}.conv2"))
    for n in range(2):
        if upsampling == "resize":
            x = mirrored(x.repeat_interleave(2, 2).repeat_interleave(2, 3), f"ups.{n}.1")
        else:
            x = F.conv_transpose2d(x, weights[f"ups.{n}.weight"], stride=2, padding=1, output_padding=1)
        x = F.relu(normed(x))
    expected = mirrored(x, "conv_out", weights["conv_out.bias"]).tanh()
    assert_close(model(images), expected, atol=1e-5, rtol=1e-5)


def test_transposed_convolution_leaves_a_checkerboard_where_resizing_does_not():
    """A constant input: any pattern in the middle of the output comes from the upsampling alone."""
    torch.manual_seed(0)
    spread = {}
    for kind in UPSAMPLINGS:
        up = CycleGanGenerator(CycleGanConfig(**SMALL, upsampling=kind)).ups[0]
        middle = up(torch.ones(1, 16, 8, 8)).detach()[0, :, 4:-4, 4:-4]
        spread[kind] = float(middle.std(dim=(1, 2)).max() / middle.abs().mean())
    assert spread["resize"] < 1e-5 < 0.1 < spread["transposed"]


def test_weights_begin_small_and_biases_at_nothing():
    torch.manual_seed(0)
    for model in (CycleGanGenerator(CycleGanConfig.tiny()), PatchDiscriminator(CycleGanConfig.tiny())):
        weights = torch.cat([p.flatten() for n, p in model.named_parameters() if n.endswith("weight")])
        assert weights.std().item() == pytest.approx(0.02, rel=0.05)
        assert all(p.count_nonzero() == 0 for n, p in model.named_parameters() if n.endswith("bias"))


def test_tiny_judges_patches_of_a_scene_and_every_weight_gets_a_gradient():
    torch.manual_seed(0)
    generator, discriminator = CycleGanGenerator(CycleGanConfig.tiny()), PatchDiscriminator(CycleGanConfig.tiny())
    logits = discriminator(generator(torch.rand(1, 3, 32, 32)))
    assert logits.shape == (1, 14, 14)
    assert discriminator.patch == 16
    logits.square().sum().backward()
    assert all(p.grad.isfinite().all() for m in (generator, discriminator) for p in m.parameters())


def test_a_generator_learns_to_darken():
    torch.manual_seed(0)
    model = CycleGanGenerator(CycleGanConfig(**SMALL, upsampling="resize"))
    images = torch.rand(4, 3, 8, 8) * 2 - 1
    night = 0.4 * images - 0.5
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (model(images) - night).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("halvings", "side"), [(1, 4), (3, 24)])
def test_pictures_may_be_halved_less_or_more_often_than_in_the_paper(halvings, side):
    model = CycleGanGenerator(CycleGanConfig(**SMALL, n_halvings=halvings, outer_kernel=3))
    seen = outputs_of(model, torch.zeros(1, 3, side, side))
    smallest = 4 * 2**halvings, side // 2**halvings, side // 2**halvings
    assert seen[halvings][3] == smallest
    assert seen[-1] == ("Conv2d", 3, 1, (3, side, side))
    with pytest.raises(ValueError, match=f"multiples of {2**halvings} of at least {2 ** (halvings + 1)}, got"):
        model(torch.zeros(1, 3, side + 1, side))


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(width=0), "width must be at least 1, got 0"),
        (dict(n_blocks=0), "n_blocks must be at least 1, got 0"),
        (dict(n_layers=-1), "n_layers must be at least 1, got -1"),
        (dict(upsampling="shuffle"), "must be one of .* got 'shuffle'"),
        (dict(n_halvings=0), "n_halvings must be at least 1, got 0"),
        (dict(outer_kernel=4), "outer_kernel must be odd, got 4"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CycleGanConfig(**options)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 3, 18, 16), (1, 3, 4, 16)])
def test_pictures_that_would_come_back_in_another_size_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(batch, 3, rows, columns\), sides multiples of 4 .* got \(1, "):
        CycleGanGenerator(CycleGanConfig(**SMALL))(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 3, 23, 32)])
def test_pictures_too_small_for_a_patch_are_refused(shape):
    with pytest.raises(ValueError, match=r"sides of at least 24, got \(1, "):
        PatchDiscriminator(CycleGanConfig())(torch.zeros(shape))


def test_the_smallest_picture_gives_one_logit_a_side():
    assert PatchDiscriminator(CycleGanConfig(**SMALL))(torch.zeros(1, 3, 24, 24)).shape == (1, 1, 1)
