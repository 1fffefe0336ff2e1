"""One more token, in as few operations as it takes.

At the sizes of a notebook a decoding step is a few dozen products of small matrices, and most of its time goes into
calling modules, checking masks and starting kernels that are made for long sequences. `LeanTransformer` computes what
`Transformer.step` computes, from the same weights, as one flat list of operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.attention import CrossAttention
from lectures_lib.models.transformer import DecoderLayer, Transformer

ROOM = 32  # positions that a cache has room for at first; it doubles as it fills
FOLDED = 2  # the heads' numbers of a source over d_model, up to which its memory is folded
SMALL = 400  # below so many numbers of a matrix PyTorch's batched product walks through it column by column on a CPU


class HeadMemory(NamedTuple):
    """What a layer's heads may look at of the source, each head by itself.

    `keys` and `values` are (sentences · heads, source_time, d_head), `bias` (sentences · heads, 1, source_time) is 0 at
    tokens and -inf at padding, or None where nothing is padded.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor | None


class FoldedMemory(NamedTuple):
    """The same with the weights around it multiplied in, once a sentence: (x Wq) Kᵀ = x (Wq Kᵀ), and likewise V Wo.

    `keys` (sentences, d_model, heads · source_time) make scores of what asks, `bias` (sentences, 1, heads ·
    source_time) is added to them, and `values` (sentences, heads · source_time, d_model) make the output of weights.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor


class LeanState(NamedTuple):
    """All that the decoder needs between two steps.

    `memory` is every layer's, and `sentences` their number. `group` rows in a row belong to one sentence. `written` is
    what the decoder's layers remember.
    """

    memory: list[HeadMemory] | list[FoldedMemory]
    sentences: int
    written: _Written
    group: int = 1


class LeanTransformer:
    """A Transformer in evaluation, for decoders: `start`, `step` and `select`, as the model itself has them.

    It holds the model's own weights, not copies: nothing need be made again when they change. It gives no gradients,
    and its attentions are not seen by `recorded_weights`.

    Raises:
        ValueError: the model is in training mode, where dropout would have to be drawn.
    """

    def __init__(self, model: Transformer) -> None:
        if model.training:
            raise ValueError("model must be in evaluation mode (model.eval()), got one in training mode")
        self.model = model
        self.layers = [_layer(layer, model.config.n_heads) for layer in model.decoder_layers]
        self.scale = math.sqrt(model.config.d_model)
        self.last_norm = _norm(model.decoder_norm)

    @torch.no_grad()
    def start(self, source: Int[Tensor, "batch time"], source_lengths: Int[Tensor, "*lengths"]) -> LeanState:
        """The state before the first token. Raises ValueError as `Transformer.encode` does."""
        memory, mask = self.model.encode(source, source_lengths)
        heads, time = self.model.config.n_heads, memory.shape[1]
        # Folded, a source takes `heads` times the memory: that pays while it is short.
        make = _folded if heads * time <= FOLDED * memory.shape[2] else _by_head
        padding = None
        if mask.device.type == "meta" or not bool(mask.all()):
            padding = torch.zeros_like(mask, dtype=memory.dtype).masked_fill_(~mask, -torch.inf)
        layers = [make(layer.cross_attention, memory, padding) for layer in self.model.decoder_layers]
        return LeanState(layers, len(memory), _Written.nothing(len(self.layers), memory))

    @torch.no_grad()
    def step(
        self, tokens: Int[Tensor, " batch"], state: LeanState
    ) -> tuple[Float[Tensor, "batch vocabulary"], LeanState]:
        """The scores of the token after `tokens`. What is written grows in place.

        Raises:
            ValueError: the sentence is longer than the model's position table.
        """
        table, time = self.model.positions.table, state.written.length
        if time >= len(table):
            raise ValueError(f"the position table has {len(table)} rows, got a sequence of {time + 1}")
        x = torch.add(table[time], F.embedding(tokens, self.model.embed_target.weight), alpha=self.scale)
        for layer, written, memory in zip(self.layers, state.written.open(), state.memory, strict=True):
            x = layer(x, written, memory, state.group)
        x = x if self.last_norm is None else self.last_norm(x)
        return F.linear(x, self.model.embed_target.weight, self.model.logits_bias), state

    @torch.no_grad()
    def select(self, state: LeanState, rows: Int[Tensor, " kept"], *, group: int = 1) -> LeanState:
        """The state of these rows, in this order. With `group` = k, each k rows in a row belong to one sentence."""
        picked, memory = rows[::group] // state.group, state.memory
        if len(picked) != state.sentences or picked.device.type == "meta" or not _in_order(picked):
            memory = [_pick(layer, picked, state.sentences) for layer in memory]
        state.written.select(rows)
        return LeanState(memory, len(picked), state.written, group)


def _in_order(rows: Tensor) -> bool:
    return torch.equal(rows, torch.arange(len(rows), device=rows.device))


def _pick(memory: HeadMemory | FoldedMemory, sentences: Tensor, count: int) -> HeadMemory | FoldedMemory:
    """The memory of these of `count` sentences."""
    heads = len(memory.keys) // count
    if heads > 1:
        sentences = (sentences.unsqueeze(1) * heads + torch.arange(heads, device=sentences.device)).flatten()
    return type(memory)(*(None if part is None else part[sentences] for part in memory))


def _by_head(across: CrossAttention, memory: Tensor, padding: Tensor | None) -> HeadMemory:
    """`memory` (sentences, source_time, d_model); `padding` (sentences, 1, 1, source_time) or None."""
    keys, values = (part.flatten(0, 1) for part in across.keys_and_values(memory))
    bias = None if padding is None else padding.expand(-1, across.n_heads, -1, -1).flatten(0, 1)
    return HeadMemory(keys, values, bias)


def _folded(across: CrossAttention, memory: Tensor, padding: Tensor | None) -> FoldedMemory:
    """The same arguments as `_by_head`."""
    keys, values = across.keys_and_values(memory)  # (sentences, heads, source_time, d_head)
    keys = keys * keys.shape[-1] ** -0.5
    query, out = across.project_query, across.project_out
    by_head = query.weight.unflatten(0, (across.n_heads, -1))  # (heads, d_head, d_model)
    scores = torch.einsum("hdm,shtd->smht", by_head, keys).flatten(2)
    bias = keys.new_zeros(keys.shape[:3])
    if query.bias is not None:
        bias = bias + torch.einsum("hd,shtd->sht", query.bias.unflatten(0, (across.n_heads, -1)), keys)
    if padding is not None:
        bias = bias + padding.squeeze(2)
    outputs = torch.einsum("mhd,shtd->shtm", out.weight.unflatten(1, (across.n_heads, -1)), values).flatten(1, 2)
    return FoldedMemory(scores, outputs, bias.flatten(1).unsqueeze(1))


class _Written:
    """The keys and values of what has been said: (layers, 2, time, rows, d_model) in memory that is used again.

    Time comes before the rows, so that a step writes one piece and a beam picks its rows from pieces. Two memories take
    turns: fresh memory for every step of a beam would cost more than the copying. Each has a row that nobody uses:
    without it positions would often lie a power of two apart, where they push each other out of the processor's cache.
    """

    def __init__(self, memory: Tensor, rows: int) -> None:
        self.memory, self.spare, self.length, self.rows = memory, None, 0, rows

    @classmethod
    def nothing(cls, n_layers: int, like: Float[Tensor, "rows time d_model"]) -> _Written:
        """Empty, for as many rows as `like` has."""
        rows, _, d_model = like.shape
        return cls(like.new_empty(n_layers, 2, ROOM, rows + 1, d_model), rows)

    def open(self) -> tuple[Tensor, ...]:
        """Room for one more position: each layer's (2, time, rows, d_model), whose last position is to be written."""
        if self.length == self.memory.shape[2]:
            shape = list(self.memory.shape)
            shape[2] *= 2
            larger = self.memory.new_empty(shape)
            larger[:, :, : self.length] = self.memory
            self.memory, self.spare = larger, None
        self.length += 1
        return self.memory[:, :, : self.length, : self.rows].unbind()

    def select(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep these rows, in this order."""
        old = self.memory[:, :, : self.length, : self.rows]
        spare = self.spare
        if spare is None or spare.shape[3] <= len(rows):
            spare = old.new_empty(*self.memory.shape[:3], len(rows) + 1, old.shape[4])
        spare[:, :, : self.length, : len(rows)] = old.index_select(3, rows)
        self.memory, self.spare, self.rows = spare, self.memory, len(rows)


def _layer(layer: DecoderLayer, n_heads: int) -> Callable[..., Tensor]:
    """One decoder layer for one position of every row: a function of x (rows, d_model) and of what it may look at."""
    itself, across, ahead = layer.self_attention, layer.cross_attention, layer.feed_forward
    add_itself, add_across, add_ahead = (
        _added(part) for part in (layer.add_self_attention, layer.add_cross_attention, layer.add_feed_forward)
    )

    def look_at_itself(x: Tensor, written: Tensor) -> Tensor:
        rows, d_model = x.shape
        projected = F.linear(x, itself.project_in.weight, itself.project_in.bias).view(rows, 3, d_model)
        written[:, -1] = projected[:, 1:].transpose(0, 1)
        key, value = written.view(2, -1, rows * n_heads, d_model // n_heads).transpose(1, 2).unbind()
        query = projected[:, 0].reshape(rows * n_heads, 1, -1)
        mixed = _attend(query, key, value, None).view(rows, d_model)
        return F.linear(mixed, itself.project_out.weight, itself.project_out.bias)

    def look_across(x: Tensor, memory: HeadMemory | FoldedMemory, group: int) -> Tensor:
        if isinstance(memory, FoldedMemory):
            scores = torch.baddbmm(memory.bias, x.view(-1, group, x.shape[1]), memory.keys)
            weights = scores.unflatten(2, (n_heads, -1)).softmax(-1).flatten(2)
            if across.project_out.bias is None:
                return torch.bmm(weights, memory.values).view(x.shape)
            return torch.baddbmm(across.project_out.bias, weights, memory.values).view(x.shape)
        key, value, bias = memory
        query = F.linear(x, across.project_query.weight, across.project_query.bias)
        # The hypotheses of a sentence look at the same memory: they are queries side by side.
        query = query.view(-1, group, n_heads, key.shape[2]).transpose(1, 2).flatten(0, 1)
        mixed = _attend(query, key, value, bias)
        mixed = mixed.unflatten(0, (-1, n_heads)).transpose(1, 2).reshape(x.shape)
        return F.linear(mixed, across.project_out.weight, across.project_out.bias)

    def look_ahead(x: Tensor) -> Tensor:
        wide = ahead.activation(F.linear(x, ahead.widen.weight, ahead.widen.bias))
        return F.linear(wide, ahead.narrow.weight, ahead.narrow.bias)

    def step(x: Tensor, written: Tensor, memory: HeadMemory | FoldedMemory, group: int) -> Tensor:
        x = add_itself(x, look_at_itself, written)
        x = add_across(x, look_across, memory, group)
        return add_ahead(x, look_ahead)

    return step


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(QKᵀ / √d + bias) V. For so few queries two products are faster than the fused kernel."""
    scale = query.shape[-1] ** -0.5
    if bias is None:  # `beta` = 0: the first argument is not read
        scores = torch.baddbmm(query[:, :1, :1], query, key.transpose(1, 2), beta=0, alpha=scale)
    else:
        scores = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scale)
    weights = scores.softmax(-1)
    if query.shape[1] == 1 and value.shape[1] * value.shape[2] < SMALL:
        return (weights.transpose(1, 2) * value).sum(1, keepdim=True)
    return weights @ value


def _added(part: nn.Module) -> Callable[..., Tensor]:
    """A `layers.Residual` without its dropout: the same sum and norm around a function."""
    norm, kind, residual = _norm(part.norm), part.kind, part.residual

    def around(x: Tensor, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        y = function(norm(x) if kind == "pre" else x, *arguments)
        if residual:
            y += x
        return norm(y) if kind == "post" else y

    return around


def _norm(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """Layer normalisation as a function; None where there is none."""
    if isinstance(module, nn.Identity):
        return None
    shape, epsilon = tuple(module.normalized_shape), module.eps
    return lambda x: torch.layer_norm(x, shape, module.weight, module.bias, epsilon)
