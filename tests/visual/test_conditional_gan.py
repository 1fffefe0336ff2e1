"""The pictures of the conditional GAN: the modules' names, digits in their columns, shares in their places."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.models.cgan import CganConfig, cgan
from lectures_lib.visual import asked_and_seen, cgan_diagram, hands_grid, obedience
from lectures_lib.visual.style import as_img


def test_the_diagram_names_modules_that_exist():
    said = [{text.get_text() for text in axes.texts} for axes in cgan_diagram().axes]
    for names, condition, which in zip(said, ("channel", "channel", "projection"), (0, 1, 1), strict=True):
        network = cgan(CganConfig.tiny(condition), seed=0)[which]
        modules = names & {"embed", "draw", "judge", "judge.stages", "judge.to_logit"}
        assert len(modules) == (3 if condition == "projection" else 2)
        for name in modules:
            part = network
            for step in name.split("."):
                part = getattr(part, step)
    as_img(cgan_diagram(), "three rows")


def test_a_row_is_a_latent_and_a_column_a_digit():
    written = -torch.ones(3, 10, 1, 28, 28)
    written[1, 7] = 1
    figure = hands_grid(written, title="one dark field")
    (axes,) = figure.axes
    sheet = torch.tensor(axes.images[0].get_array())
    assert sheet.shape == (3 * 28, 10 * 28)
    assert_close(sheet[28:56, 7 * 28 : 8 * 28], torch.ones(28, 28))
    assert float(sheet.sum()) == 28 * 28
    assert [label.get_text() for label in axes.get_xticklabels()] == [str(n) for n in range(10)]
    as_img(figure, "a grid")
    with pytest.raises(ValueError, match="written must have 1 to 12 hands, got 13"):
        hands_grid(torch.zeros(13, 10, 1, 4, 4))


def test_tables_of_shares_stand_side_by_side():
    tables = {"told": torch.eye(10), "not told": torch.full((10, 10), 0.1)}
    figure = asked_and_seen(tables)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["told", "not told"]
    assert_close(torch.tensor(figure.axes[1].images[0].get_array()).float(), tables["not told"])
    as_img(figure, "two tables")
    with pytest.raises(ValueError, match="rows that sum to 1"):
        asked_and_seen({"counts": torch.eye(3) * 5})
    with pytest.raises(ValueError, match="at least one"):
        asked_and_seen({})


def test_obedience_is_drawn_by_round_with_chance_beside_it():
    figure = obedience({"told": [(100, 0.5), (200, 0.9)], "not told": [(100, 0.1)]})
    (axes,) = figure.axes
    told, untold, chance = axes.lines
    assert told.get_xydata().tolist() == [[100, 0.5], [200, 0.9]]
    assert untold.get_xydata().tolist() == [[100, 0.1]]
    assert set(chance.get_ydata()) == {0.1}
    as_img(figure, "two lines")
    with pytest.raises(ValueError, match="series must hold at least one"):
        obedience({})
