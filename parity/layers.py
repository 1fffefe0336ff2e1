"""Attention, and the Transformer's layers, beside those of PyTorch; the attentions of recurrent networks in loops."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lectures_lib.attention import AdditiveAttention, CrossAttention, MultiplicativeAttention, SelfAttention
from lectures_lib.models.transformer import DecoderLayer, EncoderLayer, TransformerConfig
from parity.compare import Parity, compared, named_gradients, paired, shaken, weighed_sum

D_MODEL, HEADS, INNER = 32, 4, 48


def sentence_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Target (3, 5, d), memory (3, 7, d) and the memory's mask (3, 7), True at tokens; the same at every call."""
    generator = torch.Generator().manual_seed(1)
    target, memory = (torch.randn(3, time, D_MODEL, generator=generator) for time in (5, 7))
    present = torch.arange(7) < torch.tensor([7, 3, 5]).unsqueeze(1)
    return target, memory, present


# How PyTorch names the parts. Its masks mean "may not attend" where ours mean "may".


def of_self_attention(part: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the tensors of a `nn.MultiheadAttention` that looks at itself."""
    names = {"in_proj_weight": "project_in.weight", "in_proj_bias": "project_in.bias"}
    names |= {f"out_proj.{kind}": f"project_out.{kind}" for kind in ("weight", "bias")}
    return {names[name]: tensor for name, tensor in part.items()}


def of_cross_attention(part: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the tensors of a `nn.MultiheadAttention` that looks at something else."""
    ours = {}
    for kind in ("weight", "bias"):
        joined = part[f"in_proj_{kind}"]
        width = len(joined) // 3
        ours |= {f"project_query.{kind}": joined[:width], f"project_key_value.{kind}": joined[width:]}
        ours[f"project_out.{kind}"] = part[f"out_proj.{kind}"]
    return ours


def of_layer(layer: dict[str, Tensor], side: str) -> dict[str, Tensor]:
    """Our names for the tensors of a `nn.TransformerEncoderLayer` or `nn.TransformerDecoderLayer`."""

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t for name, t in layer.items() if name.startswith(prefix)}

    groups = {"self_attention.": of_self_attention(part("self_attn."))}
    groups |= {"feed_forward.widen.": part("linear1."), "feed_forward.narrow.": part("linear2.")}
    if side == "encoder":
        groups |= {"add_attention.norm.": part("norm1."), "add_feed_forward.norm.": part("norm2.")}
    else:
        groups |= {"cross_attention.": of_cross_attention(part("multihead_attn."))}
        norms = ("add_self_attention", "add_cross_attention", "add_feed_forward")
        groups |= {f"{norm}.norm.": part(f"norm{n}.") for n, norm in enumerate(norms, start=1)}
    return {prefix + name: tensor for prefix, group in groups.items() for name, tensor in group.items()}


def self_attention(*, causal: bool) -> Parity:
    """`SelfAttention` beside `nn.MultiheadAttention`, with a look-ahead or a padding mask."""
    _, x, present = sentence_batch()
    theirs = shaken(nn.MultiheadAttention(D_MODEL, HEADS, batch_first=True))
    ours = SelfAttention(D_MODEL, HEADS)
    ours.load_state_dict(of_self_attention(theirs.state_dict()))
    future = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
    expected, _ = theirs(x, x, x, attn_mask=future, key_padding_mask=~present, need_weights=False)
    output = ours(x, present[:, None, None], causal=causal)
    for out in (expected, output):
        weighed_sum(out).backward()
    gradients = paired(named_gradients(ours), of_self_attention(named_gradients(theirs)))
    what = "output, with look-ahead and padding masks" if causal else "output, with a padding mask"
    return compared("SelfAttention", "torch.nn.MultiheadAttention", what, [(output, expected)], gradients)


def cross_attention() -> Parity:
    """`CrossAttention` beside `nn.MultiheadAttention`: output and weights."""
    x, memory, present = sentence_batch()
    theirs = shaken(nn.MultiheadAttention(D_MODEL, HEADS, batch_first=True))
    ours = CrossAttention(D_MODEL, HEADS)
    ours.load_state_dict(of_cross_attention(theirs.state_dict()))
    expected, weights = theirs(x, memory, memory, key_padding_mask=~present, average_attn_weights=False)
    mask = present[:, None, None]
    output = ours(x, memory, mask)
    for out in (expected, output):
        weighed_sum(out).backward()
    gradients = paired(named_gradients(ours), of_cross_attention(named_gradients(theirs)))
    forward = [(output, expected), (ours.weights(x, memory, mask), weights)]
    return compared("CrossAttention", "torch.nn.MultiheadAttention", "output and weights", forward, gradients)


def layer(side: str, norm: str) -> Parity:
    """`EncoderLayer` or `DecoderLayer` beside PyTorch's, normalised after ("post") or before ("pre") the parts."""
    x, memory, present = sentence_batch()
    if norm == "pre":  # numbers so small that the norms' epsilon matters
        x, memory = x / 30, memory / 30
    config = TransformerConfig(9, 9, D_MODEL, HEADS, INNER, 1, 1, norm=norm)
    options = dict(dim_feedforward=INNER, dropout=0.0, batch_first=True, norm_first=norm == "pre")
    mask = present[:, None, None]
    if side == "encoder":
        theirs, ours = shaken(nn.TransformerEncoderLayer(D_MODEL, HEADS, **options)), EncoderLayer(config)
        expected = theirs(memory, src_key_padding_mask=~present)
    else:
        theirs, ours = shaken(nn.TransformerDecoderLayer(D_MODEL, HEADS, **options)), DecoderLayer(config)
        future = torch.ones(5, 5, dtype=torch.bool).triu(1)
        expected = theirs(x, memory, tgt_mask=future, memory_key_padding_mask=~present)
    ours.load_state_dict(of_layer(theirs.state_dict(), side))
    output = ours(memory, mask) if side == "encoder" else ours(x, memory, mask)
    for out in (expected, output):
        weighed_sum(out).backward()
    gradients = paired(named_gradients(ours), of_layer(named_gradients(theirs), side))
    name = side.capitalize()
    return compared(
        f"{name}Layer", f"torch.nn.Transformer{name}Layer", f"output, {norm}-LN", [(output, expected)], gradients
    )


def recurrent_attention(kind: str) -> Parity:
    """`AdditiveAttention` or `MultiplicativeAttention` beside the paper's formula, one query and one key at a time."""
    x, memory, present = sentence_batch()
    ours = shaken(
        AdditiveAttention(D_MODEL, D_MODEL, 20) if kind == "additive" else MultiplicativeAttention(*2 * [D_MODEL])
    )
    weights = ours(x, ours.prepare(memory), present[:, None])
    of_keys = ours.project_key.weight

    def score(query: Tensor, key: Tensor) -> Tensor:
        if kind == "multiplicative":
            return query @ of_keys @ key
        return ours.project_score.weight[0] @ torch.tanh(ours.project_query.weight @ query + of_keys @ key)

    expected = []
    for sentence, keys, count in zip(x, memory, present.sum(1).tolist(), strict=True):
        for query in sentence:
            scores = torch.stack([score(query, key) for key in keys[:count]]).exp()
            expected.append(torch.cat([scores / scores.sum(), torch.zeros(len(keys) - count)]))
    expected = torch.stack(expected).view_as(weights)
    parameters = dict(ours.named_parameters())
    sides = [torch.autograd.grad(weighed_sum(out), list(parameters.values())) for out in (weights, expected)]
    gradients = dict(zip(parameters, zip(*sides, strict=True), strict=True))
    source = {"additive": "Bahdanau et al. 2015, A.1.2", "multiplicative": "Luong et al. 2015, equation 8"}[kind]
    name = f"{kind.capitalize()}Attention"
    return compared(name, f"the formula in loops ({source})", "weights, with padding", [(weights, expected)], gradients)
