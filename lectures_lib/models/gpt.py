"""GPT: the Transformer's decoder by itself, a language model that guesses the next token from those before it.

Sources: Radford et al. 2018 (GPT) and 2019 (GPT-2, whose layout this is).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from lectures_lib.attention import LayerCache, SelfAttention, key_value_cache
from lectures_lib.layers import ACTIVATIONS, Dropout, FeedForward, LearnedPositions, Residual

EPSILON = 1e-5  # of every layer normalisation
SPREAD = 0.02  # standard deviation of fresh weights


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT.

    `context` is the longest text it can read, in tokens. `dropout` acts on the embeddings and on what each part adds;
    `attention_dropout` on the attention's weights (on a CPU it costs the fused kernel). The paper has 0.1 for both.
    """

    vocabulary: int
    context: int
    d_model: int
    n_heads: int
    n_layers: int
    d_feed_forward: int
    dropout: int | float = 0.0
    attention_dropout: int | float = 0.0
    activation: str = "gelu_tanh"

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "d_model", "n_heads", "n_layers", "d_feed_forward"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model must be divisible by n_heads, got {self.d_model} and {self.n_heads}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {self.activation!r}")
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")

    @classmethod
    def tiny(cls, vocabulary: int) -> GPTConfig:
        """Trains in a notebook on two cores."""
        return cls(vocabulary, context=64, d_model=64, n_heads=4, n_layers=2, d_feed_forward=256)

    @classmethod
    def paper(cls) -> GPTConfig:
        """GPT-2 small: 124,439,808 parameters."""
        sizes = dict(vocabulary=50_257, context=1_024, d_model=768, n_heads=12, n_layers=12, d_feed_forward=3_072)
        return cls(**sizes, dropout=0.1, attention_dropout=0.1)


class GPTState(NamedTuple):
    """All that the model needs between two steps: each layer's keys and values of the text so far."""

    caches: list[LayerCache]

    @property
    def length(self) -> int:
        """How many tokens have been read."""
        return self.caches[0].length


class GPTLayer(nn.Module):
    """Self-attention to what came before, then the feed-forward network, each normalised first (pre-LN).

    It is the Transformer's decoder layer without the attention to a source.

    Source: Radford et al. 2019, section 2.3.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config.d_model, config.n_heads, dropout=config.attention_dropout)
        self.feed_forward = FeedForward(config.d_model, config.d_feed_forward, config.activation)
        self.add_attention = Residual(config.d_model, dropout=config.dropout, norm="pre", epsilon=EPSILON)
        self.add_feed_forward = Residual(config.d_model, dropout=config.dropout, norm="pre", epsilon=EPSILON)

    def forward(
        self, x: Float[Tensor, "batch time d_model"], cache: LayerCache | None = None, *, look_ahead: bool = True
    ) -> Float[Tensor, "batch time d_model"]:
        """With a `cache`, `x` holds the new positions only. `look_ahead=False` leaves the look-ahead mask out."""
        x = self.add_attention(x, lambda x: self.self_attention(x, causal=look_ahead, cache=cache))
        return self.add_feed_forward(x, self.feed_forward)


class GPT(nn.Module):
    """Embeddings and learned positions, a stack of layers, and scores of the next token.

    The output layer shares the embeddings' table. The stack ends in a layer normalisation, since in pre-LN nothing has
    normalised the last sum.

    Source: Radford et al. 2019, section 2.3.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocabulary, config.d_model)
        self.positions = LearnedPositions(config.context, config.d_model)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(GPTLayer(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model, eps=EPSILON)
        _initialise(self)

    def forward(
        self, tokens: Int[Tensor, "batch time"], *, look_ahead: bool = True
    ) -> Float[Tensor, "batch time vocabulary"]:
        """At every place the scores of the token that comes next, from the tokens up to there, all places at once.

        `look_ahead=False` leaves the look-ahead mask out, to see what then happens.

        Raises:
            ValueError: the text is longer than `config.context`.
        """
        x = self.dropout(self.positions(self.embed(tokens)))
        for layer in self.layers:
            x = layer(x, look_ahead=look_ahead)
        return self.logits(self.norm(x))

    def logits(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocabulary"]:
        """A score for each token of the vocabulary: the dot product with its embedding."""
        return nn.functional.linear(x, self.embed.weight)

    def start(self, tokens: Int[Tensor, "batch time"]) -> tuple[Float[Tensor, "batch vocabulary"], GPTState]:
        """Read the beginning of a text: the scores of the token after it, and the state.

        Raises:
            ValueError: the text is empty or longer than `config.context`.
        """
        if tokens.shape[1] < 1:
            raise ValueError(f"tokens must have at least one column, got shape {tuple(tokens.shape)}")
        c, x = self.config, self.dropout(self.positions(self.embed(tokens)))
        caches = key_value_cache(c.n_layers, len(tokens), c.n_heads, c.context, c.d_model // c.n_heads, like=x)
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, cache)
        return self.logits(self.norm(x[:, -1])), GPTState(caches)

    def step(
        self, tokens: Int[Tensor, " batch"], state: GPTState
    ) -> tuple[Float[Tensor, "batch vocabulary"], GPTState]:
        """One token further: the scores of the token after `tokens`. The state's caches grow in place.

        Raises:
            ValueError: the context is full.
        """
        x = self.dropout(self.positions(self.embed(tokens.unsqueeze(1)), state.length))
        for layer, cache in zip(self.layers, state.caches, strict=True):
            x = layer(x, cache)
        return self.logits(self.norm(x[:, -1])), state

    def select(self, state: GPTState, rows: Int[Tensor, " kept"]) -> GPTState:
        """The state of these rows of the batch, in this order; `state` must not be used any more."""
        return GPTState([cache.select(rows) for cache in state.caches])


def _initialise(model: GPT) -> None:
    """N(0, 0.02²) for matrices and tables, zeros for biases; what is added to the residual stream starts smaller.

    There are two additions a layer, so their standard deviation is divided by √(2 · layers).

    Source: Radford et al. 2019, section 2.3.
    """
    nn.init.normal_(model.positions.table, std=SPREAD)
    smaller = SPREAD / (2 * model.config.n_layers) ** 0.5
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=SPREAD)
        elif isinstance(module, nn.Linear):
            added = name.endswith(("project_out", "narrow"))
            nn.init.normal_(module.weight, std=smaller if added else SPREAD)
            nn.init.zeros_(module.bias)
