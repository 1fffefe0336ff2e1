"""GPT's training step and its sampling, beside Hugging Face's `GPT2LMHeadModel`.

Both have the same weights, batch, loss, optimizer, threads and float32, and run in turns. The sizes are nanoGPT's for a
CPU in training, and those of the chapter's notebook in sampling.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.timing import interleaved
from lectures_lib.data.corpus import WindowBatch
from lectures_lib.experiments.gpt_claims import Recipe
from lectures_lib.inference import sample
from lectures_lib.models.gpt import GPT, GPTConfig
from lectures_lib.pretrained.gpt2 import gpt_tensors
from lectures_lib.training import decayed_adamw
from lectures_lib.training.language import language_loss

RUNS = 31
BATCH, NEW, PROMPT = 12, 256, 16
TRAINING = GPTConfig(65, context=64, d_model=128, n_heads=4, n_layers=4, d_feed_forward=512)
NOTEBOOK = dataclasses.replace(GPTConfig.tiny(Recipe().pieces), context=PROMPT + NEW)
PRODUCT_FLOPS = 2 * 2048**3


def training_step() -> dict:
    """Milliseconds of a training step.

    `matmul_share` is the share of this machine's float32 matrix-product rate, measured in the same run, that the step
    reaches: the products of a step, counted, over its time.
    """
    ours, peer = pair(TRAINING)
    text = torch.randint(TRAINING.vocabulary, (BATCH, TRAINING.context + 1))
    a, b, out = torch.randn(2048, 2048), torch.randn(2048, 2048), torch.empty(2048, 2048)
    tasks = [_our_step(ours, text), _peer_step(peer, text), lambda: torch.mm(a, b, out=out)]
    # A step is a few dozen milliseconds: more of them a run even the disturbances out.
    tasks = [_repeated(task, times) for task, times in zip(tasks, (5, 5, 1), strict=True)]
    mine, theirs, product = interleaved(tasks, runs=RUNS)
    seconds = [statistics.median(times) for times in (mine, theirs, product)]
    rate = PRODUCT_FLOPS / seconds[2]
    return {
        "ours": 1000 * seconds[0] / 5,
        "peer": 1000 * seconds[1] / 5,
        "ratio": seconds[1] / seconds[0],
        "unit": "ms",
        "spread": 1000 * (max(mine) - min(mine)) / 5,
        "matmul_gflops": rate / 1e9,
        "matmul_share": 5 * step_flops(TRAINING) / seconds[0] / rate,
        "tokens_per_second": 5 * BATCH * TRAINING.context / seconds[0],
    }


def sample_one() -> dict:
    """Milliseconds to draw 256 characters after one prompt, beside `generate` with its cache."""
    return _sampling(rows=1)


def sample_eight() -> dict:
    """The same for eight prompts at once."""
    return _sampling(rows=8)


def pair(config: GPTConfig) -> tuple[GPT, nn.Module]:
    """Our model and Hugging Face's with equal weights."""
    torch.manual_seed(0)
    theirs = hugging_face(config)
    ours = GPT(config)
    ours.load_state_dict(gpt_tensors(theirs.state_dict(), theirs.config.to_dict()))
    return ours, theirs


def hugging_face(config: GPTConfig) -> nn.Module:
    """`GPT2LMHeadModel` at these sizes, with the fused attention and without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocabulary,
            n_positions=config.context,
            n_embd=config.d_model,
            n_layer=config.n_layers,
            n_head=config.n_heads,
            n_inner=config.d_feed_forward,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=None,
            attn_implementation="sdpa",
        )
    )


def step_flops(config: GPTConfig) -> int:
    """Multiplications and additions of a step's matrix products: two for each weight and token, three times (forward,
    and both factors' gradients), and the products of attention itself, the masked half counted too."""
    d, ff, tokens = config.d_model, config.d_feed_forward, BATCH * config.context
    weights = config.n_layers * (4 * d * d + 2 * d * ff) + d * config.vocabulary
    return 6 * tokens * (weights + 2 * config.n_layers * d * config.context)


def _our_step(model: GPT, text: Tensor) -> Callable[[], None]:
    def loss() -> Tensor:
        total, count = language_loss(model, WindowBatch(text))
        return total / count

    return _trainer(model, loss)


def _peer_step(model: nn.Module, text: Tensor) -> Callable[[], None]:
    def loss() -> Tensor:
        logits = model(input_ids=text[:, :-1], use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())

    return _trainer(model, loss)


def _trainer(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = decayed_adamw(model.parameters(), lr=1e-4)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _repeated(task: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            task()

    return run


def _sampling(rows: int) -> dict:
    ours, peer = pair(NOTEBOOK)
    ours.eval(), peer.eval()
    prompts = torch.randint(NOTEBOOK.vocabulary, (rows, PROMPT))
    listed = prompts.tolist()

    def write() -> None:
        sample(ours, listed, max_new_tokens=NEW)

    def write_peer() -> None:
        with torch.no_grad():
            peer.generate(
                prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=NEW, do_sample=True, top_k=0,
                pad_token_id=0,
            )  # fmt: skip

    mine, theirs = interleaved([write, write_peer], runs=RUNS)
    ours_ms, peer_ms = (1000 * statistics.median(times) for times in (mine, theirs))
    return {
        "ours": ours_ms,
        "peer": peer_ms,
        "ratio": peer_ms / ours_ms,
        "unit": "ms",
        "spread": 1000 * (max(mine) - min(mine)),
        "tokens_per_second": 1000 * rows * NEW / ours_ms,
    }
