"""Figures have their alt text and show what they were given; widgets hold every frame and name their controls."""

import html
import re

import pytest
import torch

from lectures_lib.data.vocabulary import EOS_ID, PAD_ID, UNK_ID, Vocabulary
from lectures_lib.inference import translate
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.models.transformer import Transformer, TransformerConfig
from lectures_lib.training import History
from lectures_lib.visual import bars_by_group, curves, encoder_decoder, heat_strips, lines, transformer_diagram
from lectures_lib.visual.stepper import stepper
from lectures_lib.visual.style import as_img
from lectures_lib.visual.translation import box_answer, decoding_frames, translation_box

VOCABULARY = Vocabulary.words(["a man is riding a horse <b>"])


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(len(VOCABULARY), len(VOCABULARY), 8, 16)).eval()
    with torch.no_grad():
        model.decoder.to_logits.bias[[PAD_ID, UNK_ID]] = -1e9  # a trained model never says these
    return model


def test_curves_draw_one_line_a_run():
    figure = curves({"one": History(step=[1, 2], loss=[3.0, 2.0]), "two": History(step=[1, 2], loss=[1.0, 0.5])})
    drawn = figure.axes[0].get_lines()
    assert [list(line.get_ydata()) for line in drawn] == [[3.0, 2.0], [1.0, 0.5]]
    assert as_img(figure, "two falling lines").startswith("<img")


def test_bars_have_the_heights_of_the_scores():
    figure = bars_by_group({"bleu": {1: 90.0, 2: 40.0}}, xlabel="clauses", ylabel="BLEU", seen=[1])
    heights = [bar.get_height() for bar in figure.axes[0].containers[0]]
    assert heights == [90.0, 40.0]
    as_img(figure, "falling bars")


def test_lines_and_strips_show_their_numbers():
    figure = lines({"GRU": ([1, 2], [3.0, 4.0])}, xlabel="length", ylabel="ms")
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == [3.0, 4.0]
    as_img(figure, "a rising line")
    figure = heat_strips({"short": [0.0, 1.0], "long": [-1.0, 0.5]})
    assert figure.axes[0].images[0].get_array().tolist() == [[0.0, 1.0], [-1.0, 0.5]]
    as_img(figure, "two strips")


def test_the_diagram_names_every_token_and_the_modules():
    figure = encoder_decoder(["人", "在", "骑", "马"], ["a", "man"])
    words = {text.get_text() for text in figure.axes[0].texts}
    assert {"人", "马", "a", "man", "<bos>", "<eos>", "context", "Encoder\nrnn", "Decoder\nrnn"} <= words
    as_img(figure, "the diagram")


def test_the_transformers_diagram_uses_the_modules_own_names():
    drawn = {text.get_text().split("\n")[0] for text in transformer_diagram().axes[0].texts}
    model = Transformer(TransformerConfig.tiny(8, 8))
    names = {name.split(".")[-1] for name, _ in model.named_modules()}
    parts = {"self_attention", "cross_attention", "feed_forward", "add_attention", "add_cross_attention", "positions"}
    assert parts <= drawn & names


def test_a_figure_without_alt_text_is_refused():
    with pytest.raises(ValueError, match="alt must say"):
        as_img(lines({"x": ([1], [1])}, xlabel="", ylabel=""), "  ")


def test_the_alt_text_cannot_break_out_of_its_attribute():
    figure = lines({"x": ([1], [1])}, xlabel="", ylabel="")
    assert 'alt="a &quot;b&quot; &lt;c&gt;"' in as_img(figure, 'a "b" <c>')


@pytest.mark.parametrize(
    "call",
    [
        lambda: curves({}),
        lambda: bars_by_group({}, xlabel="", ylabel=""),
        lambda: lines({}, xlabel="", ylabel=""),
        lambda: heat_strips({}),
        lambda: encoder_decoder([], ["a"]),
        lambda: stepper({}, choice="c", step="s"),
        lambda: stepper({"a": []}, choice="c", step="s"),
    ],
)
def test_nothing_to_show_is_refused(call):
    with pytest.raises(ValueError, match="at least one"):
        call()


def test_a_stepper_holds_every_frame_and_labels_its_controls():
    text = stepper({"A": ["<p>one</p>", "<p>two</p>"], "<B>": ["<p>three</p>"]}, choice="Sentence", step="Step")
    assert [text.count(f"<p>{w}</p>") for w in ("one", "two", "three")] == [1, 1, 1]
    assert "<option>&lt;B&gt;</option>" in text
    for control in ("select", "input"):
        (identity,) = re.findall(rf"<{control} id=\"([^\"]+)\"", text)
        assert f'<label for="{identity}">' in text
    assert 'max="1"' in text


def test_two_steppers_do_not_share_an_id():
    first, second = (stepper({"A": ["x"]}, choice="c", step="s") for _ in range(2))
    assert re.search(r'id="(stepper-\w+)"', first)[1] not in second


def test_the_frames_end_with_what_greedy_says(model):
    frames = decoding_frames(model, "a man", VOCABULARY, VOCABULARY, max_new_tokens=6)
    (said,) = translate(model, ["a man"], VOCABULARY, VOCABULARY, max_new_tokens=6)
    ended = len(said.split()) < 6
    assert len(frames) == 1 + len(said.split()) + ended
    assert html.escape(" ".join(["<bos>", *said.split()[: len(frames) - 2]])) in frames[-1]


def test_words_that_look_like_html_are_shown_as_text(model):
    with torch.no_grad():
        model.decoder.to_logits.bias[EOS_ID] = -1e9
    frames = decoding_frames(model, "a < b >", VOCABULARY, VOCABULARY, max_new_tokens=2)
    assert "a &lt; b &gt;" in frames[0]


def test_the_text_field_answers_or_says_what_was_wrong(model):
    assert "stepper-" in box_answer(model, "a man", VOCABULARY, VOCABULARY, split=str.split)
    assert "&#x27;zebra&#x27;" in box_answer(model, "a zebra", VOCABULARY, VOCABULARY, split=str.split)
    assert "at least one token" in box_answer(model, "", VOCABULARY, VOCABULARY, split=str.split)


def test_in_the_static_book_the_text_field_is_a_sentence(model, monkeypatch, capsys):
    monkeypatch.setenv("LECTURES_STATIC", "1")
    translation_box(model, VOCABULARY, VOCABULARY, split=str.split, example="a man")
    assert "HTML" in capsys.readouterr().out


def test_in_a_notebook_the_text_field_is_a_widget(model, monkeypatch, capsys):
    monkeypatch.delenv("LECTURES_STATIC", raising=False)
    translation_box(model, VOCABULARY, VOCABULARY, split=str.split, example="a man")
    assert "Text(value='a man'" in capsys.readouterr().out
