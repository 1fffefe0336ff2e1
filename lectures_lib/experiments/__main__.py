"""`python -m lectures_lib.experiments NAME …`: pick an experiment by its name."""

from __future__ import annotations

import importlib
import sys

from lectures_lib.experiments.record import commit

EXPERIMENTS = {
    "translation": "a translation model on Multi30k or Tatoeba, from the cache folder",
    "seq2seq_claims": "the claims of the chapter seq2seq over several seeds",
    "attention_claims": "the claims of the chapter attention over several seeds",
    "embeddings_claims": "the claims of the chapter embeddings over several seeds",
    "self_attention_claims": "the claims of the chapter self_attention over several seeds",
    "transformer_claims": "the claims of the chapter transformer over several seeds",
    "gpt_claims": "the claims of the chapter gpt over several seeds",
    "shakespeare": "GPT on tiny Shakespeare in 3 or 30 minutes, from the cache folder",
    "bert_claims": "the claims of the chapter bert over several seeds",
    "bert_text": "BERT pretrained on news reports, beside its left-to-right twin and beside counting",
    "sentiment": "film reviews with a BERT from scratch, frozen and fine-tuned",
    "vision_claims": "the claims of the chapter vision over several seeds",
    "sit_vit": "SiT beside a Vision Transformer from scratch, on digits and animals, few labels and all",
    "vision_language_claims": "the claims of the chapter vision_language over several seeds",
    "digit_classifier": "the classifier with which generated digits are judged",
    "gan_claims": "the claims of the chapter gan over several seeds",
    "gan_losses_claims": "the claims of the chapter gan_losses over several seeds",
    "gan_training_claims": "four sick GANs under every treatment over several seeds",
    "gan_mnist": "DCGAN on digits under every loss, at equal budget",
    "dcgan_claims": "the claims of the chapter dcgan over several seeds",
    "dcgan_digits": "the generator of digits whose weights travel with the book",
    "cyclegan_claims": "the claims of the chapter cyclegan over several seeds",
    "conditional_gan_claims": "the claims of the chapter conditional_gan over several seeds",
    "gan_quality": "DCGAN as trained here beside PyTorch's example, by the clock",
}


def main(arguments: list[str]) -> int:
    """Run the experiment that the first argument names; the exit status is 2 for bad input."""
    commit()  # what runs is the code as it stands now, not as it will stand when the run ends
    if not arguments or arguments[0] not in EXPERIMENTS:
        print("usage: python -m lectures_lib.experiments NAME [options]\n", file=sys.stderr)
        for name, what in EXPERIMENTS.items():
            print(f"  {name:16} {what}", file=sys.stderr)
        return 2
    experiment = importlib.import_module(f"lectures_lib.experiments.{arguments[0]}")
    try:
        experiment.main(arguments[1:])
    except (ValueError, FileNotFoundError) as error:  # bad input ends in a sentence, not in a stack trace
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
