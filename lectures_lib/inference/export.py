"""A trained model as ONNX graphs, which run without PyTorch: in a web page, for one.

ONNX is a file format for networks: a graph of operations, with the weights inside. A graph has no loops of its own, so
the loop that writes one token after another belongs to whoever runs it (`book/_static/live.js`).
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jaxtyping
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lectures_lib.attention import CrossAttention, SelfAttention, attention_weights, look_ahead_mask
from lectures_lib.models.gpt import GPT
from lectures_lib.models.transformer import Transformer

OPSET = 18  # the version of ONNX's list of operations


class TransformerGraphs(NamedTuple):
    """The two halves of a Transformer as ONNX files, for one sentence at a time.

    `encoder`: `source` (1, source_time), whole numbers that end with `<eos>` → `memory` (1, source_time, d_model) and
    `self_attention` (layers, heads, source_time, source_time).

    `decoder`: `memory` and `tokens` (1, time), which begin with `<bos>` → `logits` (1, vocabulary) of the token after
    the last, `self_attention` (layers, heads, time, time) and `cross_attention` (layers, heads, time, source_time).
    """

    encoder: bytes
    decoder: bytes


def transformer_to_onnx(model: Transformer) -> TransformerGraphs:
    """Both halves of `model`, in evaluation mode, with the weights of every attention as further outputs.

    A single sentence has no padding, so the graphs need no lengths and no mask but the look-ahead mask. Attention
    stands in them as its formula, not as the fused kernel, since the weights are wanted too; and the decoder reads all
    tokens so far at every step, without a cache. Times may be 1 to `max_length`.

    Source: Vaswani et al. 2017, figure 1.
    """
    device = next(model.parameters()).device
    # Examples only: two tokens would do, but torch.export takes sizes that are equal by chance for one size.
    source = torch.tensor([[4, 5, 6, 7, 2]], device=device) % model.config.source_vocabulary
    tokens = torch.tensor([[1, 4, 5]], device=device) % model.config.target_vocabulary
    memory = torch.zeros(1, source.shape[1], model.config.d_model, device=device)
    time = torch.export.Dim.DYNAMIC
    encoder = to_onnx(
        _Encoder(model),
        {"source": source},
        outputs=("memory", "self_attention"),
        dynamic={"source": {1: time}},
    )
    decoder = to_onnx(
        _Decoder(model),
        {"memory": memory, "tokens": tokens},
        outputs=("logits", "self_attention", "cross_attention"),
        dynamic={"memory": {1: time}, "tokens": {1: time}},
    )
    return TransformerGraphs(encoder, decoder)


def gpt_to_onnx(model: GPT) -> bytes:
    """`model`, in evaluation mode, for one text at a time: `tokens` (1, time) → `logits` (1, vocabulary) of the next.

    The graph reads the whole text at every step, without a cache. Times may be 1 to `context`.

    Source: Radford et al. 2019, section 2.3.
    """
    tokens = torch.zeros(1, min(3, model.config.context), dtype=torch.long, device=next(model.parameters()).device)
    dynamic = {"tokens": {1: torch.export.Dim.DYNAMIC}}
    return to_onnx(_NextToken(model), {"tokens": tokens}, outputs=("logits",), dynamic=dynamic)


def generator_to_onnx(generator: nn.Module) -> bytes:
    """A GAN's generator, in evaluation mode: `latent` (n, d_latent), for any n → `images` (n, channels, height, width).

    The generator's config tells its `d_latent`.

    Source: Radford et al. 2016, section 3.
    """
    latent = torch.zeros(2, generator.config.d_latent, device=next(generator.parameters()).device)
    dynamic = {"latent": {0: torch.export.Dim.DYNAMIC}}
    return to_onnx(generator, {"latent": latent}, outputs=("images",), dynamic=dynamic)


@torch.no_grad()
def to_onnx(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    *,
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, object]] | None = None,
) -> bytes:
    """One module as an ONNX file, with its weights inside, as it computes in evaluation mode.

    Args:
        module: its `forward` takes the inputs by position and returns a tensor or a tuple of tensors.
        inputs: an example of each input, under the name of `forward`'s argument.
        outputs: a name for each tensor that comes out.
        dynamic: which axes of which input may have another size than the example's, as
            `{"tokens": {1: torch.export.Dim.DYNAMIC}}`.

    Raises:
        ValueError: there is no input or no output, or `dynamic` names an input that does not exist.
    """
    if not inputs or not outputs:
        raise ValueError(f"inputs and outputs must have at least one name, got {list(inputs)} and {list(outputs)}")
    strangers = set(dynamic or {}) - set(inputs)
    if strangers:
        raise ValueError(f"dynamic must name inputs, {list(inputs)}, got {sorted(strangers)}")
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with _quietly():
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=tuple(dict((dynamic or {}).get(name, {})) for name in inputs),
                verbose=False,
            )
    finally:
        for part, was_training in modes.items():
            part.training = was_training
    return _bare(program.model_proto)


def _bare(proto: Any) -> bytes:
    """The file without the exporter's notes on the origin of each operation: they name folders of this machine."""
    graphs = [proto.graph, *proto.functions]
    for part in [proto, *graphs, *(node for graph in graphs for node in graph.node)]:
        del part.metadata_props[:]
        part.doc_string = ""
    del proto.graph.value_info[:]  # the sizes in between, which a runtime works out for itself
    return proto.SerializeToString()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says to its own developers, and without the test run's checks of types.

    While a graph is traced, a size that may change is a symbol, which the checks take for something that is no `int`.
    """
    unchecked = jaxtyping.config.jaxtyping_disable
    log = logging.getLogger("torch.onnx")
    level = log.level
    jaxtyping.config.update("jaxtyping_disable", True)
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        jaxtyping.config.update("jaxtyping_disable", unchecked)


class _Encoder(nn.Module):
    """The encoder of one sentence, with its attention."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Int[Tensor, "1 time"]) -> tuple[Tensor, Tensor]:
        model, seen = self.model, []
        x = _embed(model, model.embed_source, source)
        for layer in model.encoder_layers:
            x = layer.add_attention(x, _to_itself(layer.self_attention, seen))
            x = layer.add_feed_forward(x, layer.feed_forward)
        return model.encoder_norm(x), torch.cat(seen)


class _Decoder(nn.Module):
    """One step of the decoder, which reads all tokens so far again, with its attention."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, memory: Float[Tensor, "1 source_time d_model"], tokens: Int[Tensor, "1 time"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        model, own, cross = self.model, [], []
        mask = look_ahead_mask(tokens.shape[1], tokens.device)
        x = _embed(model, model.embed_target, tokens)
        for layer in model.decoder_layers:
            x = layer.add_self_attention(x, _to_itself(layer.self_attention, own, mask))
            x = layer.add_cross_attention(x, _to_memory(layer.cross_attention, memory, cross))
            x = layer.add_feed_forward(x, layer.feed_forward)
        return model.logits(model.decoder_norm(x[:, -1])), torch.cat(own), torch.cat(cross)


class _NextToken(nn.Module):
    """The scores of a GPT at the end of a text."""

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Int[Tensor, "1 time"]) -> Tensor:
        model = self.model
        mask = look_ahead_mask(tokens.shape[1], tokens.device)
        x = model.positions(model.embed(tokens))
        for layer in model.layers:
            x = layer.add_attention(x, _to_itself(layer.self_attention, [], mask))
            x = layer.add_feed_forward(x, layer.feed_forward)
        return model.logits(model.norm(x[:, -1]))


def _embed(model: Transformer, table: nn.Embedding, tokens: Tensor) -> Tensor:
    return model.positions(table(tokens) * math.sqrt(model.config.d_model))


def _to_itself(attention: SelfAttention, seen: list[Tensor], mask: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    def attend(x: Tensor) -> Tensor:
        query, key, value = attention.heads(x)
        return _mix(attention, attention_weights(query, key, mask), value, seen)

    return attend


def _to_memory(attention: CrossAttention, memory: Tensor, seen: list[Tensor]) -> Callable[[Tensor], Tensor]:
    def attend(x: Tensor) -> Tensor:
        key, value = attention.keys_and_values(memory)
        return _mix(attention, attention.weights(x, (key, value)), value, seen)

    return attend


def _mix(attention: SelfAttention | CrossAttention, weights: Tensor, value: Tensor, seen: list[Tensor]) -> Tensor:
    seen.append(weights)
    return attention.project_out((weights @ value).transpose(1, 2).flatten(start_dim=2))
