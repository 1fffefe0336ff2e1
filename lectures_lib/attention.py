"""Attention: every query looks at all keys and takes a weighted mean of their values.

Masks are boolean and **True means "may attend"**, as in `torch.nn.functional.scaled_dot_product_attention`. They need
only broadcast to (..., query, key): a padding mask is (batch, 1, 1, key), a look-ahead mask (query, key), and `&` joins
them. A query that may attend to nothing gets zeros, and sends back zero gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def look_ahead_mask(length: int, device: torch.device | None = None) -> Bool[Tensor, "query key"]:
    """Lower triangle: position i may attend to positions 0..i, never to the future.

    Raises:
        ValueError: `length` is below 1.

    Source: Vaswani et al. 2017, section 3.2.3.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def padding_mask(lengths: Int[Tensor, " batch"], time: int) -> Bool[Tensor, "batch 1 1 key"]:
    """True where there is a token, False where there is padding; every head and every query sees the same.

    Raises:
        ValueError: a length is negative or greater than `time`.
    """
    if lengths.device.type != "meta" and len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= time:
        raise ValueError(f"lengths must lie between 0 and {time}, got {int(lengths.min())} to {int(lengths.max())}")
    present = torch.arange(time, device=lengths.device) < lengths.unsqueeze(1)
    return present[:, None, None]


def attention_weights(
    query: Float[Tensor, "*batch query d_key"],
    key: Float[Tensor, "*batch key d_key"],
    mask: Tensor | None = None,
) -> Float[Tensor, "*batch query key"]:
    """softmax(QKᵀ / √d): how much each query looks at each key. Rows sum to 1, or to 0 where nothing may be seen.

    `mask` is boolean and broadcasts to (*batch, query, key).

    Raises:
        ValueError: `mask` is not boolean, or its shape does not broadcast.

    Source: Vaswani et al. 2017, equation 1 (before the product with V).
    """
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    return masked_softmax(scores, mask)


def masked_softmax(scores: Float[Tensor, "*batch query key"], mask: Tensor | None) -> Float[Tensor, "*batch query key"]:
    """Softmax over the keys that may be seen; zeros where none may. Raises ValueError as `attention_weights` does."""
    if mask is None:
        return scores.softmax(dim=-1)
    check_mask(mask, tuple(scores.shape))
    # The lowest finite number instead of -inf: a row of -inf would become NaN, and its gradient too.
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)


def attention(
    query: Float[Tensor, "*batch query d_key"],
    key: Float[Tensor, "*batch key d_key"],
    value: Float[Tensor, "*batch key d_value"],
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    dropout: int | float = 0.0,
) -> Float[Tensor, "*batch query d_value"]:
    """softmax(QKᵀ / √d) V in PyTorch's fused kernel, which never stores the whole matrix of weights.

    `causal` is the look-ahead mask, and faster than passing one; it goes with as many queries as keys, or with a single
    query, the newest. `mask` is boolean and broadcasts to (*batch, query, key). `dropout` sets a share of the weights
    to zero; on a CPU no fused kernel does that, and the matrix of weights is stored after all.

    Raises:
        ValueError: `mask` is not boolean or does not broadcast; `causal` with other numbers of queries and keys.

    Source: Vaswani et al. 2017, equation 1.
    """
    queries, keys = query.shape[-2], key.shape[-2]
    if causal and queries != keys and queries != 1:
        raise ValueError(f"causal needs as many queries as keys, or one query, got {queries} and {keys}")
    if mask is None:
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal and queries > 1, dropout_p=dropout)
    check_mask(mask, (*query.shape[:-1], keys))
    mask = torch.atleast_2d(mask)  # the kernel wants an axis of queries
    if causal and queries > 1:
        mask = mask & look_ahead_mask(keys, query.device)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    if query.device.type == "cpu":  # this kernel gives zeros to a query that may see nothing (a test holds it to that)
        return mixed
    # The others differ: NaN, a mean of everything, or zeros.
    return mixed.masked_fill(~mask.any(dim=-1, keepdim=True), 0.0)


def check_mask(mask: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `mask` is boolean and broadcasts to `shape`, that is (*batch, query, key)."""
    if mask.dtype != torch.bool:
        raise ValueError(f"mask must be boolean (True = may attend), got {mask.dtype}")
    fits = mask.ndim <= len(shape) and all(
        m in (1, s) for m, s in zip(reversed(mask.shape), reversed(shape), strict=False)
    )
    if not fits:
        raise ValueError(f"mask must broadcast to {shape}, got {tuple(mask.shape)}")


class LayerCache:
    """The keys and values that one layer has computed already, in memory set aside once.

    `key` and `value` are (batch, heads, max_length, d_head); the first `length` positions are filled.
    """

    def __init__(self, key: Tensor, value: Tensor, length: int = 0) -> None:
        self.key, self.value, self.length = key, value, length

    def append(
        self, key: Float[Tensor, "batch heads new d_head"], value: Float[Tensor, "batch heads new d_head"]
    ) -> tuple[Float[Tensor, "batch heads time d_head"], Float[Tensor, "batch heads time d_head"]]:
        """Write the new positions and return views of all positions so far.

        Raises:
            ValueError: the cache is full.
        """
        end = self.length + key.shape[2]
        if end > self.key.shape[2]:
            raise ValueError(f"the cache has room for {self.key.shape[2]} positions, got {end}")
        self.key[:, :, self.length : end] = key
        self.value[:, :, self.length : end] = value
        self.length = end
        return self.key[:, :, :end], self.value[:, :, :end]

    def select(self, rows: Int[Tensor, " kept"]) -> LayerCache:
        """A cache with these rows of the batch, in this order; a row may come twice. Only what is filled is copied.

        Where the rows fit, they are written into the memory of this cache, which must not be used any more: fresh
        memory for every step of a beam search costs more than the copying.
        """
        kept = []
        for old in (self.key, self.value):
            filled = old[:, :, : self.length].index_select(0, rows)
            new = old[: len(rows)] if len(rows) <= len(old) else old.new_empty((len(rows), *old.shape[1:]))
            new[:, :, : self.length] = filled
            kept.append(new)
        return LayerCache(kept[0], kept[1], self.length)


def key_value_cache(
    n_layers: int, batch: int, n_heads: int, max_length: int, d_head: int, *, like: Tensor
) -> list[LayerCache]:
    """Empty caches, one a layer, with the device and the type of `like`.

    Raises:
        ValueError: a size is below 1.
    """
    sizes = {"batch": batch, "n_heads": n_heads, "max_length": max_length, "d_head": d_head}
    for name, size in {"n_layers": n_layers, **sizes}.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
    shape = tuple(sizes.values())
    return [LayerCache(like.new_empty(shape), like.new_empty(shape)) for _ in range(n_layers)]


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself: several attentions side by side, each on its slice of the width.

    One matrix product makes the queries, keys and values of all heads. `dropout` drops weights while training, as BERT
    and GPT-2 do.

    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(self, d_model: int, n_heads: int, *, dropout: int | float = 0.0) -> None:
        super().__init__()
        self.n_heads = _checked_heads(d_model, n_heads)
        self.dropout = dropout
        self.project_in = nn.Linear(d_model, 3 * d_model)  # queries, keys and values, in this order
        self.project_out = nn.Linear(d_model, d_model)

    def forward(
        self,
        x: Float[Tensor, "batch time d_model"],
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        cache: LayerCache | None = None,
        queries: int | None = None,
    ) -> Float[Tensor, "batch looking d_model"]:
        """Every position looks at all positions (`causal`: at itself and those before) and mixes their values.

        With a `cache`, `x` holds the new positions only, and they look at the cached ones too. With `queries`, only as
        many first positions look: for a layer whose other outputs nobody reads.

        Raises:
            ValueError: `mask` is not boolean or does not broadcast to (batch, heads, time, all positions).
        """
        query, key, value = self.heads(x, queries)
        if cache is not None:
            before = cache.length
            key, value = cache.append(key, value)
            if causal and before and x.shape[1] > 1:  # several new positions: each sees the past and the new before it
                allowed = look_ahead_mask(cache.length, x.device)[before:]
                mask, causal = allowed if mask is None else mask & allowed, False
        dropped = {"dropout": self.dropout} if self.dropout and self.training else {}
        return self.project_out(_join_heads(attention(query, key, value, mask, causal=causal, **dropped)))

    def heads(
        self, x: Float[Tensor, "batch time d_model"], queries: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The query, key and value of every head, each (batch, heads, time, d_head); queries of the first ones only."""
        if queries is None:
            query, key, value = self.project_in(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
            return query, key, value
        weight, bias, d_model = self.project_in.weight, self.project_in.bias, x.shape[-1]
        query = F.linear(x[:, :queries], weight[:d_model], bias[:d_model]).unflatten(-1, (self.n_heads, -1))
        both = F.linear(x, weight[d_model:], bias[d_model:]).unflatten(-1, (2, self.n_heads, -1))
        key, value = both.permute(2, 0, 3, 1, 4).unbind()
        return query.transpose(1, 2), key, value

    def weights(
        self,
        x: Float[Tensor, "batch time d_model"],
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        cache: LayerCache | None = None,
        queries: int | None = None,
    ) -> Float[Tensor, "batch heads looking all_time"]:
        """How much each position looks at each: what `forward` uses and does not store. `cache` is only read."""
        query, key, _ = self.heads(x, queries)
        if cache is not None:
            key = torch.cat([cache.key[:, :, : cache.length], key], dim=2)
        if causal:
            allowed = look_ahead_mask(key.shape[2], x.device)[-x.shape[1] :]
            mask = allowed if mask is None else mask & allowed
        return attention_weights(query, key, mask)


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence (the decoder's) to another, the memory (the encoder's output).

    The memory's keys and values do not change while the decoder writes: `keys_and_values` computes them once.
    `d_memory` is the memory's width and `d_attention` that of all heads together, where they differ from `d_model`.

    Source: Vaswani et al. 2017, section 3.2.3, "encoder-decoder attention".
    """

    def __init__(
        self, d_model: int, n_heads: int, *, d_memory: int | None = None, d_attention: int | None = None
    ) -> None:
        super().__init__()
        d_attention = d_attention or d_model
        self.n_heads = _checked_heads(d_attention, n_heads)
        self.project_query = nn.Linear(d_model, d_attention)
        self.project_key_value = nn.Linear(d_memory or d_model, 2 * d_attention)  # keys and values, in this order
        self.project_out = nn.Linear(d_attention, d_model)

    def forward(
        self,
        x: Float[Tensor, "batch query d_model"],
        memory: Float[Tensor, "batch key d_memory"] | tuple[Tensor, Tensor],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "batch query d_model"]:
        """Each position of `x` looks at all of `memory`, or at keys and values computed from it before.

        Raises:
            ValueError: `mask` is not boolean or does not broadcast to (batch, heads, query, key).
        """
        key, value = self.keys_and_values(memory) if isinstance(memory, Tensor) else memory
        query = _split_heads(self.project_query(x), self.n_heads)
        return self.project_out(_join_heads(attention(query, key, value, mask)))

    def keys_and_values(self, memory: Float[Tensor, "batch key d_memory"]) -> tuple[Tensor, Tensor]:
        """The key and value of every head, each (batch, heads, key, d_head)."""
        key, value = self.project_key_value(memory).unflatten(-1, (2, self.n_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        return key, value

    def weights(
        self,
        x: Float[Tensor, "batch query d_model"],
        memory: Float[Tensor, "batch key d_memory"] | tuple[Tensor, Tensor],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "batch heads query key"]:
        """How much each position looks at each position of the memory: what `forward` uses and does not store."""
        key, _ = self.keys_and_values(memory) if isinstance(memory, Tensor) else memory
        return attention_weights(_split_heads(self.project_query(x), self.n_heads), key, mask)


class AdditiveAttention(nn.Module):
    """Scores by a small network: vᵀ tanh(W q + U k). The attention that recurrent decoders had first.

    Source: Bahdanau et al. 2015, appendix A.1.2.
    """

    def __init__(self, d_query: int, d_key: int, d_attention: int) -> None:
        super().__init__()
        self.project_query = nn.Linear(d_query, d_attention, bias=False)
        self.project_key = nn.Linear(d_key, d_attention, bias=False)
        self.project_score = nn.Linear(d_attention, 1, bias=False)

    def prepare(self, keys: Float[Tensor, "batch key d_key"]) -> Float[Tensor, "batch key d_attention"]:
        """The part that depends on the keys alone: computed once a sentence."""
        return self.project_key(keys)

    def forward(
        self,
        query: Float[Tensor, "batch query d_query"],
        prepared: Float[Tensor, "batch key d_attention"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "batch query key"]:
        """The weights of each query over the keys that `prepare` was given; `mask` broadcasts to (batch, query, key).

        Raises:
            ValueError: `mask` is not boolean or does not broadcast.
        """
        mixed = torch.tanh(self.project_query(query).unsqueeze(2) + prepared.unsqueeze(1))
        return masked_softmax(self.project_score(mixed).squeeze(-1), mask)


class MultiplicativeAttention(nn.Module):
    """Scores by a product: qᵀ W k ("general"), without the square root of the Transformer's.

    Source: Luong et al. 2015, equation 8.
    """

    def __init__(self, d_query: int, d_key: int) -> None:
        super().__init__()
        self.project_key = nn.Linear(d_key, d_query, bias=False)

    def prepare(self, keys: Float[Tensor, "batch key d_key"]) -> Float[Tensor, "batch key d_query"]:
        """The part that depends on the keys alone: computed once a sentence."""
        return self.project_key(keys)

    def forward(
        self,
        query: Float[Tensor, "batch query d_query"],
        prepared: Float[Tensor, "batch key d_query"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "batch query key"]:
        """The weights of each query over the keys that `prepare` was given; `mask` broadcasts to (batch, query, key).

        Raises:
            ValueError: `mask` is not boolean or does not broadcast.
        """
        return masked_softmax(query @ prepared.transpose(1, 2), mask)


@contextmanager
def recorded_weights(model: nn.Module, *, differentiable: bool = False) -> Iterator[dict[str, Tensor]]:
    """Within this block, every attention of `model` also puts its weights into the dictionary, under its module's name.

    The weights are (batch, heads, query, key). A module that runs twice leaves those of its last run. They carry
    gradients if `differentiable`, for a loss on the weights themselves.
    """
    weights: dict[str, Tensor] = {}

    def remember(name: str):
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> None:
            with torch.set_grad_enabled(differentiable and torch.is_grad_enabled()):
                weights[name] = module.weights(*args, **kwargs)

        return hook

    handles = [
        module.register_forward_pre_hook(remember(name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, SelfAttention | CrossAttention)
    ]
    try:
        yield weights
    finally:
        for handle in handles:
            handle.remove()


def _checked_heads(d_model: int, n_heads: int) -> int:
    if d_model < 1 or n_heads < 1:
        raise ValueError(f"d_model and n_heads must be at least 1, got {d_model} and {n_heads}")
    if d_model % n_heads:
        raise ValueError(f"d_model must be divisible by n_heads, got {d_model} and {n_heads}")
    return n_heads


def _split_heads(x: Float[Tensor, "batch time d_model"], n_heads: int) -> Float[Tensor, "batch heads time d_head"]:
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def _join_heads(x: Float[Tensor, "batch heads time d_head"]) -> Float[Tensor, "batch time d_model"]:
    return x.transpose(1, 2).flatten(start_dim=2)
