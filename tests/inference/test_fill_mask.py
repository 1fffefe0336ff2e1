"""Filling gaps: the guesses are the model's own probabilities, gap by gap; and what is refused."""

import pytest
import torch

from lectures_lib.data.wordpiece import WordPiece
from lectures_lib.inference.fill_mask import fill_mask
from lectures_lib.models.bert import BertConfig, BertForPreTraining


@pytest.fixture
def reader():
    vocabulary = WordPiece.of_words("a man is riding horse the in park".split())
    torch.manual_seed(0)
    config = BertConfig(len(vocabulary), 8, 2, 16, 2, max_length=12, init_std=0.3)
    return BertForPreTraining(config), vocabulary


def test_guesses_are_the_most_probable_words_of_each_gap(reader):
    model, vocabulary = reader
    found = fill_mask(model, vocabulary, "a [MASK] is riding a [MASK]", top=3)
    tokens = torch.tensor([vocabulary.encode("a [MASK] is riding a [MASK]")])
    with torch.no_grad():
        probabilities = model(tokens)[0][0].softmax(-1)
    assert len(found) == 2
    for guesses, place in zip(found, (2, 6), strict=True):
        best = probabilities[place].topk(3)
        assert [guess.word for guess in guesses] == [vocabulary.tokens[i] for i in best.indices]
        assert [guess.probability for guess in guesses] == pytest.approx(best.values.tolist(), abs=1e-6)
    everything = fill_mask(model, vocabulary, "a [MASK]", top=len(vocabulary))[0]
    assert sum(guess.probability for guess in everything) == pytest.approx(1.0, abs=1e-5)


def test_a_gap_in_the_second_of_a_pair_is_filled_too(reader):
    assert len(fill_mask(*reader, ("a man is riding", "a [MASK]"))) == 1


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a man", {}, r"must have a gap, written \[MASK\], got 'a man'"),
        ("a [MASK] is eating", {}, "does not know: 'eating'"),
        ("", {}, "at least one token"),
        ("[MASK] " * 20, {}, "at most 12 tokens"),
        ("a [MASK]", {"top": 0}, "top must lie between 1 and 13.*got 0"),
        ("a [MASK]", {"unknown": "skip"}, 'unknown must be "error" or "replace"'),
    ],
)
def test_what_cannot_be_filled_is_refused(reader, text, options, message):
    with pytest.raises(ValueError, match=message):
        fill_mask(*reader, text, **options)


def test_unknown_words_may_be_read_as_unknown(reader):
    assert len(fill_mask(*reader, "a [MASK] is eating", unknown="replace")) == 1
