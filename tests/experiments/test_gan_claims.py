"""The experiments behind the chapters on GANs: what they measure; the committed results are of the present ones."""

import dataclasses
import importlib
import json
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lectures_lib.data.toy import gaussian
from lectures_lib.experiments import digit_classifier, gan_claims, gan_losses_claims
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result

ROOT = Path(__file__).parents[2]
FEW = gan_claims.Recipe(
    judge_steps=30, judge_batch=32, fresh_samples=500, gan_steps=200, gan_batch=32, probe_steps=20, probe_at=(0, 200)
)
FEW_LOSSES = gan_losses_claims.Recipe(
    confident_at=(0, 20), batch=32, critic_steps=20, critic_samples=200, grid_moves=60, grid_samples=300
)


@pytest.mark.parametrize("name", ["gan_claims", "gan_losses_claims"])
def test_the_committed_claims_are_of_the_present_recipe_and_of_the_chapters_claims(name):
    module, result = importlib.import_module(f"lectures_lib.experiments.{name}"), load_result(name)
    settings = {**dataclasses.asdict(module.Recipe()), "thresholds": module.Thresholds()._asdict()}
    assert result["settings"] == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 5
    notebook = nbformat.read(ROOT / f"book/gans/{name.removesuffix('_claims')}.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = set(re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', source))
    assert recorded == set(result["measured"]["claims"])


def test_the_whole_experiment_writes_its_result(tmp_path, monkeypatch):
    monkeypatch.setattr(gan_claims, "Recipe", lambda: FEW)
    assert main(["gan_claims", "--seeds", "0", "1", "--out", str(tmp_path / "r.json")]) == 0
    measured = json.loads((tmp_path / "r.json").read_text())["measured"]
    assert all(len(values) == 2 for part in measured.values() for values in part.values())
    assert all(math.isfinite(value) for part in measured.values() for values in part.values() for value in values)


def test_the_experiment_on_losses_writes_its_result(tmp_path, monkeypatch):
    monkeypatch.setattr(gan_losses_claims, "Recipe", lambda: FEW_LOSSES)
    assert main(["gan_losses_claims", "--seeds", "0", "1", "--out", str(tmp_path / "r.json")]) == 0
    measured = json.loads((tmp_path / "r.json").read_text())["measured"]
    assert set(measured["modes_covered"]) == set(gan_losses_claims.CONTESTANTS)
    assert all(len(interval) == 2 for interval in measured["modes_interval"].values())
    assert all(len(values) == 2 for values in measured["claims"].values())


def test_the_claims_are_the_differences_they_say():
    values = gan_claims.claims(0.02, -1.4, {0: 0.99, 100: 0.8, 300: 0.55})
    assert values == pytest.approx(
        {
            "gan-optimal-discriminator": 0.02,
            "gan-value-log4": abs(-1.4 + math.log(4)),
            "gan-accuracy-falls": 0.44,
            "gan-accuracy-end": 0.55,
        }
    )
    at = {2.0: 0.6, 4.0: 0.69}
    slopes = {"minimax": 1e-3, "non-saturating": 2.0, "wasserstein": 1.1}
    values = gan_losses_claims.claims(at, {2.0: 2.0, 4.0: 4.1}, slopes, {1.0: (1.1, 1.0), 2.0: (1.8, 2.0)})
    assert values["gan-losses-js-saturates"] == pytest.approx(0.69 / 0.6)
    assert values["gan-losses-earth-grows"] == pytest.approx(2.05)
    assert values["gan-losses-critic-error"] == pytest.approx(0.1)
    assert values["gan-losses-critic-tracks"] == pytest.approx(1.0)


class Knows(nn.Module):
    """The best discriminator of two unit Gaussians at 0 and `mean`, moved by `off` logits."""

    def __init__(self, mean, off=0.0):
        super().__init__()
        self.mean, self.off = mean, off

    def forward(self, x):
        return (self.mean**2 / 2 - self.mean * x + self.off).squeeze(1)


def test_the_deviation_of_the_truth_is_nothing_and_that_of_a_guess_is_not():
    real, generated = gaussian(0, 1), gaussian(1, 1)
    assert gan_claims.deviation(Knows(1), real, generated) < 1e-6
    assert gan_claims.deviation(Knows(1, 1.0), real, generated) > 0.1
    assert gan_claims.value(Knows(0), real, real, 0, FEW) == pytest.approx(-math.log(4))


def test_a_fresh_discriminator_tells_far_samples_and_not_the_real_ones():
    recipe = gan_claims.Recipe(probe_steps=150)
    far = lambda number: torch.full((256, 2), 5.0)  # noqa: E731
    assert gan_claims.probe_accuracy(far, 0, recipe) > 0.95
    same = gan_claims.REAL_2D.batches(256, seed=9)
    assert abs(gan_claims.probe_accuracy(same, 0, recipe) - 0.5) < 0.05


def test_the_kept_generator_stays_as_it_was():
    generator, _, _ = gan_claims.train_gan(0, FEW, progress=False)
    kept = gan_claims.samples_of(generator, FEW, 0)
    before = kept(3)
    with torch.no_grad():
        generator.layers[0].weight.add_(1)
    assert_close(kept(3), before, rtol=0, atol=0)


def test_slopes_are_those_of_single_samples():
    """Under a critic with a slope of exactly 2, every generated sample is pushed with 2, however many there are."""
    players = gan_losses_claims.new_players(gan_losses_claims.FullyConnectedConfig.tiny(1), 0, 1e-3)

    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return 2 * x.squeeze(1)

    players.discriminator = Steep().to(players.device)
    for count in (8, 64):
        assert gan_losses_claims.slope_at_samples(players, "wasserstein", 0, count) == pytest.approx(2.0)


def test_a_penalised_critic_overshoots_as_the_formula_says():
    slope = torch.linspace(0, 3, 30_001)
    for distance, penalty in ((4.0, 10.0), (4.0, 50.0), (1.0, 10.0)):
        earned = slope * distance - penalty * (slope - 1).square()
        best = float(slope[earned.argmax()])
        assert gan_losses_claims.penalised_distance(distance, penalty) == pytest.approx(best * distance, rel=1e-3)


# The digit classifier


def test_disturbed_digits_stay_digits_on_paper():
    images = torch.full((6, 1, 28, 28), -1.0)
    images[:, :, 10:18, 10:18] = 1.0
    generator = torch.Generator().manual_seed(0)
    moved = digit_classifier.disturbed(images, digit_classifier.Recipe(), generator)
    assert moved.shape == images.shape
    assert float(moved.min()) >= -1 - 1e-5
    assert float(moved.max()) <= 1 + 1e-5
    assert_close(moved[:, :, 0, 0], torch.full((6, 1), -1.0), atol=1e-4, rtol=0)  # outside is paper, not grey
    assert not torch.allclose(moved[0], moved[1], atol=0.1)
    still = dataclasses.replace(digit_classifier.Recipe(), degrees=0.0, zoom=0.0, shift=0.0)
    assert_close(digit_classifier.disturbed(images, still, generator), images, atol=1e-4, rtol=0)


def test_the_classifier_is_trained_tested_and_stored(tmp_path):
    out, weights = tmp_path / "r.json", tmp_path / "w.safetensors"
    assert main(["digit_classifier", "--steps", "3", "--out", str(out), "--weights", str(weights)]) == 0
    result = json.loads(out.read_text())["measured"]
    assert (result["train_digits"], result["test_digits"]) == (4_000, 1_000)
    assert result["weights_bytes"] == weights.stat().st_size < 2e6


def test_the_stored_classifier_says_how_it_was_made():
    from lectures_lib.evaluation.images import CHECKPOINT, checkpoint_path
    from lectures_lib.training.checkpoint import read_tensors

    _, metadata = read_tensors(checkpoint_path(CHECKPOINT))
    assert {"command", "commit", "seed", "hardware", "accuracy"} <= set(metadata)
    assert re.fullmatch(r"[0-9a-f]{40}", metadata["commit"])
    assert float(metadata["accuracy"]) == pytest.approx(load_result("digit_classifier")["measured"]["accuracy"])
