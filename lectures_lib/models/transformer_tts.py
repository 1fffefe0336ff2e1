"""Transformer TTS: the Transformer of translation, from letters to the frames of a spectrogram.

What is new stands at its edges: convolutions before the encoder, a small network with dropout before the decoder, a
stop sign instead of an end-of-sentence word, and a post-net that mends what was drawn.

Source: Li, Liu, Liu, Zhao and Liu 2019 (arXiv 1809.08895); its edges are those of Tacotron 2, Shen et al. 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.attention import CrossAttention, SelfAttention, padding_mask
from lectures_lib.layers import NORMS, Dropout, FeedForward, SinusoidalPositions
from lectures_lib.models.transformer import DecoderLayer, DecodingState, EncoderLayer, TransformerConfig


@dataclass(frozen=True)
class TTSConfig:
    """The sizes of a Transformer TTS.

    `vocabulary` counts the letters or phonemes, `n_bands` the bands of the spectrogram. One step of the decoder draws
    `frames_per_step` frames. The convolutions before the encoder are `n_encoder_convolutions`, those of the post-net
    `n_post_convolutions`, `d_post` wide; all have `kernel` steps. `d_prenet` is the width of the network before the
    decoder and `prenet_dropout` its dropout, which stays on when the model speaks; `convolution_dropout` is that of
    the convolutions. `max_length` is the longest sequence on either side, in letters and in decoder steps.
    """

    vocabulary: int
    n_bands: int
    d_model: int
    n_heads: int
    d_feed_forward: int
    n_encoder_layers: int
    n_decoder_layers: int
    d_prenet: int
    d_post: int
    n_encoder_convolutions: int = 3
    n_post_convolutions: int = 5
    kernel: int = 5
    frames_per_step: int = 1
    dropout: int | float = 0.0
    prenet_dropout: int | float = 0.5
    convolution_dropout: int | float = 0.5
    norm: str = "post"
    max_length: int = 1024

    def __post_init__(self) -> None:
        sizes = (
            "vocabulary",
            "n_bands",
            "d_model",
            "n_heads",
            "d_feed_forward",
            "n_encoder_layers",
            "n_decoder_layers",
        )
        edges = ("d_prenet", "d_post", "n_encoder_convolutions", "n_post_convolutions", "kernel", "frames_per_step")
        for name in (*sizes, *edges, "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.d_model % self.n_heads or self.d_model % 2:
            raise ValueError(f"d_model must be even and divisible by n_heads, got {self.d_model} and {self.n_heads}")
        if self.n_post_convolutions < 2:
            raise ValueError(f"n_post_convolutions must be at least 2, got {self.n_post_convolutions}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, as wide before as after, got {self.kernel}")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {sorted(NORMS)}, got {self.norm!r}")
        for name in ("dropout", "prenet_dropout", "convolution_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    @classmethod
    def tiny(cls, vocabulary: int, *, n_bands: int = 80, frames_per_step: int = 2) -> TTSConfig:
        """Trains on two cores."""
        return cls(
            vocabulary, n_bands, 64, 4, 128, 2, 2, d_prenet=32, d_post=64, n_encoder_convolutions=2,
            n_post_convolutions=3, frames_per_step=frames_per_step, convolution_dropout=0.1, norm="pre",
        )  # fmt: skip

    @classmethod
    def paper(cls, vocabulary: int = 75) -> TTSConfig:
        """Six layers a side, 512 wide, eight heads; the number of phonemes is that of the reader's own set."""
        return cls(vocabulary, 80, 512, 8, 2048, 6, 6, d_prenet=256, d_post=512, dropout=0.1)

    def core(self) -> TransformerConfig:
        """The sizes of the Transformer between the edges."""
        return TransformerConfig(
            self.vocabulary, 1, self.d_model, self.n_heads, self.d_feed_forward, self.n_encoder_layers,
            self.n_decoder_layers, dropout=self.dropout, norm=self.norm, max_length=self.max_length,
        )  # fmt: skip


class TTSOutput(NamedTuple):
    """A spectrogram before and after the post-net, both (batch, frames, bands), and the stop logits (batch, frames)."""

    before: Tensor
    after: Tensor
    stop: Tensor


class ScaledPositions(SinusoidalPositions):
    """Adds α times the table of sines: text and speech have other scales than words, so α is learned, one a side.

    Source: Li et al. 2019, section 3.2 and equation 3.
    """

    def __init__(self, max_length: int, d_model: int) -> None:
        super().__init__(max_length, d_model)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Float[Tensor, "batch time d_model"], start: int = 0) -> Float[Tensor, "batch time d_model"]:
        """`x` + α · table[start, start + 1, …].

        Raises:
            ValueError: the last position lies beyond the table.
        """
        return x + self.scale * super().forward(x.new_zeros(1, *x.shape[1:]), start)


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the real steps of a padded batch: padding is neither counted nor looked at."""

    def forward(
        self, x: Float[Tensor, "batch channels time"], present: Bool[Tensor, "batch 1 time"] | None = None
    ) -> Float[Tensor, "batch channels time"]:
        """Each channel with mean 0 and variance 1 over the batch while training; as it was on average, otherwise."""
        if present is None or not self.training:
            return super().forward(x)
        count = present.sum()
        mean = (x * present).sum(dim=(0, 2)) / count
        variance = ((x - mean[:, None]).square() * present).sum(dim=(0, 2)) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (x - mean[:, None]) * scale[:, None] + self.bias[:, None]


class ConvolutionBlock(nn.Module):
    """A convolution over time, batch normalisation, perhaps a bend, dropout. Padding stays zero.

    Source: Shen et al. 2018, section 2.2.
    """

    def __init__(
        self, d_in: int, d_out: int, kernel: int, *, activation: str | None, dropout: int | float = 0.0
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(d_in, d_out, kernel, padding=kernel // 2, bias=False)
        self.norm = MaskedBatchNorm(d_out)
        self.activation = {"relu": torch.relu, "tanh": torch.tanh, None: nn.Identity()}[activation]
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch d_in time"], present: Bool[Tensor, "batch 1 time"] | None = None
    ) -> Float[Tensor, "batch d_out time"]:
        """`present` is True at real steps; the others come out as zeros, as if the row had ended there."""
        x = self.dropout(self.activation(self.norm(self.convolution(x), present)))
        return x if present is None else x * present


class EncoderPrenet(nn.Module):
    """Letters to vectors that know their neighbours: a table, convolutions with ReLU, a linear map to centre them.

    ReLU leaves numbers above zero only, while positions have a mean of zero: hence the linear map.

    Source: Li et al. 2019, section 3.3.
    """

    def __init__(self, config: TTSConfig) -> None:
        super().__init__()
        d, c = config.d_model, config
        self.embed = nn.Embedding(c.vocabulary, d)
        self.convolutions = nn.ModuleList(
            ConvolutionBlock(d, d, c.kernel, activation="relu", dropout=c.convolution_dropout)
            for _ in range(c.n_encoder_convolutions)
        )
        self.project = nn.Linear(d, d)

    def forward(
        self, tokens: Int[Tensor, "batch time"], present: Bool[Tensor, "batch 1 time"] | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """`present` is True at real letters."""
        x = self.embed(tokens).transpose(1, 2)
        x = x if present is None else x * present
        for block in self.convolutions:
            x = block(x, present)
        return self.project(x.transpose(1, 2))


class DecoderPrenet(nn.Module):
    """A frame through two narrow layers with dropout that is never switched off, then to the decoder's width.

    It keeps the decoder from copying the last frame: a frame looks nearly like the one before, so while training on
    true frames that would be the easy way out. It stays on when the model speaks, as it was trained so.

    Source: Li et al. 2019, section 3.4; Shen et al. 2018, section 2.2.
    """

    def __init__(self, config: TTSConfig) -> None:
        super().__init__()
        self.p = config.prenet_dropout
        self.first = nn.Linear(config.n_bands, config.d_prenet)
        self.second = nn.Linear(config.d_prenet, config.d_prenet)
        self.project = nn.Linear(config.d_prenet, config.d_model)

    def forward(
        self, frames: Float[Tensor, "batch time bands"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """Draws its dropout from `generator`, which lives on the CPU, or else from PyTorch's own."""
        x = self._dropped(torch.relu(self.first(frames)), generator)
        return self.project(self._dropped(torch.relu(self.second(x)), generator))

    def _dropped(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        if self.p == 0:
            return x
        if generator is None:
            return F.dropout(x, self.p)  # whether training or not
        keep = torch.rand(x.shape, generator=generator).to(x.device) >= self.p
        return x * keep / (1 - self.p)


class PostNet(nn.Module):
    """Convolutions with tanh that look at a spectrogram from both sides and add what should be different.

    Source: Shen et al. 2018, section 2.2; Li et al. 2019, section 3.7.
    """

    def __init__(self, config: TTSConfig) -> None:
        super().__init__()
        c, last = config, config.n_post_convolutions - 1
        widths = [c.n_bands, *[c.d_post] * last, c.n_bands]
        self.convolutions = nn.ModuleList(
            ConvolutionBlock(
                widths[i], widths[i + 1], c.kernel, activation="tanh" if i < last else None,
                dropout=c.convolution_dropout,
            )
            for i in range(last + 1)
        )  # fmt: skip

    def forward(
        self, spectrogram: Float[Tensor, "batch frames bands"], present: Bool[Tensor, "batch 1 frames"] | None = None
    ) -> Float[Tensor, "batch frames bands"]:
        """The spectrogram plus what the convolutions make of it; `present` is True at real frames."""
        x = spectrogram.transpose(1, 2)
        x = x if present is None else x * present
        for block in self.convolutions:
            x = block(x, present)
        return spectrogram + x.transpose(1, 2)


class TransformerTTS(nn.Module):
    """Letters in, frames of a spectrogram out, each step given the frames before it.

    Source: Li et al. 2019, section 3 and figure 3.
    """

    def __init__(self, config: TTSConfig) -> None:
        super().__init__()
        self.config, core = config, config.core()
        self.encoder_prenet = EncoderPrenet(config)
        self.decoder_prenet = DecoderPrenet(config)
        self.encoder_positions = ScaledPositions(config.max_length, config.d_model)
        self.decoder_positions = ScaledPositions(config.max_length, config.d_model)
        self.dropout = Dropout(config.dropout)
        self.encoder_layers = nn.ModuleList(EncoderLayer(core) for _ in range(core.n_encoder_layers))
        self.decoder_layers = nn.ModuleList(DecoderLayer(core) for _ in range(core.n_decoder_layers))
        last = config.norm == "pre"  # in a pre-LN stack nothing has normalised the last sum
        self.encoder_norm = nn.LayerNorm(config.d_model) if last else nn.Identity()
        self.decoder_norm = nn.LayerNorm(config.d_model) if last else nn.Identity()
        self.draw = nn.Linear(config.d_model, config.frames_per_step * config.n_bands)
        self.stop = nn.Linear(config.d_model, config.frames_per_step)
        self.post_net = PostNet(config)
        self.apply(_initialise)

    def forward(
        self,
        tokens: Int[Tensor, "batch letters"],
        token_lengths: Int[Tensor, "*token_lengths"],
        spectrogram: Float[Tensor, "*spectrogram"],
        lengths: Int[Tensor, "*lengths"],
        generator: torch.Generator | None = None,
    ) -> TTSOutput:
        """Teacher forcing: every frame at once, given the true frames before each; for `losses.spectrogram_loss`.

        `spectrogram` is (batch, frames, bands), its frames a multiple of `config.frames_per_step`; `token_lengths` and
        `lengths` (batch,) say how many letters and frames are real. `generator` draws the decoder pre-net's dropout.

        Raises:
            ValueError: the shapes or lengths do not fit together, or a sequence is longer than `config.max_length`.
        """
        self._check_spectrogram(spectrogram, lengths, len(tokens))
        memory, mask = self.encode(tokens, token_lengths)
        x = self._embed(self._shifted(spectrogram), 0, generator)
        for layer in self.decoder_layers:
            x = layer(x, memory, mask)
        before, stop = self._frames(self.decoder_norm(x))
        present = padding_mask(lengths, before.shape[1]).squeeze(1).to(before.device)
        return TTSOutput(before, self.post_net(before, present), stop)

    def encode(
        self, tokens: Int[Tensor, "batch letters"], token_lengths: Int[Tensor, "*token_lengths"]
    ) -> tuple[Float[Tensor, "batch letters d_model"], Bool[Tensor, "batch 1 1 letters"]]:
        """The memory, one vector a letter, and the mask that is True at letters.

        Raises:
            ValueError: `token_lengths` does not fit, or the text is longer than `config.max_length`.
        """
        if token_lengths.shape != tokens.shape[:1]:
            raise ValueError(f"token_lengths must have shape {tuple(tokens.shape[:1])}, "
                             f"got {tuple(token_lengths.shape)}")  # fmt: skip
        if token_lengths.device.type != "meta" and len(token_lengths) and int(token_lengths.min()) < 1:
            raise ValueError(f"token_lengths must be at least 1, got {int(token_lengths.min())}")
        mask = padding_mask(token_lengths, tokens.shape[1]).to(tokens.device)
        x = self.dropout(self.encoder_positions(self.encoder_prenet(tokens, mask.squeeze(1))))
        for layer in self.encoder_layers:
            x = layer(x, mask)
        return self.encoder_norm(x), mask

    def start(
        self, tokens: Int[Tensor, "batch letters"], token_lengths: Int[Tensor, "*token_lengths"]
    ) -> DecodingState:
        """The state before the first step: the memory's keys and values, and empty caches. Raises as `encode`."""
        memory, mask = self.encode(tokens, token_lengths)
        return DecodingState.before_the_first(self.decoder_layers, memory, mask, self.config.max_length)

    def step(
        self,
        frame: Float[Tensor, "batch bands"],
        state: DecodingState,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "batch new bands"], Float[Tensor, "batch new"], DecodingState]:
        """The next `config.frames_per_step` frames before the post-net, their stop logits, and the state.

        `frame` is the last one drawn, zeros at first. The state's caches grow in place.
        """
        x = self._embed(frame.unsqueeze(1), state.caches[0].length, generator)
        for layer, memory, cache in zip(self.decoder_layers, state.memory, state.caches, strict=True):
            x = layer(x, memory, state.memory_mask, cache)
        frames, stop = self._frames(self.decoder_norm(x))
        return frames, stop, state

    def _embed(
        self, frames: Float[Tensor, "batch steps bands"], start: int, generator: torch.Generator | None
    ) -> Float[Tensor, "batch steps d_model"]:
        return self.dropout(self.decoder_positions(self.decoder_prenet(frames, generator), start))

    def _shifted(self, spectrogram: Float[Tensor, "batch frames bands"]) -> Float[Tensor, "batch steps bands"]:
        """What each step is given: the last frame of the step before, and zeros at first."""
        every = self.config.frames_per_step
        return F.pad(spectrogram[:, every - 1 : -1 : every], (0, 0, 1, 0))

    def _frames(
        self, x: Float[Tensor, "batch steps d_model"]
    ) -> tuple[Float[Tensor, "batch frames bands"], Float[Tensor, "batch frames"]]:
        drawn = self.draw(x).unflatten(-1, (self.config.frames_per_step, self.config.n_bands))
        return drawn.flatten(1, 2), self.stop(x).flatten(1)

    def _check_spectrogram(self, spectrogram: Tensor, lengths: Tensor, batch: int) -> None:
        shape, bands, every = tuple(spectrogram.shape), self.config.n_bands, self.config.frames_per_step
        if len(shape) != 3 or (shape[0], shape[2]) != (batch, bands):
            raise ValueError(f"spectrogram must have shape ({batch}, frames, {bands}), got {shape}")
        if shape[1] < 1 or shape[1] % every:
            raise ValueError(f"spectrogram must have a multiple of {every} frames, got {shape[1]}")
        if tuple(lengths.shape) != (batch,):
            raise ValueError(f"lengths must have shape ({batch},), got {tuple(lengths.shape)}")
        if lengths.device.type != "meta" and batch and int(lengths.min()) < 1:
            raise ValueError(f"lengths must be at least 1, got {int(lengths.min())}")


def _initialise(module: nn.Module) -> None:
    """Xavier for matrices and convolutions, zeros for biases, N(0, 1/d) for the letters.

    The paper does not say how it begins; this is what the Transformer and Tacotron 2 do in published code.
    """
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
    elif isinstance(module, nn.Conv1d):
        nn.init.xavier_uniform_(module.weight)
    elif isinstance(module, SelfAttention | CrossAttention):
        for projection in module.children():
            for matrix in projection.weight.split(projection.in_features):
                nn.init.xavier_uniform_(matrix)
            nn.init.zeros_(projection.bias)
    elif isinstance(module, FeedForward):
        for linear in (module.widen, module.narrow):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
