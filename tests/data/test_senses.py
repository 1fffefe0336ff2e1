"""The sentences of ambiguous words: enough of them, each with its word once."""

import re
from collections import Counter

import pytest

from lectures_lib.data.senses import LECTURE_BARKS, ambiguous_words, usages


def test_there_are_at_least_twelve_words_with_two_senses_equally_often():
    assert len(ambiguous_words()) >= 12
    assert ambiguous_words()[0] == "bark"
    for word in ambiguous_words():
        counts = Counter(usage.sense for usage in usages(word))
        assert len(counts) == 2
        assert set(counts.values()) == {5}


def test_every_sentence_has_its_word_once_in_this_form_and_comes_once():
    everything = usages()
    for usage in everything:
        assert len(re.findall(rf"(?<!\w){usage.word}(?!\w)", usage.sentence, re.IGNORECASE)) == 1, usage
        assert usage.sentence.endswith(".")
    assert len({usage.sentence for usage in everything}) == len(everything)


def test_the_lectures_two_come_first_of_their_senses():
    first = {usage.sense: usage.sentence for usage in reversed(usages("bark"))}
    assert tuple(first[sense] for sense in ("of a dog", "of a tree")) == LECTURE_BARKS


def test_a_word_without_sentences_is_refused():
    with pytest.raises(ValueError, match="word must be one of bark, bank.*got 'horse'"):
        usages("horse")
