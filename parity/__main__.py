"""`python -m parity`: run all checks, print a line each, write `_build/parity.json`."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from parity import bert, cgan, cyclegan, gan, gpt, hifigan, layers, models, speech_models, vision
from parity.compare import Parity

TOLERANCE = 1e-5  # of the largest number compared, where that is above 1; otherwise absolute

CHECKS: dict[str, Callable[[], Parity]] = {
    "self-attention": partial(layers.self_attention, causal=False),
    "self-attention-causal": partial(layers.self_attention, causal=True),
    "cross-attention": layers.cross_attention,
    "additive-attention": partial(layers.recurrent_attention, "additive"),
    "multiplicative-attention": partial(layers.recurrent_attention, "multiplicative"),
    "encoder-layer-post": partial(layers.layer, "encoder", "post"),
    "encoder-layer-pre": partial(layers.layer, "encoder", "pre"),
    "decoder-layer-post": partial(layers.layer, "decoder", "post"),
    "decoder-layer-pre": partial(layers.layer, "decoder", "pre"),
    "transformer-marian": models.marian,
    "transformer-torch-post": partial(models.torch_transformer, "post"),
    "transformer-torch-pre": partial(models.torch_transformer, "pre"),
    "label-smoothing": partial(models.label_smoothing, 0.1),
    "cross-entropy": partial(models.label_smoothing, 0.0),
    "greedy": models.greedy_tokens,
    "beam-4": partial(models.beam_tokens, 4, 0.6),
    "beam-5": partial(models.beam_tokens, 5, 1.0),
    "hifigan-v1": partial(hifigan.generator, "V1"),
    "hifigan-v2": partial(hifigan.generator, "V2"),
    "hifigan-v3": partial(hifigan.generator_in_loops, "V3"),
    "hifigan-periods": hifigan.period_discriminators,
    "hifigan-scales": hifigan.scale_discriminators,
    "hifigan-losses": hifigan.training_losses,
    "log-mel": hifigan.log_mel_spectrogram,
    "cyclegan-transposed": partial(cyclegan.generator, "transposed"),
    "cyclegan-resize": partial(cyclegan.generator, "resize"),
    "patch-discriminator": cyclegan.discriminator,
    "gpt-logits": gpt.logits,
    "greedy-gpt": gpt.greedy_tokens,
    "bert-pretraining": bert.pretraining,
    "bert-classification": bert.classification,
    "bert-minilm": bert.minilm_vectors,
    "gan-minimax": partial(gan.loss, "minimax"),
    "gan-non-saturating": partial(gan.loss, "non-saturating"),
    "gan-least-squares": partial(gan.loss, "least-squares"),
    "gan-gradient-penalty": gan.penalty,
    "dcgan-generator": partial(gan.networks, "generator"),
    "dcgan-discriminator": partial(gan.networks, "discriminator"),
    "cgan-generator": partial(cgan.networks, "generator"),
    "cgan-channel": partial(cgan.networks, "channel"),
    "cgan-projection": partial(cgan.networks, "projection"),
    "distance-earth-mover": gan.wasserstein,
    "distance-frechet": gan.frechet,
    "vit": vision.vit,
    "vilbert-co-attention": vision.co_attention,
    "nt-xent": vision.nt_xent,
    "wav2vec2-pretraining": partial(speech_models.pretraining, training=True),
    "wav2vec2-duplicates": partial(speech_models.pretraining, training=False),
    "wav2vec2-ctc": speech_models.spelling,
    "info-nce": speech_models.info_nce,
    "tts-prenet": speech_models.tts_prenet,
    "tts-post-net": speech_models.post_net,
    "tts-losses": speech_models.tts_losses,
}


def main() -> int:
    """The exit status is 1 where a difference is beyond the tolerance."""
    rows = []
    for name, check in CHECKS.items():
        result = check()
        holds = result.worst <= TOLERANCE
        rows.append({"id": name, **dataclasses.asdict(result), "tolerance": TOLERANCE, "holds": holds})
        backward = "" if result.gradient is None else f", gradients {result.gradient:.1e}"
        print(f"{name}: {result.compared} {result.forward:.1e}{backward}{'' if holds else '  TOO FAR APART'}")
    path = Path("_build/parity.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
