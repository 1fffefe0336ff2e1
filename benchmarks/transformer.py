"""The Transformer's training step and its decoding, beside Hugging Face's Marian and PyTorch's `nn.Transformer`.

All run at the same sizes with the same batch, loss, optimizer, threads and float32, in turns. The sizes are those of
the Multi30k recipe for training and those of the chapter's notebook for decoding.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import interleaved
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from lectures_lib.inference import LeanTransformer, beam_search, greedy
from lectures_lib.layers import sinusoidal_positions
from lectures_lib.losses import next_token_loss
from lectures_lib.models.transformer import Transformer, TransformerConfig

RUNS, SHORT_RUNS = 9, 41  # of a training step; of what takes a tenth of a second
BATCH, SOURCE_TIME, TARGET_TIME = 128, 16, 15
TRAINING = TransformerConfig(6_000, 6_000, 192, 4, 512, 3, 3, dropout=0.3, shared_vocabulary=True)
NOTEBOOK = TransformerConfig(180, 180, 64, 4, 128, 2, 2, shared_vocabulary=True, max_length=640)


def training_step() -> dict:
    """Milliseconds of a training step; the peer is the faster of Marian and `nn.Transformer`.

    `matmul_share` is the share of this machine's float32 matrix-product rate, measured in the same run, that the step
    reaches: the products of a step, counted, over its time.
    """
    torch.manual_seed(0)
    source = torch.randint(4, TRAINING.source_vocabulary, (BATCH, SOURCE_TIME))
    target = torch.randint(4, TRAINING.target_vocabulary, (BATCH, TARGET_TIME + 1))
    lengths = torch.randint(SOURCE_TIME - 4, SOURCE_TIME + 1, (BATCH,))
    steps = {
        "ours": _our_step(source, lengths, target),
        "Marian": _marian_step(source, lengths, target),
        "nn.Transformer": _torch_step(source, lengths, target),
        "matrix product": _matrix_product(),
    }
    times = dict(zip(steps, interleaved(list(steps.values()), runs=RUNS), strict=True))
    seconds = {name: statistics.median(t) for name, t in times.items()}
    peer = min(("Marian", "nn.Transformer"), key=seconds.__getitem__)
    rate = PRODUCT_FLOPS / seconds["matrix product"]
    return {
        "ours": 1000 * seconds["ours"],
        "peer": 1000 * seconds[peer],
        "ratio": seconds[peer] / seconds["ours"],
        "unit": "ms",
        "spread": 1000 * (max(times["ours"]) - min(times["ours"])),
        "peer_name": peer,
        "marian_ms": 1000 * seconds["Marian"],
        "nn_transformer_ms": 1000 * seconds["nn.Transformer"],
        "matmul_gflops": rate / 1e9,
        "matmul_share": step_flops(TRAINING) / seconds["ours"] / rate,
    }


def decode_greedy() -> dict:
    """Milliseconds to write 24 tokens for each of 32 sentences greedily, beside `generate` with its cache."""
    return _decoding(beam_size=1)


def decode_beam() -> dict:
    """The same with a beam of 4."""
    return _decoding(beam_size=4)


def cost_per_token() -> dict:
    """Microseconds for one token of one sentence at 512 written tokens, beside those at 32: is the cost flat?"""
    torch.manual_seed(0)
    model = LeanTransformer(Transformer(NOTEBOOK).eval())
    source, lengths = torch.randint(4, 180, (1, 12)), torch.tensor([12])

    def write(tokens: int) -> Callable[[], None]:
        return lambda: greedy(model, source, lengths, max_new_tokens=tokens, min_new_tokens=tokens)

    # Around 32 and around 512: the difference of two runs leaves out what is done once.
    ends = {16: write(16), 48: write(48), 480: write(480), 544: write(544)}
    times = dict(zip(ends, interleaved(list(ends.values()), runs=SHORT_RUNS), strict=True))
    seconds = {end: statistics.median(t) for end, t in times.items()}
    early, late = (seconds[48] - seconds[16]) / 32, (seconds[544] - seconds[480]) / 64
    spread = (max(times[544]) - min(times[544])) / 64
    return {"ours": 1e6 * late, "peer": 1e6 * early, "ratio": early / late, "unit": "µs", "spread": 1e6 * spread}


PRODUCT_FLOPS = 2 * 2048**3


def _matrix_product() -> Callable[[], None]:
    a, b, out = torch.randn(2048, 2048), torch.randn(2048, 2048), torch.empty(2048, 2048)
    return lambda: torch.mm(a, b, out=out)


def step_flops(config: TransformerConfig) -> int:
    """Multiplications and additions of a step's matrix products: two for each weight and token, three times (forward,
    and both factors' gradients), and the products of attention itself."""
    d, ff = config.d_model, config.d_feed_forward
    encoder = config.n_encoder_layers * (4 * d * d + 2 * d * ff)
    decoder = config.n_decoder_layers * (6 * d * d + 2 * d * ff) + d * config.target_vocabulary
    memory = config.n_decoder_layers * 2 * d * d  # keys and values of the source
    weights = SOURCE_TIME * (encoder + memory) + TARGET_TIME * decoder
    pairs = config.n_encoder_layers * SOURCE_TIME**2
    pairs += config.n_decoder_layers * (TARGET_TIME**2 + TARGET_TIME * SOURCE_TIME)
    return 6 * BATCH * (weights + 2 * d * pairs)


def _trainer(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _our_step(source: Tensor, lengths: Tensor, target: Tensor) -> Callable[[], None]:
    model = Transformer(TRAINING)

    def loss() -> Tensor:
        logits = model(source, lengths, target[:, :-1])
        total, count = next_token_loss(logits, target[:, 1:], padding=PAD_ID, label_smoothing=0.1)
        return total / count

    return _trainer(model, loss)


def _peer_loss(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD_ID, label_smoothing=0.1)


def marian(config: TransformerConfig) -> nn.Module:
    """Hugging Face's Marian at these sizes, with the paper's activation and scaled embeddings."""
    from transformers import MarianConfig, MarianMTModel

    return MarianMTModel(
        MarianConfig(
            vocab_size=config.target_vocabulary,
            d_model=config.d_model,
            encoder_layers=config.n_encoder_layers,
            decoder_layers=config.n_decoder_layers,
            encoder_attention_heads=config.n_heads,
            decoder_attention_heads=config.n_heads,
            encoder_ffn_dim=config.d_feed_forward,
            decoder_ffn_dim=config.d_feed_forward,
            activation_function="relu",
            scale_embedding=True,
            dropout=config.dropout,
            max_position_embeddings=config.max_length,
            pad_token_id=PAD_ID,
            eos_token_id=EOS_ID,
            forced_eos_token_id=None,
            decoder_start_token_id=BOS_ID,
            attn_implementation="sdpa",
        )
    )


def _marian_step(source: Tensor, lengths: Tensor, target: Tensor) -> Callable[[], None]:
    model = marian(TRAINING)
    mask = (torch.arange(SOURCE_TIME) < lengths.unsqueeze(1)).long()

    def loss() -> Tensor:
        logits = model(input_ids=source, attention_mask=mask, decoder_input_ids=target[:, :-1], use_cache=False).logits
        return _peer_loss(logits, target[:, 1:])

    return _trainer(model, loss)


class TorchTransformer(nn.Module):
    """`nn.Transformer` with shared embeddings and positions, as its own tutorials build it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.scale, self.dropout = math.sqrt(config.d_model), nn.Dropout(config.dropout)
        self.embed = nn.Embedding(config.target_vocabulary, config.d_model)
        self.positions = nn.Buffer(sinusoidal_positions(config.max_length, config.d_model))
        self.body = nn.Transformer(
            config.d_model,
            config.n_heads,
            config.n_encoder_layers,
            config.n_decoder_layers,
            config.d_feed_forward,
            config.dropout,
            batch_first=True,
        )

    def forward(self, source: Tensor, padding: Tensor, decoder_input: Tensor) -> Tensor:
        """Logits (batch, time, vocabulary); `padding` is True at padding, the opposite of the course's masks."""
        future = nn.Transformer.generate_square_subsequent_mask(decoder_input.shape[1])
        embedded = [
            self.dropout(self.embed(x) * self.scale + self.positions[: x.shape[1]]) for x in (source, decoder_input)
        ]
        states = self.body(
            *embedded,
            tgt_mask=future,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        return F.linear(states, self.embed.weight)


def _torch_step(source: Tensor, lengths: Tensor, target: Tensor) -> Callable[[], None]:
    model = TorchTransformer(TRAINING)
    padding = torch.arange(SOURCE_TIME) >= lengths.unsqueeze(1)
    return _trainer(model, lambda: _peer_loss(model(source, padding, target[:, :-1]), target[:, 1:]))


def _decoding(beam_size: int, sentences: int = 32, tokens: int = 24) -> dict:
    torch.manual_seed(0)
    ours, peer = Transformer(NOTEBOOK).eval(), marian(NOTEBOOK).eval()
    source, lengths = torch.randint(4, 180, (sentences, 12)), torch.full((sentences,), 12)
    limits = {"max_new_tokens": tokens, "min_new_tokens": tokens}

    def write() -> None:
        if beam_size == 1:
            greedy(LeanTransformer(ours), source, lengths, **limits)
        else:
            beam_search(LeanTransformer(ours), source, lengths, beam_size=beam_size, **limits)

    def write_peer() -> None:
        with torch.no_grad():
            peer.generate(source, num_beams=beam_size, do_sample=False, **limits)

    ours_times, peer_times = interleaved([write, write_peer], runs=SHORT_RUNS)
    ours_ms, peer_ms = (1000 * statistics.median(times) for times in (ours_times, peer_times))
    spread = 1000 * (max(ours_times) - min(ours_times))
    return {"ours": ours_ms, "peer": peer_ms, "ratio": peer_ms / ours_ms, "unit": "ms", "spread": spread}
