"""The world of scenes: known sentences, known links, and what must hold for every seed."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lectures_lib.data import scenes
from lectures_lib.data.scenes import (
    ADJECTIVES,
    COLOURS,
    HELD_OUT,
    INTRANSITIVE,
    LECTURE,
    NOUNS,
    PLACES,
    SHORT,
    SPLITS,
    TIMES,
    TRANSITIVE,
    Clause,
    Scene,
    chinese_words,
    english_words,
    parse_english,
    sample_scenes,
    segment_chinese,
)

PARK = Scene((Clause("man", "riding", "horse", None, "brown", "in the park", "in the morning"),))
TWO = Scene((Clause("elephant", "sleeping"), Clause("boy", "eating", "apple", place="by the lake")))
SAMPLE = [scene for split in SPLITS for scene in sample_scenes(2_500, seed=3, split=split)]
seeds = st.integers(0, 2**64)


def links_in_words(scene):
    return [(scene.english_tokens[e], scene.chinese_tokens[c]) for e, c in scene.alignment]


def all_triples():
    return {
        (subject, verb.english, object_)
        for verb in TRANSITIVE
        for subject in verb.subjects.split()
        for object_ in verb.objects.split()
    }


# ---- sentences ----


def test_the_lectures_own_sentence():
    assert LECTURE.english == "A man is riding a horse"
    assert LECTURE.chinese == "人在骑马"
    assert Scene((Clause("man", "riding", "horse"),)).chinese == "一个男人在骑马"


def test_chinese_says_time_and_place_before_the_verb():
    assert PARK.english == "A man is riding a brown horse in the park in the morning"
    assert PARK.chinese == "一个男人早上在公园里骑一匹棕色的马"
    words = ["一个", "男人", "早上", "在", "公园", "里", "骑", "一匹", "棕色的", "马"]
    assert PARK.chinese_tokens == words
    assert PARK.english_tokens == PARK.english.lower().split()


@pytest.mark.parametrize(
    ("clause", "english", "chinese"),
    [
        (Clause("zebra", "grazing"), "A zebra is grazing", "一匹斑马在吃草"),
        (
            Clause("woman", "reading", "letter", "old", "white", time="at night"),
            "An old woman is reading a white letter at night",
            "一个年老的女人夜里在读一封白色的信",
        ),
        (
            Clause("cat", "watching", "bird", "small", place="on the grass"),
            "A small cat is watching a bird on the grass",
            "一只小猫在草地上看鸟",
        ),
        (
            Clause("teacher", "riding", "bicycle", None, "green", "by the river", "today"),
            "A teacher is riding a green bicycle by the river today",
            "一位老师今天在河边骑一辆绿色的自行车",
        ),
    ],
)
def test_a_clause_in_both_languages(clause, english, chinese):
    assert (Scene((clause,)).english, Scene((clause,)).chinese) == (english, chinese)


def test_clauses_are_joined_with_and():
    assert TWO.english == "An elephant is sleeping and a boy is eating an apple by the lake"
    assert TWO.chinese == "一头大象在睡觉，一个男孩在湖边吃苹果"


def test_an_stands_before_vowels_and_only_there():
    found = set()
    for scene in SAMPLE:
        for article, word in zip(scene.english_tokens, scene.english_tokens[1:], strict=False):
            if article in ("a", "an"):
                assert (article == "an") == (word[0] in "aeiou")
                found.add((article, word))
    assert {("an", "old"), ("an", "orange"), ("an", "apple"), ("an", "umbrella")} <= found


def test_scenes_are_values():
    assert parse_english(PARK.english) == PARK
    assert len({PARK, parse_english(PARK.english)}) == 1
    PARK.english_tokens.clear()
    assert PARK.english_tokens[:2] == ["a", "man"]
    with pytest.raises(AttributeError):
        PARK.clauses = LECTURE.clauses


# ---- alignment ----


def test_the_lectures_alignment():
    assert LECTURE.alignment == ((1, 0), (2, 1), (3, 2), (5, 3))


def test_the_alignment_crosses_where_chinese_reorders():
    assert PARK.alignment == (
        *((0, 0), (1, 1)),  # a man
        *((3, 6), (4, 7), (5, 8), (6, 9)),  # riding a brown horse; "is" has no 在 of its own here
        *((7, 3), (7, 5), (9, 4)),  # in ... park
        *((10, 2), (12, 2)),  # in ... morning
    )


def test_the_alignment_of_two_clauses():
    assert links_in_words(TWO) == [
        *[("an", "一头"), ("elephant", "大象"), ("is", "在"), ("sleeping", "睡觉"), ("and", "，")],
        *[("a", "一个"), ("boy", "男孩"), ("eating", "吃"), ("apple", "苹果")],
        *[("by", "在"), ("by", "边"), ("lake", "湖")],
    ]


@given(seed=seeds, split=st.sampled_from(SPLITS))
@settings(max_examples=30)
def test_every_content_word_and_every_chinese_word_has_a_link(seed, split):
    for scene in sample_scenes(10, seed=seed, clauses=(1, 6), split=split):
        english, chinese = scene.english_tokens, scene.chinese_tokens
        linked, chinese_linked = (set(side) for side in zip(*scene.alignment, strict=True))
        assert linked <= set(range(len(english)))
        assert chinese_linked == set(range(len(chinese)))
        unlinked = {english[i] for i in set(range(len(english))) - linked}
        assert unlinked <= {"a", "an", "is", "the"}
        assert list(scene.alignment) == sorted(set(scene.alignment))


def test_a_word_is_always_linked_with_its_own_translation():
    dictionary = {noun.english: {noun.chinese} for noun in NOUNS.values()}
    dictionary |= {verb.english: {verb.chinese} for verb in INTRANSITIVE + TRANSITIVE}
    dictionary |= {word: {chinese} for word, chinese in (ADJECTIVES | COLOURS).items()}
    for word, short in SHORT.items():
        dictionary[word].add(short)
    found = {link for scene in SAMPLE for link in links_in_words(scene)}
    assert all(chinese in dictionary.get(english, {chinese}) for english, chinese in found)


# ---- the lexicon ----


def test_no_word_has_two_meanings():
    verbs = {(verb.english, verb.chinese) for verb in INTRANSITIVE + TRANSITIVE}
    nouns = [(noun.english, noun.chinese) for noun in NOUNS.values()]
    places = {(place.split()[-1], chinese[:-1]) for place, chinese in PLACES.items()}
    others = [*(ADJECTIVES | COLOURS).items(), *TIMES.items(), *places, *verbs]
    for side in zip(*nouns, *others, strict=True):
        assert len(set(side)) == len(side)
    function_words = {"在", "，", "里", "上", "边", *(noun.classifier for noun in NOUNS.values())}
    assert not function_words & {chinese for _, chinese in [*nouns, *others]}


def test_the_rows_of_the_verbs_only_name_known_nouns():
    for verb in INTRANSITIVE + TRANSITIVE:
        assert set(f"{verb.subjects} {verb.objects}".split()) <= NOUNS.keys()
        assert verb.places


def test_colours_and_adjectives_of_nouns_are_known():
    for noun in NOUNS.values():
        assert set(noun.colours.split()) <= COLOURS.keys()
        assert set(noun.adjectives.split()) <= (ADJECTIVES | COLOURS).keys()


def test_the_world_is_large_enough_to_be_interesting():
    verbs = {verb.english for verb in INTRANSITIVE + TRANSITIVE}
    assert len(NOUNS) >= 30
    assert len(verbs) >= 20
    assert len(COLOURS) >= 8
    assert len(PLACES) >= 14
    assert len(TIMES) >= 5
    assert {"horse", "zebra"} <= NOUNS.keys()


def test_the_word_lists_are_exactly_what_occurs():
    sample = [*SAMPLE, *sample_scenes(20_000, seed=5)]
    assert {word for scene in sample for word in scene.english_tokens} == set(english_words())
    assert {word for scene in sample for word in scene.chinese_tokens} == set(chinese_words())
    assert list(english_words()) == sorted(english_words())


def test_chinese_determines_the_english():
    english_of = defaultdict(set)
    for scene in [*SAMPLE, *sample_scenes(20_000, seed=4, clauses=1)]:
        english_of[tuple(scene.chinese_tokens)].add(tuple(scene.english_tokens))
    assert max(map(len, english_of.values())) == 1


# ---- sampling ----


PINNED = {
    "train": [
        "A policeman is washing a hat at dawn",
        "A boy is wiping a yellow table in the library",
        "A young policeman is repairing a red bicycle on the square",
    ],
    "test": "一位医生在休息，一个男孩在沙漠里追狗",
    "composition": "一个女人在看一头棕色的骆驼，一位老师夜里在画一条红色的船",
}


def test_a_seed_gives_these_sentences_on_every_machine():
    first = [scene.english for scene in sample_scenes(3, seed=0, clauses=1)]
    assert first == PINNED["train"]
    assert sample_scenes(1, seed=7, clauses=2, split="test")[0].chinese == PINNED["test"]
    assert sample_scenes(1, seed=7, split="composition")[0].chinese == PINNED["composition"]


@given(seed=seeds, split=st.sampled_from(SPLITS), n=st.integers(0, 30))
@settings(max_examples=30)
def test_a_longer_list_starts_with_the_shorter_one(seed, split, n):
    assert sample_scenes(30, seed=seed, split=split)[:n] == sample_scenes(n, seed=seed, split=split)


@given(low=st.integers(1, 6), more=st.integers(0, 5), seed=seeds)
@settings(max_examples=30)
def test_the_number_of_clauses_stays_in_its_range(low, more, seed):
    high = min(6, low + more)
    for scene in sample_scenes(20, seed=seed, clauses=(low, high)):
        assert low <= len(scene.clauses) <= high
        assert scene.english_tokens.count("and") == scene.chinese.count("，")
        assert scene.english_tokens.count("and") == len(scene.clauses) - 1


def test_every_number_of_clauses_is_about_as_frequent():
    counts = np.bincount([len(s.clauses) for s in sample_scenes(6_000, seed=1, clauses=(1, 6))])
    assert counts[0] == 0
    assert counts[1:].min() > 900
    assert counts[1:].max() < 1100


@given(seed=seeds)
@settings(max_examples=20)
def test_train_and_test_have_no_held_out_combination_and_composition_has_nothing_else(seed):
    for split in SPLITS:
        for scene in sample_scenes(40, seed=seed, clauses=(1, 6), split=split):
            for clause in scene.clauses:
                assert (clause.triple in HELD_OUT) == (split == "composition")


def test_a_tenth_of_the_combinations_is_held_out_but_never_the_lectures():
    assert HELD_OUT <= all_triples()
    assert 0.08 < len(HELD_OUT) / len(all_triples()) < 0.12
    assert LECTURE.clauses[0].triple == ("man", "riding", "horse")
    assert LECTURE.clauses[0].triple not in HELD_OUT


def test_each_half_of_a_held_out_combination_is_in_training():
    kept = all_triples() - HELD_OUT
    assert {triple[:2] for triple in HELD_OUT} <= {triple[:2] for triple in kept}
    assert {triple[1:] for triple in HELD_OUT} <= {triple[1:] for triple in kept}


def test_every_word_of_the_other_splits_occurs_in_training():
    train = {word for scene in sample_scenes(20_000, seed=0) for word in scene.english_tokens}
    for split in ("test", "composition"):
        for scene in sample_scenes(2_000, seed=0, split=split):
            assert train.issuperset(scene.english_tokens)


def test_from_two_clauses_on_train_and_test_share_next_to_nothing():
    train = {scene.english for scene in sample_scenes(20_000, seed=0, clauses=2)}
    test = {scene.english for scene in sample_scenes(1_000, seed=0, clauses=2, split="test")}
    assert len(test) > 995
    assert len(train & test) <= 1


def test_a_quarter_of_the_single_test_clauses_is_in_training():
    train = {scene.english for scene in sample_scenes(20_000, seed=0, clauses=1)}
    test = [scene.english for scene in sample_scenes(1_000, seed=0, clauses=1, split="test")]
    assert 0.2 < np.mean([sentence in train for sentence in test]) < 0.3


def test_a_plain_man_is_sometimes_only_a_person_in_chinese():
    clauses = [scene.clauses[0] for scene in sample_scenes(20_000, seed=2, clauses=1)]
    plain = [clause for clause in clauses if (clause.subject, clause.adjective) == ("man", None)]
    assert 0.10 < np.mean([clause.short for clause in plain]) < 0.15
    assert sum(clause.short for clause in clauses) == sum(clause.short for clause in plain)


# ---- reading ----


def test_segmenting_undoes_writing():
    for scene in [*SAMPLE, *sample_scenes(2_000, seed=6, clauses=(3, 6))]:
        assert segment_chinese(scene.chinese) == scene.chinese_tokens


def test_spaces_and_a_final_full_stop_are_left_out():
    assert segment_chinese(" 人 在骑马。\n") == ["人", "在", "骑", "马"]
    assert segment_chinese("") == []


def test_parsing_undoes_english_up_to_the_short_form():
    for scene in SAMPLE[::3]:
        plain = Scene(tuple(clause._replace(short=False) for clause in scene.clauses))
        assert parse_english(scene.english) == plain


def test_a_sentence_never_drawn_can_be_read():
    assert parse_english(" a CAT is riding a horse. ").chinese == "一只猫在骑马"


# ---- bad input ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "n must be .* got -1"),
        ({"n": 2.5}, "n must be .* got 2.5"),
        ({"n": True}, "n must be .* got True"),
        ({"seed": -3}, "seed must be .* got -3"),
        ({"seed": None}, "seed must be .* got None"),
        ({"clauses": 0}, "clauses must be 1 to 6.* got 0"),
        ({"clauses": 7}, "clauses must be .* got 7"),
        ({"clauses": (3, 2)}, r"clauses must be .* got \(3, 2\)"),
        ({"clauses": (1, 2, 3)}, r"clauses must be .* got \(1, 2, 3\)"),
        ({"clauses": (1, 7)}, r"clauses must be .* got \(1, 7\)"),
        ({"clauses": "2"}, "clauses must be .* got '2'"),
        ({"split": "valid"}, "split must be one of train, test, composition, got 'valid'"),
        ({"split": ["train"]}, "split must be .* got \\['train'\\]"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_scenes(**{"n": 1, "seed": 0} | arguments)


def test_numpy_integers_are_whole_numbers_too():
    assert sample_scenes(np.int64(2), seed=np.uint8(1), clauses=np.int32(2)) == sample_scenes(2, seed=1, clauses=2)


@pytest.mark.parametrize(
    ("clause", "message"),
    [
        (Clause("hors", "sleeping"), "subject must be .* got 'hors'; near: horse"),
        (Clause("man", "ridding", "horse"), "verb must be .* got 'ridding'; near: riding"),
        (Clause("man", "riding"), "object is missing: 'riding'"),
        (Clause("man", "sleeping", "horse"), "'sleeping' takes no object, got 'horse'"),
        (Clause("man", "sleeping", colour="red"), "object is missing: colour 'red'"),
        (Clause("man", "riding", "horse", colour="old"), "colour must be .* got 'old'"),
        (Clause("man", "sleeping", place="park"), "place must be .* got 'park'; near: in the park"),
        (Clause("man", "sleeping", time="noon"), "time must be .* got 'noon'; near: at noon"),
        (Clause("boy", "sleeping", short=True), "short is for a plain man"),
        (Clause("man", "sleeping", adjective="old", short=True), "short is for a plain man"),
    ],
)
def test_a_clause_that_says_nothing_is_refused(clause, message):
    with pytest.raises(ValueError, match=message):
        Scene((clause,))


@pytest.mark.parametrize("count", [0, 7])
def test_a_scene_has_one_to_six_clauses(count):
    with pytest.raises(ValueError, match="clauses must be 1 to 6"):
        Scene(LECTURE.clauses * count)


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("A man is riding a hrose", "unknown word 6, 'hrose'; near: horse"),
        ("A man is riding a xylophone", "'xylophone'; near: all are in english_words"),
        ("a horse a man is", "sentence must read like"),
        ("A man is riding a horse and", "sentence must read like"),
        ("", "sentence must read like"),
        (3, "sentence must be a string, got 3"),
    ],
)
def test_english_that_cannot_be_read_is_explained(sentence, message):
    with pytest.raises(ValueError, match=message):
        parse_english(sentence)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("人在骑龙", "'龙' at character 4, .* all are in chinese_words"),
        ("人在骑 托", "'托' at character 5, .* near: 摩托车"),
        ("a man", "'a' at character 1"),
        (None, "text must be a string, got None"),
    ],
)
def test_chinese_that_cannot_be_cut_is_explained(text, message):
    with pytest.raises(ValueError, match=message):
        segment_chinese(text)


def test_a_new_noun_needs_no_more_than_its_row(monkeypatch):
    monkeypatch.setitem(NOUNS, "goat", scenes.Noun("goat", "山羊", "一只", "white"))
    assert Scene((Clause("man", "feeding", "goat", colour="white"),)).chinese_tokens[-3:] == [
        "一只",
        "白色的",
        "山羊",
    ]
