"""wav2vec 2.0: frames, gaps and distractors, the quantiser, who sees what, the paper's sizes, and that it learns."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.inference.ctc import spell
from lectures_lib.losses.contrastive import wav2vec2_loss
from lectures_lib.losses.speech import ctc_loss
from lectures_lib.models.wav2vec2 import (
    ConvolutionalPositions,
    GumbelQuantizer,
    Wav2Vec2,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPretraining,
    draw_distractors,
    gumbel_temperature,
    span_mask,
)

PROPERTY = settings(deadline=None, max_examples=15)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def config(**options):
    sizes = dict(convolutions=((8, 4, 2), (6, 3, 2)), d_model=8, n_heads=2, d_feed_forward=16, n_layers=2)
    sizes |= dict(position_kernel=4, position_groups=2, n_groups=2, n_codes=5, d_code=6, d_final=4)
    return Wav2Vec2Config(**sizes | options)


def shaken(model):
    with torch.no_grad():  # biases begin at zero: a bug that loses one must show
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) / 4)
    return model.eval()


def build(kind=Wav2Vec2, **options):
    torch.manual_seed(0)
    return shaken(kind(config(**options)))


# Frames


def test_the_papers_convolutions_give_a_frame_every_20_ms_that_has_seen_25():
    paper = Wav2Vec2Config.paper()
    assert (paper.stride, paper.receptive_field) == (320, 400)  # samples, 16,000 a second
    assert paper.frames(16_000) == 49
    assert Wav2Vec2Config.tiny().stride == 160  # 8,000 a second


@PROPERTY
@given(samples=st.integers(10, 60))
def test_frames_are_counted_as_they_come_and_the_shortest_waveform_gives_one(samples):
    model = build()
    assert model.config.receptive_field == 8
    assert model(torch.randn(1, samples)).shape == (1, model.config.frames(samples), 8)
    assert model(torch.randn(1, 8)).shape[1] == model.config.frames(8) == 1
    assert model.config.frames(7) < 1


def test_a_frame_sees_its_receptive_field_apart_from_the_normalisation_and_nothing_else():
    model, audio = build(), torch.randn(1, 40, requires_grad=True)
    model.features.norm = torch.nn.Identity()
    frame = 3
    (gradient,) = torch.autograd.grad(model.extract(audio)[0, frame].sin().sum(), audio)
    seen = gradient[0].nonzero().flatten()
    assert (seen.min(), seen.max()) == (frame * model.config.stride, frame * model.config.stride + 7)


def test_only_the_first_convolution_is_normalised_channel_by_channel_and_none_has_a_bias():
    model = build()
    assert (model.features.norm.num_groups, model.features.norm.num_channels) == (8, 8)
    assert all(convolution.bias is None for convolution in model.features.convolutions)


# What may influence what


def test_the_mask_vector_takes_the_place_of_what_is_hidden():
    model, audio = build(), torch.randn(2, 60)
    features = model.extract(audio)
    masked = torch.zeros(features.shape[:2], dtype=torch.bool)
    masked[0, 3:6] = True
    other = features.clone()
    other[0, 3:6] = torch.randn(3, 6)
    assert_close(model.contextualise(features, None, masked), model.contextualise(other, None, masked))
    assert not torch.allclose(model.contextualise(features), model.contextualise(other))
    assert torch.equal(model(audio, None, masked)[1], model(audio)[1])


def test_features_after_a_rows_end_are_neither_attended_to_nor_seen_by_the_positions():
    """The features themselves see padding through the GroupNorm: equal lengths where numbers must be the same."""
    model = build()
    features, lengths = torch.randn(2, 14, 6), torch.tensor([60, 40])
    frames = model.config.frames(lengths)
    assert frames.tolist() == [14, 9]
    together = model.contextualise(features, lengths)
    features[1, 9:] = 99
    assert_close(model.contextualise(features, lengths)[1, :9], together[1, :9])
    assert_close(model.contextualise(features[1:, :9])[0], together[1, :9], atol=1e-5, rtol=1e-5)


def test_positions_come_from_a_convolution_around_each_frame():
    torch.manual_seed(0)
    positions = ConvolutionalPositions(8, 4, 2)
    x = torch.randn(1, 12, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(positions(x)[0, 6].sin().sum(), x)
    assert gradient[0].abs().sum(-1).nonzero().flatten().tolist() == [4, 5, 6, 7]  # even kernel: two before, one after
    length = positions.convolution.parametrizations.weight.original0
    assert length.shape == (1, 1, 4)  # one length a step of the kernel
    with torch.no_grad():
        length.mul_(2)
        doubled = positions.convolution.weight.norm(dim=(0, 1))
    assert_close(doubled, length.flatten())


def test_the_gradient_into_the_convolutions_is_scaled_and_their_output_is_not():
    full, tenth = (build(feature_gradient=share).train() for share in (1.0, 0.1))
    audio = torch.randn(1, 40)
    gradients = []
    for model in (full, tenth):
        model(audio).sin().sum().backward()
        gradients.append(model.features.convolutions[1].weight.grad)
    assert_close(full(audio), tenth(audio))
    assert_close(gradients[1], 0.1 * gradients[0], atol=1e-6, rtol=1e-4)


def test_layers_are_left_out_in_training_only():
    model, audio = build(layer_drop=0.5), torch.randn(1, 40)
    assert torch.equal(model(audio), model(audio))
    model.train()
    torch.manual_seed(0)
    assert len({round(model(audio).sum().item(), 4) for _ in range(30)}) == 4  # each of two layers in or out


# The quantiser


def test_without_training_the_likeliest_code_of_each_group_is_taken():
    torch.manual_seed(0)
    quantizer, features = GumbelQuantizer(6, 2, 5, 8).eval(), torch.randn(2, 3, 6)
    codes = quantizer(features)
    logits = quantizer.score(features).view(2, 3, 2, 5)
    assert torch.equal(codes.numbers, logits.argmax(-1))
    assert_close(codes.probabilities, logits.softmax(-1))
    first, second = codes.numbers[1, 2]
    assert torch.equal(codes.vectors[1, 2], torch.cat([quantizer.codebooks[0, first], quantizer.codebooks[1, second]]))


def test_in_training_codes_are_drawn_as_often_as_they_are_likely():
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(3, 1, 4, 2)
    features = torch.randn(1, 1, 3).expand(1, 20_000, 3)
    codes = quantizer(features / 3, temperature=0.7)
    often = F.one_hot(codes.numbers[0, :, 0], 4).float().mean(0)
    assert_close(often, codes.probabilities[0, 0, 0], atol=0.015, rtol=0)


def test_equal_choices_give_equal_vectors_to_the_last_bit_and_gradients_go_straight_through():
    """The loss finds distractors that are the truth by comparing vectors."""
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(6, 2, 3, 8)
    codes = quantizer(torch.randn(4, 50, 6), temperature=2)
    assert len(codes.vectors.detach().flatten(0, 1).unique(dim=0)) == len(codes.numbers.flatten(0, 1).unique(dim=0))
    codes.vectors.sin().sum().backward()
    assert quantizer.score.weight.grad.abs().sum() > 0
    assert quantizer.codebooks.grad.abs().sum() > 0


def test_the_straight_through_gradient_is_that_of_the_softmax():
    torch.manual_seed(0)
    quantizer, features = GumbelQuantizer(6, 1, 3, 4), torch.randn(1, 2, 6)
    torch.manual_seed(5)
    quantizer(features, temperature=2).vectors.sum().backward()
    ours = quantizer.score.weight.grad.clone()
    quantizer.zero_grad()
    torch.manual_seed(5)
    drawn = F.gumbel_softmax(quantizer.score(features).view(1, 2, 1, 3), tau=2)
    torch.einsum("btgv,gvd->btgd", drawn, quantizer.codebooks).sum().backward()
    assert_close(ours, quantizer.score.weight.grad)


def test_the_temperature_falls_from_two_to_a_half():
    assert gumbel_temperature(0) == 2
    assert gumbel_temperature(1) == pytest.approx(2 * 0.999995)
    assert gumbel_temperature(10**6) == 0.5
    with pytest.raises(ValueError, match="step must not be negative, got -1"):
        gumbel_temperature(-1)


def test_it_begins_as_the_published_code_does():
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(64, 2, 64, 64)
    assert_close(quantizer.score.weight.std(), torch.tensor(1.0), atol=0.03, rtol=0)
    assert quantizer.score.bias.count_nonzero() == 0
    assert 0 <= quantizer.codebooks.min() < 0.01
    assert 0.99 < quantizer.codebooks.max() <= 1
    positions = ConvolutionalPositions(64, 16, 4)
    assert_close(positions.convolution.weight.std(), torch.tensor(2 / (16 * 64) ** 0.5), atol=5e-3, rtol=0)
    kernel = Wav2Vec2(Wav2Vec2Config.tiny()).features.convolutions[1].weight
    assert_close(kernel.std(), torch.tensor((2 / (32 * 8)) ** 0.5), atol=5e-3, rtol=0)


# Gaps


def test_the_papers_numbers_hide_about_half_of_a_long_utterance():
    """1 - (1 - 0.065)¹⁰ = 49 % if every frame could be a start."""
    masked = span_mask(200, 750, generator=seeded())
    assert 0.46 < masked.float().mean() < 0.5


@PROPERTY
@given(seed=st.integers(0, 999), span=st.integers(1, 4), time=st.integers(8, 30))
def test_every_gap_is_at_least_a_span_long_and_lies_within_its_row(seed, span, time):
    lengths = torch.tensor([time, time // 2, span])
    masked = span_mask(3, time, span=span, lengths=lengths, generator=seeded(seed))
    for row, length in zip(masked.tolist(), lengths.tolist(), strict=True):
        assert not any(row[length:])
        assert any(row)
        gaps = "".join("x" if hidden else " " for hidden in row).split()
        assert min(map(len, gaps)) >= span


def test_on_average_as_many_spans_start_as_were_asked_for():
    starts = span_mask(2000, 50, start_share=0.13, span=1, generator=seeded()).sum(1).float()
    assert set(starts.tolist()) == {6.0, 7.0}  # 6.5, rounded by chance
    assert abs(starts.mean() - 6.5) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(start_share=0), "start_share must lie in (0, 1], got 0"),
        (dict(span=0), "span must be at least 1, got 0"),
        (dict(fewest=0), "fewest must be at least 1, got 0"),
        (dict(span=9), "lengths must lie between span, 9, and 8 frames, got 8 to 8"),
        (dict(span=3, lengths=torch.tensor([8, 2])), "lengths must lie between span, 3, and 8 frames, got 2 to 8"),
        (dict(span=3, lengths=torch.tensor([8])), "lengths must have shape (2,), got (1,)"),
    ],
)
def test_gaps_that_cannot_be_made_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        span_mask(2, 8, generator=seeded(), **options)


# Distractors


@PROPERTY
@given(seed=st.integers(0, 999), rows=st.lists(st.sampled_from([0, 2, 3, 5]), min_size=1, max_size=4))
def test_distractors_are_other_masked_frames_of_the_same_utterance(seed, rows):
    masked = torch.arange(6) < torch.tensor(rows).unsqueeze(1)
    utterance = masked.nonzero()[:, 0]
    drawn = draw_distractors(masked, 7, generator=seeded(seed))
    assert drawn.shape == (sum(rows), 7)
    assert torch.equal(utterance[drawn], utterance.unsqueeze(1).expand(-1, 7))
    assert (drawn != torch.arange(len(drawn)).unsqueeze(1)).all()


def test_every_other_frame_is_as_likely():
    masked = torch.tensor([[True] * 4 + [False], [True] * 2 + [False] * 3])
    drawn = draw_distractors(masked, 30_000, generator=seeded())
    share = F.one_hot(drawn, 6).float().mean(1)
    expected = torch.block_diag((1 - torch.eye(4)) / 3, 1 - torch.eye(2))
    assert_close(share, expected, atol=0.015, rtol=0)


def test_a_lone_masked_frame_is_refused():
    with pytest.raises(ValueError, match="at 0 or at 2 and more frames of every row, got 1 in row 1"):
        draw_distractors(torch.tensor([[True, True], [True, False]]), generator=seeded())
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        draw_distractors(torch.tensor([[True, True]]), 0, generator=seeded())


# Sizes


def test_the_papers_sizes_have_as_many_parameters_as_everybody_elses():
    """The paper says 95 million; `transformers` counts the same to the last one."""
    from transformers import Wav2Vec2Config as TheirConfig
    from transformers import Wav2Vec2ForPreTraining as TheirForPretraining

    with torch.device("meta"):
        ours, theirs = Wav2Vec2ForPretraining(Wav2Vec2Config.paper()), TheirForPretraining(TheirConfig())
    number, their_number = (sum(p.numel() for p in model.parameters()) for model in (ours, theirs))
    assert number == their_number
    assert abs(number / 95e6 - 1) < 0.01


def test_tiny_is_small_enough_for_a_notebook():
    with torch.device("meta"):
        model = Wav2Vec2ForPretraining(Wav2Vec2Config.tiny())
    assert sum(p.numel() for p in model.parameters()) < 250_000


# Learning


def melodies(number, notes=4, samples=24):
    """Notes of three pitches, `samples` long each and no two alike in a row, and which they were: (number, notes)."""
    steps = torch.randint(1, 3, (number, notes))
    kinds = steps.cumsum(1) % 3
    pitch = torch.tensor([0.35, 0.9, 1.9])[kinds].repeat_interleave(samples, dim=1)
    return (pitch.cumsum(1) + 6.3 * torch.rand(number, 1)).sin(), kinds


def test_pretraining_lowers_the_contrastive_loss_below_that_of_guessing():
    torch.manual_seed(0)
    model = Wav2Vec2ForPretraining(config(d_model=16, d_feed_forward=32, n_layers=1, n_codes=8, d_code=8, d_final=8))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    generator, losses = seeded(), []
    for step in range(80):
        audio, _ = melodies(16, notes=6)
        frames = model.config.frames(audio.shape[1])
        masked = span_mask(16, frames, start_share=0.12, span=3, generator=generator)
        output = model(audio, masked, gumbel_temperature(step, decay=0.99))
        distractors = draw_distractors(masked, 5, generator=generator)
        total, steps = wav2vec2_loss(*output, masked, distractors, penalty=0.1)
        optimizer.zero_grad()
        (total / steps).backward()
        optimizer.step()
        losses.append((total / steps).item())
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_with_labels_it_learns_to_spell_the_notes():
    torch.manual_seed(0)
    sizes = config(convolutions=((16, 8, 4), (16, 4, 2)), d_model=16, d_feed_forward=32, n_layers=1)
    model = Wav2Vec2ForCTC(Wav2Vec2(sizes), 4)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        audio, notes = melodies(32)
        logits = model(audio)
        total, letters = ctc_loss(logits, torch.full((32,), logits.shape[1]), notes + 1, torch.full((32,), 4))
        optimizer.zero_grad()
        (total / letters).backward()
        optimizer.step()
    audio, notes = melodies(50)
    logits = model.eval()(audio)
    said = spell(logits, torch.full((50,), logits.shape[1]))
    assert sum(one == other for one, other in zip(said, (notes + 1).tolist(), strict=True)) > 45


# The meta device, and bad input


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        model = Wav2Vec2ForPretraining(config(dropout=0.1, layer_drop=0.1))
        speller = Wav2Vec2ForCTC(Wav2Vec2(config()), 5)
    audio = torch.zeros(2, 60, device="meta")
    masked = torch.zeros(2, 14, dtype=torch.bool, device="meta")
    lengths = torch.zeros(2, dtype=torch.long, device="meta")
    output = model(audio, masked, 0.7, lengths)
    assert [tuple(part.shape) for part in output] == [(2, 14, 4), (2, 14, 4), (2, 14, 2, 5), (2, 14, 6)]
    assert {part.device.type for part in (*output, speller(audio, lengths))} == {"meta"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(convolutions=()), "convolutions must be (channels, kernel, stride), all positive, got ()"),
        (dict(convolutions=((8, 0, 2),)), "all positive, got ((8, 0, 2),)"),
        (dict(d_code=5), "d_code must be divisible by n_groups, got 5 and 2"),
        (dict(position_groups=3), "d_model must be divisible by position_groups, got 8 and 3"),
        (dict(n_codes=0), "n_codes must be at least 1, got 0"),
        (dict(layer_drop=1.0), "layer_drop must lie in [0, 1), got 1.0"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        config(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(60),), "audio must have shape (batch, samples), got (60,)"),
        ((torch.zeros(1, 60).short(),), "audio must be floating-point numbers, from -1 to 1, got torch.int16"),
        ((torch.zeros(1, 7),), "audio must have at least 8 samples, what one frame sees, got 7"),
        ((torch.zeros(1, 60), torch.tensor([60, 60])), "lengths must have shape (1,), got (2,)"),
        ((torch.zeros(1, 60), torch.tensor([7])), "lengths must be at least 8 samples and not more than audio has"),
        ((torch.zeros(1, 60), torch.tensor([70])), "not more than audio has, got 70 to 70"),
        ((torch.zeros(1, 60), None, torch.zeros(1, 13).bool()), "masked must have shape (1, 14), got (1, 13)"),
    ],
)  # fmt: skip
def test_audio_it_cannot_use_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()(*arguments)


def test_a_temperature_or_a_vocabulary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        build(Wav2Vec2ForPretraining)(torch.zeros(1, 60), torch.zeros(1, 14).bool(), 0)
    with pytest.raises(ValueError, match="vocabulary must be at least 2, a letter and the blank, got 1"):
        Wav2Vec2ForCTC(build(), 1)
