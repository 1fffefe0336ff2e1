"""The Vision Transformer's benchmark compares like with like."""

import dataclasses

import torch
from torch.testing import assert_close

from benchmarks import vision as benchmark
from benchmarks.__main__ import BENCHMARKS

SMALL = dataclasses.replace(benchmark.SIZES, image_size=8, d_model=16, n_heads=2, d_feed_forward=24, n_layers=2)


def test_both_have_the_same_weights_and_compute_the_same_loss_and_gradient():
    assert BENCHMARKS["vit-step"] is benchmark.training_step
    torch.manual_seed(0)
    ours, theirs = benchmark.models(SMALL)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    images, labels = benchmark.pictures(SMALL, batch=4)
    one = benchmark.our_loss(ours, images, labels)()
    other = benchmark.their_loss(theirs, images, labels)()
    assert_close(one, other, atol=1e-5, rtol=1e-5)
    one.backward()
    other.backward()
    kernel = theirs.vit.embeddings.patch_embeddings.projection.weight.grad.flatten(1)
    assert_close(ours.encoder.embed_patch.weight.grad, kernel, atol=1e-5, rtol=1e-4)


def test_the_benchmarks_pictures_have_the_benchmarks_size():
    images, labels = benchmark.pictures(benchmark.SIZES)
    assert images.shape == (benchmark.BATCH, 3, 32, 32)
    assert set(labels.tolist()) <= set(range(10))
