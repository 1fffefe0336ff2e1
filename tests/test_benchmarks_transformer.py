"""The Transformer's benchmarks compare like with like, and count what they say they count."""

import dataclasses

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import transformer as benchmark
from benchmarks.timing import interleaved
from lectures_lib.losses import next_token_loss
from lectures_lib.models.transformer import Transformer

SMALL = dataclasses.replace(
    benchmark.TRAINING, source_vocabulary=50, target_vocabulary=50, d_model=16, d_feed_forward=32, dropout=0.0
)


def trained(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_all_three_have_the_same_weights_but_for_what_pytorchs_adds():
    ours = trained(Transformer(benchmark.TRAINING))
    assert trained(benchmark.marian(benchmark.TRAINING)) == ours
    # Two final layer normalisations more, each with a weight and a bias.
    assert trained(benchmark.TorchTransformer(benchmark.TRAINING)) == ours + 4 * benchmark.TRAINING.d_model


def test_the_products_of_a_step_are_those_that_pytorch_counts():
    model = Transformer(SMALL)
    source = torch.randint(4, 50, (benchmark.BATCH, benchmark.SOURCE_TIME))
    target = torch.randint(4, 50, (benchmark.BATCH, benchmark.TARGET_TIME + 1))
    lengths = torch.full((benchmark.BATCH,), benchmark.SOURCE_TIME)
    # The counter does not know the CPU's fused kernel; the plain one does the same products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        total, count = next_token_loss(model(source, lengths, target[:, :-1]), target[:, 1:], padding=0)
        (total / count).backward()
    assert counter.get_total_flops() == benchmark.step_flops(SMALL)


def test_tasks_take_turns_and_the_first_round_does_not_count():
    calls = []
    times = interleaved([lambda: calls.append("a"), lambda: calls.append("b")], runs=2)
    assert calls == ["a", "b"] * 3
    assert [len(t) for t in times] == [2, 2]
