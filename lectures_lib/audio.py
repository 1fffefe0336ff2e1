"""Sound as numbers: waveforms, log-mel spectrograms, and the way back.

A waveform is float32 in [-1, 1]. Its spectrogram tells how loud each pitch is, frame by frame; the mel scale spaces the
pitches as ears do. The numbers follow HiFi-GAN's definition to the letter, because a vocoder trained on one definition
hears noise in another: a periodic Hann window, reflected edges instead of centred frames, magnitudes sqrt(re² + im² +
1e-9), Slaney's mel filters, and a natural logarithm that stops at 1e-5.

The room stands low in the house (it knows PyTorch, NumPy and SciPy only), since models, losses, data and inference all
speak of it.

Sources: Kong et al. 2020, section 3.1 and their published code's constants; Slaney 1998 (Auditory Toolbox); Griffin and
Lim 1984; Perraudin, Balazs and Søndergaard 2013.
"""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.signal import resample_poly
from torch import Tensor
from torch.nn import functional as F

POWER_FLOOR = 1e-9  # added to re² + im², so that the root has a gradient at silence
MEL_FLOOR = 1e-5  # the quietest mel magnitude: log(1e-5) = -11.5 stands for silence


@dataclass(frozen=True)
class MelConfig:
    """How a waveform becomes a log-mel spectrogram; frequencies in hertz, `n_fft`, `hop` and `window` in samples.

    `f_max` None is half the sample rate. The defaults are HiFi-GAN's for speech at 22,050 Hz.

    Raises:
        ValueError: a size is below 1, `window` is longer than `n_fft`, `hop` longer than `window`, n_fft - hop is odd,
            or the band from `f_min` to `f_max` does not lie between 0 and half the sample rate.
    """

    sample_rate: int = 22_050
    n_fft: int = 1024
    hop: int = 256
    window: int = 1024
    bands: int = 80
    f_min: int | float = 0.0
    f_max: int | float | None = 8000.0

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop", "window", "bands"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.hop <= self.window <= self.n_fft:
            raise ValueError(f"hop ≤ window ≤ n_fft must hold, got {self.hop}, {self.window} and {self.n_fft}")
        if (self.n_fft - self.hop) % 2:
            raise ValueError(f"n_fft - hop must be even, to pad both ends alike, got {self.n_fft} - {self.hop}")
        if not 0 <= self.f_min < self.top <= self.sample_rate / 2:
            raise ValueError(
                f"0 ≤ f_min < f_max ≤ {self.sample_rate / 2:g} (half the sample rate) must hold, "
                f"got {self.f_min:g} and {self.top:g}"
            )

    @property
    def top(self) -> float:
        """The upper edge of the highest band in hertz."""
        return self.sample_rate / 2 if self.f_max is None else float(self.f_max)

    @property
    def padding(self) -> int:
        """Samples reflected at either end, so that n · hop samples have n frames."""
        return (self.n_fft - self.hop) // 2

    @property
    def bins(self) -> int:
        """Frequencies of the linear spectrogram."""
        return self.n_fft // 2 + 1


# ---- waveforms ----


def read_wav(path: str | Path) -> tuple[Float[Tensor, " time"], int]:
    """The samples of a mono 16-bit WAV file as float32 in [-1, 1), and its sample rate in hertz.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, empty, or not mono 16-bit PCM; names the file.
    """
    path = Path(path)
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is no readable WAV file: {error or 'it breaks off'}") from None
    if (channels, width) != (1, 2):
        raise ValueError(f"{path} must be mono with 16 bits a sample, got {channels} channels and {8 * width} bits")
    if len(content) < 2 or len(content) % 2:
        raise ValueError(f"{path} must hold whole 16-bit samples, got {len(content)} bytes")
    return torch.from_numpy(np.frombuffer(content, "<i2").astype(np.float32) / 32_768), rate


def write_wav(path: str | Path, samples: Float[Tensor, " time"], sample_rate: int) -> None:
    """Write float samples as a mono 16-bit WAV file.

    Raises:
        ValueError: as `check_audio`.
    """
    check_audio(samples, sample_rate, sample_rate)
    whole = (samples.detach().cpu().double() * 32_767).round().numpy().astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(whole.tobytes())


def check_audio(samples: Float[Tensor, "*batch time"], sample_rate: int, expected_rate: int) -> None:
    """Refuse a waveform that would be silently wrong further on.

    Raises:
        ValueError: another sample rate than expected (both are named), NaN or infinity, or numbers beyond [-1, 1], as
            those of 16-bit integers that nobody has scaled.
    """
    if sample_rate != expected_rate:
        raise ValueError(f"samples must be at {expected_rate} Hz, got {sample_rate} Hz; audio.resample converts them")
    if not bool(samples.isfinite().all()):
        raise ValueError("samples must be finite, got NaN or infinity")
    loudest = float(samples.abs().max()) if samples.numel() else 0.0
    if loudest > 1:
        raise ValueError(f"samples must lie in [-1, 1], got {loudest:g}")


def resample(samples: Float[Tensor, "*batch time"], rate: int, new_rate: int) -> Float[Tensor, "*batch new_time"]:
    """The same sound at another sample rate, without what the new rate cannot hold (polyphase filter of SciPy).

    Raises:
        ValueError: a rate is below 1 Hz.
    """
    for name, value in (("rate", rate), ("new_rate", new_rate)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1 Hz, got {value}")
    if rate == new_rate:
        return samples
    shared = math.gcd(rate, new_rate)
    filtered = resample_poly(samples.detach().cpu().double().numpy(), new_rate // shared, rate // shared, axis=-1)
    return torch.from_numpy(filtered).to(samples)


# ---- spectrograms ----


def _to_mel(hertz: np.ndarray | float | int) -> np.ndarray:
    """Slaney's scale: linear below 1,000 Hz (3 mels per 200 Hz), logarithmic above."""
    hertz = np.asarray(hertz, dtype=np.float64)
    above = 15 + np.log(np.maximum(hertz, 1000) / 1000) * (27 / math.log(6.4))
    return np.where(hertz < 1000, hertz * 3 / 200, above)


def _to_hertz(mel: np.ndarray) -> np.ndarray:
    above = 1000 * np.exp((mel - 15) * (math.log(6.4) / 27))
    return np.where(mel < 15, mel * 200 / 3, above)


@cache
def _filters(config: MelConfig) -> np.ndarray:
    edges = _to_hertz(np.linspace(_to_mel(config.f_min), _to_mel(config.top), config.bands + 2))
    bins = np.linspace(0, config.sample_rate / 2, config.bins)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


@cache
def _used_bins(config: MelConfig) -> int:
    """How many of the lowest bins the filters look at: those up to `f_max`."""
    return int(np.flatnonzero(_filters(config).any(axis=0))[-1]) + 1


@cache
def _filters_on(config: MelConfig, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Built once for each device: rebuilding it at every call is a known trap of the published code."""
    return torch.from_numpy(_filters(config)).to(device, dtype)


@cache
def _window_on(config: MelConfig, device: torch.device, dtype: torch.dtype) -> Tensor:
    side = config.n_fft - config.window
    angle = 2 * np.pi * np.arange(config.window) / config.window  # periodic: the window's period is its length
    hann = np.pad(0.5 - 0.5 * np.cos(angle), (side // 2, side - side // 2))
    return torch.from_numpy(hann).to(device, dtype)


def mel_filters(config: MelConfig) -> Float[Tensor, "bands bins"]:
    """The triangles that gather a spectrogram's bins into mel bands, each of area 1 over frequency (Slaney's norm).

    Source: Slaney 1998; the same as `librosa.filters.mel`.
    """
    return torch.from_numpy(_filters(config).copy())


def spectrogram(samples: Float[Tensor, "*batch time"], config: MelConfig) -> Float[Tensor, "*batch bins frames"]:
    """Magnitudes of the short-time Fourier transform, time // hop frames.

    Raises:
        ValueError: the clip is too short to reflect its edges.
    """
    return _magnitude(_transform(_padded(samples, config), config)).mT


def mel_spectrogram(samples: Float[Tensor, "*batch time"], config: MelConfig) -> Float[Tensor, "*batch bands frames"]:
    """The natural logarithm of the mel magnitudes, time // hop frames; log(1e-5) is silence. Gradients flow through.

    Raises:
        ValueError: the clip is too short to reflect its edges.

    Source: Kong et al. 2020, section 3.1.
    """
    filters = _filters_on(config, samples.device, samples.dtype)[:, : _used_bins(config)]
    magnitude = _magnitude(_transform(_padded(samples, config), config)[..., : _used_bins(config)])
    return (magnitude @ filters.T).clamp_min(MEL_FLOOR).log().mT


def _padded(samples: Tensor, config: MelConfig) -> Tensor:
    shortest = max(config.padding + 1, config.n_fft - 2 * config.padding)
    if samples.shape[-1] < shortest:
        raise ValueError(f"samples must be at least {shortest} long for this transform, got {samples.shape[-1]}")
    flat = samples.reshape(-1, samples.shape[-1])
    return F.pad(flat, (config.padding, config.padding), mode="reflect").view(*samples.shape[:-1], -1)


def _transform(padded: Tensor, config: MelConfig) -> Tensor:
    """Complex (..., frames, bins) of samples whose ends are padded already.

    Frames first: each transform then reads and writes its numbers in a row, several times as fast as `torch.stft`.
    """
    window = _window_on(config, padded.device, padded.dtype)
    return torch.fft.rfft(padded.unfold(-1, config.n_fft, config.hop) * window)


def _magnitude(transformed: Tensor) -> Tensor:
    parts = torch.view_as_real(transformed)
    real, imaginary = parts[..., 0], parts[..., 1]
    return torch.addcmul(real.square(), imaginary, imaginary).add_(POWER_FLOOR).sqrt_()


# ---- the way back ----


def _inverse(frames: Tensor, config: MelConfig) -> Tensor:
    """The samples, padding included, whose transform comes closest to some complex frames (..., frames, bins)."""
    window = _window_on(config, frames.device, frames.real.dtype)
    total = _overlap_add(torch.fft.irfft(frames, n=config.n_fft) * window, config.hop)
    overlap = _overlap_add(window.square().expand(frames.shape[-2], -1), config.hop)
    # Only at the outermost samples, where the window is next to nothing, can there be nothing to divide by.
    return total / overlap.clamp_min(1e-8)


def _overlap_add(pieces: Tensor, hop: int) -> Tensor:
    """(..., frames, n_fft) → (..., samples): each piece added where it belongs, one hop of all pieces at a time."""
    frames, n_fft = pieces.shape[-2:]
    hops = -(-n_fft // hop)
    parts = F.pad(pieces, (0, hops * hop - n_fft)).unflatten(-1, (hops, hop))
    total = pieces.new_zeros(*pieces.shape[:-2], frames + hops - 1, hop)
    for n in range(hops):
        total[..., n : n + frames, :] += parts[..., n, :]
    return total.flatten(-2)[..., : n_fft + (frames - 1) * hop]


def griffin_lim(
    magnitude: Float[Tensor, "*batch bins frames"],
    config: MelConfig,
    *,
    iterations: int = 60,
    momentum: int | float = 0.99,
    seed: int = 0,
) -> Float[Tensor, "*batch time"]:
    """A waveform with roughly these magnitudes, frames · hop samples; its phases are guessed, starting from noise.

    Each round goes from frames to samples and back and keeps only the phases of what comes back. `momentum` 0 is the
    method of 1984; above 0 each round also overshoots in its direction, which gets further in as many rounds.

    Raises:
        ValueError: `magnitude` has another number of bins than `config`, is negative or NaN, `iterations` is below 0 or
            `momentum` outside [0, 1].

    Sources: Griffin and Lim 1984, section III; Perraudin et al. 2013, algorithm 1.
    """
    _check_rows("magnitude", magnitude, config.bins, config)
    if bool((magnitude < 0).any()):
        raise ValueError(f"magnitude must not be negative, got {float(magnitude.min()):g}")
    if iterations < 0:
        raise ValueError(f"iterations must be at least 0, got {iterations}")
    if not 0 <= momentum <= 1:
        raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
    generator = torch.Generator(device="cpu").manual_seed(seed)
    turns = torch.rand(magnitude.shape, generator=generator, device="cpu").to(magnitude)
    magnitude, turns = magnitude.mT, turns.mT  # frames first
    phases = torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
    before = torch.zeros_like(phases)
    for _ in range(iterations):
        rebuilt = _transform(_inverse(magnitude * phases, config), config)
        phases = rebuilt - momentum / (1 + momentum) * before
        phases = phases / phases.abs().clamp_min(1e-16)
        before = rebuilt
    samples = _inverse(magnitude * phases, config)
    return samples[..., config.padding : samples.shape[-1] - config.padding]


def mel_to_linear(
    log_mel: Float[Tensor, "*batch bands frames"], config: MelConfig, *, method: str = "nnls", iterations: int = 200
) -> Float[Tensor, "*batch bins frames"]:
    """Magnitudes (not their logarithm) of a linear spectrogram whose mel spectrogram comes close to `log_mel`.

    "pinv" multiplies with the filters' pseudo-inverse and sets what is negative to 0: fast and rough. "nnls" goes on
    from there to the non-negative least squares, by projected gradient steps with momentum.

    Raises:
        ValueError: `log_mel` has another number of bands than `config` or is NaN; `method` is unknown.

    Source: Lawson and Hanson 1974, chapter 23 (the problem); Beck and Teboulle 2009, section 4 (the steps).
    """
    _check_rows("log_mel", log_mel, config.bands, config)
    if method not in ("pinv", "nnls"):
        raise ValueError(f'method must be "pinv" or "nnls", got {method!r}')
    mel = log_mel.exp()
    filters = _filters_on(config, mel.device, mel.dtype)
    start = (torch.linalg.pinv(filters) @ mel).clamp_min(0)
    return start if method == "pinv" else _non_negative(filters, mel, start, iterations)


def _non_negative(filters: Tensor, mel: Tensor, start: Tensor, iterations: int) -> Tensor:
    step = 1 / torch.linalg.matrix_norm(filters, ord=2).square()
    x = ahead = start
    pace = 1.0
    for _ in range(iterations):
        moved = (ahead - step * (filters.T @ (filters @ ahead - mel))).clamp_min(0)
        faster = (1 + math.sqrt(1 + 4 * pace**2)) / 2
        x, ahead, pace = moved, moved + (pace - 1) / faster * (moved - x), faster
    return x


def _check_rows(name: str, value: Tensor, rows: int, config: MelConfig) -> None:
    if value.ndim < 2 or value.shape[-2] != rows:
        raise ValueError(f"{name} must have {rows} rows (…, {rows}, frames), got {tuple(value.shape)}")
    if bool(value.isnan().any()):
        raise ValueError(f"{name} must not hold NaN")
