"""The Vision Transformer beside Hugging Face's, ViLBERT's bridge beside plain attention, and NT-Xent in loops."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ViTConfig as TheirConfig
from transformers import ViTForImageClassification

from lectures_lib.losses.contrastive import nt_xent_loss
from lectures_lib.models.bert import BertConfig
from lectures_lib.models.vilbert import CoAttentionLayer, ViLBertConfig
from lectures_lib.models.vit import ViT
from lectures_lib.pretrained.vit import vit_config, vit_tensors
from parity.compare import Parity, compared, named_gradients, paired, shaken, weighed_sum


def vit() -> Parity:
    """Logits and all states beside `ViTForImageClassification`, with the paper's epsilon, which is not its default."""
    torch.manual_seed(0)
    theirs = ViTForImageClassification(
        TheirConfig(
            image_size=12, patch_size=4, num_channels=3, hidden_size=32, num_attention_heads=4, intermediate_size=48,
            num_hidden_layers=2, layer_norm_eps=1e-6, hidden_dropout_prob=0.0, num_labels=5,
        )
    ).eval()  # fmt: skip
    shaken(theirs)
    with torch.no_grad():  # patches so small that the first norm's epsilon matters
        for part in (theirs.vit.embeddings.position_embeddings, theirs.vit.embeddings.cls_token):
            part.div_(30)
        theirs.vit.embeddings.patch_embeddings.projection.weight.div_(200)
        theirs.vit.embeddings.patch_embeddings.projection.bias.div_(200)
    ours = ViT(vit_config(theirs.config.to_dict())).eval()
    ours.load_state_dict(vit_tensors(theirs.state_dict(), ours))
    images = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    output, expected = ours(images), theirs(images).logits
    for out in (output, expected):
        weighed_sum(out).backward()
    forward = [(output, expected), (ours.features(images), theirs.vit(images).last_hidden_state)]
    gradients = paired(named_gradients(ours), vit_tensors(named_gradients(theirs), ours))
    reference = "transformers.ViTForImageClassification (layer_norm_eps=1e-6)"
    return compared("ViT", reference, "logits and last states", forward, gradients)


def co_attention() -> Parity:
    """`CoAttentionLayer` beside two calls of PyTorch's attention with keys and values exchanged."""
    torch.manual_seed(0)
    text = BertConfig(9, 16, 4, 24, 1)
    layer = shaken(CoAttentionLayer(ViLBertConfig(text, 20, 2, 28, 1, 6, 5, 12, 3, 1)))
    generator = torch.Generator().manual_seed(1)
    words, regions = torch.randn(3, 5, 16, generator=generator), torch.randn(3, 4, 20, generator=generator)
    present = (torch.arange(5) < torch.tensor([[5], [2], [4]]))[:, None, None]
    visible = (torch.arange(4) < torch.tensor([[4], [4], [1]]))[:, None, None]

    def looked(module, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        weight, bias = module.project_key_value.weight, module.project_key_value.bias
        parts = (
            F.linear(x, module.project_query.weight, module.project_query.bias),
            F.linear(memory, weight[:12], bias[:12]),
            F.linear(memory, weight[12:], bias[12:]),
        )
        query, key, value = (part.view(3, -1, 3, 4).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return module.project_out(mixed.transpose(1, 2).reshape(3, -1, 12))

    def finished(x: Tensor, after: Tensor, first, feed_forward, second) -> Tensor:
        y = F.layer_norm(x + after, x.shape[-1:], first.norm.weight, first.norm.bias, eps=1e-12)
        inner = feed_forward.narrow(F.gelu(feed_forward.widen(y)))
        return F.layer_norm(y + inner, x.shape[-1:], second.norm.weight, second.norm.bias, eps=1e-12)

    expected = (
        finished(
            words, looked(layer.text_looks, words, regions, visible),
            layer.add_text_attention, layer.text_feed_forward, layer.add_text_feed_forward,
        ),
        finished(
            regions, looked(layer.image_looks, regions, words, present),
            layer.add_image_attention, layer.image_feed_forward, layer.add_image_feed_forward,
        ),
    )  # fmt: skip
    output = layer(words, regions, present, visible)
    parameters = dict(layer.named_parameters())
    sides = [
        torch.autograd.grad(sum(weighed_sum(out) for out in outs), list(parameters.values()))
        for outs in (output, expected)
    ]
    gradients = dict(zip(parameters, zip(*sides, strict=True), strict=True))
    what = "both streams, with padding in both"
    return compared(
        "CoAttentionLayer", "two calls of scaled_dot_product_attention", what, list(zip(output, expected, strict=True)),
        gradients,
    )  # fmt: skip


def nt_xent() -> Parity:
    """`nt_xent_loss` beside the formula, one pair of views at a time."""
    generator = torch.Generator().manual_seed(2)
    ours = [torch.randn(5, 8, generator=generator).requires_grad_() for _ in range(2)]
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    total, _ = nt_xent_loss(*ours, temperature=0.3)
    views, expected = [*theirs[0], *theirs[1]], torch.zeros(())
    for i, view in enumerate(views):
        scores = [view @ other / (view.norm() * other.norm()) / 0.3 for other in views]
        others = sum(score.exp() for j, score in enumerate(scores) if j != i)
        expected = expected + others.log() - scores[(i + 5) % 10]
    total.backward()
    expected.backward()
    gradients = {f"view {n}": (a.grad, b.grad) for n, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1)}
    source = "the formula in loops (Chen et al. 2020, equation 1)"
    return compared("nt_xent_loss", source, "sum over a batch", [(total, expected)], gradients)
