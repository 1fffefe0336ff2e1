"""A training run of seconds, used by the tests and, under torchrun, by two processes at once."""

import os
import sys

import torch

from lectures_lib.data.batching import BucketedBatches
from lectures_lib.data.vocabulary import PAD_ID
from lectures_lib.losses import next_token_loss
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.training import fit, save_weights

STEPS = 12


def model(dropout=0.0, seed=0, **options):
    torch.manual_seed(seed)
    return Seq2Seq(Seq2SeqConfig(14, 14, 8, 16, dropout=dropout, n_layers=2, **options))


def loss(model, batch):
    logits = model(batch.source, batch.source_lengths, batch.decoder_input)
    return next_token_loss(logits, batch.decoder_target, padding=PAD_ID)


def batches(batch_size=7):
    """Copying tasks of uneven length: 31 pairs, so the last batch is smaller, and uneven over two processes."""
    pairs = [([4 + (i * j) % 10 for j in range(1 + i % 5)],) * 2 for i in range(31)]
    return BucketedBatches(pairs, batch_size=batch_size, seed=1)


if __name__ == "__main__":
    trained = model()
    fit(trained, loss, batches(batch_size=10), steps=STEPS, learning_rate=1e-2, progress=False)
    if os.environ.get("RANK", "0") == "0":
        save_weights(trained, sys.argv[1])
