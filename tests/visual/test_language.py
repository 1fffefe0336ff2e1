"""Pictures of a language model show what they were given; the sampler's frames follow the filters."""

import html
import re

import pytest
import torch

from lectures_lib.data.corpus import Characters
from lectures_lib.models.gpt import GPT, GPTConfig
from lectures_lib.visual import bits_by_order, gpt_diagram, next_token_map, probability_bars, sampler, sampling_widget
from lectures_lib.visual.language import sampler_answer, sampling_frames
from lectures_lib.visual.style import as_img

CODE = Characters("abc <\n")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GPT(GPTConfig(len(CODE), context=20, d_model=8, n_heads=2, n_layers=1, d_feed_forward=8)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


def test_the_diagram_names_the_modules_of_the_model(model):
    texts = {text.get_text().split("\n")[0] for text in gpt_diagram("3").axes[0].texts}
    names = {name for name, _ in model.named_children()} - {"dropout", "layers"}
    names |= {name for name, _ in model.layers[0].named_children()}
    assert names <= texts
    assert "3 ×" in texts
    as_img(gpt_diagram(), "a stack of boxes")


def test_the_map_shows_the_table_and_makes_spaces_visible():
    table = torch.rand(6, 6)
    figure = next_token_map(table, CODE.characters)
    assert torch.equal(torch.tensor(figure.axes[0].images[0].get_array().data), table)
    assert {"␣", "⏎", "a"} <= {label.get_text() for label in figure.axes[0].get_xticklabels()}
    as_img(figure, "a map")
    with pytest.raises(ValueError, match=r"table must have shape \(6, 6\), got \(2, 6\)"):
        next_token_map(table[:2], CODE.characters)


def test_the_bars_stand_in_the_order_of_the_first_row():
    first = torch.tensor([0.1, 0.5, 0.05, 0.3, 0.05, 0.0])
    figure = probability_bars({"T = 1": first, "T = 2": first.sqrt()}, CODE.characters, shown=3)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == pytest.approx([0.5, 0.3, 0.1])
    assert [bar.get_height() for bar in figure.axes[1].patches] == pytest.approx([h**0.5 for h in heights])
    as_img(figure, "bars")
    with pytest.raises(ValueError, match="at least one distribution"):
        probability_bars({}, CODE.characters)
    with pytest.raises(ValueError, match=r"rows\['x'\] must have shape \(6,\), got \(2,\)"):
        probability_bars({"x": first[:2]}, CODE.characters)


def test_the_line_of_the_ngrams_and_the_level_of_the_model_are_drawn():
    figure = bits_by_order({"characters": {1: 3.0, 2: 2.0, 3: 1.5}, "pieces": {1: 2.0}}, {"GPT": 1.2})
    line, other, level = figure.axes[0].lines
    assert line.get_ydata().tolist() == [3.0, 2.0, 1.5]
    assert other.get_ydata().tolist() == [2.0]
    assert set(level.get_ydata()) == {1.2}
    as_img(figure, "a falling line")


def test_every_frame_shows_the_text_so_far_and_the_next_frame_has_what_was_drawn(model):
    frames = sampling_frames(model, CODE, "ab", steps=6, seed=1)
    texts = [html.unescape(re.search(r"anywhere\">(.*?)<b", frame, re.DOTALL).group(1)) for frame in frames]
    drawn = [html.unescape(re.search(r"<b [^>]*>(.*?)</b>", frame, re.DOTALL).group(1)) for frame in frames]
    plain = [{"␣": " ", "⏎": "\n"}.get(character, character) for character in drawn]
    assert texts[0] == "ab"
    for before, token, after in zip(texts, plain, texts[1:], strict=False):
        assert after == before + token
    assert all("drawn" in frame.lower() for frame in frames)
    assert frames == sampling_frames(model, CODE, "ab", steps=6, seed=1)


def test_what_a_filter_cuts_is_called_cut(model):
    assert not any("cut" in frame for frame in sampling_frames(model, CODE, "ab", steps=3))
    for frame in sampling_frames(model, CODE, "ab", steps=3, top_k=2):
        assert frame.count("→ cut") == len(CODE) - 2
    for frame in sampling_frames(model, CODE, "ab", steps=3, top_k=1):
        assert "→ 100% ← drawn" in frame


def test_a_prompt_without_room_is_refused(model):
    with pytest.raises(ValueError, match="prompt must have 1 to 14 tokens, to leave room for 6, got 0"):
        sampling_frames(model, CODE, "", steps=6)
    with pytest.raises(ValueError, match="got 15"):
        sampling_frames(model, CODE, "a" * 15, steps=6)


def test_the_widget_has_a_story_a_setting(model, capsys):
    sampling_widget(model, CODE, "ab", {"greedy": {"top_k": 1}, "hot": {"temperature": 3.0}}, steps=2)


def test_the_box_answers_or_says_what_is_wrong(model):
    answer = sampler_answer(model, CODE, "ab<", max_new_tokens=5, top_k=1, temperature=1.0, top_p=1.0)
    assert answer.startswith("<pre")
    assert "ab&lt;<b" in answer
    assert "not in the alphabet" in sampler_answer(model, CODE, "z", max_new_tokens=5)
    assert "at least one character" in sampler_answer(model, CODE, "", max_new_tokens=5)


def test_in_the_static_book_the_box_is_a_sentence(model, monkeypatch, capsys):
    monkeypatch.setenv("LECTURES_STATIC", "1")
    sampler(model, CODE, example="ab")
    monkeypatch.delenv("LECTURES_STATIC")
    sampler(model, CODE, example="ab", max_new_tokens=3)
