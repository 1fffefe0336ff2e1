"""HiFi-GAN: the paper's sizes, the reach of a sample, what each discriminator looks at, and a generator that learns."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.models.hifigan import (
    LAST_SLOPE,
    HifiGanConfig,
    HifiGanDiscriminatorConfig,
    HifiGanGenerator,
    MultiPeriodDiscriminator,
    MultiScaleDiscriminator,
)

NARROW = dict(mel_bands=3, channels=8)
SHORT = dict(upsample_rates=(4, 2), upsample_kernels=(8, 4), block_kernels=(3, 5), block_dilations=((1, 2), (1, 3)))
LISTENERS = HifiGanDiscriminatorConfig(
    periods=(2, 3), period_channels=(4, 6, 6), scales=2, scale_layers=((4, 5, 1, 1), (8, 9, 2, 4), (8, 3, 1, 1))
)


def build(seed=0, **options):
    """A generator with weights large enough that every part of it can be heard."""
    torch.manual_seed(seed)
    model = HifiGanGenerator(HifiGanConfig(**NARROW | SHORT | options), folded=True)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# Sizes


@pytest.mark.parametrize(
    ("config", "millions", "hop"),
    [(HifiGanConfig.v1(), 13.92, 256), (HifiGanConfig.v2(), 0.92, 256), (HifiGanConfig.v3(), 1.46, 256)],
)
def test_the_generators_have_the_papers_parameters(config, millions, hop):
    """Table 1 of the paper, whose digits beyond the second are cut off."""
    with torch.device("meta"):
        plain = HifiGanGenerator(config, folded=True)
        trained = HifiGanGenerator(config)
    assert config.hop == hop
    assert millions <= count(plain) / 1e6 < millions + 0.01
    assert count(trained) > count(plain)  # weight normalisation adds a length for every channel


def test_the_discriminators_have_the_published_parameters():
    config = HifiGanDiscriminatorConfig.paper()
    with torch.device("meta"):
        period, scale = MultiPeriodDiscriminator(config), MultiScaleDiscriminator(config)
    assert round(count(period) / 1e6, 1) == 41.1
    assert round(count(scale) / 1e6, 1) == 29.6


def test_paper_is_v1_and_tiny_is_small():
    assert HifiGanConfig.paper() == HifiGanConfig.v1()
    tiny = HifiGanDiscriminatorConfig.tiny()
    assert count(HifiGanGenerator(HifiGanConfig.tiny())) < 200_000
    assert count(MultiPeriodDiscriminator(tiny)) + count(MultiScaleDiscriminator(tiny)) < 400_000


def test_everything_runs_on_the_meta_device():
    config = HifiGanDiscriminatorConfig.tiny()
    with torch.device("meta"):
        sound = HifiGanGenerator(HifiGanConfig.v3())(torch.empty(2, 80, 8))
        judgements = MultiPeriodDiscriminator(config)(sound) + MultiScaleDiscriminator(config)(sound)
    assert sound.shape == (2, 2048)
    assert all(judgement.logits.device.type == "meta" for judgement in judgements)


# The generator


def test_initial_weights_are_small_and_biases_nothing():
    torch.manual_seed(0)
    model = HifiGanGenerator(HifiGanConfig.tiny())
    assert model.conv_in.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert all(parameter.count_nonzero() == 0 for name, parameter in model.named_parameters() if "bias" in name)


@pytest.mark.parametrize("block", [1, 2])
def test_folding_changes_nothing_that_can_be_heard(block):
    torch.manual_seed(0)
    model = HifiGanGenerator(HifiGanConfig(**NARROW | SHORT, block=block))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    log_mel = torch.randn(2, 3, 6)
    before = model(log_mel)
    assert model.fold_weight_norm() is model
    assert_close(model(log_mel), before, atol=1e-5, rtol=0)
    assert not any("parametrizations" in name for name in model.state_dict())
    model.fold_weight_norm()  # a second time there is nothing left to do
    HifiGanGenerator(model.config, folded=True).load_state_dict(model.state_dict())


def test_the_last_bend_is_steeper_than_the_others():
    """Published as an oversight, kept by everyone since: weights trained with one slope need it."""
    model = build()
    seen = []
    model.conv_out.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    inside = []
    model.fusions[-1].register_forward_hook(lambda module, inputs, output: inside.append(output))
    model(torch.randn(1, 3, 5))
    assert LAST_SLOPE == 0.01
    assert (inside[0] < 0).any()
    assert_close(seen[0], F.leaky_relu(inside[0], 0.01))


@settings(deadline=None, max_examples=15)
@given(frames=st.integers(1, 9), batch=st.integers(1, 3))
def test_there_are_hop_samples_a_frame_within_one(frames, batch):
    sound = build()(torch.randn(batch, 3, frames))
    assert sound.shape == (batch, 8 * frames)
    assert sound.abs().max() <= 1


@pytest.mark.parametrize("options", [{}, dict(block=2), dict(upsample_rates=(2, 2), upsample_kernels=(6, 2))])
def test_a_sample_depends_on_its_context_and_on_no_more(options):
    model = build(**options).double()
    context = model.config.context
    frames = 2 * context + 9
    log_mel = torch.randn(1, 3, frames, dtype=torch.double, requires_grad=True)
    hop = model.config.hop
    middle = context + 4
    (gradient,) = torch.autograd.grad(model(log_mel)[0, middle * hop : (middle + 1) * hop].sum(), log_mel)
    reached = gradient.abs().sum(dim=(0, 1)).nonzero().flatten()
    assert reached.min() >= middle - context
    assert reached.max() <= middle + context
    assert reached.max() - reached.min() >= 2 * context - 2  # rounding up costs little


def test_normalisation_of_the_bands_comes_first():
    plain, normed = build(), build(normalise=True)
    normed.load_state_dict(plain.state_dict() | {"mean": torch.tensor([1.0, 2, 3]), "scale": torch.tensor([2.0, 4, 1])})
    log_mel = torch.randn(1, 3, 4)
    expected = plain((log_mel - torch.tensor([1.0, 2, 3])[:, None]) / torch.tensor([2.0, 4, 1])[:, None])
    assert_close(normed(log_mel), expected)


def test_a_generator_learns_a_tone():
    torch.manual_seed(0)
    model = HifiGanGenerator(HifiGanConfig(**NARROW | SHORT | dict(channels=16)))
    log_mel = torch.randn(1, 3, 16)
    tone = 0.5 * torch.sin(torch.arange(128) * 0.4).unsqueeze(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        loss = (model(log_mel) - tone).square().mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.3 * tone.square().mean()


# The discriminators


def test_a_period_looks_down_its_columns_only():
    """A change of one sample changes what is said of its own column, and of no other."""
    torch.manual_seed(0)
    part = MultiPeriodDiscriminator(LISTENERS).parts[1]  # period 3
    samples = torch.randn(1, 60)
    changed = samples.clone()
    changed[0, 30] += 1  # column 0
    before, after = (part(x).features[-1] for x in (samples, changed))
    assert not torch.equal(before[..., 0], after[..., 0])
    assert_close(before[..., 1:], after[..., 1:], rtol=0, atol=0)


def test_a_time_that_a_period_does_not_divide_is_reflected():
    part = MultiPeriodDiscriminator(LISTENERS).parts[1]
    samples = torch.randn(1, 61)  # two short of 63
    reflected = torch.cat([samples, samples[:, [59, 58]]], dim=1)
    assert_close(part(samples).logits, part(reflected).logits)


def test_scales_hear_the_sound_at_half_rate():
    model = MultiScaleDiscriminator(LISTENERS).eval()
    first, second = model(torch.randn(1, 64))
    assert first.features[0].shape == (1, 4, 64)
    assert second.features[0].shape == (1, 4, 33)


def test_only_the_first_scale_has_spectral_normalisation():
    names = [name for name, _ in MultiScaleDiscriminator(HifiGanDiscriminatorConfig.tiny()).named_buffers()]
    assert names
    assert all(name.startswith("parts.0.") for name in names)


def test_every_layer_is_among_the_features_and_the_last_is_the_logits():
    samples = torch.randn(2, 64)
    for model in (MultiPeriodDiscriminator(LISTENERS), MultiScaleDiscriminator(LISTENERS)):
        for judgement in model(samples):
            assert len(judgement.features) == 4
            assert torch.equal(judgement.features[-1].flatten(1), judgement.logits)


@pytest.mark.parametrize("kind", [MultiPeriodDiscriminator, MultiScaleDiscriminator])
def test_gradients_reach_every_parameter(kind):
    torch.manual_seed(0)
    model = kind(LISTENERS)
    sum(judgement.logits.square().sum() for judgement in model(torch.randn(2, 64))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(mel_bands=0), "mel_bands must be at least 1, got 0"),
        (dict(upsample_rates=(8,)), r"must be as many.* got \(8,\)"),
        (dict(upsample_kernels=(16, 16, 4, 5)), "got 5 for 2"),
        (dict(upsample_kernels=(16, 4, 4, 4)), "got 4 for 8"),
        (dict(channels=24), "channels must be halved 4 times, got 24"),
        (dict(block=3), "block must be 1 or 2, got 3"),
        (dict(block_kernels=(3, 7)), r"must be as many.* got \(3, 7\)"),
        (dict(block_kernels=(3, 7, 10)), r"block_kernels must be odd, got \(3, 7, 10\)"),
        (dict(block_dilations=((1,), (), (1,))), "block_dilations must hold"),
    ],
)
def test_generators_that_cannot_be_built_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HifiGanConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(periods=()), r"periods must hold numbers of at least 2, got \(\)"),
        (dict(periods=(1, 2)), "periods must hold"),
        (dict(period_channels=(0,)), "period_channels must hold"),
        (dict(scales=0), "scales must be at least 1, got 0"),
        (dict(scale_layers=()), "at least one layer, got none"),
        (dict(scale_layers=((4, 5, 1, 1), (6, 5, 1, 4))), r"got \(6, 5, 1, 4\) after 4 channels"),
        (dict(scale_layers=((4, 4, 1, 1),)), r"odd kernel.* got \(4, 4, 1, 1\)"),
    ],
)
def test_discriminators_that_cannot_be_built_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HifiGanDiscriminatorConfig(**options)


def test_a_spectrogram_with_other_bands_or_no_frames_is_refused():
    for shape in ((1, 80, 4), (1, 3, 0)):
        with pytest.raises(ValueError, match=r"must have shape \(batch, 3, frames\) with at least 1 frame, got \(1, "):
            build()(torch.zeros(shape))


def test_sound_too_short_to_fold_is_refused():
    with pytest.raises(ValueError, match="at least 6 long for this model, got 5"):
        MultiPeriodDiscriminator(LISTENERS)(torch.zeros(1, 5))
