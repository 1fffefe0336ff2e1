"""Vocabularies: round trips, special tokens, and what happens to words nobody knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS, UNK_ID, Vocabulary

SENTENCES = ["A man is riding a horse.", "Two dogs, one cat!", "人在骑马", "café naïve"]


@pytest.fixture(params=["words", "characters", "bpe"])
def kind(request):
    return request.param


def build(kind, sentences=tuple(SENTENCES), **options):
    if kind == "bpe":
        options.setdefault("size", 120)
    return getattr(Vocabulary, kind)(sentences, **options)


def test_the_first_four_tokens_are_the_special_ones(kind):
    vocabulary = build(kind)
    assert tuple(vocabulary.tokens[:4]) == SPECIAL_TOKENS
    assert [vocabulary.tokens.index(t) for t in SPECIAL_TOKENS] == [PAD_ID, BOS_ID, EOS_ID, UNK_ID]


def test_words_are_split_at_spaces_and_punctuation():
    assert build("words").split("Two dogs, one cat!") == ["Two", "dogs", ",", "one", "cat", "!"]


def test_a_sentence_split_already_stays_split():
    vocabulary = Vocabulary.words([["一个", "男人", "在", "骑", "马"]])
    assert vocabulary.split(["男人", "骑", "马"]) == ["男人", "骑", "马"]


def test_characters_keep_spaces_and_every_letter():
    vocabulary = build("characters")
    assert vocabulary.split("人在 A") == ["人", "在", " ", "A"]


def test_bpe_grows_frequent_words_into_one_token():
    vocabulary = Vocabulary.bpe(["the horse and the dog"] * 20 + ["a zebra"], size=32)
    assert "▁the" in vocabulary
    assert len(vocabulary.split("zebra")) > 1


def test_bpe_never_exceeds_its_size():
    assert len(build("bpe", size=60)) <= 60


@pytest.mark.parametrize("sentence", ["A man is riding a horse.", "Two dogs, one cat!", "人在骑马"])
def test_characters_and_bpe_give_a_known_sentence_back(sentence):
    for kind in ("characters", "bpe"):
        vocabulary = build(kind)
        assert vocabulary.decode(vocabulary.encode(sentence)) == sentence


@given(st.lists(st.sampled_from(["a", "man", "rides", "horse", "dog"]), min_size=1, max_size=12))
def test_known_words_survive_the_round_trip(words):
    vocabulary = Vocabulary.words(["a man rides horse dog"])
    assert vocabulary.decode([BOS_ID, *vocabulary.encode(" ".join(words)), EOS_ID, PAD_ID]) == " ".join(words)


@given(st.text(min_size=1, max_size=40))
def test_any_text_gives_integers_in_range_or_a_valueerror(text):
    vocabulary = build("words")
    if text.strip():
        ids = vocabulary.encode(text, unknown="replace")
        assert ids
        assert all(0 <= i < len(vocabulary) for i in ids)
    else:
        with pytest.raises(ValueError, match="at least one token"):
            vocabulary.encode(text, unknown="replace")


def test_decoding_stops_at_the_end_token():
    vocabulary = build("words")
    man, horse = vocabulary.encode("man horse")
    assert vocabulary.decode([BOS_ID, man, EOS_ID, horse]) == "man"


def test_an_empty_sentence_is_refused(kind):
    with pytest.raises(ValueError, match="at least one token, got ''"):
        build(kind).encode("")


def test_an_unknown_word_is_named_with_its_neighbour():
    with pytest.raises(ValueError, match=r"'hors'.*close to 'hors' are 'horse'"):
        build("words").encode("A man is riding a hors .")


def test_an_unknown_token_of_a_split_sentence_is_named():
    with pytest.raises(ValueError, match="'斑马'"):
        Vocabulary.words([["骑", "马"]]).encode(["骑", "斑马"])


def test_an_unknown_word_can_be_replaced():
    assert UNK_ID in build("words").encode("A man is riding a zebra", unknown="replace")


def test_rare_words_are_left_out():
    vocabulary = Vocabulary.words(["dog dog cat"], min_count=2)
    assert "dog" in vocabulary
    assert "cat" not in vocabulary


def test_lower_case_is_the_vocabularys_affair():
    vocabulary = build("words", lowercase=True)
    assert vocabulary.encode("TWO Dogs") == vocabulary.encode("two dogs")


def test_a_saved_vocabulary_is_the_same_one(tmp_path, kind):
    vocabulary = build(kind)
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json").tokens == vocabulary.tokens


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "v.json").write_text("{not json")
    with pytest.raises(ValueError, match="v.json is not a vocabulary"):
        Vocabulary.load(tmp_path / "v.json")


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Vocabulary.load(tmp_path / "nowhere.json")


def test_nothing_to_learn_from_is_refused(kind):
    with pytest.raises(ValueError, match="sentences must hold"):
        build(kind, ["", " "])


def test_ids_out_of_range_are_refused():
    with pytest.raises(ValueError, match="got 99999"):
        build("words").decode([99999])
