"""From a spectrogram of any length to sound, in chunks: memory does not grow with the length.

A sample of the generator depends on a few frames on either side of its own (`HifiGanConfig.context`). A chunk that sees
those frames of its neighbours gives the very samples that the whole would have given; what it computes beyond its own
frames is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from lectures_lib.audio import MelConfig
from lectures_lib.models.hifigan import HifiGanGenerator


def vocode(
    generator: HifiGanGenerator,
    log_mel: Float[Tensor, "*batch bands frames"],
    mel: MelConfig | None = None,
    *,
    chunk: int = 256,
    overlap: int | None = None,
) -> Float[Tensor, "*batch time"]:
    """The sound of one spectrogram (bands, frames) or of a batch of them, frames · hop samples.

    `chunk` is how many frames are done at once, `overlap` how many frames a chunk sees of either neighbour: by default
    all that can have influence, which gives what the whole would give. `mel` says how the spectrogram was made; with
    it, its bands and its hop are held against the model's.

    Raises:
        ValueError: other bands or another hop than the model's (both are named), NaN or infinity, no frame, `chunk`
            below 1 or `overlap` below 0.
    """
    chunks = vocode_chunks(generator, log_mel, mel, chunk=chunk, overlap=overlap)
    return torch.cat(list(chunks), dim=-1)


def vocode_chunks(
    generator: HifiGanGenerator,
    log_mel: Float[Tensor, "*batch bands frames"],
    mel: MelConfig | None = None,
    *,
    chunk: int = 256,
    overlap: int | None = None,
) -> Iterator[Float[Tensor, "*batch time"]]:
    """`vocode`, chunk by chunk as soon as each is done, for playing or writing while the rest is computed.

    Raises:
        ValueError: as `vocode`, at once.
    """
    config = generator.config
    _check(config.mel_bands, config.hop, log_mel, mel)
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1 frame, got {chunk}")
    if overlap is not None and overlap < 0:
        raise ValueError(f"overlap must be at least 0 frames, got {overlap}")
    return _chunks(generator, log_mel, chunk, config.context if overlap is None else overlap)


def _chunks(generator: HifiGanGenerator, log_mel: Tensor, chunk: int, overlap: int) -> Iterator[Tensor]:
    frames, hop = log_mel.shape[-1], generator.config.hop
    batch = log_mel if log_mel.ndim == 3 else log_mel.unsqueeze(0)
    for start in range(0, frames, chunk):
        end = min(start + chunk, frames)
        left, right = max(0, start - overlap), min(frames, end + overlap)
        with torch.no_grad():
            sound = generator(batch[..., left:right])[:, (start - left) * hop : (end - left) * hop]
        yield sound if log_mel.ndim == 3 else sound.squeeze(0)


def _check(bands: int, hop: int, log_mel: Tensor, mel: MelConfig | None) -> None:
    if mel is not None and (mel.bands, mel.hop) != (bands, hop):
        raise ValueError(
            f"the spectrogram has {mel.bands} mel bands and a hop of {mel.hop} samples; "
            f"the model wants {bands} bands and a hop of {hop}"
        )
    if log_mel.ndim not in (2, 3) or log_mel.shape[-2] != bands or not log_mel.shape[-1]:
        raise ValueError(
            f"log_mel must have shape ({bands}, frames) or (batch, {bands}, frames) with at least 1 frame, "
            f"got {tuple(log_mel.shape)}"
        )
    if not bool(log_mel.isfinite().all()):
        raise ValueError("log_mel must be finite, got NaN or infinity (silence is log(1e-5), about -11.5)")
