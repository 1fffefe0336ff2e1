"""Sound as numbers: against librosa and SciPy, against formulas written in loops, and there and back again."""

import math

import librosa
import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib import audio
from lectures_lib.audio import (
    MelConfig,
    check_audio,
    griffin_lim,
    mel_filters,
    mel_spectrogram,
    mel_to_linear,
    read_wav,
    resample,
    spectrogram,
    write_wav,
)

SPEECH = MelConfig()
SMALL = MelConfig(sample_rate=8000, n_fft=64, hop=16, window=48, bands=8, f_max=None)


def noise(*shape, seed=0):
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tone(hertz, seconds=0.5, rate=22_050):
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(int(seconds * rate)) / rate)


# The filters and the spectrogram


@pytest.mark.parametrize(
    "config",
    [SPEECH, MelConfig(f_max=None), SMALL, MelConfig(sample_rate=16_000, bands=40, f_min=80, f_max=7600)],
)
def test_the_filters_are_librosas(config):
    theirs = librosa.filters.mel(
        sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.bands, fmin=config.f_min, fmax=config.f_max
    )
    assert_close(mel_filters(config), torch.from_numpy(theirs), atol=1e-6, rtol=1e-4)


def test_the_log_mel_spectrogram_is_what_librosas_filters_and_numpys_fourier_transform_give():
    """librosa.stft gives the same frames, but compiles for most of a minute before it does."""
    samples = noise(8192) + tone(440, seconds=8192 / 22_050)
    padded = np.pad(samples.numpy(), SPEECH.padding, mode="reflect")
    window = np.hanning(1025)[:-1]  # periodic
    frames = np.stack([padded[start : start + 1024] * window for start in range(0, 32 * 256, 256)], axis=1)
    magnitude = np.sqrt(np.abs(np.fft.rfft(frames, axis=0)) ** 2 + 1e-9)
    expected = np.log(np.maximum(librosa.filters.mel(sr=22_050, n_fft=1024, n_mels=80, fmax=8000) @ magnitude, 1e-5))
    ours = mel_spectrogram(samples, SPEECH)
    assert ours.shape == (80, 32)
    assert_close(ours, torch.from_numpy(expected).float(), atol=1e-4, rtol=0)


def test_one_frame_is_the_fourier_sum_in_plain_numpy():
    samples = noise(64)
    frame = np.pad(samples.double().numpy(), SMALL.padding, mode="reflect")[16:80]  # the second frame
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(48) / 48)
    windowed = frame * np.pad(hann, 8)
    n, k = np.arange(64), np.arange(33)[:, None]
    expected = np.sqrt(np.abs((windowed * np.exp(-2j * np.pi * k * n / 64)).sum(1)) ** 2 + 1e-9)
    assert_close(spectrogram(samples, SMALL)[:, 1], torch.from_numpy(expected).float(), atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=20)
@given(time=st.integers(40, 200), batch=st.integers(1, 3))
def test_there_is_a_frame_for_every_hop_and_a_batch_is_its_rows(time, batch):
    samples = noise(batch, time)
    together = mel_spectrogram(samples, SMALL)
    assert together.shape == (batch, 8, time // 16)
    assert_close(together, torch.stack([mel_spectrogram(row, SMALL) for row in samples]), atol=1e-5, rtol=1e-5)


def test_a_tone_is_loudest_in_the_band_around_it():
    loudest = mel_spectrogram(tone(1000), SPEECH)[:, 20].argmax()
    edges = audio._to_hertz(np.linspace(audio._to_mel(0), audio._to_mel(8000), 82))
    assert edges[loudest] < 1000 < edges[loudest + 2]


def test_silence_is_the_floor_with_a_finite_gradient():
    silence = torch.zeros(1024, requires_grad=True)
    mel = mel_spectrogram(silence, SPEECH)
    assert_close(mel, torch.full((80, 4), math.log(1e-5)))
    spectrogram(silence, SPEECH).sum().backward()
    assert silence.grad.isfinite().all()


def test_the_gradient_is_that_of_finite_differences():
    samples = noise(64).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mel_spectrogram(x, SMALL), samples, atol=1e-4)


def test_filters_are_built_once(monkeypatch):
    sound = noise(64)
    first = mel_spectrogram(sound, SMALL)
    monkeypatch.setattr(audio, "_filters", None)  # whoever called it again would fail
    assert torch.equal(mel_spectrogram(sound, SMALL), first)


def test_it_runs_on_the_meta_device():
    with torch.device("meta"):
        assert mel_spectrogram(torch.empty(2, 1024), SPEECH).shape == (2, 80, 4)
    assert mel_spectrogram(noise(1024), SPEECH).device.type == "cpu"  # the cached filters have stayed real


# The way back


def test_going_to_samples_and_back_changes_nothing_that_was_a_transform():
    samples = noise(2, 320)
    frames = audio._transform(audio._padded(samples, SMALL), SMALL)
    rebuilt = audio._inverse(frames, SMALL)[..., SMALL.padding : -SMALL.padding]
    assert_close(rebuilt, samples, atol=1e-5, rtol=0)


def spectral_error(samples, magnitude, config):
    return float((spectrogram(samples, config) - magnitude).norm() / magnitude.norm())


def test_griffin_lim_comes_closer_with_every_ten_rounds_and_momentum_helps():
    samples = tone(440, 0.3) + tone(1300, 0.3)
    samples = samples[: len(samples) // 256 * 256]
    magnitude = spectrogram(samples, SPEECH)
    errors = [spectral_error(griffin_lim(magnitude, SPEECH, iterations=n), magnitude, SPEECH) for n in (0, 10, 40)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.2
    plain = griffin_lim(magnitude, SPEECH, iterations=40, momentum=0)
    assert errors[2] < spectral_error(plain, magnitude, SPEECH)


def test_griffin_lim_gives_hop_samples_a_frame_and_the_same_for_the_same_seed():
    magnitude = spectrogram(noise(2, 160), SMALL)
    first = griffin_lim(magnitude, SMALL, iterations=2)
    assert first.shape == (2, 160)
    assert torch.equal(first, griffin_lim(magnitude, SMALL, iterations=2))
    assert not torch.equal(first, griffin_lim(magnitude, SMALL, iterations=2, seed=1))


def test_nnls_finds_what_scipy_finds():
    magnitude = spectrogram(noise(64), SMALL)
    log_mel = mel_spectrogram(noise(64), SMALL)
    ours = mel_to_linear(log_mel, SMALL, iterations=2000)
    filters = mel_filters(SMALL).numpy()
    assert ours.shape == magnitude.shape
    assert ours.min() >= 0
    for frame in range(ours.shape[1]):
        target = log_mel[:, frame].exp().numpy()
        _, best = scipy.optimize.nnls(filters, target)
        assert np.linalg.norm(filters @ ours[:, frame].numpy() - target) < best + 1e-3 * np.linalg.norm(target)


def test_nnls_is_no_further_away_than_the_pseudo_inverse():
    log_mel = mel_spectrogram(noise(4096) + tone(600, 4096 / 22_050), SPEECH)
    filters = mel_filters(SPEECH)
    nnls, pinv = ((filters @ mel_to_linear(log_mel, SPEECH, method=m) - log_mel.exp()).norm() for m in ("nnls", "pinv"))
    assert nnls <= pinv


# Waveforms


def test_a_wav_file_comes_back(tmp_path):
    samples = tone(440, 0.01)
    write_wav(tmp_path / "tone.wav", samples, 22_050)
    back, rate = read_wav(tmp_path / "tone.wav")
    assert rate == 22_050
    assert_close(back, samples, atol=1e-4, rtol=0)


def test_resampling_keeps_a_tone_and_drops_what_the_new_rate_cannot_hold():
    kept = resample(tone(440), 22_050, 8000)
    assert abs(len(kept) - 4000) <= 1
    inside = slice(200, 3800)
    expected = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(len(kept)) / 8000)
    assert_close(kept[inside], expected[inside], atol=0.01, rtol=0)
    assert resample(tone(6000), 22_050, 8000)[inside].abs().max() < 0.01
    assert resample(kept, 8000, 8000) is kept


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(hop=0), "hop must be at least 1, got 0"),
        (dict(bands=-1), "bands must be at least 1, got -1"),
        (dict(window=2048), "hop ≤ window ≤ n_fft must hold, got 256, 2048 and 1024"),
        (dict(hop=255), "n_fft - hop must be even.* got 1024 - 255"),
        (dict(f_max=12_000), "half the sample rate.* got 0 and 12000"),
        (dict(f_min=9000), "got 9000 and 8000"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MelConfig(**options)


def test_a_clip_too_short_is_refused():
    with pytest.raises(ValueError, match="at least 385 long for this transform, got 300"):
        mel_spectrogram(noise(300), SPEECH)
    assert mel_spectrogram(noise(385), SPEECH).shape == (80, 1)


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (torch.zeros(4), 8000, "must be at 22050 Hz, got 8000 Hz"),
        (torch.tensor([0.0, math.nan]), 22_050, "finite"),
        (torch.tensor([0.0, -300.0]), 22_050, r"must lie in \[-1, 1\], got 300"),
    ],
)
def test_audio_that_would_be_silently_wrong_is_refused(samples, rate, message):
    with pytest.raises(ValueError, match=message):
        check_audio(samples, rate, 22_050)


def test_spectrograms_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"magnitude must have 33 rows .* got \(8, 4\)"):
        griffin_lim(torch.zeros(8, 4), SMALL)
    with pytest.raises(ValueError, match="magnitude must not be negative, got -1"):
        griffin_lim(-torch.ones(33, 4), SMALL)
    with pytest.raises(ValueError, match=r"log_mel must have 8 rows .* got \(80, 4\)"):
        mel_to_linear(torch.zeros(80, 4), SMALL)
    with pytest.raises(ValueError, match="log_mel must not hold NaN"):
        mel_to_linear(torch.full((8, 4), math.nan), SMALL)
    with pytest.raises(ValueError, match="got 'magic'"):
        mel_to_linear(torch.zeros(8, 4), SMALL, method="magic")
    with pytest.raises(ValueError, match="iterations must be at least 0, got -1"):
        griffin_lim(torch.ones(33, 4), SMALL, iterations=-1)
    with pytest.raises(ValueError, match=r"momentum must lie in \[0, 1\], got 2"):
        griffin_lim(torch.ones(33, 4), SMALL, momentum=2)


def test_files_that_are_no_speech_are_named(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"x\.wav is no readable WAV file"):
        read_wav(path)
    write_wav(path, torch.zeros(0), 8000)
    with pytest.raises(ValueError, match=r"x\.wav must hold whole 16-bit samples, got 0 bytes"):
        read_wav(path)
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "nowhere.wav")
    with pytest.raises(ValueError, match="new_rate must be at least 1 Hz, got 0"):
        resample(torch.zeros(4), 8000, 0)
