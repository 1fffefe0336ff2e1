"""wav2vec 2.0: learns from speech without text which sound belongs where a gap was made, then spells with few labels.

Convolutions turn a waveform into a vector every 20 ms; a quantiser turns these vectors into codes, something like an
alphabet of sounds; and a Transformer, shown the vectors with gaps, has to recognise the codes in the gaps. This module
has the model, and the pure functions that make the gaps and choose the distractors.

Source: Baevski, Zhou, Mohamed and Auli 2020 (arXiv 2006.11477).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from lectures_lib.attention import padding_mask
from lectures_lib.layers import Dropout, SelfAttentionLayer


@dataclass(frozen=True)
class Wav2Vec2Config:
    """The sizes of a wav2vec 2.0.

    `convolutions` lists (channels, kernel, stride) of each convolution over the waveform. `position_kernel` is the
    reach of the convolution that tells positions, with `position_groups` groups. The quantiser has `n_groups` codebooks
    of `n_codes` vectors, together `d_code` wide; `d_final` is the width in which context and codes are compared.
    `layer_drop` is the chance that a layer is left out of a training step. `feature_gradient` scales the gradient that
    reaches the convolutions.
    """

    convolutions: tuple[tuple[int, int, int], ...]
    d_model: int
    n_heads: int
    d_feed_forward: int
    n_layers: int
    position_kernel: int
    position_groups: int
    n_groups: int
    n_codes: int
    d_code: int
    d_final: int
    dropout: int | float = 0.0
    layer_drop: int | float = 0.0
    feature_gradient: int | float = 1.0

    def __post_init__(self) -> None:
        sizes = ("d_model", "n_heads", "d_feed_forward", "n_layers", "position_kernel", "position_groups")
        for name in (*sizes, "n_groups", "n_codes", "d_code", "d_final"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.convolutions or any(len(each) != 3 or min(each) < 1 for each in self.convolutions):
            raise ValueError(f"convolutions must be (channels, kernel, stride), all positive, got {self.convolutions}")
        for whole, part in (("d_model", "n_heads"), ("d_model", "position_groups"), ("d_code", "n_groups")):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{whole} must be divisible by {part}, got {getattr(self, whole)} and {getattr(self, part)}"
                )
        for name in ("dropout", "layer_drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    @property
    def stride(self) -> int:
        """How many samples lie between two frames."""
        return math.prod(stride for _, _, stride in self.convolutions)

    @property
    def receptive_field(self) -> int:
        """How many samples one frame has seen: the shortest waveform there can be."""
        field = 1
        for _, kernel, stride in reversed(self.convolutions):
            field = (field - 1) * stride + kernel
        return field

    def frames(self, samples: Int[Tensor, "*batch"] | int) -> Int[Tensor, "*batch"] | int:
        """How many frames a waveform of so many samples gives; 0 or less where it is too short."""
        for _, kernel, stride in self.convolutions:
            samples = (samples - kernel) // stride + 1
        return samples

    @classmethod
    def tiny(cls) -> Wav2Vec2Config:
        """Trains on two cores, for speech of 8,000 samples a second: a frame every 20 ms, as in the paper."""
        convolutions = ((32, 10, 5), (64, 8, 4), (64, 4, 2), (64, 4, 2), (64, 2, 2))
        return cls(
            convolutions, d_model=64, n_heads=4, d_feed_forward=128, n_layers=2, position_kernel=16, position_groups=4,
            n_groups=2, n_codes=32, d_code=32, d_final=32,
        )  # fmt: skip

    @classmethod
    def paper(cls) -> Wav2Vec2Config:
        """The Base model, for speech of 16,000 samples a second."""
        return cls(
            ((512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2), d_model=768, n_heads=12, d_feed_forward=3072,
            n_layers=12, position_kernel=128, position_groups=16, n_groups=2, n_codes=320, d_code=256, d_final=256,
            dropout=0.1, layer_drop=0.05, feature_gradient=0.1,
        )  # fmt: skip


class FeatureEncoder(nn.Module):
    """Convolutions over the waveform, each followed by GELU; the first one's channels are normalised over time.

    That normalisation sees a whole row of the batch, padding too, so a waveform has other features in a longer row.

    Source: Baevski et al. 2020, section 2; the GroupNorm of the Base model: its published code.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        widths = [1, *(channels for channels, _, _ in config.convolutions)]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(d_in, channels, kernel, stride, bias=False)
            for d_in, (channels, kernel, stride) in zip(widths, config.convolutions, strict=False)
        )
        for convolution in self.convolutions:
            nn.init.kaiming_normal_(convolution.weight)
        self.norm = nn.GroupNorm(widths[1], widths[1])  # one group a channel

    def forward(self, audio: Shaped[Tensor, "*audio"]) -> Float[Tensor, "batch time channels"]:
        """A vector every `config.stride` samples.

        Raises:
            ValueError: `audio` is not (batch, samples), not of floating point, or shorter than
                `config.receptive_field`.
        """
        if audio.ndim != 2:
            raise ValueError(f"audio must have shape (batch, samples), got {tuple(audio.shape)}")
        if not audio.is_floating_point():
            raise ValueError(f"audio must be floating-point numbers, from -1 to 1, got {audio.dtype}")
        if audio.shape[1] < self.config.receptive_field:
            least = self.config.receptive_field
            raise ValueError(f"audio must have at least {least} samples, what one frame sees, got {audio.shape[1]}")
        x = audio.unsqueeze(1)
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            x = F.gelu(self.norm(x) if i == 0 else x)
        return x.transpose(1, 2)


class ConvolutionalPositions(nn.Module):
    """Adds to every frame what a wide convolution sees around it: positions relative to what is said, not to a clock.

    Its weights are stored as directions and lengths (weight normalisation), the lengths one a step of the kernel.

    Source: Baevski et al. 2020, section 2, "contextualized representations"; Mohamed et al. 2019.
    """

    def __init__(self, d_model: int, kernel: int, groups: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(d_model, d_model, kernel, padding=kernel // 2, groups=groups)
        nn.init.normal_(convolution.weight, std=2 / math.sqrt(kernel * d_model))
        nn.init.zeros_(convolution.bias)
        self.convolution = weight_norm(convolution, dim=2)

    def forward(self, x: Float[Tensor, "batch time d_model"]) -> Float[Tensor, "batch time d_model"]:
        """`x` plus the convolution of `x`."""
        around = self.convolution(x.transpose(1, 2))[:, :, : x.shape[1]]  # an even kernel gives one frame too many
        return x + F.gelu(around).transpose(1, 2)


class Wav2Vec2(nn.Module):
    """Features, gaps, positions, and the Transformer's encoder: a vector in context for every 20 ms.

    Source: Baevski et al. 2020, section 2 and figure 1.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = c = config
        channels = c.convolutions[-1][0]
        self.features = FeatureEncoder(c)
        self.feature_norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, c.d_model)
        self.mask_vector = nn.Parameter(torch.empty(c.d_model))
        nn.init.uniform_(self.mask_vector)
        self.positions = ConvolutionalPositions(c.d_model, c.position_kernel, c.position_groups)
        self.norm = nn.LayerNorm(c.d_model)
        self.dropout = Dropout(c.dropout)
        self.layers = nn.ModuleList(
            SelfAttentionLayer(c.d_model, c.n_heads, c.d_feed_forward, dropout=c.dropout) for _ in range(c.n_layers)
        )
        self.layers.apply(_initialise)

    def forward(
        self,
        audio: Shaped[Tensor, "*audio"],
        lengths: Int[Tensor, "*lengths"] | None = None,
        masked: Bool[Tensor, "*masked"] | None = None,
    ) -> Float[Tensor, "batch time d_model"]:
        """The states of the last layer. `masked` (batch, time) is True at the frames that are hidden from it.

        `lengths` (batch,) are in samples; what comes after is neither attended to nor seen by the positions.

        Raises:
            ValueError: `audio` is not (batch, samples), or too short; `lengths` or `masked` does not fit.
        """
        return self.contextualise(self.extract(audio), lengths, masked)

    def extract(self, audio: Shaped[Tensor, "*audio"]) -> Float[Tensor, "batch time channels"]:
        """The features alone, with the gradient that goes back into them scaled. Raises as `FeatureEncoder`."""
        features, share = self.features(audio), self.config.feature_gradient
        if share == 1 or not self.training:
            return features
        return features * share + features.detach() * (1 - share)

    def contextualise(
        self,
        features: Float[Tensor, "batch time channels"],
        lengths: Int[Tensor, "*lengths"] | None = None,
        masked: Bool[Tensor, "*masked"] | None = None,
    ) -> Float[Tensor, "batch time d_model"]:
        """What `forward` does after `extract`."""
        batch, time, _ = features.shape
        x = self.dropout(self.project(self.feature_norm(features)))
        if masked is not None:
            if tuple(masked.shape) != (batch, time):
                raise ValueError(f"masked must have shape {(batch, time)}, got {tuple(masked.shape)}")
            x = torch.where(masked.unsqueeze(-1), self.mask_vector.to(x.dtype), x)
        mask = None
        if lengths is not None:
            mask = self._present(lengths, batch, time).to(x.device)
            x = x * mask.view(batch, time, 1)
        x = self.dropout(self.norm(self.positions(x)))
        for layer in self.layers:
            if self.training and self.config.layer_drop and torch.rand((), device="cpu") < self.config.layer_drop:
                continue
            x = layer(x, mask)
        return x

    def _present(self, lengths: Int[Tensor, "*lengths"], batch: int, time: int) -> Bool[Tensor, "batch 1 1 time"]:
        if tuple(lengths.shape) != (batch,):
            raise ValueError(f"lengths must have shape {(batch,)}, got {tuple(lengths.shape)}")
        frames = self.config.frames(lengths)
        if lengths.device.type != "meta" and len(lengths) and not 1 <= int(frames.min()) <= int(frames.max()) <= time:
            raise ValueError(
                f"lengths must be at least {self.config.receptive_field} samples and not more than audio has, "
                f"got {int(lengths.min())} to {int(lengths.max())}"
            )
        return padding_mask(frames, time)


class Codes(NamedTuple):
    """What the quantiser makes of features.

    `vectors` (batch, time, d_code) are the chosen codewords side by side, `probabilities` (batch, time, groups, codes)
    how likely each was, without noise, and `numbers` (batch, time, groups) which were chosen.
    """

    vectors: Tensor
    probabilities: Tensor
    numbers: Tensor


class GumbelQuantizer(nn.Module):
    """Chooses one codeword from each of several codebooks, and is still trained by gradient descent.

    In training, the choice is drawn (the largest logit after Gumbel noise is a draw from their softmax), and the
    gradient is that of a softmax at `temperature`. Otherwise, the likeliest code is taken.

    Source: Baevski et al. 2020, section 2, equation 1; Jang et al. 2017.
    """

    def __init__(self, d_feature: int, n_groups: int, n_codes: int, d_code: int) -> None:
        super().__init__()
        self.n_groups = n_groups
        self.score = nn.Linear(d_feature, n_groups * n_codes)
        self.codebooks = nn.Parameter(torch.empty(n_groups, n_codes, d_code // n_groups))
        nn.init.normal_(self.score.weight)
        nn.init.zeros_(self.score.bias)
        nn.init.uniform_(self.codebooks)

    def forward(self, features: Float[Tensor, "batch time channels"], temperature: int | float = 1.0) -> Codes:
        """The codes of every frame.

        Raises:
            ValueError: `temperature` is not positive.
        """
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        logits = self.score(features).unflatten(-1, (self.n_groups, -1)).float()
        noisy = (logits + gumbel_noise(logits)) / temperature if self.training else logits
        numbers = noisy.argmax(dim=-1)
        chosen = F.one_hot(numbers, logits.shape[-1]).to(logits.dtype)
        if self.training:
            soft = noisy.softmax(dim=-1)
            # The difference is exactly zero, so equal choices give equal vectors, to the last bit.
            chosen = chosen + (soft - soft.detach())
        vectors = torch.einsum("btgv,gvd->btgd", chosen.to(self.codebooks.dtype), self.codebooks).flatten(2)
        return Codes(vectors, logits.softmax(dim=-1), numbers)


def gumbel_noise(like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """-log of exponential noise, of the shape and on the device of `like`."""
    return -torch.empty_like(like).exponential_().log()


def gumbel_temperature(
    step: int, *, start: int | float = 2.0, end: int | float = 0.5, decay: int | float = 0.999995
) -> float:
    """The quantiser's temperature at a training step: from `start`, times `decay` a step, down to `end`.

    Raises:
        ValueError: `step` is negative.

    Source: Baevski et al. 2020, section 4.2 (Base).
    """
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    return max(float(start) * float(decay) ** step, float(end))


class PretrainingOutput(NamedTuple):
    """What the pretraining loss needs.

    `context` and `targets` (batch, time, d_final) are what the Transformer expects at each frame and what is there;
    `probabilities` (batch, time, groups, codes) are the quantiser's, and `features` (batch, time, channels) those of
    the convolutions.
    """

    context: Tensor
    targets: Tensor
    probabilities: Tensor
    features: Tensor


class Wav2Vec2ForPretraining(nn.Module):
    """The encoder, which sees the features with gaps, and the quantiser, which sees them all.

    Source: Baevski et al. 2020, sections 2 and 3 and figure 1.
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = c = config
        self.wav2vec2 = Wav2Vec2(c)
        self.dropout = Dropout(c.dropout)
        self.quantizer = GumbelQuantizer(c.convolutions[-1][0], c.n_groups, c.n_codes, c.d_code)
        self.project_context = nn.Linear(c.d_model, c.d_final)
        self.project_codes = nn.Linear(c.d_code, c.d_final)

    def forward(
        self,
        audio: Shaped[Tensor, "*audio"],
        masked: Bool[Tensor, "*masked"],
        temperature: int | float = 1.0,
        lengths: Int[Tensor, "*lengths"] | None = None,
    ) -> PretrainingOutput:
        """What goes into `losses.contrastive.wav2vec2_loss`.

        Raises:
            ValueError: as `Wav2Vec2` and `GumbelQuantizer`.
        """
        features = self.wav2vec2.extract(audio)
        context = self.project_context(self.wav2vec2.contextualise(features, lengths, masked))
        codes = self.codes(features, temperature)
        return PretrainingOutput(context, self.project_codes(codes.vectors), codes.probabilities, features)

    def codes(self, features: Float[Tensor, "batch time channels"], temperature: int | float = 1.0) -> Codes:
        """The codes of the features, normalised as the Transformer's input is."""
        return self.quantizer(self.dropout(self.wav2vec2.feature_norm(features)), temperature)


class Wav2Vec2ForCTC(nn.Module):
    """The encoder with a linear map to letters, for `losses.speech.ctc_loss`. The blank is a letter among the others.

    Source: Baevski et al. 2020, section 3.3.
    """

    def __init__(self, wav2vec2: Wav2Vec2, vocabulary: int) -> None:
        super().__init__()
        if vocabulary < 2:
            raise ValueError(f"vocabulary must be at least 2, a letter and the blank, got {vocabulary}")
        self.config = wav2vec2.config
        self.wav2vec2 = wav2vec2
        self.dropout = Dropout(wav2vec2.config.dropout)
        self.spell = nn.Linear(wav2vec2.config.d_model, vocabulary)
        _initialise(self.spell)

    def forward(
        self,
        audio: Shaped[Tensor, "*audio"],
        lengths: Int[Tensor, "*lengths"] | None = None,
        masked: Bool[Tensor, "*masked"] | None = None,
    ) -> Float[Tensor, "batch time vocabulary"]:
        """The scores of every letter at every frame; a row of `lengths` samples has `config.frames(lengths)` of them.

        Raises:
            ValueError: as `Wav2Vec2`.
        """
        return self.spell(self.dropout(self.wav2vec2(audio, lengths, masked)))


def _initialise(module: nn.Module) -> None:
    """As in the published code: BERT's N(0, 0.02) in the Transformer, zeros for biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


# Gaps and distractors: pure functions of sizes and a generator, on the CPU


def span_mask(
    batch: int,
    time: int,
    *,
    generator: torch.Generator,
    start_share: int | float = 0.065,
    span: int = 10,
    fewest: int = 2,
    lengths: Int[Tensor, "*lengths"] | None = None,
) -> Bool[Tensor, "batch time"]:
    """True at the frames to hide: a share of all frames are starts, and each hides itself and the `span` - 1 after it.

    Spans may overlap. With the paper's numbers a long utterance has about half of its frames hidden. The number of
    starts is rounded up or down by chance; at least `fewest` are drawn, where so many fit. `lengths` (batch,) are in
    frames; nothing is hidden after them.

    Raises:
        ValueError: `start_share` is outside (0, 1], `span` or `fewest` is below 1, `lengths` does not fit, or a row is
            shorter than a span.

    Source: Baevski et al. 2020, section 3.1.
    """
    if not 0 < start_share <= 1:
        raise ValueError(f"start_share must lie in (0, 1], got {start_share}")
    for name, value in (("span", span), ("fewest", fewest)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if lengths is not None and tuple(lengths.shape) != (batch,):
        raise ValueError(f"lengths must have shape {(batch,)}, got {tuple(lengths.shape)}")
    frames = [time] * batch if lengths is None else lengths.tolist()
    if frames and not span <= min(frames) <= max(frames) <= time:
        raise ValueError(
            f"lengths must lie between span, {span}, and {time} frames, got {min(frames)} to {max(frames)}"
        )
    masked = torch.zeros(batch, time, dtype=torch.bool)
    for row, length in zip(masked, frames, strict=True):
        places = length - span + 1  # where a span may start
        by_chance = float(torch.rand((), generator=generator))
        starts = min(max(int(start_share * length + by_chance), fewest), places)
        chosen = torch.randperm(places, generator=generator)[:starts]
        row[(chosen.unsqueeze(1) + torch.arange(span)).flatten()] = True
    return masked


def draw_distractors(
    masked: Bool[Tensor, "batch time"], count: int = 100, *, generator: torch.Generator
) -> Int[Tensor, "masked count"]:
    """For every masked frame, `count` other masked frames of the same utterance, drawn uniformly; never itself.

    Rows and numbers go by the order of `x[masked]`: row after row of the batch.

    Raises:
        ValueError: `count` is below 1, or an utterance has one masked frame only.

    Source: Baevski et al. 2020, section 3.2, "contrastive loss".
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    sizes = masked.sum(dim=1).cpu()
    if (sizes == 1).any():
        row = int((sizes == 1).nonzero()[0])
        raise ValueError(f"masked must be True at 0 or at 2 and more frames of every row, got 1 in row {row}")
    of_utterance = sizes.repeat_interleave(sizes).unsqueeze(1)  # (masked, 1): how many masked frames it has
    first = (sizes.cumsum(0) - sizes).repeat_interleave(sizes).unsqueeze(1)  # where its frames begin
    itself = torch.arange(len(first)).unsqueeze(1) - first
    drawn = (torch.rand(len(first), count, generator=generator, dtype=torch.float64) * (of_utterance - 1)).long()
    return (first + drawn + (drawn >= itself)).to(masked.device)
