"""Text for word vectors: what is counted, what is left out, and the two formulas that thin frequent words out."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.data import text
from lectures_lib.data.scenes import english_words
from lectures_lib.data.text import (
    WordCorpus,
    gensim_file,
    keep_probability,
    lee_news,
    noise_distribution,
    read_judged_pairs,
    scene_categories,
    skip_gram_pairs,
    wikipedia_sample,
    wordsim353,
)


def test_the_news_are_300_reports_of_lower_case_words():
    news = lee_news()
    assert len(news) == 300
    assert news[0][:7] == ["hundreds", "of", "people", "have", "been", "forced", "to"]
    assert all(word.islower() for report in news for word in report)


def test_the_wikipedia_sample_is_half_a_million_words_without_marks():
    paragraphs = wikipedia_sample()
    assert 400_000 < sum(map(len, paragraphs)) < 500_000
    words = {word for paragraph in paragraphs for word in paragraph}
    assert {"anarchism", "alabama", "aristotle"} <= words
    assert not any(mark in word for word in words for mark in "[]{}<>|=.,0123456789")
    assert min(map(len, paragraphs)) > 1


def test_wordsim_has_its_353_pairs():
    pairs = wordsim353()
    assert len(pairs) == 353
    assert pairs[0] == ("love", "sex", 6.77)
    assert all(0 <= pair.score <= 10 and pair.first.islower() for pair in pairs)


def test_a_damaged_line_of_judgements_is_named(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("# words\nTiger\tcat\t7.35\nlove\tsex\n")
    with pytest.raises(ValueError, match=r"pairs\.tsv, line 3: expected word, tab, word, tab, score, got 'love"):
        read_judged_pairs(path)


def test_a_file_gensim_lacks_is_named_with_what_to_do():
    with pytest.raises(FileNotFoundError, match="nothing.cor is missing: install gensim"):
        gensim_file("nothing.cor")


def test_a_corpus_counts_all_and_keeps_the_frequent():
    corpus = WordCorpus.from_texts([["b", "a", "b", "rare"], ["b", "a", "c", "c"]], min_count=2)
    assert corpus.words == ("b", "a", "c")
    assert corpus.counts.tolist() == [3, 2, 2]
    assert corpus.tokens.tolist() == [0, 1, 0, 0, 1, 2, 2]
    assert corpus.text_of.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert corpus.length == 8
    assert corpus.number == {"b": 0, "a": 1, "c": 2}


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["a man is riding"], {}, "must be lists of words, got the string 'a man"),
        ([["a", "b"]], {}, "at least two words that occur 5 times, got 0"),
        ([["a", "b"]], {"min_count": 0}, "min_count must be at least 1, got 0"),
    ],
)
def test_texts_that_cannot_be_counted_are_refused(texts, options, message):
    with pytest.raises(ValueError, match=message):
        WordCorpus.from_texts(texts, **options)


def test_noise_is_the_count_to_the_three_quarters():
    assert_close(noise_distribution(torch.tensor([16, 1])), torch.tensor([8 / 9, 1 / 9]))
    assert_close(noise_distribution(torch.tensor([16, 1]), 0), torch.tensor([0.5, 0.5]))


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=30))
def test_noise_sums_to_one_and_lifts_the_rare(counts):
    counts = torch.tensor(counts)
    noise = noise_distribution(counts)
    assert_close(float(noise.sum()), 1.0, atol=1e-5, rtol=0)
    rarest = int(counts.argmin())
    assert float(noise[rarest]) >= float(counts[rarest] / counts.sum()) - 1e-6


def test_a_word_four_times_over_the_threshold_stays_half_the_time_by_the_paper_and_three_quarters_by_the_code():
    counts = torch.tensor([40, 10, 50])  # shares .4, .1 and .5
    assert_close(keep_probability(counts, 0.1, formula="paper")[:2], torch.tensor([0.5, 1.0]))
    assert_close(keep_probability(counts, 0.1)[:2], torch.tensor([0.75, 1.0]))
    assert keep_probability(counts, 0).tolist() == [1, 1, 1]


def test_the_codes_formula_is_gensims():
    from gensim.models import Word2Vec

    texts = [["the"] * 60 + ["cat"] * 25 + ["sat"] * 10 + ["mat"] * 5]
    peer = Word2Vec(texts, min_count=1, sample=0.05, vector_size=2, epochs=1)
    corpus = WordCorpus.from_texts(texts, min_count=1)
    ours = keep_probability(corpus.counts, 0.05)
    theirs = [peer.wv.get_vecattr(word, "sample_int") / 2**32 for word in corpus.words]
    assert_close(ours, torch.tensor(theirs, dtype=torch.float32).clamp(max=1), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: keep_probability(torch.tensor([1]), -1), "threshold must be 0 or more, got -1"),
        (lambda: keep_probability(torch.tensor([1]), 1, formula="gensim"), "formula must be"),
        (lambda: keep_probability(torch.tensor([0]), 1), "counts must be one count"),
        (lambda: noise_distribution(torch.tensor([], dtype=torch.long)), "counts must be one count"),
        (lambda: skip_gram_pairs(torch.tensor([1, 2]), 0), "window must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_pairs_of_three_words():
    pairs = skip_gram_pairs(torch.tensor([7, 8, 9]), 1)
    assert sorted(map(tuple, pairs.tolist())) == [(7, 8), (8, 7), (8, 9), (9, 8)]
    assert len(skip_gram_pairs(torch.tensor([7]), 3)) == 0


def test_near_words_are_paired_more_often_when_the_window_is_drawn():
    tokens, window = torch.arange(400), 5
    pairs = skip_gram_pairs(tokens, window, generator=torch.Generator().manual_seed(0))
    distance = (pairs[:, 0] - pairs[:, 1]).abs().bincount(minlength=6)[1:]
    expected = [2 * 400 * (window - d + 1) / window for d in range(1, 6)]  # P(reach >= d) = (c - d + 1) / c
    assert_close(distance.double(), torch.tensor(expected).double(), rtol=0.15, atol=0)


def test_the_kinds_cover_the_content_words_of_the_scenes():
    kinds = scene_categories()
    left = set(english_words()) - set(kinds)
    assert left == {"a", "an", "and", "at", "by", "in", "is", "on", "the"}
    assert set(kinds) <= set(english_words())
    assert (kinds["zebra"], kinds["doctor"], kinds["purple"], kinds["riding"]) == (
        "animal",
        "person",
        "colour",
        "action",
    )
    assert kinds["park"] == "place"
    assert kinds["dusk"] == "time"
    assert math.isclose(len(set(kinds.values())), 9)


def test_reading_wikipedia_twice_gives_a_list_of_ones_own():
    first = wikipedia_sample()
    first.clear()
    assert len(wikipedia_sample()) == len(text._wikipedia_paragraphs())
