"""From typed sentence to read sentence, with every way a person can get it wrong."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lectures_lib.data.vocabulary import Vocabulary
from lectures_lib.inference import translate
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.models.transformer import Transformer, TransformerConfig

VOCABULARY = Vocabulary.words(["a man is riding a horse in the park ."])


def build(max_length=20):
    torch.manual_seed(0)
    return Seq2Seq(Seq2SeqConfig(len(VOCABULARY), len(VOCABULARY), 8, 16, max_length=max_length))


def build_transformer():
    torch.manual_seed(0)
    sizes = dict(d_model=16, n_heads=2, d_feed_forward=32, n_encoder_layers=1, n_decoder_layers=1, max_length=20)
    return Transformer(TransformerConfig(len(VOCABULARY), len(VOCABULARY), **sizes)).eval()


def test_translations_come_in_the_order_of_the_sentences():
    model = build()
    sentences = ["a horse", "a man is riding a horse in the park", "the man is in the park", "horse"]
    together = translate(model, sentences, VOCABULARY, VOCABULARY, max_new_tokens=6, batch_size=2)
    alone = [translate(model, [s], VOCABULARY, VOCABULARY, max_new_tokens=6)[0] for s in sentences]
    assert together == alone


def test_a_beam_translates_in_order_too_and_is_not_smaller_than_one():
    model = build_transformer()
    sentences = ["a horse", "a man is riding a horse in the park", "the man is in the park", "horse"]
    options = dict(max_new_tokens=6, beam_size=3)
    together = translate(model, sentences, VOCABULARY, VOCABULARY, batch_size=2, **options)
    assert together == [translate(model, [s], VOCABULARY, VOCABULARY, **options)[0] for s in sentences]
    with pytest.raises(ValueError, match="beam_size must be at least 1, got 0"):
        translate(model, sentences, VOCABULARY, VOCABULARY, beam_size=0)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_in_its_mode_even_when_something_goes_wrong(training):
    model = build_transformer().train(training)
    translate(model, ["a horse"], VOCABULARY, VOCABULARY, max_new_tokens=2)
    assert model.training is training
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1"):
        translate(model, ["a horse"], VOCABULARY, VOCABULARY, max_new_tokens=0)
    assert model.training is training


def test_no_sentences_no_translations():
    assert translate(build(), [], VOCABULARY, VOCABULARY) == []


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("", "at least one token, got ''"),
        ("   ", "at least one token"),
        ("a man is riding a hors", "'hors'.*'horse'"),
        ("a " * 20, "at most 19 tokens, got 20"),
    ],
)
def test_a_sentence_that_cannot_be_translated_says_why(sentence, message):
    with pytest.raises(ValueError, match=message):
        translate(build(), [sentence], VOCABULARY, VOCABULARY)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_whatever_is_typed_ends_in_a_translation_or_a_valueerror(sentence):
    try:
        outcome = translate(build(), [sentence], VOCABULARY, VOCABULARY, max_new_tokens=3)[0]
    except ValueError as error:
        outcome = str(error)
    assert isinstance(outcome, str)
