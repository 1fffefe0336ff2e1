"""GPT's benchmarks compare like with like, and count what they say they count."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpt as benchmark
from benchmarks.__main__ import BENCHMARKS
from lectures_lib.data.corpus import WindowBatch
from lectures_lib.models.gpt import GPT
from lectures_lib.training.language import language_loss


def test_they_are_registered():
    assert BENCHMARKS["gpt-step"] is benchmark.training_step
    assert BENCHMARKS["gpt-sample-1"] is benchmark.sample_one
    assert BENCHMARKS["gpt-sample-8"] is benchmark.sample_eight


def test_both_models_compute_the_same_with_the_same_number_of_weights():
    for config in (benchmark.TRAINING, benchmark.NOTEBOOK):
        ours, peer = benchmark.pair(config)
        assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())
        text = torch.randint(config.vocabulary, (2, 30))
        assert_close(ours.eval()(text), peer.eval()(text).logits, atol=1e-5, rtol=1e-5)
        assert peer.config._attn_implementation == "sdpa"


def test_generate_draws_as_many_tokens_as_we_do():
    _, peer = benchmark.pair(benchmark.NOTEBOOK)
    prompts = torch.randint(32, (2, benchmark.PROMPT))
    said = peer.generate(
        prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=9, do_sample=True, top_k=0, pad_token_id=0
    )
    assert said.shape == (2, benchmark.PROMPT + 9)


def test_the_products_of_a_step_are_those_that_pytorch_counts():
    model = GPT(benchmark.TRAINING)
    text = torch.randint(65, (benchmark.BATCH, benchmark.TRAINING.context + 1))
    # The counter does not know the CPU's fused kernel; the plain one does the same products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        total, count = language_loss(model, WindowBatch(text))
        (total / count).backward()
    assert counter.get_total_flops() == benchmark.step_flops(benchmark.TRAINING)
