"""Sound in chunks: the same as the whole, with no more memory, and only from spectrograms the model knows."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from lectures_lib.audio import MelConfig
from lectures_lib.inference.vocode import vocode, vocode_chunks
from lectures_lib.models.hifigan import HifiGanConfig, HifiGanGenerator

MEL = MelConfig(sample_rate=8000, n_fft=64, hop=8, window=64, bands=5, f_max=None)
SIZES = dict(upsample_rates=(4, 2), upsample_kernels=(8, 4), block_kernels=(3, 7), block_dilations=((1, 2), (1, 3)))


def build(**options):
    torch.manual_seed(0)
    model = HifiGanGenerator(HifiGanConfig(mel_bands=5, channels=8, **SIZES | options), folded=True)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def mel(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)) - 5


@settings(deadline=None, max_examples=25)
@given(frames=st.integers(1, 60), chunk=st.integers(1, 70), block=st.sampled_from([1, 2]))
def test_chunks_are_the_whole_whatever_their_size(frames, chunk, block):
    model, log_mel = build(block=block), mel(2, 5, frames)
    assert_close(vocode(model, log_mel, MEL, chunk=chunk), model(log_mel).detach(), atol=1e-5, rtol=0)


def test_without_overlap_there_are_seams():
    model, log_mel = build(), mel(5, 40)
    whole = vocode(model, log_mel)
    assert (vocode(model, log_mel, chunk=20, overlap=0) - whole).abs().max() > 1e-3
    far = slice(0, 8 * (20 - model.config.context))
    assert_close(vocode(model, log_mel, chunk=20, overlap=0)[far], whole[far], atol=1e-5, rtol=0)


def test_no_chunk_sees_more_frames_than_its_own_and_the_overlap_on_either_side():
    model = build()
    widths = []
    model.register_forward_pre_hook(lambda module, inputs: widths.append(inputs[0].shape[-1]))
    pieces = list(vocode_chunks(model, mel(5, 200), chunk=16))
    assert len(pieces) == 13
    assert max(widths) == 16 + 2 * model.config.context
    assert [len(piece) for piece in pieces] == [128] * 12 + [64]


def test_a_single_spectrogram_has_no_batch_and_nothing_carries_a_gradient():
    sound = vocode(build(), mel(5, 7))
    assert sound.shape == (56,)
    assert not sound.requires_grad


def test_silence_gives_finite_sound():
    assert vocode(build(), torch.full((5, 9), math.log(1e-5)), MEL).isfinite().all()


@pytest.mark.parametrize(
    ("log_mel", "config", "options", "message"),
    [
        (mel(80, 4), None, {}, r"\(5, frames\).* got \(80, 4\)"),
        (mel(5, 0), None, {}, r"at least 1 frame, got \(5, 0\)"),
        (mel(5, 4), MelConfig(bands=5, hop=256), {}, "hop of 256 samples; the model wants 5 bands and a hop of 8"),
        (mel(5, 4), MelConfig(), {}, "80 mel bands and a hop of 256 samples; the model wants 5 bands and a hop of 8"),
        (torch.full((5, 4), math.nan), None, {}, "log_mel must be finite"),
        (mel(5, 4), None, dict(chunk=0), "chunk must be at least 1 frame, got 0"),
        (mel(5, 4), None, dict(overlap=-1), "overlap must be at least 0 frames, got -1"),
    ],
)
def test_what_the_model_cannot_say_is_refused(log_mel, config, options, message):
    with pytest.raises(ValueError, match=message):
        vocode(build(), log_mel, config, **options)
