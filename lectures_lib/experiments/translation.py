"""Train a translation model on real sentences and measure it on held-out ones.

python -m lectures_lib.experiments translation --model seq2seq --data multi30k --pair de-en
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lectures_lib.data.batching import BucketedBatches, IdPair, PairBatch
from lectures_lib.data.translation import SentencePairs, multi30k, tatoeba
from lectures_lib.data.vocabulary import PAD_ID, Vocabulary
from lectures_lib.device import choose_device
from lectures_lib.evaluation.bleu import bleu, exact_match
from lectures_lib.experiments.record import write_result
from lectures_lib.inference.translate import translate
from lectures_lib.losses import next_token_loss
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.models.transformer import Transformer, TransformerConfig
from lectures_lib.training import average_loss, fit, save_weights, warmup_cosine


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of a model's training, stated in the result file."""

    build: Callable[[int, int], nn.Module]
    vocabulary: tuple[int, int] | int  # BPE tokens of source and target; one number where they share a vocabulary
    epochs: int
    batch_size: int = 128
    beam_size: int = 4  # for the test sentences; validation during training is greedy
    learning_rate: float = 1.5e-3
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.999)
    label_smoothing: float = 0.1


def _seq2seq(cell: str, **attention: str | bool) -> Callable[[int, int], nn.Module]:
    """A recurrent encoder–decoder; without attention it is shown the context at every step instead."""

    def build(source_vocabulary: int, target_vocabulary: int) -> nn.Module:
        return Seq2Seq(
            Seq2SeqConfig(
                source_vocabulary,
                target_vocabulary,
                d_embedding=256,
                d_hidden=512,
                cell=cell,
                bidirectional=True,
                peek=not attention,
                dropout=0.3,
                **attention,
            )
        )

    return build


def _transformer(source_vocabulary: int, target_vocabulary: int) -> nn.Module:
    # Wu et al. 2021 found smaller better on Multi30k: the "tiny" Transformer (4 + 4 layers of 128) above "base".
    return Transformer(
        TransformerConfig(
            source_vocabulary,
            target_vocabulary,
            d_model=192,
            n_heads=4,
            d_feed_forward=512,
            n_encoder_layers=3,
            n_decoder_layers=3,
            dropout=0.3,
            shared_vocabulary=source_vocabulary == target_vocabulary,
        )
    )


RECIPES = {
    "seq2seq": Recipe(_seq2seq("gru"), vocabulary=(6_000, 4_000), epochs=12),
    "seq2seq-lstm": Recipe(_seq2seq("lstm"), vocabulary=(6_000, 4_000), epochs=12),
    # With scores that are products of 512 numbers the softmax saturated within six epochs (largest weight 0.99 on the
    # mean): it had stopped learning where to look. Additive scores are bounded.
    "attention": Recipe(_seq2seq("gru", attention="additive"), vocabulary=(6_000, 4_000), epochs=12),
    "transformer": Recipe(
        _transformer, vocabulary=6_000, epochs=28, learning_rate=2e-3, warmup=1_000, betas=(0.9, 0.98)
    ),
}
DATA: dict[str, tuple[Callable[..., SentencePairs], tuple[str, str, str]]] = {
    "multi30k": (multi30k, ("train", "val", "test_2016_flickr")),
    "tatoeba": (tatoeba, ("train", "val", "test")),
}


def sequence_loss(label_smoothing: float = 0.0) -> Callable[[nn.Module, PairBatch], tuple[Tensor, Tensor]]:
    """The loss that `training.fit` asks for: teacher forcing over a batch of sentence pairs."""

    def loss(model: nn.Module, batch: PairBatch) -> tuple[Tensor, Tensor]:
        logits = model(batch.source, batch.source_lengths, batch.decoder_input)
        return next_token_loss(logits, batch.decoder_target, padding=PAD_ID, label_smoothing=label_smoothing)

    return loss


def main(arguments: list[str]) -> None:
    """Train, measure, and write the result file."""
    options = _options(arguments)
    recipe = RECIPES[options.model]
    if options.epochs:
        recipe = dataclasses.replace(recipe, epochs=options.epochs)
    source, target = options.pair.split("-")
    load, splits = DATA[options.data]
    train, validation, test = (load(split, source, target)[: options.limit] for split in splits)
    vocabularies = _vocabularies(train, recipe.vocabulary)
    torch.manual_seed(options.seed)
    model = recipe.build(len(vocabularies[0]), len(vocabularies[1])).to(choose_device())
    batches = BucketedBatches(_ids(train, vocabularies), batch_size=recipe.batch_size, seed=options.seed)
    held_out = list(BucketedBatches(_ids(validation, vocabularies), batch_size=recipe.batch_size)(0))

    def validate(model: nn.Module) -> dict[str, float]:
        loss = average_loss(model, sequence_loss(), held_out)
        score = _translated(model, validation, vocabularies)["bleu"]
        print(f"  validation: {loss:.3f} nats a token, BLEU {score:.2f}", flush=True)
        return {"loss": loss, "bleu": score}

    steps = recipe.epochs * len(batches)
    history = fit(
        model,
        sequence_loss(recipe.label_smoothing),
        batches,
        steps=steps,
        seed=options.seed,
        learning_rate=recipe.learning_rate,
        optimizer=functools.partial(torch.optim.Adam, betas=recipe.betas, fused=True),
        schedule=warmup_cosine(steps, warmup=min(recipe.warmup, steps // 10)),
        precision=options.precision,
        validate=validate,
        validate_every=3 * len(batches),
        checkpoint=options.checkpoint,
        checkpoint_every=len(batches) if options.checkpoint else None,
    )
    seconds = history.seconds[-1]  # of all its parts, where the run was interrupted
    trained_tokens = sum(len(pair[1]) + 1 for pair in batches.pairs) * recipe.epochs
    test_batches = BucketedBatches(_ids(test, vocabularies), batch_size=recipe.batch_size)(0)
    nats = average_loss(model, sequence_loss(), test_batches)
    measured = {
        **_translated(model, test, vocabularies, beam_size=recipe.beam_size),
        "bleu_greedy": _translated(model, test, vocabularies)["bleu"],
        "perplexity_per_token": math.exp(nats),
        "seconds": round(seconds),
        "target_tokens_per_second": round(trained_tokens / seconds),
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_pairs": len(train),
        "test_pairs": len(test),
        "validation": [[step, values] for step, values in history.validation],
    }
    settings = {k: v for k, v in dataclasses.asdict(recipe).items() if k != "build"}
    settings["model"] = dataclasses.asdict(model.config)
    name = f"translation-{options.model}-{options.data}-{options.pair}"
    suffix = "" if options.seed == 0 else f"-seed{options.seed}"
    path = options.out or Path("results") / f"{name}{suffix}.json"
    write_result(path, name=name, seed=options.seed, settings=settings, measured=measured)
    print(f"BLEU {measured['bleu']:.2f} ({measured['bleu_signature']}); written to {path}")
    if options.weights:
        save_weights(model, options.weights, {"result": str(path)})


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments translation", description=__doc__)
    parser.add_argument("--model", choices=sorted(RECIPES), default="seq2seq")
    parser.add_argument("--data", choices=sorted(DATA), default="multi30k")
    parser.add_argument("--pair", default="de-en", help="languages, from-to, such as de-en or zh-en")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="other than the recipe's")
    parser.add_argument("--limit", type=int, help="use so many pairs of each split only (for a first try)")
    parser.add_argument("--precision", choices=["no", "bf16", "fp16"], default="no")
    parser.add_argument("--checkpoint", type=Path, help="file to save after every epoch and to go on from")
    parser.add_argument("--weights", type=Path, help="file for the trained weights")
    parser.add_argument("--out", type=Path, help="result file (default: results/NAME.json)")
    options = parser.parse_args(arguments)
    if options.pair.count("-") != 1:
        raise ValueError(f"--pair must be two languages with a dash between, such as de-en, got {options.pair!r}")
    return options


def _vocabularies(pairs: SentencePairs, size: tuple[int, int] | int) -> list[Vocabulary]:
    """The vocabularies of source and target: two, or one that both share."""
    if isinstance(size, int):
        return [Vocabulary.bpe((sentence for pair in pairs for sentence in pair), size=size, lowercase=True)] * 2
    return [Vocabulary.bpe((pair[side] for pair in pairs), size=size[side], lowercase=True) for side in (0, 1)]


def _ids(pairs: SentencePairs, vocabularies: list[Vocabulary]) -> list[IdPair]:
    source, target = vocabularies
    return [(source.encode(a, unknown="replace"), target.encode(b, unknown="replace")) for a, b in pairs]


def _translated(model: nn.Module, pairs: SentencePairs, vocabularies: list[Vocabulary], *, beam_size: int = 1) -> dict:
    """Scores of the model's own translations; the BLEU is lower-cased, since the vocabularies are."""
    sources = [source for source, _ in pairs]
    said = translate(model, sources, *vocabularies, unknown="replace", max_new_tokens=80, beam_size=beam_size)
    true = [target for _, target in pairs]
    score = bleu(said, true, lowercase=True)
    return {
        "bleu": score.score,
        "bleu_signature": score.signature,
        "exact_match": exact_match(said, [sentence.lower() for sentence in true]),
        "examples": [
            [source, reference, ours] for (source, reference), ours in list(zip(pairs, said, strict=True))[:5]
        ],
    }
