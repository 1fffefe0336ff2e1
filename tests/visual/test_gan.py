"""The pictures of GANs show the numbers they were given; a game moves who it says it moves."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.toy import gaussian, ring
from lectures_lib.models.dcgan import DcganConfig, dcgan
from lectures_lib.models.fully_connected_gan import FullyConnectedConfig, fully_connected_gan
from lectures_lib.training.gan import GanHistory, Players, adam
from lectures_lib.visual import gan
from lectures_lib.visual.style import as_img


def game():
    pair = fully_connected_gan(FullyConnectedConfig(d_hidden=8), seed=0)
    return gan.PointGame(Players(*pair, *(adam(n.parameters(), lr=1e-2) for n in pair)), ring().batches(32))


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_the_diagram_shows_both_steps_and_where_the_gradient_ends():
    figure = gan.gan_diagram()
    said = [" ".join(text.get_text() for text in axes.texts) for axes in figure.axes]
    assert "detach()" in said[0]
    assert "only passes through" in said[1]
    as_img(figure, "two rows")


def test_a_landscape_is_what_the_discriminator_says():
    playing = game()
    real, made = ring().sample(20), torch.randn(20, 2)
    figure = gan.landscape(playing.players.discriminator, real, made, limit=2)
    picture = figure.axes[0].images[0].get_array()
    with torch.no_grad():
        corner = playing.players.discriminator(torch.tensor([[2.0, -2.0]])).sigmoid()  # right, below
    assert_close(float(picture[0, -1]), float(corner), atol=1e-5, rtol=0)
    as_img(figure, "a landscape")


def test_a_game_moves_only_who_it_is_told_to():
    playing = game()
    for move, still, moving in (
        (playing.step_discriminator, playing.players.generator, playing.players.discriminator),
        (playing.step_generator, playing.players.discriminator, playing.players.generator),
    ):
        before, other = state(still), state(moving)
        move(2)
        assert_close(dict(still.state_dict()), before, rtol=0, atol=0)
        assert not torch.equal(moving.state_dict()["layers.0.weight"], other["layers.0.weight"])
    playing.take_turns(3)
    assert playing.moves == {"discriminator": 5, "generator": 5}
    assert "discriminator 5, generator 5" in playing.picture()


def test_frames_stand_before_and_after_every_part_of_a_plan():
    frames = gan.game_frames(game(), [("discriminator", 2), ("generator", 1)], rounds=2)
    assert [
        f"discriminator {d}, generator {g}" in frame
        for frame, (d, g) in zip(frames, [(0, 0), (2, 0), (2, 1), (4, 1), (4, 2)], strict=True)
    ] == [True] * 5
    with pytest.raises(ValueError, match="plan must name discriminator, generator, both, got 'nobody'"):
        gan.game_frames(game(), [("nobody", 1)], rounds=1)


def test_the_static_widget_has_a_frame_for_each_state(monkeypatch, capsys):
    monkeypatch.setenv("LECTURES_STATIC", "1")
    gan.game_widget(game, {"turns": [("both", 1)]}, rounds=2)
    widget = gan.push_widget({"one": (gaussian(), gaussian(0, 0.5))}, [-1, 0, 1], display=False)
    assert widget.count("<img") == 3
    assert "Mean size of the push" in widget


def test_pushes_are_drawn_only_where_generated_samples_may_lie():
    figure = gan.push_figure(gaussian(3, 0.5), gaussian(-3, 0.5))
    below = figure.axes[1]
    lines = {line.get_label(): line for line in below.get_lines()}
    x, y = (torch.tensor(values) for values in lines["wasserstein"].get_data())
    assert set(y[~y.isnan()].tolist()) == {1.0}
    assert float(x[~y.isnan()].max()) < -1
    as_img(figure, "pushes")


def test_curves_show_the_history():
    history = GanHistory(
        step=[1, 2],
        discriminator_loss=[1.4, 1.3],
        generator_loss=[0.7, 0.8],
        real_accuracy=[0.5, 0.9],
        fake_accuracy=[0.5, 0.7],
    )
    above, below = gan.gan_curves(history).axes
    assert [list(line.get_ydata()) for line in above.get_lines()] == [[1.4, 1.3], [0.7, 0.8]]
    assert list(below.get_lines()[0].get_ydata()) == [0.5, pytest.approx(0.8)]


def test_lines_and_panels_and_densities_show_what_they_were_given():
    figure = gan.log_lines({"minimax": ([1, 10], [1.0, 1e-4])}, xlabel="step", ylabel="slope")
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == [1.0, 1e-4]
    as_img(figure, "a line")
    figure = gan.scatter_panels({name: torch.randn(9, 2) for name in "abcd"}, ring().sample(9))
    assert [axes.get_title() for axes in figure.axes if axes.axison] == list("abcd")
    as_img(figure, "panels")
    x = torch.linspace(-1, 1, 5)
    figure = gan.line_densities(x, x.abs(), x.abs(), {"learned": x, "best": x})
    assert [line.get_label() for line in figure.axes[0].get_lines()][:2] == ["learned", "best"]
    as_img(figure, "densities")


def test_images_stand_in_their_place():
    images = torch.linspace(-1, 1, 6).view(6, 1, 1, 1).expand(6, 1, 2, 2)
    sheet = gan.image_grid(images, columns=4).axes[0].images[0].get_array()
    assert sheet.shape == (4, 8)
    assert_close(torch.tensor(sheet[0, ::2]), torch.tensor([0, 0.2, 0.4, 0.6]))
    assert_close(torch.tensor(sheet[2, ::2]), torch.tensor([0.8, 1.0, 0.0, 0.0]))
    history = GanHistory(samples={0: images, 10: images})
    assert [text.get_text() for text in gan.samples_over_training(history, columns=3).axes[0].texts] == ["0", "10"]


def test_a_walk_keeps_the_length_of_its_ends():
    ends = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    path = gan.latent_path(ends, 4)
    assert path.shape == (9, 50)
    assert_close(path[[0, 4, 8]], ends)
    shortest, longest = float(ends.norm(dim=1).min()), float(ends.norm(dim=1).max())
    assert float(path.norm(dim=1).min()) > 0.95 * shortest
    assert float(path.norm(dim=1).max()) < 1.1 * longest
    assert_close(gan.latent_path(torch.ones(2, 3), 2), torch.ones(3, 3))
    figure = gan.latent_walk(dcgan(DcganConfig(28, 1, 50, 2), seed=0)[0], ends, steps=4)
    assert figure.axes[0].images[0].get_array().shape == (3 * 28, 4 * 28)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gan.image_grid(torch.zeros(0, 1, 2, 2)), "at least one image"),
        (lambda: gan.samples_over_training(GanHistory()), "train with sample_every"),
        (lambda: gan.scatter_panels({}, torch.zeros(1, 2)), "at least one set"),
        (lambda: gan.log_lines({}, xlabel="", ylabel=""), "at least one line"),
        (lambda: gan.latent_path(torch.zeros(1, 2), 3), "two ends and a step, got 1 ends"),
    ],
)
def test_nothing_to_draw_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
