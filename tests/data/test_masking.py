"""Masking by the 80/10/10 rule, and next-sentence pairs: their statistics, and that a seed fixes them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.data.masking import MaskedBatches, mask_tokens, next_sentence_pairs, word_range
from lectures_lib.data.wordpiece import WordPiece
from lectures_lib.losses.pretraining import NO_TARGET

MASK = 4


def mask(tokens, words=None, seed=0, **options):
    words = torch.ones_like(tokens, dtype=torch.bool) if words is None else words
    settings = {"mask": MASK, "replacements": (5, 1_000)} | options
    return mask_tokens(tokens, words, generator=torch.Generator().manual_seed(seed), **settings)


def test_of_many_words_15_percent_are_asked_for_and_treated_80_10_10():
    tokens = torch.randint(5, 1_000, (2_000, 40), generator=torch.Generator().manual_seed(1))
    shown, targets = mask(tokens)
    asked = targets != NO_TARGET
    assert asked.sum(dim=1).unique().tolist() == [6]  # 15 % of 40, of every text alike
    hidden, same = shown[asked] == MASK, shown[asked] == tokens[asked]
    assert float(hidden.double().mean()) == pytest.approx(0.8, abs=0.02)
    assert float(same.double().mean()) == pytest.approx(0.1, abs=0.02)
    assert_close(targets[asked], tokens[asked])
    assert torch.equal(shown[~asked], tokens[~asked])


def test_every_place_is_asked_for_alike_and_random_words_are_drawn_alike():
    tokens = torch.full((20_000, 10), 7)
    shown, targets = mask(tokens, replacements=(5, 10))
    by_place = (targets != NO_TARGET).double().mean(dim=0)
    assert_close(by_place, torch.full((10,), 0.2).double(), atol=0.02, rtol=0)  # 1.5 of 10 words are rounded to 2
    drawn = shown[(targets != NO_TARGET) & (shown != MASK) & (shown != 7)]
    assert torch.bincount(drawn, minlength=10)[5:].nonzero().flatten().tolist() == [0, 1, 3, 4]
    shares = torch.bincount(drawn, minlength=10)[[5, 6, 8, 9]] / len(drawn)
    assert_close(shares, torch.full((4,), 0.25), atol=0.03, rtol=0)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(2, 30), st.integers(0, 2**16), st.floats(0.01, 1.0))
def test_only_words_are_asked_for_and_at_least_one_of_each_text(batch, time, seed, share):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, 50, (batch, time), generator=generator)
    words = torch.rand(batch, time, generator=generator) < 0.7
    shown, targets = mask(tokens, words, seed=seed, share=share)
    asked = targets != NO_TARGET
    assert not (asked & ~words).any()
    assert torch.equal(shown[~asked], tokens[~asked])
    expected = torch.where(words.any(1), (share * words.sum(1)).round().clamp(min=1), 0)
    assert asked.sum(1).tolist() == expected.tolist()


def test_the_same_generator_hides_the_same_words():
    tokens = torch.randint(5, 50, (4, 20))
    one, other, third = mask(tokens), mask(tokens), mask(tokens, seed=1)
    assert torch.equal(one.tokens, other.tokens)
    assert not torch.equal(one.targets, third.targets)


def test_other_rules_hide_all_or_nothing():
    tokens = torch.randint(5, 50, (10, 20))
    shown, targets = mask(tokens, rule=(1, 0, 0))
    assert (shown[targets != NO_TARGET] == MASK).all()
    shown, targets = mask(tokens, rule=(0, 0, 1))
    assert torch.equal(shown, tokens)
    assert (targets != NO_TARGET).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0}, r"share must lie in \(0, 1\], got 0"),
        ({"rule": (0.8, 0.1, 0.2)}, "rule must be three shares that add up to 1"),
        ({"replacements": (9, 9)}, r"replacements must be \(first, last \+ 1\).*\(9, 9\)"),
        ({"words": torch.ones(2, 3, dtype=torch.bool)}, r"words must have the shape of tokens, \(2, 4\)"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mask(torch.full((2, 4), 6), **options)


# Pairs

DOCUMENTS = [[f"{name}{n}" for n in range(11)] for name in "abcdefgh"]


def test_half_of_the_pairs_follow_and_the_others_come_from_another_document():
    labels = []
    for seed in range(40):
        for first, second, label in next_sentence_pairs(DOCUMENTS, seed=seed):
            follows = first[0] == second[0]
            assert follows == (label == 0)
            assert not follows or int(second[1:]) == int(first[1:]) + 1
            labels.append(label)
    assert len(labels) == 40 * 80
    assert sum(labels) / len(labels) == pytest.approx(0.5, abs=0.03)


def test_every_first_text_is_there_once_and_the_order_is_kept():
    pairs = next_sentence_pairs(DOCUMENTS, seed=3)
    assert [first for first, _, _ in pairs] == [text for document in DOCUMENTS for text in document[:-1]]
    assert pairs == next_sentence_pairs(DOCUMENTS, seed=3)
    assert pairs != next_sentence_pairs(DOCUMENTS, seed=4)


def test_a_share_of_none_or_all():
    assert {label for *_, label in next_sentence_pairs(DOCUMENTS[:1], seed=0, share=0)} == {0}
    assert {label for *_, label in next_sentence_pairs(DOCUMENTS, seed=0, share=1)} == {1}


@pytest.mark.parametrize(
    ("documents", "options", "message"),
    [
        ([["a"], ["b"]], {}, "at least one of two texts"),
        ([["a", "b"]], {}, "at least two.*got 1"),
        (DOCUMENTS, {"share": 1.5}, r"share must lie in \[0, 1\], got 1.5"),
    ],
)
def test_pairs_that_cannot_be_made_are_refused(documents, options, message):
    with pytest.raises(ValueError, match=message):
        next_sentence_pairs(documents, seed=0, **options)


# Batches


@pytest.fixture
def batches():
    vocabulary = WordPiece.of_words("a b c d e f g h".split())
    pairs = [("a b c", "d e"), ("b c", "e f"), ("c d e f", "g h"), ("d", "e"), ("f g h", "a")]
    return MaskedBatches(vocabulary.batch(pairs, labels=[0, 1, 0, 1, 0]), vocabulary, batch_size=2, seed=5)


def test_an_epoch_has_every_pair_once_and_comes_again_the_same(batches):
    epoch = list(batches(0))
    assert len(epoch) == len(batches) == 3
    assert sum(len(batch) for batch in epoch) == 5
    again = list(batches(0))
    assert all(torch.equal(one.tokens, other.tokens) for one, other in zip(epoch, again, strict=True))
    first = [batch.targets.tolist() for batch in epoch]
    assert first != [batch.targets.tolist() for batch in batches(1)]


def test_special_tokens_and_padding_are_never_asked_for(batches):
    special = {batches.vocabulary.pad_id, batches.vocabulary.cls_id, batches.vocabulary.sep_id}
    for epoch in range(20):
        for batch in batches(epoch):
            assert not special & set(batch.targets.flatten().tolist())
            assert ((batch.targets != NO_TARGET).sum(1) >= 1).all()
            assert not batch.targets[~batch.present].ne(NO_TARGET).any()


def test_a_batch_is_shared_out_and_moves(batches):
    batch = next(batches(0))
    halves = [batch.shard(n, 2) for n in range(2)]
    assert torch.equal(torch.cat([half.tokens for half in halves]), batch.tokens)
    assert batch.to(torch.device("meta")).targets.device.type == "meta"
    with pytest.raises(ValueError, match="index must lie between 0 and count - 1 = 1, got 2"):
        batch.shard(2, 2)


def test_pairs_need_labels_and_a_vocabulary_needs_words(batches):
    vocabulary = batches.vocabulary
    with pytest.raises(ValueError, match="with labels"):
        MaskedBatches(vocabulary.batch([("a", "b")]), vocabulary, batch_size=2)
    assert word_range(vocabulary) == (5, 13)
    with pytest.raises(ValueError, match="must have words after its special tokens, got 5"):
        word_range(WordPiece.of_words([]))
