"""The experiments behind the chapter `dcgan`: what they measure; the committed results are of the present ones."""

import dataclasses
import json
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lectures_lib.evaluation.images import checkpoint_path
from lectures_lib.experiments import dcgan_claims, dcgan_digits, gan_mnist, gan_quality
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result
from lectures_lib.models.dcgan import DcganConfig, DcganGenerator, dcgan
from lectures_lib.models.fully_connected_gan import FullyConnectedConfig, fully_connected_gan

ROOT = Path(__file__).parents[2]
MISSED = {"dcgan-distance-time"}  # its threshold was not kept on every seed, so the chapter does not claim it
BY_CLOCK = {"dcgan-ahead-at-equal-time", "dcgan-after-a-minute"}  # of results alone: a page cannot promise a time
SMALL = DcganConfig(28, 1, d_latent=4, width=2)
FEW = dcgan_claims.Recipe(
    rounds=4, batch=16, plain_every=2, samples=60, labels_per_class=2, pairs=40, shown_latents=120
)


@pytest.fixture
def small(monkeypatch):
    """Networks of two channels."""
    for module in (dcgan_claims, dcgan_digits, gan_quality):
        monkeypatch.setattr(module, "CONFIG", SMALL)
    monkeypatch.setattr(gan_mnist.Recipe, "width", 2)
    monkeypatch.setattr(
        FullyConnectedConfig, "digits", classmethod(lambda cls: cls((1, 28, 28), 4, d_hidden=3, bounded=True))
    )


class Constant(nn.Module):
    """A generator whose latents are its images: d_latent numbers, one a column, on 28 rows."""

    config = dataclasses.replace(SMALL, d_latent=28)

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, latent):
        return latent.tanh()[:, None, None].expand(-1, 1, 28, 28)


def test_the_committed_claims_are_of_the_present_recipe_and_of_the_chapters_claims():
    result = load_result("dcgan_claims")
    settings = {**dataclasses.asdict(dcgan_claims.Recipe()), "thresholds": dcgan_claims.Thresholds()._asdict()}
    assert result["settings"] == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 5
    notebook = nbformat.read(ROOT / "book/gan_family/dcgan.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = set(re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', source))
    assert recorded == set(result["measured"]["claims"]) - MISSED | BY_CLOCK
    by_time = result["measured"]["claims"]["dcgan-distance-time"]
    assert dcgan_claims.Thresholds().distance_by_time < max(by_time) < dcgan_claims.AHEAD


def test_after_a_minute_the_distance_is_at_most_half_the_examples_on_every_seed():
    result = load_result("gan_quality")
    assert len(result["seed"]) >= 3
    assert result["settings"]["seconds"] == [60.0, 300.0]
    for name, value in dataclasses.asdict(dcgan_claims.Recipe()).items():
        assert result["settings"][name] == value, name
    measured = result["measured"]
    shares = measured["share at 60 s"]["ours of the example's"]
    pairs = zip(measured["ours at 60 s"]["distance"], measured["example at 60 s"]["distance"], strict=True)
    assert shares == pytest.approx([mine / theirs for mine, theirs in pairs])
    assert max(shares) <= result["settings"]["threshold_at_60_s"] == 0.5


def test_the_committed_generator_is_the_one_of_its_result_and_draws_digits():
    result, (generator, made) = load_result("dcgan_digits"), dcgan_digits.stored_generator()
    assert made["commit"] == result["commit"]
    assert checkpoint_path(dcgan_digits.CHECKPOINT).stat().st_size == result["measured"]["weights_bytes"] < 2e6
    latent = torch.randn(1_000, generator.config.d_latent, generator=torch.Generator().manual_seed(0))
    images = gan_mnist.sample(generator, latent)
    found = gan_mnist.judge(images, dcgan_claims.real_features(1_000))
    assert found["frechet"] == pytest.approx(result["measured"]["frechet"], rel=0.05)
    assert found["fewest_of_a_class"] > 0.02


def test_the_whole_experiment_writes_its_result(small, tmp_path, monkeypatch):
    monkeypatch.setattr(dcgan_claims, "Recipe", lambda: FEW)
    # Untrained networks draw one grey blot; so that there are digits to walk between, they are called by chance.
    monkeypatch.setattr(dcgan_claims, "classify", lambda images: torch.randint(10, (len(images),)))
    assert main(["dcgan_claims", "--seeds", "0", "1", "--out", str(tmp_path / "r.json")]) == 0
    measured = json.loads((tmp_path / "r.json").read_text())["measured"]
    assert all(len(values) == 2 for part in measured.values() for values in part.values())
    assert all(math.isfinite(value) for part in measured.values() for values in part.values() for value in values)


def test_the_experiment_on_losses_writes_what_every_loss_reached(small, tmp_path):
    out = tmp_path / "r.json"
    arguments = ["--seeds", "0", "1", "--moves", "6", "--limit", "80", "--samples", "60", "--out", str(out)]
    assert main(["gan_mnist", "--losses", "hinge", "Wasserstein, penalty", *arguments]) == 0
    result = json.loads(out.read_text())
    by_loss = result["measured"]["by_loss"]
    assert set(by_loss) == {"hinge", "Wasserstein, penalty"}
    assert all(len(values) == 2 for measures in by_loss.values() for values in measures.values())
    low, high = result["measured"]["frechet_interval"]["hinge"]
    assert low <= sum(by_loss["hinge"]["frechet"]) / 2 <= high
    assert gan_mnist.stored_samples(result)["hinge"].shape == (10, 1, 28, 28)


def test_the_stored_generator_comes_back_as_it_was_judged(small, tmp_path):
    weights, out = tmp_path / "dcgan.safetensors", tmp_path / "r.json"
    assert main(["dcgan_digits", "--rounds", "3", "--weights", str(weights), "--out", str(out)]) == 0
    generator, made = dcgan_digits.stored_generator(weights)
    assert made["rounds"] == "3"
    assert not generator.training
    measured = json.loads(out.read_text())["measured"]
    latent = torch.randn(1_000, 4, generator=torch.Generator().manual_seed(0))
    found = gan_mnist.judge(gan_mnist.sample(generator, latent), dcgan_claims.real_features(1_000))
    assert found["frechet"] == pytest.approx(measured["frechet"], rel=1e-3)


def test_the_claims_are_the_differences_they_say():
    accuracy = {"pixels": 0.7, "untrained discriminator": 0.8, "trained discriminator": 0.9}
    values = dcgan_claims.claims(3.0, (10.0, 6.0), accuracy, (30.0, 80.0), 0.97)
    assert values == pytest.approx(
        {
            "dcgan-distance-operations": 0.3,
            "dcgan-distance-time": 0.5,
            "dcgan-probe-pixels": 0.2,
            "dcgan-probe-untrained": 0.1,
            "dcgan-walk": 0.375,
            "dcgan-thicker": 0.97,
        }
    )


def test_operations_are_those_of_the_layers():
    """A round is 1 + 2 + 1 passes of the generator and 3 + 3 + 2 of the discriminator; two operations a product."""
    pair = fully_connected_gan(FullyConnectedConfig((1, 5, 5), d_latent=3, d_hidden=4, n_hidden=1), seed=0)
    g, d = 3 * 4 + 4 * 25, 25 * 4 + 4 * 1
    first_g, first_d = 3 * 4, 25 * 4  # whose inputs need no gradient
    discriminators = 2 * (3 * d - first_d)
    generators = 2 * d + 3 * g - first_g
    assert dcgan_claims.operations(pair, 7) == 2 * 7 * (g + discriminators + generators)


def test_equal_operations_and_equal_time_give_the_opponent_more_rounds_where_its_are_cheaper(small):
    ratio = dcgan_claims.rounds_of_equal_operations(FEW) / FEW.rounds
    ours = dcgan_claims.operations(dcgan(SMALL, seed=0), 16)
    theirs = dcgan_claims.operations(fully_connected_gan(FullyConnectedConfig.digits(), seed=0), 16)
    assert ratio == pytest.approx(ours / theirs, rel=0.2)
    ticks = iter([0.0, 2.0])  # a trial of one round takes 2 s
    assert dcgan_claims.rounds_of_equal_time(10.0, 0, FEW, clock=lambda: next(ticks)) == 5


def test_the_opponent_is_looked_at_along_the_way_and_at_every_number_of_rounds(small, monkeypatch):
    monkeypatch.setenv("LECTURES_DEVICE", "cpu")
    seen = iter([9.0, 7.0, 8.0, 5.0])  # at 2, 3, 4 and 5
    monkeypatch.setattr(dcgan_claims, "distance", lambda *_: next(seen))
    (few, many), generator = dcgan_claims.best_distances(0, FEW, [3, 5], progress=False)
    assert (few, many) == (7.0, 5.0)
    alone, _, _ = dcgan_claims.train_plain(0, FEW, 5, progress=False)
    assert_close(dict(generator.state_dict()), dict(alone.state_dict()), rtol=0, atol=0)


def test_ink_and_lean_are_what_the_eye_sees():
    images = -torch.ones(4, 1, 28, 28)
    images[0, 0, 4:24, 10] = 1  # upright
    for row in range(4, 24):
        images[1, 0, row, 24 - row // 2] = 1  # its top leans to the right
        images[2, 0, row, 4 + row // 2] = 1  # to the left
        images[3, 0, row, 8:14] = 1  # thick
    assert_close(dcgan_claims.ink(images)[[0, 3]], torch.tensor([20.0, 120.0]) / 784)
    lean = dcgan_claims.lean(images)
    assert_close(lean[[0, 3]], torch.zeros(2), atol=1e-5, rtol=0)
    assert_close(lean[1:3], torch.tensor([0.5, -0.5]), atol=0.02, rtol=0)


def test_a_direction_goes_from_those_with_little_to_those_with_much():
    latent = torch.randn(400, 28, generator=torch.Generator().manual_seed(0))
    images = Constant()(latent).detach()
    everyone = dcgan_claims.Population(latent, images, torch.arange(400) % 10)
    way = everyone.direction(dcgan_claims.ink)
    assert float((way > 0).double().mean()) > 0.9  # more of any number is more ink
    least, most = everyone.ends(dcgan_claims.ink(images))
    assert len(least.labels) == len(most.labels) == 100
    assert float(dcgan_claims.ink(least.images).max()) <= float(dcgan_claims.ink(most.images).min())
    assert set(everyone.of(3).labels.tolist()) == {3}
    thin, after = dcgan_claims.thickened(Constant(), everyone, FEW)
    assert 3 not in thin.labels
    assert float((dcgan_claims.ink(after) > dcgan_claims.ink(thin.images)).double().mean()) > 0.95
    still = dcgan_claims.moved_at_random(Constant(), thin, 0.0, 0)
    assert_close(still, thin.images, check_dtype=False)
    moved = dcgan_claims.moved_at_random(Constant(), thin, 3.0, 0)
    assert_close(moved, dcgan_claims.moved_at_random(Constant(), thin, torch.tensor(3.0), 0))
    assert not torch.allclose(moved, still)


def test_the_opponent_has_more_weights():
    ours, theirs = dcgan_claims.weights_of_both()
    assert (ours, theirs) == (108_896 + 10_080, 283_920 + 267_009)


def test_walks_pair_different_digits_and_fade_is_the_mean_of_both():
    generator, _ = dcgan_digits.stored_generator()
    walk = dcgan_claims.walks(generator, 0, FEW)
    assert walk.halfway.shape == walk.fade.shape == (40, 1, 28, 28)
    assert bool((dcgan_claims.classify(walk.starts) != dcgan_claims.classify(walk.ends)).all())
    assert_close(walk.fade, (walk.starts + walk.ends) / 2)
    with pytest.raises(ValueError, match="more than one digit"):
        dcgan_claims.walks(dcgan(SMALL, seed=0)[0], 0, FEW)
    assert dcgan_claims.among_real(dcgan_claims.data()[1].images[:300], dcgan_claims.Recipe()) > 0.9


def test_the_probe_on_a_trained_eye_is_at_most_perfect_and_beats_chance(small):
    _, discriminator = dcgan(SMALL, seed=0)
    few = dcgan_claims.some_labels(dcgan_claims.Recipe(labels_per_class=5), 1)
    assert torch.bincount(few.labels).tolist() == [5] * 10
    assert few.labels.tolist() != sorted(few.labels.tolist())
    accuracy = dcgan_claims.probe_accuracies(discriminator, 0, dcgan_claims.Recipe(labels_per_class=5))
    assert all(0.2 < value <= 1 for value in accuracy.values())


def test_untrained_norms_have_seen_digits(small):
    fresh = dcgan_claims.untrained(0)
    assert float(fresh.norms[0].running_var.max()) != 1
    assert not fresh.training


# By the clock


def test_the_clock_stands_still_while_samples_are_judged(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(gan_quality.time, "perf_counter", lambda: now[0])

    def one_round(number):
        now[0] += 1.0

    def samples(count):
        now[0] += 1_000.0
        return [torch.full((1,), 5.0), torch.full((1,), 3.0)]

    found = gan_quality.distances_by_seconds(gan_quality.Contestant(one_round, samples), [5, 2], lambda x: float(x[0]))
    assert found == {2: (3.0, 2), 5: (3.0, 5)}  # the better of two sets counts
    with pytest.raises(ValueError, match="seconds must be positive"):
        gan_quality.distances_by_seconds(gan_quality.Contestant(one_round, samples), [0.0], float)


def test_ours_by_the_clock_is_what_fit_gan_does(small, monkeypatch):
    monkeypatch.setenv("LECTURES_DEVICE", "cpu")
    recipe = dataclasses.replace(FEW, rounds=3)
    generator, _, _ = dcgan_claims.train_dcgan(5, recipe, progress=False)
    contestant = gan_quality.ours(SMALL, dcgan_claims.data()[0].images, 5, recipe)
    torch.manual_seed(5)
    for number in range(3):
        contestant.one_round(number)
    latent = torch.randn(6, 4, generator=torch.Generator().manual_seed(5))
    assert_close(contestant.samples(6)[0], gan_mnist.sample(generator, latent), atol=1e-6, rtol=1e-5)


def test_the_examples_samples_leave_it_as_it_was(small):
    contestant = gan_quality.example(SMALL, dcgan_claims.data()[0].images, 0)
    contestant.one_round(0)
    first, again = contestant.samples(70), contestant.samples(70)
    assert [part.shape for part in first] == [(70, 1, 28, 28)] * 2
    assert_close(first, again, rtol=0, atol=0)
    assert not torch.allclose(*first)  # the norms of a batch and those of evaluation


def test_quality_by_the_clock_is_written_down(small, tmp_path, monkeypatch):
    monkeypatch.setattr(dcgan_claims, "Recipe", lambda: FEW)
    out = tmp_path / "r.json"
    assert main(["gan_quality", "--seconds", "0.01", "0.02", "--out", str(out)]) == 0
    measured = json.loads(out.read_text())["measured"]
    assert set(measured) == {f"{who} at {s} s" for who in ("ours", "example", "share") for s in (0.01, 0.02)}
    assert measured["ours at 0.02 s"]["rounds"][0] >= 1


def test_the_generator_of_the_book_has_the_chapters_size():
    assert dcgan_digits.stored_generator()[0].config == dcgan_claims.CONFIG
    assert isinstance(dcgan_digits.stored_generator()[0], DcganGenerator)
