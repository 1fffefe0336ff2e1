"""One more token of a GPT in as few operations as it takes.

For a small model most of a step's time goes into calling modules. `LeanGPT` computes what `GPT.step` computes, from the
same weights, as one flat list of operations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.models.gpt import EPSILON, GPT, GPTLayer, GPTState


class _Weights(NamedTuple):
    """One layer's tensors in the order in which a step uses them."""

    norm_attention: Tensor
    norm_attention_bias: Tensor
    project_in: Tensor
    project_in_bias: Tensor
    project_out: Tensor
    project_out_bias: Tensor
    norm_feed_forward: Tensor
    norm_feed_forward_bias: Tensor
    widen: Tensor
    widen_bias: Tensor
    narrow: Tensor
    narrow_bias: Tensor

    @classmethod
    def of(cls, layer: GPTLayer) -> _Weights:
        parts = (
            layer.add_attention.norm,
            layer.self_attention.project_in,
            layer.self_attention.project_out,
            layer.add_feed_forward.norm,
            layer.feed_forward.widen,
            layer.feed_forward.narrow,
        )
        return cls(*(tensor for part in parts for tensor in (part.weight, part.bias)))


class LeanGPT:
    """A GPT in evaluation: `start`, `step` and `select`, as the model itself has them, without gradients.

    It holds the model's own weights, not copies: nothing need be made again when they change.

    Raises:
        ValueError: the model is in training mode, where dropout would have to be drawn.
    """

    def __init__(self, model: GPT) -> None:
        if model.training:
            raise ValueError("model must be in evaluation mode (model.eval()), got one in training mode")
        self.model = model
        self.layers = [_Weights.of(layer) for layer in model.layers]
        self.activation = model.layers[0].feed_forward.activation

    @torch.no_grad()
    def start(self, tokens: Int[Tensor, "batch time"]) -> tuple[Float[Tensor, "batch vocabulary"], GPTState]:
        """Read the beginning of a text, as `GPT.start`, with the same errors."""
        return self.model.start(tokens)

    @torch.no_grad()
    def step(
        self, tokens: Int[Tensor, " batch"], state: GPTState
    ) -> tuple[Float[Tensor, "batch vocabulary"], GPTState]:
        """The scores of the token after `tokens`. Raises ValueError where the context is full."""
        config, time = self.model.config, state.length
        if time >= config.context:
            raise ValueError(f"the context has {config.context} places, got a text of {time + 1} tokens")
        batch, width, activation = len(tokens), (config.d_model,), self.activation
        heads = (batch, 3, config.n_heads, config.d_model // config.n_heads)
        x = F.embedding(tokens, self.model.embed.weight) + self.model.positions.table[time]  # (batch, d_model)
        for w, cache in zip(self.layers, state.caches, strict=True):
            y = torch.layer_norm(x, width, w.norm_attention, w.norm_attention_bias, EPSILON)
            query, key, value = F.linear(y, w.project_in, w.project_in_bias).view(heads).unbind(1)
            cache.key[:, :, time] = key
            cache.value[:, :, time] = value
            cache.length = time + 1
            # One query, the newest, may look at everything: no mask.
            y = F.scaled_dot_product_attention(
                query.unsqueeze(2), cache.key[:, :, : time + 1], cache.value[:, :, : time + 1]
            )
            x = x + F.linear(y.reshape(batch, config.d_model), w.project_out, w.project_out_bias)
            y = torch.layer_norm(x, width, w.norm_feed_forward, w.norm_feed_forward_bias, EPSILON)
            x = x + F.linear(activation(F.linear(y, w.widen, w.widen_bias)), w.narrow, w.narrow_bias)
        norm = self.model.norm
        return F.linear(torch.layer_norm(x, width, norm.weight, norm.bias, EPSILON), self.model.embed.weight), state

    def select(self, state: GPTState, rows: Int[Tensor, " kept"]) -> GPTState:
        """The state of these rows, in this order; `state` must not be used any more."""
        return self.model.select(state, rows)
