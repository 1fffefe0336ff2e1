"""Film reviews from the cache folder, with a stated split; and the little made-up ones."""

import hashlib

import pytest

from lectures_lib.data import sentiment
from lectures_lib.data.sentiment import NEGATIVE, POSITIVE, little_reviews, opinion_words, rt_polarity


@pytest.fixture
def films(tmp_path, monkeypatch):
    """Forty snippets a class, one of them twice, with a letter that only windows-1252 has."""
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    folder = tmp_path / "rt-polarity"
    folder.mkdir()
    for ending in ("neg", "pos"):
        lines = [f"{ending} film {n} \u2014 caf\u00e9 . " for n in range(40)] + [f"{ending} film 3 \u2014 caf\u00e9 . "]
        path = folder / f"rt-polarity.{ending}"
        path.write_bytes(("\n".join(lines) + "\n").encode("windows-1252"))
        monkeypatch.setitem(sentiment.RT_POLARITY_SHA256, ending, hashlib.sha256(path.read_bytes()).hexdigest())
    return folder


def test_a_tenth_of_each_class_is_held_out_and_nothing_is_in_both(films):
    train, test = rt_polarity("train"), rt_polarity("test")
    for label, ending in ((NEGATIVE, "neg"), (POSITIVE, "pos")):
        held_out = {review.text for review in test if review.label == label}
        rest = [review.text for review in train if review.label == label]
        assert len(held_out) == 4
        assert all(text.startswith(ending) for text in held_out)
        assert not held_out & set(rest)
    assert len(train) + len(test) == 82
    assert any("\u2014 caf\u00e9" in review.text for review in test)


def test_the_split_is_drawn_by_its_seed_and_comes_shuffled(films):
    assert rt_polarity("train", seed=1) == rt_polarity("train", seed=1)
    assert set(rt_polarity("test", seed=1)) != set(rt_polarity("test", seed=2))
    labels = [review.label for review in rt_polarity("train")]
    assert 10 < sum(labels[:36]) < 26


def test_damaged_files_and_unknown_splits_are_named(films):
    (films / "rt-polarity.pos").write_bytes(b"something else\n")
    with pytest.raises(ValueError, match=r"rt-polarity.pos is damaged"):
        rt_polarity()
    with pytest.raises(ValueError, match='split must be "train" or "test", got \'dev\''):
        rt_polarity("dev")


def test_little_reviews_are_half_for_and_half_against_and_say_so_by_their_words():
    for split in ("train", "test"):
        reviews = little_reviews(100, seed=0, split=split)
        assert sum(review.label for review in reviews) == 50
        for text, label in reviews:
            words = set(text.split())
            assert words & set(opinion_words(split, label)), text
            for other in ("train", "test"):
                assert not words & set(opinion_words(other, 1 - label)), text
            assert " a a" not in f" {text}"


def test_no_opinion_word_of_the_test_is_in_the_training():
    train, test = ({word for label in (0, 1) for word in opinion_words(s, label)} for s in ("train", "test"))
    assert not train & test
    assert min(len(train), len(test)) >= 30


def test_reviews_come_again_the_same_and_differ_by_seed():
    assert little_reviews(30, seed=1) == little_reviews(30, seed=1)
    assert little_reviews(30, seed=1) != little_reviews(30, seed=2)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        little_reviews(0, seed=0)
    with pytest.raises(ValueError, match="split must be"):
        little_reviews(3, seed=0, split="dev")
