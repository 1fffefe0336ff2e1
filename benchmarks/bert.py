"""BERT's training step with 15 % of the words hidden, beside Hugging Face's `BertForMaskedLM`.

The same weights, batch, loss, optimizer, threads, float32 and dropout, in turns. Ours computes logits of the hidden
words only; the other computes those of every word.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.timing import interleaved
from lectures_lib.data.masking import mask_tokens
from lectures_lib.losses import masked_language_loss, target_places
from lectures_lib.models.bert import BertConfig, BertForPreTraining

RUNS = 5
BATCH, TIME = 8, 64
SIZES = BertConfig(30_522, 384, 12, 1536, n_layers=6, dropout=0.1, attention_dropout=0.1)  # MiniLM's
MASK, FIRST_WORD = 103, 999


def masked_batch(config: BertConfig, batch: int = BATCH, time: int = TIME) -> tuple[Tensor, Tensor]:
    """Tokens with 15 % hidden, and the targets, both (batch, time)."""
    generator = torch.Generator().manual_seed(0)
    first = min(FIRST_WORD, config.vocabulary // 2)
    tokens = torch.randint(first, config.vocabulary, (batch, time), generator=generator)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    replacements = (first, config.vocabulary)
    mask = min(MASK, first - 1)
    return mask_tokens(tokens, everywhere, mask=mask, replacements=replacements, generator=generator)


def training_step() -> dict:
    """Milliseconds of a masked-language training step."""
    torch.manual_seed(0)
    ours, theirs = models(SIZES)
    tokens, targets = masked_batch(SIZES)
    steps = [_trainer(ours, our_loss(ours, tokens, targets)), _trainer(theirs, their_loss(theirs, tokens, targets))]
    ours_times, peer_times = interleaved(steps, runs=RUNS)
    ours_ms, peer_ms = (1000 * statistics.median(times) for times in (ours_times, peer_times))
    spread = 1000 * (max(ours_times) - min(ours_times))
    return {
        "ours": ours_ms,
        "peer": peer_ms,
        "ratio": peer_ms / ours_ms,
        "unit": "ms",
        "spread": spread,
        "hidden_share": float(len(target_places(targets)) / targets.numel()),
    }


def models(config: BertConfig) -> tuple[BertForPreTraining, nn.Module]:
    """Ours and theirs with the same weights."""
    from transformers import BertConfig as TheirConfig
    from transformers import BertForMaskedLM

    from lectures_lib.pretrained.bert import pretraining_tensors

    theirs = BertForMaskedLM(
        TheirConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.d_model,
            num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads,
            intermediate_size=config.d_feed_forward,
            max_position_embeddings=config.max_length,
            layer_norm_eps=config.epsilon,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.attention_dropout,
            attn_implementation="sdpa",
        )
    )
    ours = BertForPreTraining(config)
    # Theirs has neither pooler nor next-sentence head; ours has them and does not train them here.
    rest = {"pooler.dense": ours.bert.pooler, "cls.seq_relationship": ours.next_sentence}
    tensors = dict(theirs.state_dict())
    for name, module in rest.items():
        tensors |= {f"{name}.{kind}": getattr(module, kind).detach() for kind in ("weight", "bias")}
        module.requires_grad_(False)
    ours.load_state_dict(pretraining_tensors(tensors, config))
    return ours, theirs


def our_loss(model: BertForPreTraining, tokens: Tensor, targets: Tensor) -> Callable[[], Tensor]:
    """The mean loss of the hidden words, from their logits alone."""

    def loss() -> Tensor:
        logits, _ = model(tokens, places=target_places(targets))
        total, count = masked_language_loss(logits, targets)
        return total / count

    return loss


def their_loss(model: nn.Module, tokens: Tensor, targets: Tensor) -> Callable[[], Tensor]:
    """The same loss, as the other model computes it."""
    return lambda: model(input_ids=tokens, labels=targets).loss


def _trainer(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()

    return step
