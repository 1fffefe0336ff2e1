"""Speaking: a spectrogram step by step, until the model says stop."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.models.transformer_tts import TransformerTTS


def speak(
    model: TransformerTTS,
    tokens: Int[Tensor, "batch letters"],
    token_lengths: Int[Tensor, "*token_lengths"],
    *,
    max_frames: int,
    threshold: int | float = 0.5,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "batch frames bands"], Int[Tensor, " batch"]]:
    """The spectrogram after the post-net, zeros after each row's end, and how many frames each row has.

    A row ends with the first frame whose stop probability exceeds `threshold`, or after `max_frames`. The decoder
    pre-net's dropout stays on: another `generator` gives another reading, the same one the same. Call `model.eval()`
    before.

    Raises:
        ValueError: `max_frames` is below 1, `threshold` is outside (0, 1), or as `TransformerTTS.encode`.

    Source: Shen et al. 2018, section 2.2; Li et al. 2019, section 3.6.
    """
    if max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, got {max_frames}")
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie in (0, 1), got {threshold}")
    every = model.config.frames_per_step
    steps = min(-(-max_frames // every), model.config.max_length)
    with torch.no_grad():
        state = model.start(tokens, token_lengths)
        frame = state.memory[0][0].new_zeros(len(tokens), model.config.n_bands)
        drawn, lengths = [], torch.full((len(tokens),), min(max_frames, steps * every), device=tokens.device)
        ended = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        for number in range(steps):
            frames, stop, state = model.step(frame, state, generator)
            drawn.append(frames)
            frame = frames[:, -1]
            says_stop = stop.sigmoid() > threshold  # (batch, every)
            first = number * every + says_stop.long().argmax(dim=1) + 1
            lengths = torch.where(says_stop.any(dim=1), first.minimum(lengths), lengths)
            ended |= says_stop.any(dim=1)
            if bool(ended.all()):
                break
        before = torch.cat(drawn, dim=1)[:, : int(lengths.max())]
        present = torch.arange(before.shape[1], device=before.device) < lengths[:, None]
        after = model.post_net(before, present.unsqueeze(1))
        return after * present.unsqueeze(-1), lengths
