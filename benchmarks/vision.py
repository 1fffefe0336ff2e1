"""The Vision Transformer's training step beside Hugging Face's `ViTForImageClassification`.

The same weights, pictures, loss, optimizer, threads and float32, in turns. Both read the class token alone; ours does
not compute what the last layer would say of the patches, since nobody reads it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import interleaved
from lectures_lib.models.vit import ViT, ViTConfig

RUNS = 5
BATCH = 64
SIZES = ViTConfig(32, 4, 3, 192, 3, 768, n_layers=6, n_classes=10)


def training_step() -> dict:
    """Milliseconds of a training step on pictures of 32 × 32 pixels in patches of 4."""
    torch.manual_seed(0)
    ours, theirs = models(SIZES)
    images, labels = pictures(SIZES)
    steps = [_trainer(ours, our_loss(ours, images, labels)), _trainer(theirs, their_loss(theirs, images, labels))]
    our_times, peer_times = interleaved(steps, runs=RUNS)
    ours_ms, peer_ms = (1000 * statistics.median(times) for times in (our_times, peer_times))
    return {
        "ours": ours_ms,
        "peer": peer_ms,
        "ratio": peer_ms / ours_ms,
        "unit": "ms",
        "spread": 1000 * (max(our_times) - min(our_times)),
        "parameters": sum(p.numel() for p in ours.parameters()),
    }


def pictures(config: ViTConfig, batch: int = BATCH) -> tuple[Tensor, Tensor]:
    """Random pictures (batch, channels, side, side) and labels (batch,)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, config.n_channels, config.image_size, config.image_size, generator=generator)
    return images, torch.randint(config.n_classes, (batch,), generator=generator)


def models(config: ViTConfig) -> tuple[ViT, nn.Module]:
    """Ours and theirs with the same weights."""
    from transformers import ViTConfig as TheirConfig
    from transformers import ViTForImageClassification

    from lectures_lib.pretrained.vit import vit_tensors

    theirs = ViTForImageClassification(
        TheirConfig(
            image_size=config.image_size,
            patch_size=config.patch_size,
            num_channels=config.n_channels,
            hidden_size=config.d_model,
            num_attention_heads=config.n_heads,
            intermediate_size=config.d_feed_forward,
            num_hidden_layers=config.n_layers,
            layer_norm_eps=config.epsilon,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=0.0,
            num_labels=config.n_classes,
            attn_implementation="sdpa",
        )
    )
    ours = ViT(config)
    ours.load_state_dict(vit_tensors(theirs.state_dict(), ours))
    return ours, theirs


def our_loss(model: ViT, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """The mean cross-entropy."""
    return lambda: F.cross_entropy(model(images), labels)


def their_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """The same loss of the other model."""
    return lambda: F.cross_entropy(model(pixel_values=images).logits, labels)


def _trainer(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step
