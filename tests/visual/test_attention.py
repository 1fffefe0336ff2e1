"""Attention maps show the weights and the truth; the widget holds every word and every weight, as text."""

import html
import json
import re

import pytest
import torch

from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Vocabulary
from lectures_lib.inference import translate
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.visual import attention_diagram, attention_map, attention_maps, attention_widget
from lectures_lib.visual.attention import attention_html, look_while_translating
from lectures_lib.visual.style import as_img

ROWS, COLUMNS = ["a", "horse", "<eos>"], ["马", "<b>"]
WEIGHTS = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]])
VOCABULARY = Vocabulary.words(["a man is riding a horse <b>"])


@pytest.fixture(params=["additive", "multiplicative"])
def model(request):
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(len(VOCABULARY), len(VOCABULARY), 8, 16, attention=request.param)).eval()
    with torch.no_grad():
        model.decoder.to_logits.bias[[PAD_ID, BOS_ID, UNK_ID]] = -1e9  # a trained model never says these
    return model


def test_a_map_shows_the_weights_and_the_words():
    axes = attention_map(WEIGHTS, ROWS, COLUMNS).axes[0]
    assert axes.images[0].get_array().tolist() == WEIGHTS.tolist()
    assert axes.images[0].get_clim() == (0, 1)
    assert [t.get_text() for t in axes.get_yticklabels()] == ROWS
    assert [t.get_text() for t in axes.get_xticklabels()] == COLUMNS


def test_the_diagram_shows_words_weights_and_a_thicker_arrow_for_a_larger_weight():
    axes = attention_diagram(["人", "骑", "马"], [0.1, 0.0, 0.9], ["a", "horse"]).axes[0]
    words = [text.get_text() for text in axes.texts]
    assert {"人", "骑", "马", "a", "horse", "10%", "0%", "90%", "context"} <= set(words)
    arrows = [t.arrow_patch.get_linewidth() for t in axes.texts if getattr(t, "xy", None) == (1.0, 1.75)]
    assert arrows[1] < arrows[0] < arrows[2]


def test_gold_links_are_framed_where_they_are():
    figure = attention_map(WEIGHTS, ROWS, COLUMNS, links=[(2, 0), (0, 1)])
    centres = {(round(p.get_y() + p.get_height() / 2), round(p.get_x() + 0.42)) for p in figure.axes[0].patches}
    assert centres == {(2, 0), (0, 1)}
    assert as_img(figure, "two frames").startswith("<img")


def test_maps_stand_side_by_side_with_their_titles_and_the_same_frames():
    figure = attention_maps({"head 1": WEIGHTS, "head 2": WEIGHTS.flip(1)}, ROWS, COLUMNS, links=[(0, 0)])
    assert [axes.get_title() for axes in figure.axes] == ["head 1", "head 2"]
    assert [len(axes.patches) for axes in figure.axes] == [1, 1]
    assert figure.axes[1].images[0].get_array().tolist() == WEIGHTS.flip(1).tolist()
    as_img(figure, "two maps")


def test_the_widget_holds_every_word_as_text_and_every_weight():
    text = attention_html({"one & only": (WEIGHTS, ROWS, COLUMNS)})
    assert "<b>" not in text
    assert text.count("&lt;b&gt;") >= 2
    assert text.count("<button") == len(ROWS)
    assert "<option>one &amp; only</option>" in text
    (data,) = re.findall(r'data-story="([^"]*)"', text)
    assert json.loads(html.unescape(data)) == WEIGHTS.tolist()


def test_without_scripts_the_widget_says_where_the_first_word_looked():
    text = attention_html({"one": (WEIGHTS, ROWS, COLUMNS)})
    assert "a looked most at &lt;b&gt;, with 75 %" in text.split("<script>")[0]


def test_two_widgets_do_not_share_an_id_and_label_their_choice():
    first, second = (attention_html({"one": (WEIGHTS, ROWS, COLUMNS)}) for _ in range(2))
    identity = re.search(r'id="(attention-\w+)"', first)[1]
    assert identity not in second
    assert f'getElementById("{identity}")' in first
    assert f'<label for="{identity}-c">' in first


def test_the_widget_is_displayed_as_html(capsys):
    attention_widget({"one": (WEIGHTS, ROWS, COLUMNS)})
    assert "HTML" in capsys.readouterr().out


def test_looking_while_translating_says_what_greedy_says(model):
    weights, said, read = look_while_translating(model, "a man", VOCABULARY, VOCABULARY, max_new_tokens=6)
    (words,) = translate(model, ["a man"], VOCABULARY, VOCABULARY, max_new_tokens=6)
    assert [word for word in said if word != VOCABULARY.tokens[EOS_ID]] == words.split()
    assert read == ["a", "man", "<eos>"]
    assert weights.shape == (len(said), 3)
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(said)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attention_map(WEIGHTS.T, ROWS, COLUMNS), r"weights must have shape \(3, 2\).*got \(2, 3\)"),
        (lambda: attention_map(WEIGHTS * 3, ROWS, COLUMNS), "between 0 and 1, got 0 to 3"),
        (lambda: attention_map(WEIGHTS[:0], [], COLUMNS), "at least one word"),
        (lambda: attention_map(WEIGHTS, ROWS, COLUMNS, links=[(3, 0)]), r"within 3 rows and 2 columns, got \(3, 0\)"),
        (lambda: attention_maps({}, ROWS, COLUMNS), "at least one map"),
        (lambda: attention_diagram([], [], ["a"]), "at least one word"),
        (lambda: attention_diagram(["a"], [0.5, 0.5], ["a"]), "one number a word, 1, got 2"),
        (lambda: attention_html({}), "at least one sentence"),
        (lambda: attention_html({"a": (WEIGHTS, COLUMNS, ROWS)}), "weights must have shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
