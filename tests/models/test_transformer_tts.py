"""Transformer TTS: its edges, padding, one step at a time beside teacher forcing, the sizes, and that it learns."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from lectures_lib.attention import recorded_weights
from lectures_lib.inference.spectrogram import speak
from lectures_lib.layers import sinusoidal_positions
from lectures_lib.losses.speech import guided_attention_loss, spectrogram_loss
from lectures_lib.models.transformer_tts import (
    ConvolutionBlock,
    DecoderPrenet,
    MaskedBatchNorm,
    ScaledPositions,
    TransformerTTS,
    TTSConfig,
)

PROPERTY = settings(deadline=None, max_examples=12)
KINDS = [{}, dict(norm="pre"), dict(frames_per_step=2), dict(frames_per_step=3, n_post_convolutions=3)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def config(**options):
    sizes = dict(vocabulary=7, n_bands=3, d_model=8, n_heads=2, d_feed_forward=16, n_encoder_layers=2)
    sizes |= dict(n_decoder_layers=2, d_prenet=6, d_post=5, n_encoder_convolutions=2, n_post_convolutions=2)
    return TTSConfig(**sizes | dict(kernel=3, convolution_dropout=0.0, max_length=20) | options)


def build(**options):
    torch.manual_seed(0)
    model = TransformerTTS(config(**options)).eval()
    with torch.no_grad():  # biases begin at zero and norms at one: a bug that loses one must show
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.add_(torch.randn_like(parameter) / 4)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 2)
    return model


def sample(frames=6):
    tokens, token_lengths = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]]), torch.tensor([4, 2])
    spectrogram = torch.randn(2, frames, 3, generator=seeded(1))
    return tokens, token_lengths, spectrogram, torch.tensor([frames, frames - 3])


# The edges


def test_scaled_positions_are_the_table_times_a_learned_number_that_begins_at_one():
    positions, x = ScaledPositions(9, 4), torch.randn(2, 3, 4)
    assert positions.scale == 1
    with torch.no_grad():
        positions.scale.fill_(0.5)
    assert_close(positions(x, 2), x + 0.5 * sinusoidal_positions(9, 4)[2:5])
    positions(x).sum().backward()
    assert_close(positions.scale.grad, 2 * sinusoidal_positions(3, 4).sum())
    with pytest.raises(ValueError, match="table has 9 rows, got a sequence of 10"):
        positions(x, 7)


def test_each_side_has_a_scale_of_its_own():
    model = build()
    assert model.encoder_positions.scale is not model.decoder_positions.scale
    model(*sample()).after.sin().sum().backward()
    assert model.encoder_positions.scale.grad.abs() > 0
    assert model.decoder_positions.scale.grad.abs() > 0


def test_the_decoders_dropout_stays_on_when_the_model_speaks():
    """NVIDIA/tacotron2#247."""
    prenet, frames = DecoderPrenet(config()).eval(), torch.randn(2, 5, 3)
    assert not torch.equal(prenet(frames), prenet(frames))
    assert torch.equal(prenet(frames, seeded(1)), prenet(frames, seeded(1)))
    assert not torch.equal(prenet(frames, seeded(1)), prenet(frames, seeded(2)))
    quiet = DecoderPrenet(config(prenet_dropout=0.0))
    assert torch.equal(quiet(frames), quiet(frames, seeded(1)))


@pytest.mark.parametrize("generator", [None, seeded()])
def test_half_of_its_numbers_are_dropped_and_the_others_doubled(generator):
    prenet = DecoderPrenet(config()).eval()
    dropped = prenet._dropped(torch.ones(100, 100), generator)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert abs(dropped.mean() - 1) < 0.05


@PROPERTY
@given(seed=st.integers(0, 99), junk=st.floats(-9, 9))
def test_batch_normalisation_of_a_padded_batch_is_that_of_its_real_steps(seed, junk):
    torch.manual_seed(seed)
    ours, theirs = MaskedBatchNorm(3), nn.BatchNorm1d(3)
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 1.5)
        nn.init.constant_(norm.bias, 0.5)
    x, present = torch.randn(2, 3, 6), torch.arange(6) < torch.tensor([[[6]], [[2]]])
    real = torch.cat([x[0].T, x[1, :, :2].T])
    expected = theirs(real)
    padded = ours(x.where(present, junk), present)
    assert_close(padded.transpose(1, 2)[present.squeeze(1)], expected)
    assert_close(ours.running_mean, theirs.running_mean)
    assert_close(ours.running_var, theirs.running_var)
    assert_close(ours.eval()(x), theirs.eval()(x))


def test_a_convolution_block_takes_the_end_of_a_row_for_the_end():
    torch.manual_seed(0)
    block = ConvolutionBlock(3, 4, 5, activation="tanh").eval()
    block.norm.bias.data.fill_(1.0)  # so that padding would come out as something
    x, present = torch.randn(1, 3, 7), (torch.arange(7) < 5).view(1, 1, 7)
    out = block(x * present, present)
    assert_close(out[:, :, :5], block(x[:, :, :5]))
    assert out[:, :, 5:].count_nonzero() == 0


# What may influence what


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_row_sounds_the_same_alone_and_beside_a_longer_one(options):
    model = build(prenet_dropout=0.0, **options)
    tokens, token_lengths, spectrogram, lengths = sample()
    spectrogram = spectrogram.where((torch.arange(6) < lengths[:, None])[..., None], 99.0)
    together = model(tokens, token_lengths, spectrogram, lengths)
    alone = model(tokens[1:, :2], token_lengths[1:], spectrogram[1:], lengths[1:])
    assert_close(together.after[1, :3], alone.after[0, :3], atol=1e-5, rtol=1e-5)
    assert_close(together.stop[1, :3], alone.stop[0, :3], atol=1e-5, rtol=1e-5)


def test_a_frame_cannot_see_the_frames_yet_to_come():
    model = build(prenet_dropout=0.0)
    tokens, token_lengths, spectrogram, lengths = sample()
    spectrogram.requires_grad_()
    before = model(tokens, token_lengths, spectrogram, lengths).before
    (gradient,) = torch.autograd.grad(before[0, 3].sin().sum(), spectrogram)
    assert gradient[0, 3:].count_nonzero() == 0
    assert gradient[0, :3].abs().sum(-1).count_nonzero() == 3


def test_with_several_frames_a_step_it_is_given_the_last_of_each_group():
    model = build(frames_per_step=3)
    assert torch.equal(model._shifted(torch.arange(9.0).view(1, 9, 1)).flatten(), torch.tensor([0.0, 2, 5]))
    assert model(*sample()).before.shape == (2, 6, 3)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_step_by_step_draws_the_frames_of_teacher_forcing(options):
    model = build(prenet_dropout=0.0, **options)
    every = model.config.frames_per_step
    tokens, token_lengths, spectrogram, lengths = sample()
    whole = model(tokens, token_lengths, spectrogram, lengths)
    with torch.no_grad():
        state = model.start(tokens, token_lengths)
        frame = torch.zeros(2, 3)
        for first in range(0, 6, every):
            frames, stop, state = model.step(frame, state)
            assert_close(frames, whole.before[:, first : first + every], atol=1e-5, rtol=1e-5)
            assert_close(stop, whole.stop[:, first : first + every], atol=1e-5, rtol=1e-5)
            frame = spectrogram[:, first + every - 1]


# Speaking


def test_speaking_goes_on_from_its_own_frames_and_mends_them_at_the_end():
    model = build(prenet_dropout=0.0, frames_per_step=2)
    model.stop.bias.data.fill_(-99.0)
    tokens, token_lengths, *_ = sample()
    said, lengths = speak(model, tokens, token_lengths, max_frames=5)
    assert lengths.tolist() == [5, 5]
    assert said.shape == (2, 5, 3)
    drawn = torch.zeros(2, 6, 3)  # the same by teacher forcing on what was drawn, again and again
    for _ in range(3):
        drawn = model(tokens, token_lengths, drawn, torch.tensor([6, 6])).before.detach()
    assert_close(said, model.post_net(drawn[:, :5]), atol=1e-5, rtol=1e-5)


def test_a_row_ends_with_the_frame_that_says_stop_and_is_silent_after():
    model = build(frames_per_step=2)
    tokens, token_lengths, *_ = sample()
    calls = []

    def step(frame, state, generator=None):
        calls.append(frame)
        stop = torch.full((2, 2), -9.0)
        if len(calls) == 2:
            stop[0, 0] = 9  # row 0 ends with frame 3
        if len(calls) >= 3:
            stop[:, 1] = 9  # row 1 with frame 6; row 0 has ended already
        return torch.ones(2, 2, 3), stop, state

    model.step = step
    said, lengths = speak(model, tokens, token_lengths, max_frames=40)
    assert lengths.tolist() == [3, 6]
    assert len(calls) == 3
    assert said.shape == (2, 6, 3)
    assert said[0, 3:].count_nonzero() == 0
    assert_close(said[0, :3], model.post_net(torch.ones(1, 3, 3))[0])


def test_the_same_generator_gives_the_same_reading():
    model = build()
    tokens, token_lengths, *_ = sample()
    first, again, other = (speak(model, tokens, token_lengths, max_frames=4, generator=seeded(s))[0] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(max_frames=0), "max_frames must be at least 1, got 0"),
        (dict(max_frames=5, threshold=1), r"threshold must lie in \(0, 1\), got 1"),
    ],
)
def test_speaking_without_end_or_threshold_is_refused(options, message):
    tokens, token_lengths, *_ = sample()
    with pytest.raises(ValueError, match=message):
        speak(build(), tokens, token_lengths, **options)


# Sizes


def test_the_papers_size_is_about_the_54_million_that_fairseq_reports():
    with torch.device("meta"):
        model = TransformerTTS(TTSConfig.paper())
    number = sum(p.numel() for p in model.parameters())
    d, inner, post = 512, 2048, 512
    attention = 4 * (d * d + d)
    feed_forward = d * inner + inner + inner * d + d
    layers = 6 * (attention + feed_forward + 4 * d) + 6 * (2 * attention + feed_forward + 6 * d)
    encoder_prenet = 75 * d + 3 * (d * d * 5 + 2 * d) + d * d + d
    decoder_prenet = 80 * 256 + 256 + 256 * 256 + 256 + 256 * d + d
    post_net = 5 * (2 * 80 * post + 3 * post * post) + 2 * (4 * post + 80)
    heads = d * 80 + 80 + d + 1
    assert number == layers + encoder_prenet + decoder_prenet + post_net + heads + 2
    assert abs(number / 54e6 - 1) < 0.03


def test_tiny_is_small_enough_for_a_notebook():
    with torch.device("meta"):
        model = TransformerTTS(TTSConfig.tiny(40))
    assert sum(p.numel() for p in model.parameters()) < 400_000


# Learning


def test_it_learns_to_draw_each_letter_and_to_stop_and_its_attention_can_be_guided():
    torch.manual_seed(0)
    model = TransformerTTS(config(norm="pre", d_model=16, d_feed_forward=32, n_encoder_layers=1, n_decoder_layers=1,
                                  d_prenet=16, prenet_dropout=0.1))  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    shapes = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])

    def draw(number):
        lengths = torch.randint(2, 5, (number,))
        tokens = torch.randint(0, 7, (number, 4))
        return tokens, lengths, shapes[tokens].repeat_interleave(2, dim=1), 2 * lengths

    history = []
    for _ in range(150):
        tokens, token_lengths, spectrogram, lengths = draw(32)
        with recorded_weights(model, differentiable=True) as weights:
            output = model(tokens, token_lengths, spectrogram, lengths)
        total, frames = spectrogram_loss(*output, spectrogram, lengths)
        off, looked = guided_attention_loss(
            weights["decoder_layers.0.cross_attention"], lengths, token_lengths, width=0.2
        )
        optimizer.zero_grad()
        (total / frames + 10 * off / looked).backward()
        optimizer.step()
        history.append(((total / frames).item(), (off / looked).item()))
    assert sum(h[0] for h in history[-10:]) < 0.4 * sum(h[0] for h in history[:10])
    assert sum(h[1] for h in history[-10:]) < 0.7 * sum(h[1] for h in history[:10])
    tokens, token_lengths, spectrogram, lengths = draw(40)
    said, ended = speak(model.eval(), tokens, token_lengths, max_frames=12, generator=seeded())
    assert (ended == lengths).float().mean() > 0.7


# The meta device, and bad input


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        model = TransformerTTS(config(dropout=0.1, convolution_dropout=0.1))
    tokens, token_lengths, spectrogram, lengths = (x.to("meta") for x in sample())
    output = model(tokens, token_lengths, spectrogram, lengths)
    assert {part.device.type for part in output} == {"meta"}
    frames, stop, _ = model.step(spectrogram[:, 0], model.start(tokens, token_lengths))
    assert (frames.shape, stop.shape, frames.device.type) == ((2, 1, 3), (2, 1), "meta")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(d_model=7, n_heads=1), "d_model must be even and divisible by n_heads, got 7 and 1"),
        (dict(kernel=4), "kernel must be odd, as wide before as after, got 4"),
        (dict(n_post_convolutions=1), "n_post_convolutions must be at least 2, got 1"),
        (dict(frames_per_step=0), "frames_per_step must be at least 1, got 0"),
        (dict(prenet_dropout=1), "prenet_dropout must lie in [0, 1), got 1"),
        (dict(norm="rms"), "norm must be one of"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        config(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(spectrogram=torch.zeros(2, 5, 3)), "spectrogram must have a multiple of 2 frames, got 5"),
        (dict(spectrogram=torch.zeros(2, 6, 4)), "spectrogram must have shape (2, frames, 3), got (2, 6, 4)"),
        (dict(lengths=torch.tensor([6])), "lengths must have shape (2,), got (1,)"),
        (dict(lengths=torch.tensor([6, 0])), "lengths must be at least 1, got 0"),
        (dict(lengths=torch.tensor([6, 7])), "lengths must lie between 0 and 6, got 6 to 7"),
        (dict(token_lengths=torch.tensor([4, 0])), "token_lengths must be at least 1, got 0"),
        (dict(token_lengths=torch.tensor([4])), "token_lengths must have shape (2,), got (1,)"),
    ],
)
def test_inputs_that_do_not_fit_together_are_shown(change, message):
    names = ("tokens", "token_lengths", "spectrogram", "lengths")
    with pytest.raises(ValueError, match=re.escape(message)):
        build(frames_per_step=2)(**dict(zip(names, sample(), strict=True)) | change)
