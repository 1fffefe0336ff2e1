"""The experiment behind the chapter `transformer`: what it measures, on cases small enough to check by hand."""

import dataclasses
import json
import re
from pathlib import Path

import nbformat
import pytest
import torch

from lectures_lib.evaluation import sequential_depth
from lectures_lib.experiments import transformer_claims as experiment
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.record import load_result
from lectures_lib.experiments.transformer_claims import Recipe, Thresholds
from lectures_lib.training import History

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class SmallRecipe(Recipe):
    scenes: int = 400
    steps: int = 30
    ablation_steps: int = 5
    warmup: int = 2
    test_sentences: int = 5


SMALL = SmallRecipe()
BELOW = {"transformer-gradient", "transformer-chain"}
BY_CLAIM = {
    "transformer-translates": "exact",
    "transformer-words-apart": "apart",
    "transformer-gradient": "gradient",
    "transformer-residual-damage": "damage",
    "transformer-norm-steps": "norm",
    "transformer-chain": "chain",
    "transformer-parallel-time": "time",
}


def test_training_changes_what_it_is_told_to_change_and_learns():
    data = experiment.scene_pairs(0, SMALL)
    model, history = experiment.train(0, SMALL, data, residual=False, norm="pre")
    assert (model.config.residual, model.config.norm) == (False, "pre")
    assert history.step == [10, 20, 30]
    learned, history = experiment.train(0, SMALL, data)
    assert history.loss[-1] < history.loss[0] - 0.3


def test_the_own_share_is_one_for_words_around_zero_and_nothing_for_words_alike():
    word = torch.randn(1, 1, 8)
    assert experiment.own_share(torch.cat([word, -word], dim=1)) == pytest.approx(1.0)
    assert experiment.own_share(word.expand(1, 5, 8)) == pytest.approx(0.0, abs=1e-6)
    # Orthogonal words of one size: the mean takes 1/2 of the squared size of two of them.
    assert experiment.own_share(torch.eye(2).unsqueeze(0)) == pytest.approx(0.5**0.5)


def test_layers_that_do_nothing_change_neither_share_nor_gradient():
    layers = [torch.nn.Identity() for _ in range(3)]
    assert experiment.own_share_by_depth(layers) == pytest.approx([experiment.own_share_by_depth([])[0]] * 4)
    assert experiment.gradient_by_depth(layers) == pytest.approx([1.0] * 4)


def test_a_layer_that_halves_also_halves_the_gradient_below_it():
    class Half(torch.nn.Module):
        def forward(self, x):
            return x / 2

    assert experiment.gradient_by_depth([Half(), Half()]) == pytest.approx([0.25, 0.5, 1.0])


def test_steps_are_counted_to_the_first_time_the_loss_was_reached():
    fast = History(step=[10, 20, 30, 40], loss=[3.0, 1.9, 2.1, 1.0])
    never = History(step=[10, 20, 30, 40], loss=[9.0, 8.0, 7.0, 6.0])
    assert experiment.steps_to(fast, 2.0) == 20
    assert experiment.steps_to(never, 2.0) is None
    assert experiment.norm_ratio(fast, never, 2.0) == 2.0  # its whole run counts


def test_the_chain_of_the_gru_grows_and_that_of_the_layer_does_not():
    layer, gru = experiment.readers(0)["encoder layer"], experiment.cell_by_cell(0)
    assert sequential_depth(layer(20)) == sequential_depth(layer(5))
    assert sequential_depth(gru(20)) > 3 * sequential_depth(gru(5))


def test_a_small_run_writes_every_claim_and_its_thresholds(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "Recipe", SmallRecipe)
    monkeypatch.setattr(experiment, "train_deep", lambda *_: History(step=[10], loss=[1.0]))
    monkeypatch.setattr(experiment, "time_growth", lambda seed: {"GRU": 8.0, "encoder layer": 2.0})
    path = tmp_path / "r.json"
    assert main(["transformer_claims", "--seeds", "3", "--steps", "4", "--out", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["seed"] == [3]
    assert set(result["measured"]["claims"]) == set(BY_CLAIM)
    assert result["settings"]["thresholds"] == Thresholds()._asdict()


def test_the_committed_result_was_measured_with_these_settings_and_holds_on_every_seed():
    result = load_result("transformer_claims")
    settings = {k: v for k, v in result["settings"].items() if k != "thresholds"}
    assert settings == json.loads(json.dumps({**vars(Recipe())}))
    assert result["settings"]["thresholds"] == Thresholds()._asdict()
    assert len(result["seed"]) >= 3
    for claim, name in BY_CLAIM.items():
        for value in result["measured"]["claims"][claim]:
            threshold = getattr(Thresholds(), name)
            assert value <= threshold if claim in BELOW else value >= threshold, claim


def test_the_chapter_records_these_claims_with_these_thresholds():
    notebook = nbformat.read(ROOT / "book/transformer/transformer.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', text)
    assert sorted(recorded) == sorted([*BY_CLAIM, "transformer-beats-attention"])
    assert "threshold.real," in text
    for claim, name in BY_CLAIM.items():
        assert f"threshold.{name}," in text
        assert f'seeds=seeds["{claim}"]' in text


def test_on_captions_the_transformer_is_ahead_of_the_gru_with_attention():
    bleu = {
        name: load_result(f"translation-{name}-multi30k-de-en")["measured"]["bleu"]
        for name in ("attention", "transformer")
    }
    assert bleu["transformer"] - bleu["attention"] >= Thresholds().real


def test_on_captions_three_seeds_of_the_transformer_reach_the_goal_of_39():
    names = [f"translation-transformer-multi30k-de-en{suffix}" for suffix in ("", "-seed1", "-seed2")]
    results = [load_result(name) for name in names]
    assert [result["seed"] for result in results] == [0, 1, 2]
    assert all(result["settings"] == results[0]["settings"] for result in results)
    assert min(result["measured"]["bleu"] for result in results) >= 39
