"""The rooms of the chapter `seq2seq`: how fast scenes are drawn, and what running the whole target at once is worth."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.timing import interleaved
from lectures_lib.data.batching import BucketedBatches, PairBatch
from lectures_lib.data.scenes import sample_scenes
from lectures_lib.data.vocabulary import PAD_ID, Vocabulary
from lectures_lib.losses import next_token_loss
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig

RUNS = 31


def scenes() -> dict:
    """Seconds for 100,000 sentence pairs of one to six clauses, both token lists and both strings; no peer."""

    def task() -> None:
        for scene in sample_scenes(100_000, seed=0, clauses=(1, 6)):
            _ = scene.english_tokens, scene.chinese_tokens, scene.english, scene.chinese

    (times,) = interleaved([task], runs=3)
    return {
        "ours": statistics.median(times),
        "peer": None,
        "ratio": None,
        "unit": "s",
        "spread": max(times) - min(times),
    }


def training_step() -> dict:
    """Milliseconds of a training step beside the usual tutorial's decoder, which calls the network once a word.

    Same weights, batch, loss, optimizer, threads and float32.
    """
    pairs = sample_scenes(64, seed=0, clauses=2)
    chinese = Vocabulary.words(scene.chinese_tokens for scene in pairs)
    english = Vocabulary.words(scene.english_tokens for scene in pairs)
    ids = [(chinese.encode(scene.chinese_tokens), english.encode(scene.english_tokens)) for scene in pairs]
    (batch,) = BucketedBatches(ids, batch_size=64)(0)
    config = Seq2SeqConfig.tiny(len(chinese), len(english))
    ours, peer = Seq2Seq(config), WordByWord(config)
    peer.load_state_dict(ours.state_dict())
    ours_times, peer_times = interleaved([_step(ours, batch), _step(peer, batch)], runs=RUNS)
    ours_ms, peer_ms = (1000 * statistics.median(times) for times in (ours_times, peer_times))
    spread = 1000 * (max(ours_times) - min(ours_times))
    return {"ours": ours_ms, "peer": peer_ms, "ratio": peer_ms / ours_ms, "unit": "ms", "spread": spread}


class WordByWord(Seq2Seq):
    """The same network, with the decoder called once for every word of the target."""

    def forward(self, source: torch.Tensor, source_lengths: torch.Tensor, decoder_input: torch.Tensor) -> torch.Tensor:
        """Logits (batch, time, vocabulary)."""
        state, logits = self.start(source, source_lengths), []
        for tokens in decoder_input.unbind(1):
            scores, state = self.step(tokens, state)
            logits.append(scores)
        return torch.stack(logits, dim=1)


def _step(model: nn.Module, batch: PairBatch) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        logits = model(batch.source, batch.source_lengths, batch.decoder_input)
        total, count = next_token_loss(logits, batch.decoder_target, padding=PAD_ID)
        optimizer.zero_grad(set_to_none=True)
        (total / count).backward()
        optimizer.step()

    return step
