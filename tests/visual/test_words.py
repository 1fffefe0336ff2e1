"""Pictures of words and positions show what they were given, and their widgets work without a kernel."""

import json
import re

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.evaluation.words import WordVectors
from lectures_lib.layers import sinusoidal_positions
from lectures_lib.visual import position_heat_map, position_widget, window_diagram, word_map
from lectures_lib.visual.style import as_img
from lectures_lib.visual.words import position_widget_html, principal_plane, word_map_html

WORDS = ("cat", "dog", "red", "blue", "</script>")
KINDS = {"cat": "animal", "dog": "animal", "red": "colour", "blue": "colour", "</script>": "colour"}


@pytest.fixture
def vectors():
    return WordVectors(WORDS, torch.randn(5, 4, generator=torch.Generator().manual_seed(0)))


def test_the_window_reaches_as_far_as_it_says():
    figure = window_diagram(["a", "man", "is", "riding", "a", "horse"], 3, 2, ["purple", "dusk"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("") == 4  # the arrows: two to either side
    assert {"riding", "purple", "dusk"} <= set(texts)
    as_img(figure, "a window")
    with pytest.raises(ValueError, match="centre must lie between 0 and 1, got 2"):
        window_diagram(["a", "man"], 2, 1)


def test_the_heat_map_shows_the_table():
    table = sinusoidal_positions(6, 4)
    figure = position_heat_map(table)
    assert_close(torch.tensor(figure.axes[0].images[0].get_array().data), table)
    as_img(figure, "stripes")


def test_the_plane_keeps_all_distances_of_points_that_lie_in_one():
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(20, 2, generator=generator)
    turned, _ = torch.linalg.qr(torch.randn(7, 7, generator=generator))
    in_space = flat @ turned[:2] + torch.randn(7, generator=generator)
    assert_close(torch.pdist(principal_plane(in_space)), torch.pdist(flat), atol=1e-4, rtol=1e-4)
    assert_close(principal_plane(in_space).mean(dim=0), torch.zeros(2), atol=1e-5, rtol=0)


def test_the_plane_is_the_same_however_the_vectors_are_mirrored():
    cloud = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    assert_close(principal_plane(-cloud).abs(), principal_plane(cloud).abs(), atol=1e-5, rtol=0)
    assert bool((principal_plane(cloud).gather(0, principal_plane(cloud).abs().argmax(0, keepdim=True)) > 0).all())
    with pytest.raises(ValueError, match="at least 3 words"):
        principal_plane(cloud[:2])


def test_the_map_names_every_dot_and_labels_its_control(vectors):
    text = word_map_html(vectors, KINDS, labelled=["cat"])
    assert re.findall(r"<title>([^<]+)</title>", text) == [
        "cat (animal)",
        "dog (animal)",
        "red (colour)",
        "blue (colour)",
        "&lt;/script&gt; (colour)",
    ]
    assert text.count("<circle") == 5
    assert len(re.findall(r"<text [^>]+>cat</text>", text)) == text.count("<text ") == 1
    (identity,) = re.findall(r"<select id=\"([^\"]+)\"", text)
    assert f'<label for="{identity}">' in text
    assert text.count("</script>") == 1  # a word cannot end the script


def test_the_map_knows_the_neighbours(vectors):
    text = word_map_html(vectors, KINDS)
    nearest = json.loads(re.search(r"nearest = (\{.*\});", text)[1])
    for word in WORDS:
        assert nearest[word] == [near for near, _ in vectors.nearest(word, 4)]


def test_the_map_refuses_what_it_cannot_draw(vectors):
    with pytest.raises(ValueError, match="at most 6 different values, got 7"):
        word_map_html(vectors, {str(i): str(i) for i in range(7)})
    with pytest.raises(ValueError, match="labelled must hold words of kinds, got 'zebra'"):
        word_map_html(vectors, KINDS, labelled=["zebra"])
    with pytest.raises(ValueError, match="got 'zebra'"):
        word_map_html(vectors, {**KINDS, "zebra": "animal"})


def test_the_position_widget_draws_the_table_and_labels_its_sliders():
    table = sinusoidal_positions(16, 6)
    text = position_widget_html(table)
    held = torch.tensor(json.loads(re.search(r"table = (\[.*?\]);", text)[1]))
    assert_close(held.flatten(1), table, atol=1e-4, rtol=0)
    for identity in re.findall(r"<input id=\"([^\"]+)\"", text):
        assert f'<label for="{identity}">' in text
    most = dict(re.findall(r'data-is="(\w+)" type="range" min="0" max="(\d+)"', text))
    assert int(most["position"]) + int(most["step"]) < 16
    assert int(most["pair"]) == 2
    assert text.count("<polyline") == 6
    sine, cosine = table[4, 2:4].tolist()
    assert f"Position 4: ({sine:.2f}, {cosine:.2f})" in text  # the state it starts in needs no script


@pytest.mark.parametrize("shape", [(3, 4), (8, 3)])
def test_a_table_without_pairs_or_positions_is_refused(shape):
    with pytest.raises(ValueError, match="table must have at least 4 rows and an even number of columns"):
        position_widget_html(torch.zeros(shape))


def test_both_are_displayed(vectors, capsys):
    word_map(vectors, KINDS)
    position_widget(sinusoidal_positions(16, 6))
    assert capsys.readouterr().out.count("HTML") == 2
