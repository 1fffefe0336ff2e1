"""BERT's benchmark compares like with like."""

import dataclasses

import torch
from torch.testing import assert_close

from benchmarks import bert as benchmark
from benchmarks.__main__ import BENCHMARKS
from lectures_lib.losses import target_places

SMALL = dataclasses.replace(
    benchmark.SIZES,
    vocabulary=60,
    d_model=16,
    n_heads=2,
    d_feed_forward=24,
    n_layers=2,
    dropout=0.0,
    attention_dropout=0.0,
)


def test_both_have_the_same_weights_to_train_and_compute_the_same_loss_and_gradient():
    assert BENCHMARKS["bert-step"] is benchmark.training_step
    torch.manual_seed(0)
    ours, theirs = benchmark.models(SMALL)
    trained = [sum(p.numel() for p in model.parameters() if p.requires_grad) for model in (ours, theirs)]
    assert trained[0] == trained[1]
    tokens, targets = benchmark.masked_batch(SMALL, batch=4, time=16)
    one = benchmark.our_loss(ours, tokens, targets)()
    other = benchmark.their_loss(theirs, tokens, targets)()
    assert_close(one, other, atol=1e-5, rtol=1e-5)
    one.backward()
    other.backward()
    table = theirs.bert.embeddings.word_embeddings.weight.grad
    assert_close(ours.bert.embed_token.weight.grad, table, atol=1e-5, rtol=1e-4)


def test_fifteen_percent_are_asked_for_at_the_benchmarks_size():
    tokens, targets = benchmark.masked_batch(benchmark.SIZES)
    assert tokens.shape == (benchmark.BATCH, benchmark.TIME)
    assert abs(len(target_places(targets)) / targets.numel() - 0.15) < 0.01
    assert int(tokens.max()) < benchmark.SIZES.vocabulary
