"""Texts become integers and come back; windows cover a text, and are the same for the same epoch."""

import hashlib
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lectures_lib.data import corpus
from lectures_lib.data.corpus import (
    END_OF_TEXT,
    ByteLevelBPE,
    Characters,
    RandomWindows,
    TextCode,
    TextCorpus,
    captions,
    lee_text,
    tiny_shakespeare,
    windows_in_order,
)
from lectures_lib.data.scenes import parse_english

PROPERTY = settings(deadline=None, max_examples=50)
NASTY = [
    "🐎 und 🦓",
    "一个男人在骑马",
    "Crème brûlée, naïve façade",
    "a\n\n\tb  c ",
    "x" * 10_000,
    "é",
    "\x00\x7f",
    "don't",
]


@pytest.fixture(scope="module")
def bpe():
    return ByteLevelBPE.train(captions(300, seed=0), 330)


# Texts


def test_captions_are_lines_that_the_world_can_read_and_seeds_and_splits_differ():
    text = captions(40, seed=3)
    lines = text.splitlines()
    assert len(lines) == 40
    assert text.endswith(".\n")
    for line in lines:
        parse_english(line)
    assert text == captions(40, seed=3)
    assert text not in (captions(40, seed=4), captions(40, seed=3, split="test"))


def test_the_lee_corpus_is_there_as_it_was_written():
    text = lee_text()
    assert text.startswith("Hundreds of people have been forced to vacate their homes")
    assert len(text.splitlines()) == 300


def test_shakespeare_is_looked_up_in_the_cache_and_checked(tmp_path, monkeypatch):
    path = tmp_path / "tinyshakespeare" / "input.txt"
    path.parent.mkdir()
    path.write_bytes("First Citizen:\nBefore we proceed…\n".encode())
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="is damaged"):
        tiny_shakespeare()
    monkeypatch.setattr(corpus, "SHAKESPEARE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert tiny_shakespeare() == "First Citizen:\nBefore we proceed…\n"


# Codes


@PROPERTY
@given(st.text(alphabet="abc äé\n", min_size=1))
def test_characters_come_back(text):
    code = Characters("abc äé\n")
    assert code.decode(code.encode(text)) == text
    assert isinstance(code, TextCode)


def test_characters_are_numbered_by_code_point_and_strangers_are_named():
    code = Characters("hello\n")
    assert code.characters == ["\n", "e", "h", "l", "o"]
    assert len(code) == 5
    with pytest.raises(ValueError, match="'x' at character 3"):
        code.encode("hex")
    with pytest.raises(ValueError, match="ids must lie between 0 and 4, got 5"):
        code.decode([5])
    with pytest.raises(ValueError, match="alphabet must have at least one character"):
        Characters("")


@PROPERTY
@given(st.text(max_size=60))
def test_byte_level_bpe_gives_every_text_back(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text


@pytest.mark.parametrize("text", NASTY)
def test_nasty_texts_come_back_too(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text


def test_bpe_learns_frequent_words_with_the_space_before_them(bpe):
    assert len(bpe) == 330
    assert bpe.split("A man is") == ["A", " man", " is"]
    assert len(bpe.encode("Quixotic")) > 4
    assert bpe.encode(END_OF_TEXT) == [bpe.end_of_text]
    assert isinstance(bpe, TextCode)
    with pytest.raises(ValueError, match="ids must lie between 0 and 329, got 330"):
        bpe.decode([330])


def test_bpe_is_read_from_both_kinds_of_files(bpe, tmp_path):
    whole = tmp_path / "tokenizer.json"
    bpe._tokenizer.save(str(whole))
    bpe._tokenizer.model.save(str(tmp_path))
    for again in (
        ByteLevelBPE.from_json(whole),
        ByteLevelBPE.from_merges(tmp_path / "vocab.json", tmp_path / "merges.txt"),
    ):
        for text in [*NASTY, f"one{END_OF_TEXT}two"]:
            assert again.encode(text) == bpe.encode(text)
        assert (len(again), again.end_of_text) == (len(bpe), bpe.end_of_text)


def test_damaged_files_of_a_tokenizer_are_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer"):
        ByteLevelBPE.from_json(tmp_path / "tokenizer.json")
    words = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None}
    words |= {"pre_tokenizer": None, "post_processor": None, "decoder": None}
    words["model"] = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    (tmp_path / "words.json").write_text(json.dumps(words))
    with pytest.raises(ValueError, match=r"words\.json must be a byte-level tokenizer"):
        ByteLevelBPE.from_json(tmp_path / "words.json")
    (tmp_path / "vocab.json").write_text("[]")
    (tmp_path / "merges.txt").write_text("a b")
    with pytest.raises(ValueError, match=r"vocab\.json and merges\.txt are not a byte-pair encoding"):
        ByteLevelBPE.from_merges(tmp_path / "vocab.json", tmp_path / "merges.txt")
    with pytest.raises(ValueError, match="size must be at least 257"):
        ByteLevelBPE.train("abc", 200)
    with pytest.raises(ValueError, match="text must have at least one character"):
        ByteLevelBPE.train("", 300)


# Corpora


def test_a_corpus_holds_the_end_of_its_text_out():
    text = "abcdefghij" * 10
    split = TextCorpus.split(text, Characters(text), held_out=0.2)
    assert split.code.decode(split.train.tolist()) == text[:80]
    assert split.code.decode(split.held_out.tolist()) == text[80:]
    assert (split.train_characters, split.held_out_characters) == (80, 20)


def test_characters_are_counted_where_tokens_are_longer(bpe):
    text = captions(20, seed=9)
    both = TextCorpus.of(text, text, bpe)
    assert both.held_out_characters == len(text) > len(both.held_out)


def test_texts_too_short_or_shares_out_of_range_are_refused():
    with pytest.raises(ValueError, match="held_out must have at least two tokens, got 1"):
        TextCorpus.of("ab", "a", Characters("ab"))
    for share in (0.0, 1.0, -0.5):
        with pytest.raises(ValueError, match=f"held_out must lie between 0 and 1, got {share}"):
            TextCorpus.split("abab", Characters("ab"), held_out=share)


# Windows


@PROPERTY
@given(length=st.integers(2, 60), time=st.integers(1, 20), batch_size=st.integers(1, 5))
def test_windows_in_order_ask_for_every_token_but_the_first_exactly_once(length, time, batch_size):
    batches = windows_in_order(torch.arange(length), time=time, batch_size=batch_size)
    asked = torch.cat([batch.target.flatten() for batch in batches])
    shown = torch.cat([batch.shown.flatten() for batch in batches])
    assert asked.tolist() == list(range(1, length))
    assert shown.tolist() == list(range(length - 1))
    assert all(len(batch) <= batch_size for batch in batches)


def test_random_windows_are_pieces_of_the_text_and_the_same_for_the_same_epoch():
    batches = RandomWindows(torch.arange(100), time=7, batch_size=3, seed=2)
    first = list(batches(0))
    assert len(first) == len(batches) == 100 // 21
    for batch in first:
        assert batch.tokens.shape == (3, 8)
        assert bool((batch.target == batch.shown + 1).all())
    again, other = list(batches(0)), list(batches(1))
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0].tokens, other[0].tokens)
    starts = torch.cat([batch.tokens[:, 0] for epoch in range(300) for batch in batches(epoch)])
    assert (int(starts.min()), int(starts.max())) == (0, 92)  # the first window and the last there is


def test_a_batch_is_shared_out_row_by_row():
    (batch,) = windows_in_order(torch.arange(13), time=3)
    assert [batch.shard(i, 3).tokens.tolist() for i in range(3)] == [
        [[0, 1, 2, 3], [9, 10, 11, 12]],
        [[3, 4, 5, 6]],
        [[6, 7, 8, 9]],
    ]
    assert batch.to(torch.device("meta")).tokens.device.type == "meta"
    with pytest.raises(ValueError, match="index must lie between 0 and count - 1 = 1, got 2"):
        batch.shard(2, 2)


def test_windows_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="time and batch_size must be at least 1, got 0 and 4"):
        RandomWindows(torch.arange(9), time=0, batch_size=4)
    with pytest.raises(ValueError, match="tokens must be at least 10, a window and the token after it, got 9"):
        RandomWindows(torch.arange(9), time=9, batch_size=4)
    with pytest.raises(ValueError, match="time must be at least 1, got 0"):
        windows_in_order(torch.arange(9), time=0)
    with pytest.raises(ValueError, match="tokens must be at least 2"):
        windows_in_order(torch.arange(1), time=4)
