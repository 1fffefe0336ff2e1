"""The Transformer: an encoder and a decoder made of attention, without recurrence.

Source: Vaswani et al. 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lectures_lib.attention import CrossAttention, LayerCache, SelfAttention, key_value_cache, padding_mask
from lectures_lib.layers import (
    ACTIVATIONS,
    NORMS,
    Dropout,
    FeedForward,
    LearnedPositions,
    Residual,
    SinusoidalPositions,
)

POSITIONS = {"sinusoidal": SinusoidalPositions, "learned": LearnedPositions}


@dataclass(frozen=True)
class TransformerConfig:
    """The sizes of an encoder–decoder Transformer.

    `shared_vocabulary` gives source and target one embedding table; the output layer always shares the target's table,
    as in the paper. `norm` is "post" (the paper), "pre" or "none"; `residual=False` removes the residual connections;
    both are there for experiments. `logits_bias` adds a bias to the logits, which Marian has and the paper has not.
    `max_length` is the longest sequence, on either side, that the position table reaches.
    """

    source_vocabulary: int
    target_vocabulary: int
    d_model: int
    n_heads: int
    d_feed_forward: int
    n_encoder_layers: int
    n_decoder_layers: int
    dropout: int | float = 0.0
    shared_vocabulary: bool = False
    max_length: int = 256
    positions: str = "sinusoidal"  # or "learned"
    norm: str = "post"
    residual: bool = True
    activation: str = "relu"
    logits_bias: bool = False

    def __post_init__(self) -> None:
        sizes = ("source_vocabulary", "target_vocabulary", "d_model", "n_heads", "d_feed_forward", "max_length")
        for name in (*sizes, "n_encoder_layers", "n_decoder_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model must be divisible by n_heads, got {self.d_model} and {self.n_heads}")
        if self.shared_vocabulary and self.source_vocabulary != self.target_vocabulary:
            raise ValueError(
                "shared_vocabulary needs vocabularies of one size, "
                f"got {self.source_vocabulary} and {self.target_vocabulary}"
            )
        for name, known in (("positions", POSITIONS), ("norm", NORMS), ("activation", ACTIVATIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {sorted(known)}, got {getattr(self, name)!r}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")

    @classmethod
    def tiny(cls, source_vocabulary: int, target_vocabulary: int) -> TransformerConfig:
        """Trains in a notebook on two cores."""
        return cls(source_vocabulary, target_vocabulary, 64, 4, 128, n_encoder_layers=2, n_decoder_layers=2)

    @classmethod
    def paper(cls, size: str = "base") -> TransformerConfig:
        """The "base" or "big" model of the paper's table 3, with its shared English–German vocabulary of 37,000.

        Raises:
            ValueError: `size` is neither.
        """
        if size not in ("base", "big"):
            raise ValueError(f'size must be "base" or "big", got {size!r}')
        d_model, n_heads, dropout = (512, 8, 0.1) if size == "base" else (1024, 16, 0.3)
        return cls(
            source_vocabulary=37_000,
            target_vocabulary=37_000,
            d_model=d_model,
            n_heads=n_heads,
            d_feed_forward=4 * d_model,
            n_encoder_layers=6,
            n_decoder_layers=6,
            dropout=dropout,
            shared_vocabulary=True,
        )


class DecodingState(NamedTuple):
    """All that the decoder needs between two steps.

    `memory` holds every layer's keys and values of the encoder's output, each (sentences, heads, source_time, d_head),
    and `memory_mask` (sentences, 1, 1, source_time) is True at tokens. `caches` hold the decoder's own keys and values,
    for `group` rows a sentence: the hypotheses of a beam share their sentence's memory instead of copying it.
    """

    memory: list[tuple[Tensor, Tensor]]
    memory_mask: Tensor
    caches: list[LayerCache]
    group: int = 1

    @classmethod
    def before_the_first(
        cls, layers: nn.ModuleList, memory: Float[Tensor, "batch time d_model"], mask: Tensor, max_length: int
    ) -> DecodingState:
        """What decoder `layers` need to begin with: the memory's keys and values, and empty caches."""
        pairs = [layer.cross_attention.keys_and_values(memory) for layer in layers]
        batch, heads, _, d_head = pairs[0][0].shape
        caches = key_value_cache(len(pairs), batch, heads, max_length, d_head, like=memory)
        return cls(pairs, mask, caches)


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network, each with its residual connection.

    Source: Vaswani et al. 2017, section 3.1 and figure 1, left.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config.d_model, config.n_heads)
        self.feed_forward = FeedForward(config.d_model, config.d_feed_forward, config.activation)
        self.add_attention = _residual(config)
        self.add_feed_forward = _residual(config)

    def forward(
        self, x: Float[Tensor, "batch time d_model"], mask: Tensor | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """`mask` is boolean and broadcasts to (batch, heads, time, time)."""
        x = self.add_attention(x, lambda x: self.self_attention(x, mask))
        return self.add_feed_forward(x, self.feed_forward)


class DecoderLayer(nn.Module):
    """Self-attention to what has been said, attention to the memory, then the feed-forward network.

    Source: Vaswani et al. 2017, section 3.1 and figure 1, right.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config.d_model, config.n_heads)
        self.cross_attention = CrossAttention(config.d_model, config.n_heads)
        self.feed_forward = FeedForward(config.d_model, config.d_feed_forward, config.activation)
        self.add_self_attention = _residual(config)
        self.add_cross_attention = _residual(config)
        self.add_feed_forward = _residual(config)

    def forward(
        self,
        x: Float[Tensor, "batch time d_model"],
        memory: Float[Tensor, "sentences source_time d_model"] | tuple[Tensor, Tensor],
        memory_mask: Tensor | None = None,
        cache: LayerCache | None = None,
        group: int = 1,
    ) -> Float[Tensor, "batch time d_model"]:
        """`memory` is the encoder's output or its keys and values; `group` rows of `x` in a row share one sentence."""

        def look_at_source(x: Tensor) -> Tensor:
            if group == 1:
                return self.cross_attention(x, memory, memory_mask)
            # All hypotheses of a sentence look at the same memory: they are queries side by side.
            together = x.unflatten(0, (-1, group)).flatten(1, 2)
            return self.cross_attention(together, memory, memory_mask).view_as(x)

        x = self.add_self_attention(x, lambda x: self.self_attention(x, causal=True, cache=cache))
        x = self.add_cross_attention(x, look_at_source)
        return self.add_feed_forward(x, self.feed_forward)


class Transformer(nn.Module):
    """Encoder and decoder, with one table for embeddings and output weights.

    Padding stands at the end of a sequence: the source's is masked by its lengths, and the target's lies in the future
    of every real token, so that the look-ahead mask hides it.

    Source: Vaswani et al. 2017, section 3.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_target = nn.Embedding(config.target_vocabulary, config.d_model)
        self.embed_source = (
            self.embed_target if config.shared_vocabulary else nn.Embedding(config.source_vocabulary, config.d_model)
        )
        self.positions = POSITIONS[config.positions](config.max_length, config.d_model)
        self.dropout = Dropout(config.dropout)
        self.encoder_layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_encoder_layers))
        self.decoder_layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_decoder_layers))
        # In a pre-LN stack nothing has normalised the last sum.
        last = config.norm == "pre"
        self.encoder_norm = nn.LayerNorm(config.d_model) if last else nn.Identity()
        self.decoder_norm = nn.LayerNorm(config.d_model) if last else nn.Identity()
        self.logits_bias = nn.Parameter(torch.zeros(config.target_vocabulary)) if config.logits_bias else None
        self.apply(_initialise)

    def forward(
        self,
        source: Int[Tensor, "batch source_time"],
        source_lengths: Int[Tensor, "*lengths"],
        decoder_input: Int[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time vocabulary"]:
        """Teacher forcing: the scores of every next token, all places at once, given the true tokens before each.

        Raises:
            ValueError: `source_lengths` does not fit, or a sequence is longer than `config.max_length`.
        """
        memory, mask = self.encode(source, source_lengths)
        x = self._embed(self.embed_target, decoder_input)
        for layer in self.decoder_layers:
            x = layer(x, memory, mask)
        return self.logits(self.decoder_norm(x))

    def encode(
        self, source: Int[Tensor, "batch source_time"], source_lengths: Int[Tensor, "*lengths"]
    ) -> tuple[Float[Tensor, "batch source_time d_model"], Bool[Tensor, "batch 1 1 source_time"]]:
        """The memory, one vector a source token, and the mask that is True at tokens.

        Raises:
            ValueError: `source_lengths` does not fit, or a source is longer than `config.max_length`.
        """
        if source_lengths.shape != source.shape[:1]:
            raise ValueError(
                f"source_lengths must have shape {tuple(source.shape[:1])}, got {tuple(source_lengths.shape)}"
            )
        if source_lengths.device.type != "meta" and len(source_lengths) and int(source_lengths.min()) < 1:
            raise ValueError(f"source_lengths must be at least 1, got {int(source_lengths.min())}")
        mask = padding_mask(source_lengths, source.shape[1]).to(source.device)
        x = self._embed(self.embed_source, source)
        for layer in self.encoder_layers:
            x = layer(x, mask)
        return self.encoder_norm(x), mask

    def logits(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocabulary"]:
        """The linear classifier: a score for each token of the target vocabulary."""
        return nn.functional.linear(x, self.embed_target.weight, self.logits_bias)

    def start(self, source: Int[Tensor, "batch time"], source_lengths: Int[Tensor, "*lengths"]) -> DecodingState:
        """The state before the first token: the memory's keys and values, and empty caches."""
        memory, mask = self.encode(source, source_lengths)
        return DecodingState.before_the_first(self.decoder_layers, memory, mask, self.config.max_length)

    def step(
        self, tokens: Int[Tensor, " batch"], state: DecodingState
    ) -> tuple[Float[Tensor, "batch vocabulary"], DecodingState]:
        """One token further: the scores of the token after `tokens`. The state's caches grow in place."""
        x = self._embed(self.embed_target, tokens.unsqueeze(1), start=state.caches[0].length)
        for layer, memory, cache in zip(self.decoder_layers, state.memory, state.caches, strict=True):
            x = layer(x, memory, state.memory_mask, cache, state.group)
        return self.logits(self.decoder_norm(x[:, -1])), state

    def select(self, state: DecodingState, rows: Int[Tensor, " kept"], *, group: int = 1) -> DecodingState:
        """The state of these rows, in this order. With `group` = k, each k rows in a row belong to one sentence."""
        sentences = rows[::group] // state.group
        memory, mask = state.memory, state.memory_mask
        if not _are_all_in_order(sentences, len(mask)):
            memory = [(key[sentences], value[sentences]) for key, value in memory]
            mask = mask[sentences]
        return DecodingState(memory, mask, [cache.select(rows) for cache in state.caches], group)

    def _embed(
        self, table: nn.Embedding, tokens: Int[Tensor, "batch time"], start: int = 0
    ) -> Float[Tensor, "batch time d_model"]:
        # The factor brings embeddings of standard deviation 1/√d to the size of the positions (section 3.4).
        return self.dropout(self.positions(table(tokens) * math.sqrt(self.config.d_model), start))


def _are_all_in_order(rows: Int[Tensor, " kept"], count: int) -> bool:
    if len(rows) != count or rows.device.type == "meta":  # a meta tensor has no values to look at
        return False
    return bool((rows == torch.arange(count, device=rows.device)).all())


def _residual(config: TransformerConfig) -> Residual:
    return Residual(config.d_model, dropout=config.dropout, norm=config.norm, residual=config.residual)


def _initialise(module: nn.Module) -> None:
    """Xavier for matrices (each of those that are stored in one), zeros for biases, N(0, 1/d) for embeddings.

    The paper does not say how it begins; this is what its published code (Tensor2Tensor) does.
    """
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
    elif isinstance(module, SelfAttention | CrossAttention):
        for projection in module.children():
            for matrix in projection.weight.split(projection.in_features):
                nn.init.xavier_uniform_(matrix)
            nn.init.zeros_(projection.bias)
    elif isinstance(module, FeedForward):
        for linear in (module.widen, module.narrow):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
