"""BERT: the Transformer's encoder alone, which reads a whole text at once, with the heads it is trained through.

Source: Devlin et al. 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.attention import SelfAttention
from lectures_lib.layers import Dropout, FeedForward, LearnedPositions, Residual

POOLINGS = ("cls", "mean")


@dataclass(frozen=True)
class BertConfig:
    """The sizes of a BERT.

    `max_length` is the longest sequence that the position table reaches, `[CLS]` and `[SEP]` included. `dropout` is
    that of the embeddings and of every layer's parts; `attention_dropout` that of the attention weights, for which a
    CPU has no fused kernel: 0 is faster there. `init_std` is the standard deviation of fresh weights. `look_ahead=True`
    lets every position see only itself and those before: no BERT any more, but its left-to-right twin, for the
    experiment that asks what both directions are worth.
    """

    vocabulary: int
    d_model: int
    n_heads: int
    d_feed_forward: int
    n_layers: int
    max_length: int = 512
    n_segments: int = 2
    dropout: int | float = 0.0
    attention_dropout: int | float = 0.0
    epsilon: float = 1e-12
    init_std: float = 0.02
    look_ahead: bool = False

    def __post_init__(self) -> None:
        sizes = ("vocabulary", "d_model", "n_heads", "d_feed_forward", "n_layers", "max_length", "n_segments")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.d_model % self.n_heads:
            raise ValueError(f"d_model must be divisible by n_heads, got {self.d_model} and {self.n_heads}")
        for name in ("dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        for name in ("epsilon", "init_std"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    @classmethod
    def tiny(cls, vocabulary: int, *, look_ahead: bool = False) -> BertConfig:
        """Trains in a notebook on two cores. Its weights start larger: 0.02 is meant for a width of 768."""
        return cls(vocabulary, 64, 4, 128, n_layers=2, max_length=64, init_std=0.07, look_ahead=look_ahead)

    @classmethod
    def paper(cls, size: str = "base") -> BertConfig:
        """The "base" or "large" model of the paper, with its vocabulary of 30,522 pieces of English words.

        Raises:
            ValueError: `size` is neither.
        """
        if size not in ("base", "large"):
            raise ValueError(f'size must be "base" or "large", got {size!r}')
        d_model, n_heads, n_layers = (768, 12, 12) if size == "base" else (1024, 16, 24)
        return cls(30_522, d_model, n_heads, 4 * d_model, n_layers, dropout=0.1, attention_dropout=0.1)


class BertLayer(nn.Module):
    """The Transformer's encoder layer with GELU for ReLU: attention and feed-forward, each added, then normalised.

    Source: Devlin et al. 2019, section 3; Hendrycks and Gimpel 2016 for GELU, x Φ(x).
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config.d_model, config.n_heads, dropout=config.attention_dropout)
        self.feed_forward = FeedForward(config.d_model, config.d_feed_forward, "gelu")
        self.add_attention = Residual(config.d_model, dropout=config.dropout, epsilon=config.epsilon)
        self.add_feed_forward = Residual(config.d_model, dropout=config.dropout, epsilon=config.epsilon)
        self.look_ahead = config.look_ahead

    def forward(
        self, x: Float[Tensor, "batch time d_model"], mask: Tensor | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """`mask` is boolean and broadcasts to (batch, heads, time, time)."""
        x = self.add_attention(x, lambda x: self.self_attention(x, mask, causal=self.look_ahead))
        return self.add_feed_forward(x, self.feed_forward)


class Bert(nn.Module):
    """The encoder: a vector for every token, each of which has seen the whole text.

    What goes in is the sum of three embeddings: which token, at which place, in which of two segments.

    Source: Devlin et al. 2019, section 3 and figure 2.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_token = nn.Embedding(config.vocabulary, config.d_model)
        self.embed_segment = nn.Embedding(config.n_segments, config.d_model)
        self.positions = LearnedPositions(config.max_length, config.d_model)
        self.embedding_norm = nn.LayerNorm(config.d_model, eps=config.epsilon)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.n_layers))
        self.pooler = nn.Linear(config.d_model, config.d_model)
        self.apply(partial(_initialise, std=config.init_std))

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "*segments"] | None = None,
        present: Bool[Tensor, "*present"] | None = None,
    ) -> Float[Tensor, "batch time d_model"]:
        """The states of the last layer.

        `segments` (batch, time) are 0 or 1, all 0 where not given; `present` (batch, time) is True at tokens and False
        at padding, all True where not given.

        Raises:
            ValueError: `segments` or `present` has another shape than `tokens`, or the text is longer than
                `config.max_length`.
        """
        x = self.embed(tokens, segments)
        mask = None if present is None else _checked("present", present, tokens)[:, None, None]
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def embed(
        self, tokens: Int[Tensor, "batch time"], segments: Int[Tensor, "*segments"] | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """Token, segment and position added up, normalised: what the first layer reads. Raises as `forward`."""
        limit = self.config.max_length
        if tokens.shape[1] > limit:
            raise ValueError(f"tokens must be at most {limit} long, [CLS] and [SEP] included, got {tokens.shape[1]}")
        if segments is None:
            of_segment = self.embed_segment.weight[0]
        else:
            of_segment = self.embed_segment(_checked("segments", segments, tokens))
        return self.dropout(self.embedding_norm(self.positions(self.embed_token(tokens) + of_segment)))

    def pool(self, states: Float[Tensor, "batch time d_model"]) -> Float[Tensor, "batch d_model"]:
        """One vector a text: the state of the first token, `[CLS]`, through a linear map and tanh."""
        return torch.tanh(self.pooler(states[:, 0]))


class MaskedLanguageHead(nn.Module):
    """Scores of every word of the vocabulary, from a state: dense, GELU, layer normalisation, then the embedding table.

    The table is the one the words came in through; it is handed over at each call, so that it is stored once.

    Source: Devlin et al. 2019, section 3.1; the dense layer stands in the published code only.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.norm = nn.LayerNorm(config.d_model, eps=config.epsilon)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))

    def forward(
        self, states: Float[Tensor, "*places d_model"], table: Float[Tensor, "vocabulary d_model"]
    ) -> Float[Tensor, "*places vocabulary"]:
        """The logits."""
        return F.linear(self.norm(F.gelu(self.dense(states))), table, self.bias)


class BertForPreTraining(nn.Module):
    """BERT with its two heads: which word was hidden, and does the second text follow the first?

    Source: Devlin et al. 2019, section 3.1.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = Bert(config)
        self.masked_language = MaskedLanguageHead(config)
        self.next_sentence = nn.Linear(config.d_model, 2)
        for head in (self.masked_language, self.next_sentence):
            head.apply(partial(_initialise, std=config.init_std))

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "*segments"] | None = None,
        present: Bool[Tensor, "*present"] | None = None,
        places: Int[Tensor, " places"] | None = None,
    ) -> tuple[Float[Tensor, "*asked vocabulary"], Float[Tensor, "batch 2"]]:
        """Logits of the hidden words, and of (0: it follows, 1: it does not).

        `places` are indices into the batch laid out in one row, `row · time + column`; the head computes those only and
        gives (places, vocabulary). Without them it computes all: (batch, time, vocabulary). With 15 % of the words
        hidden, and a vocabulary of thousands, that would be a large part of the work of a training step.

        Raises:
            ValueError: as `Bert.forward`.
        """
        states = self.bert(tokens, segments, present)
        asked = states if places is None else states.flatten(0, 1).index_select(0, places)
        scores = self.masked_language(asked, self.bert.embed_token.weight)
        return scores, self.next_sentence(self.bert.pool(states))


class BertForClassification(nn.Module):
    """A BERT, pretrained or fresh, with one task layer: the scores of some classes, from one vector a text.

    `pooling` says which vector: "cls" is the paper's, the pooler's output; "mean" is the mean over the text's tokens,
    for checkpoints such as MiniLM whose pooler was not trained on (it is left as it is then).

    Raises:
        ValueError: fewer than two classes, or an unknown pooling.

    Source: Devlin et al. 2019, section 4.1 and appendix A.3.
    """

    def __init__(self, bert: Bert, n_classes: int, *, pooling: str = "cls") -> None:
        super().__init__()
        if n_classes < 2:
            raise ValueError(f"n_classes must be at least 2, got {n_classes}")
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {POOLINGS}, got {pooling!r}")
        self.config, self.pooling = bert.config, pooling
        self.bert = bert
        self.dropout = Dropout(bert.config.dropout)
        self.classify = nn.Linear(bert.config.d_model, n_classes)
        _initialise(self.classify, std=bert.config.init_std)
        if pooling == "mean":
            bert.pooler.requires_grad_(False)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "*segments"] | None = None,
        present: Bool[Tensor, "*present"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Logits of the classes. Raises ValueError as `Bert.forward`."""
        states = self.bert(tokens, segments, present)
        pooled = self.bert.pool(states) if self.pooling == "cls" else mean_pool(states, present)
        return self.classify(self.dropout(pooled))


def mean_pool(
    states: Float[Tensor, "batch time d_model"], present: Bool[Tensor, "*present"] | None = None
) -> Float[Tensor, "batch d_model"]:
    """The mean of the states of a text's tokens, `[CLS]` and `[SEP]` among them, padding not; 0 for a text of none.

    Raises:
        ValueError: `present` is not (batch, time).

    Source: Reimers and Gurevych 2019, section 3.
    """
    if present is None:
        return states.mean(dim=1)
    if present.shape != states.shape[:2]:
        raise ValueError(f"present must have shape {tuple(states.shape[:2])}, got {tuple(present.shape)}")
    weight = present.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def _checked(name: str, tensor: Tensor, tokens: Tensor) -> Tensor:
    if tensor.shape != tokens.shape:
        raise ValueError(f"{name} must have the shape of tokens, {tuple(tokens.shape)}, got {tuple(tensor.shape)}")
    return tensor


def _initialise(module: nn.Module, *, std: float) -> None:
    """As in the published code: normal, cut off at two standard deviations, for matrices; zeros for biases."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
    if isinstance(module, LearnedPositions):
        nn.init.trunc_normal_(module.table, std=std, a=-2 * std, b=2 * std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
