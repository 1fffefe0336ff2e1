"""The pictures of the chapter `vision_language` show the numbers they were given, and the widget works without them."""

import html
import json
import re

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.visual import vision_language as draw
from lectures_lib.visual.style import as_img
from lectures_lib.visual.vision import DIMMED, as_pixels

IMAGE = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
WORDS = ["a", "man", "sleeps"]
REGIONS = torch.tensor([[0, 0, 4, 4], [8, 4, 16, 8]])
LOOKS = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]])


def test_both_streams_are_named_after_their_modules():
    figure = draw.two_streams(["a", "man"], ["1", "2"])
    said = {text.get_text() for text in figure.axes[0].texts}
    assert {
        "a",
        "man",
        "1",
        "2",
        "co_layers: text_looks",
        "co_layers: image_looks",
        "match",
        "words",
        "regions",
    } <= said
    as_img(figure, "two streams")


def test_every_picture_has_its_caption():
    figure = draw.captioned_grid(torch.stack([IMAGE, -IMAGE, IMAGE]), ["one", "two", "three"])
    assert [axes.get_title() for axes in figure.axes[:3]] == ["one", "two", "three"]
    assert_close(torch.as_tensor(figure.axes[1].images[0].get_array()), as_pixels(-IMAGE))
    as_img(figure, "pictures")


def test_a_noun_lights_its_regions_and_has_its_box():
    figure = draw.look_panels(IMAGE, LOOKS[:2], REGIONS, REGIONS, WORDS[:2])
    first, second = figure.axes[:2]
    light, full = torch.as_tensor(first.images[0].get_array()), as_pixels(IMAGE)
    assert_close(light[:4, :4], full[:4, :4])
    assert_close(light[4:, 8:], full[4:, 8:] * DIMMED)
    frame = second.patches[0]
    assert (frame.get_x(), frame.get_y(), frame.get_width(), frame.get_height()) == (7.5, 3.5, 8, 4)
    assert [float(x) for x in (*second.lines[0].get_xdata(), *second.lines[0].get_ydata())] == [11.5, 5.5]
    assert second.get_title() == "man: 75% to one region"
    as_img(figure, "nouns")


def test_every_region_has_its_frame_its_number_and_its_crop():
    figure = draw.region_boxes(IMAGE, REGIONS)
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2"]
    assert len(figure.axes[0].patches) == 2
    crop = torch.as_tensor(figure.axes[1].images[0].get_array())
    assert_close(crop[0, :2], as_pixels(IMAGE)[0, [0, 0]])  # four pixels become eight
    as_img(figure, "regions")


def test_the_table_marks_the_best_caption_of_each_model_and_the_words_that_differ():
    scores = {"with": torch.tensor([2.0, 0.0]), "without": torch.tensor([0.0, 0.0]).add(torch.tensor([0.0, 1.0]))}
    text = draw.caption_table(IMAGE, ["a man & a dog", "a man & a cat"], scores)
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", text)
    assert "a man &amp; a dog (true)" in rows[0]
    assert "a man &amp; a <b>cat</b>" in rows[1]
    assert re.findall(r"<td>(.*?)</td>", rows[0]) == ["88% ✓", "27%"]
    assert re.findall(r"<td>(.*?)</td>", rows[1]) == ["12%", "73% ✓"]


def test_a_saying_names_the_region_and_whether_it_is_the_words_thing():
    sayings = draw.word_sayings(WORDS, LOOKS, REGIONS, own={0: 1, 1: 1})
    assert sayings[1] == {
        "given": [0.25, 0.75], "own": 1, "best": 1, "said": "“man” looks most at region 2, with 75%; that is its thing."
    }  # fmt: skip
    assert "its thing is region 2" in sayings[0]["said"]
    assert sayings[2]["own"] is None
    assert "thing" not in sayings[2]["said"]


def test_the_widget_has_a_button_a_word_and_shows_the_chosen_one_before_any_script_runs():
    sayings = draw.word_sayings(WORDS, LOOKS, REGIONS, own={1: 1})
    stories = {"<one>": (IMAGE, REGIONS, WORDS, sayings), "two": (-IMAGE, REGIONS, WORDS, sayings)}
    text = draw.word_picture(stories, chosen=1)
    assert text.count("<button") == 6
    assert text.count('aria-pressed="true"') == 2
    assert re.findall(r"<option>(.*?)</option>", text) == ["&lt;one&gt;", "two"]
    story = text[text.index("data-story=") : text.index("</output>")]
    assert [float(value) for value in re.findall(r'fill-opacity="(.*?)"', story)] == [0.175, 0.525]
    assert re.findall(r'stroke-width="(.*?)"', story) == ["0.4", "1"]
    assert sayings[1]["said"] in html.unescape(story)
    assert json.loads(html.unescape(re.search(r'data-story="(.*?)"', story)[1])) == sayings


def test_every_widget_has_its_own_name():
    sayings = draw.word_sayings(WORDS, LOOKS, REGIONS)
    one, other = (draw.word_picture({"a": (IMAGE, REGIONS, WORDS, sayings)}) for _ in range(2))
    assert re.search(r'id="(looks-\w+)"', one)[1] != re.search(r'id="(looks-\w+)"', other)[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw.two_streams([], ["1"]), "words and regions must be at least one each"),
        (lambda: draw.captioned_grid(IMAGE[None], []), "captions must be 1, one a picture"),
        (lambda: draw.look_panels(IMAGE, LOOKS, REGIONS, REGIONS, WORDS), "looks and boxes must be 3"),
        (lambda: draw.region_boxes(IMAGE, REGIONS[:0]), "at least one box"),
        (lambda: draw.caption_table(IMAGE, [], {}), "must not be empty"),
        (lambda: draw.caption_table(IMAGE, ["a"], {"x": torch.zeros(2)}), "must be 1, one a caption, got"),
        (lambda: draw.word_sayings(WORDS, LOOKS[:2], REGIONS), "words by regions, got"),
        (lambda: draw.word_picture({}), "stories must hold at least one"),
        (lambda: draw.word_picture({"a": (IMAGE, REGIONS, WORDS, [])}), "must have a saying a word"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
