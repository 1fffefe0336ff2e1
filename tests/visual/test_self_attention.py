"""The pictures of self-attention show the numbers they were given; the widget's frames are the formula's steps."""

import re

import pytest
import torch

from lectures_lib.attention import attention_weights, look_ahead_mask
from lectures_lib.visual.self_attention import (
    box_answer,
    formula_box,
    formula_frames,
    formula_widget,
    look_ahead_tables,
    looks,
    saturation_curves,
    silence_map,
)
from lectures_lib.visual.style import as_img

TOKENS = ["I", "Am", "<Math>"]
SCORES = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 9.0], [0.0, 0.0, 0.0]])


def three(width=2):
    torch.manual_seed(0)
    return torch.randn(3, width), torch.randn(3, width), torch.randn(3, 4)


def written(axes):
    return [text.get_text() for text in axes.texts]


def test_every_look_has_an_arrow_for_each_weight_that_can_be_seen():
    figure = looks(TOKENS, {0: [0.9, 0.1, 0.0], 2: [0.2, 0.3, 0.5]})
    assert [len(axes.patches) for axes in figure.axes] == [2, 3]
    assert "90%" in written(figure.axes[0])
    as_img(figure, "arrows")


def test_the_lectures_slide_goes_from_scores_over_minus_infinity_to_weights():
    scores, masked, weights = look_ahead_tables(TOKENS, SCORES, look_ahead_mask(3)).axes
    assert written(scores)[2] == "3.00"
    assert [i for i, text in enumerate(written(masked)) if text == "−∞"] == [1, 2, 5]
    assert written(weights) == ["1.00", "0.00", "0.00", "0.50", "0.50", "0.00", "0.33", "0.33", "0.33"]
    as_img(scores.figure, "three tables")


def test_curves_and_map_show_their_numbers():
    figure = saturation_curves({"with": {4: 0.3, 1024: 0.3}, "without": {4: 0.3, 1024: 0.1}})
    assert [list(line.get_ydata()) for line in figure.axes[0].get_lines()] == [[0.3, 0.3], [0.3, 0.1]]
    as_img(figure, "two lines")
    figure = silence_map({"head 1": {"noun": 1.0, "verb": -0.25}})
    assert written(figure.axes[0]) == ["+1.00", "-0.25"]
    as_img(figure, "a map")


def test_the_frames_follow_the_formula_and_end_with_a_sum_for_every_word():
    query, key, value = three()
    frames = formula_frames(TOKENS, query, key, value, look_ahead_mask(3))
    assert len(frames) == 5 + 3
    scores = query @ key.T
    assert f"{scores[0, 1]:.1f}" in frames[1]
    assert f"{scores[0, 1] / 2**0.5:.1f}" in frames[2]
    assert frames[3].count("−∞</td>") == 3
    weights = attention_weights(query, key, look_ahead_mask(3))
    shown = [float(number) for number in re.findall(r">([\d.]+)</td>", frames[4])]
    assert shown == [round(number, 2) for number in weights.flatten().tolist()]
    assert f"{weights[2, 0]:.2f}" in frames[-1]
    assert len(formula_frames(TOKENS, query, key, value)) == 4 + 3


def test_words_that_look_like_html_are_shown_as_text():
    frames = formula_frames(TOKENS, *three())
    assert not any("<Math>" in frame for frame in frames)
    assert all("&lt;Math&gt;" in frame for frame in frames)


def test_the_widget_and_the_text_field_show_frames_or_say_what_was_wrong(capsys):
    def frames_of(sentence):
        if "zebra" in sentence:
            raise ValueError("no <zebra> here")
        return formula_frames(TOKENS, *three())

    formula_widget({"I am": frames_of("")})
    assert "HTML" in capsys.readouterr().out
    assert "stepper-" in box_answer(frames_of, "I am")
    assert box_answer(frames_of, "a zebra") == "<p>no &lt;zebra&gt; here</p>"


def test_the_text_field_is_a_widget_in_a_notebook_and_a_sentence_in_the_static_book(monkeypatch, capsys):
    monkeypatch.delenv("LECTURES_STATIC", raising=False)
    formula_box(lambda sentence: formula_frames(TOKENS, *three()), example="I am")
    assert "Text(value='I am'" in capsys.readouterr().out
    monkeypatch.setenv("LECTURES_STATIC", "1")
    formula_box(lambda sentence: ["never asked"], example="I am")
    assert "Text(" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: looks([], {}), "at least one entry"),
        (lambda: looks(TOKENS, {3: [1.0, 0.0, 0.0]}), r"rows\[3\]"),
        (lambda: looks(TOKENS, {0: [1.0]}), r"rows\[0\]"),
        (lambda: look_ahead_tables(TOKENS, torch.zeros(2, 2), look_ahead_mask(2)), r"scores .*3 tokens, \(2, 2\)"),
        (lambda: look_ahead_tables(TOKENS, SCORES, look_ahead_mask(2)), r"mask .*3 tokens, \(2, 2\)"),
        (lambda: saturation_curves({}), "at least one line"),
        (lambda: silence_map({}), "at least one head"),
        (lambda: formula_frames(TOKENS[:2], *three()), r"query .*2 tokens, got \(3, 2\)"),
        (lambda: formula_frames([], *(torch.zeros(0, 2),) * 3), "query must have one row for each of 0 tokens"),
        (lambda: formula_frames(TOKENS, three()[0], three(5)[1], three()[2]), "equally wide, got 2 and 5"),
        (lambda: formula_frames(TOKENS, *three(), look_ahead_mask(2)), r"broadcast to \(3, 3\), got \(2, 2\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
