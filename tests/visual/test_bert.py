"""BERT's pictures show what they say, and refuse what cannot be drawn."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.masking import Masked
from lectures_lib.data.wordpiece import WordPiece
from lectures_lib.inference.fill_mask import fill_mask
from lectures_lib.losses.pretraining import NO_TARGET
from lectures_lib.models.bert import BertConfig, BertForPreTraining
from lectures_lib.visual.bert import (
    context_frames,
    gap_answer,
    gap_frames,
    masked_rows,
    sense_map,
    two_main_axes,
    two_views,
)
from lectures_lib.visual.style import as_img


@pytest.fixture
def reader():
    vocabulary = WordPiece.of_words("a man is riding horse the".split())
    torch.manual_seed(0)
    return BertForPreTraining(BertConfig(len(vocabulary), 8, 2, 16, 1, max_length=12)), vocabulary


def test_the_left_view_has_arrows_from_the_left_only():
    figure = two_views("a man is riding a horse".split(), 3)
    left, both = figure.axes
    assert (len(left.patches), len(both.patches)) == (3, 5)
    assert "<img" in as_img(figure, "A gap.")
    with pytest.raises(ValueError, match="gap must be the index.*got 6"):
        two_views("a man is riding a horse".split(), 6)


def test_masked_rows_show_what_is_hidden_exchanged_and_left(reader):
    _, vocabulary = reader
    horse, man, the = (vocabulary.id(word) for word in ("horse", "man", "the"))
    shown = torch.tensor([[vocabulary.cls_id, vocabulary.mask_id, the, horse, vocabulary.pad_id]])
    targets = torch.tensor([[NO_TARGET, man, man, horse, NO_TARGET]])
    page = masked_rows(Masked(shown, targets), vocabulary)
    assert page.count("<small>man</small>") == 2
    assert page.count("<small>horse</small>") == 1
    assert "[MASK]" in page
    assert "[PAD]" not in page


def test_there_is_a_frame_for_every_gap_with_the_models_own_guesses(reader):
    model, vocabulary = reader
    frames = gap_frames(model, vocabulary, "A man is riding", other=model)
    assert len(frames) == 4
    (guesses,) = fill_mask(model, vocabulary, "a [MASK] is riding")
    assert all(f">{guess.word}</th>" in frames[1] for guess in guesses)
    assert frames[1].count("<table>") == 2
    assert "<b>[MASK]</b>" in frames[1]
    with pytest.raises(ValueError, match="at least one word"):
        gap_frames(model, vocabulary, " ")


def test_the_text_field_answers_every_gap_or_says_what_is_wrong(reader):
    model, vocabulary = reader
    assert gap_answer(model, vocabulary, "a [MASK] is [MASK]").count("gap ") == 2
    assert "does not know: &#x27;zebra&lt;&#x27;" in gap_answer(model, vocabulary, "a [MASK] zebra<") or (
        "does not know" in gap_answer(model, vocabulary, "a [MASK] zebra<")
    )
    assert "must have a gap" in gap_answer(model, vocabulary, "a man")


def test_two_main_axes_keep_the_distances_of_points_in_a_plane():
    generator = torch.Generator().manual_seed(0)
    plane = torch.randn(7, 2, generator=generator) @ torch.randn(2, 6, generator=generator)
    flat = two_main_axes(plane)
    assert flat.shape == (7, 2)
    assert_close(torch.cdist(flat, flat), torch.cdist(plane, plane), atol=1e-5, rtol=1e-4)
    assert two_main_axes(torch.ones(1, 6)).tolist() == [[0.0, 0.0]]


def test_a_sense_map_has_a_panel_for_each_kind_of_vectors():
    vectors = {"in context": torch.randn(4, 6), "by itself": torch.ones(4, 6)}
    figure = sense_map(vectors, ["a", "a", "b", "b"], names=["1", "2", "3", "4"])
    assert [axes.get_title() for axes in figure.axes] == list(vectors)
    assert len(figure.axes[0].collections) == 2
    with pytest.raises(ValueError, match="vectors must hold at least one panel"):
        sense_map({}, [], names=[])
    with pytest.raises(ValueError, match="must have 3 rows"):
        sense_map(vectors, ["a", "b", "b"], names=["1", "2", "3"])


def test_frames_of_a_word_list_the_other_sentences_by_nearness():
    sentences = ["the bark of a dog", "a bark from a puppy", "the bark of a tree"]
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0]])
    frames = context_frames(sentences, ["dog", "dog", "tree"], "bark", vectors)
    assert len(frames) == 3
    assert frames[0].index("puppy") < frames[0].index("tree")
    assert "<b>bark</b>" in frames[0]
    with pytest.raises(ValueError, match="sentences must be two or more"):
        context_frames(sentences, ["dog"], "bark", vectors)
