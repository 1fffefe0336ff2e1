"""The parts between attentions: positions, point-wise feed-forward, residual connection with layer normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from lectures_lib.attention import SelfAttention


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU with the approximation that GPT-2 was trained with: x (1 + tanh(u)) / 2, u = √(2/π) (x + 0.044715 x³).

    On a CPU tanh is slow. (1 + tanh(u)) / 2 is the logistic function of 2u, which is fast; so while training on a CPU
    the function and its gradient are computed with that.

    Source: Hendrycks and Gimpel 2016, section 2, the formula with tanh.
    """
    if x.device.type == "cpu" and x.requires_grad and torch.is_grad_enabled():
        return _LogisticGelu.apply(x)
    return F.gelu(x, approximate="tanh")


class _LogisticGelu(torch.autograd.Function):
    """x σ(2u), with its gradient σ (1 + x (1 - σ) 2u') written out."""

    LINEAR, CUBIC = 2 * (2 / math.pi) ** 0.5, 2 * (2 / math.pi) ** 0.5 * 0.044715

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """GELU of x."""
        gate = (x * x).mul_(_LogisticGelu.CUBIC).add_(_LogisticGelu.LINEAR).mul_(x).sigmoid_()
        ctx.save_for_backward(x, gate)
        return x * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The gradient of x, given that of GELU."""
        x, gate = ctx.saved_tensors
        slope = (x * x).mul_(3 * _LogisticGelu.CUBIC).add_(_LogisticGelu.LINEAR).mul_(x)  # x · 2u'
        slope.addcmul_(slope, gate, value=-1)  # times 1 - gate, in place: new memory costs more than the arithmetic
        return slope.add_(1).mul_(gate).mul_(gradient)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "silu": F.silu,
}


def sinusoidal_positions(length: int, d_model: int) -> Float[Tensor, "length d_model"]:
    """The position table of the paper: sines in the even columns, cosines in the odd ones.

    PE(pos, 2i) = sin(pos / 10000^(2i/d_model)) and PE(pos, 2i+1) = cos(pos / 10000^(2i/d_model)).

    Raises:
        ValueError: `length` is below 1, or `d_model` is not an even number of at least 2.

    Source: Vaswani et al. 2017, section 3.5. (Their code, and Marian, put all sines before all cosines.)
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    if d_model < 2 or d_model % 2:
        raise ValueError(f"d_model must be an even number of at least 2, got {d_model}")
    position = torch.arange(length, dtype=torch.float64).unsqueeze(1)
    wavelength = 10_000 ** (torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
    angle = position / wavelength  # (length, d_model / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(start_dim=1).float()


class SinusoidalPositions(nn.Module):
    """Adds the fixed table of sines and cosines. It has no parameters and is not stored with the weights."""

    table: Tensor

    def __init__(self, max_length: int, d_model: int) -> None:
        super().__init__()
        with torch.device("cpu"):  # sines of a meta tensor are nothing: the table is always real
            table = sinusoidal_positions(max_length, d_model)
        self.register_buffer("table", table.to(torch.empty(0).device), persistent=False)

    def forward(self, x: Float[Tensor, "batch time d_model"], start: int = 0) -> Float[Tensor, "batch time d_model"]:
        """`x` plus the rows of positions `start`, `start` + 1, …

        Raises:
            ValueError: the last position lies beyond the table.
        """
        return x + _rows(self.table, start, x.shape[1])


class LearnedPositions(nn.Module):
    """Adds a table that is learned like any other weight.

    Source: Gehring et al. 2017, section 3.1; Vaswani et al. 2017, table 3, row E.
    """

    def __init__(self, max_length: int, d_model: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_length, d_model))
        nn.init.normal_(self.table, std=d_model**-0.5)

    def forward(self, x: Float[Tensor, "batch time d_model"], start: int = 0) -> Float[Tensor, "batch time d_model"]:
        """`x` plus the rows of positions `start`, `start` + 1, …

        Raises:
            ValueError: the last position lies beyond the table.
        """
        return x + _rows(self.table, start, x.shape[1])


def _rows(table: Tensor, start: int, time: int) -> Tensor:
    if start + time > len(table):
        raise ValueError(f"the position table has {len(table)} rows, got a sequence of {start + time}")
    return table[start : start + time]


class Dropout(nn.Module):
    """Sets a share `p` of the numbers to zero and scales the others by 1/(1 - p), while training.

    On a CPU most of dropout's time goes into random numbers. This one draws eight bytes at once and compares each with
    a threshold, so `p` is rounded to a multiple of 1/256 there; elsewhere it is PyTorch's own.

    Raises:
        ValueError: `p` is outside [0, 1).

    Source: Srivastava et al. 2014, section 10 ("inverted" dropout).
    """

    def __init__(self, p: int | float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in [0, 1), got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """`x` of any shape, with some of its numbers gone."""
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        threshold = min(max(round(self.p * 256), 1), 255)
        return x * random_keep(x, threshold).to(x.dtype).mul_(256 / (256 - threshold))

    def extra_repr(self) -> str:
        """What `print(model)` shows."""
        return f"p={self.p}"


def random_keep(x: Tensor, threshold: int) -> Tensor:
    """Booleans of the shape of `x`, each False with probability `threshold` / 256; drawn on the CPU."""
    words = torch.empty(-(-x.numel() // 8), dtype=torch.int64)
    words.random_(-(2**63), None)  # all 64 bits: without a range the sign bit would always be 0
    return (words.view(torch.uint8)[: x.numel()] >= threshold).view(x.shape)


class FeedForward(nn.Module):
    """Two linear maps with a bend between them, applied to each position alike and by itself.

    Source: Vaswani et al. 2017, equation 2.
    """

    def __init__(self, d_model: int, d_feed_forward: int, activation: str = "relu") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, got {activation!r}")
        self.widen = nn.Linear(d_model, d_feed_forward)
        self.narrow = nn.Linear(d_feed_forward, d_model)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """max(0, x W₁ + b₁) W₂ + b₂, or with another activation."""
        return self.narrow(self.activation(self.widen(x)))


NORMS = ("post", "pre", "none")


class Residual(nn.Module):
    """What a layer's part is wrapped in: add its output to its input, and normalise.

    `norm="post"` is the paper's LayerNorm(x + f(x)); `"pre"` is x + f(LayerNorm(x)), easier to train when deep;
    `"none"` leaves the normalisation out and `residual=False` the addition: both only to see what is lost.

    Sources: He et al. 2016; Ba et al. 2016; Vaswani et al. 2017, section 5.4; "pre": Xiong et al. 2020.
    """

    def __init__(
        self,
        d_model: int,
        *,
        dropout: int | float = 0.0,
        norm: str = "post",
        residual: bool = True,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {NORMS}, got {norm!r}")
        self.kind, self.residual = norm, residual
        self.norm = nn.Identity() if norm == "none" else nn.LayerNorm(d_model, eps=epsilon)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "*batch d_model"], part: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "*batch d_model"]:
        """`part` is the attention or the feed-forward: a function that keeps the shape."""
        y = self.dropout(part(self.norm(x) if self.kind == "pre" else x))
        if self.residual:
            y = x + y
        return self.norm(y) if self.kind == "post" else y


class SelfAttentionLayer(nn.Module):
    """Self-attention, then the feed-forward network, each with its residual connection: a layer of an encoder.

    The systems differ in the settings only: the Vision Transformer normalises before the parts, wav2vec 2.0 and ViLBERT
    after them, all with GELU.

    Source: Vaswani et al. 2017, section 3.1 and figure 1, left.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        d_feed_forward: int,
        *,
        activation: str = "gelu",
        dropout: int | float = 0.0,
        norm: str = "post",
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        self.self_attention = SelfAttention(d_model, n_heads)
        self.feed_forward = FeedForward(d_model, d_feed_forward, activation)
        self.add_attention = Residual(d_model, dropout=dropout, norm=norm, epsilon=epsilon)
        self.add_feed_forward = Residual(d_model, dropout=dropout, norm=norm, epsilon=epsilon)

    def forward(
        self, x: Float[Tensor, "batch time d_model"], mask: Tensor | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """`mask` is boolean and broadcasts to (batch, heads, time, time)."""
        x = self.add_attention(x, lambda x: self.self_attention(x, mask))
        return self.add_feed_forward(x, self.feed_forward)

    def of_first(
        self, x: Float[Tensor, "batch time d_model"], count: int, mask: Tensor | None = None
    ) -> Float[Tensor, "batch first d_model"]:
        """What `forward` gives the first `count` positions, without computing the others: for a last layer."""
        add = self.add_attention
        mixed = self.self_attention(add.norm(x) if add.kind == "pre" else x, mask, queries=count)
        first = x[:, :count] + add.dropout(mixed)
        return self.add_feed_forward(add.norm(first) if add.kind == "post" else first, self.feed_forward)
