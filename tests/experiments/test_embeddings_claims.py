"""The experiment behind the chapter `embeddings`: what it measures; the committed result is of the present one."""

import dataclasses
import json
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.text import WordCorpus
from lectures_lib.evaluation.words import Agreement, WordVectors
from lectures_lib.experiments import embeddings_claims
from lectures_lib.experiments.__main__ import main
from lectures_lib.experiments.embeddings_claims import (
    Recipe,
    Thresholds,
    claims,
    distance_correlation,
    dot_products,
    gensim_vectors,
    purities,
    scene_texts,
    word_vectors,
    wordsim_gain,
    worst_residual,
)
from lectures_lib.experiments.record import load_result
from lectures_lib.layers import sinusoidal_positions

ROOT = Path(__file__).parents[2]


def agreement(correlation):
    return Agreement(correlation, correlation - 0.1, correlation + 0.1, 100, 353)


SCORES = {"word2vec": 0.4, "gensim": 0.35, "alike": -0.1, "frequent": -0.05, "rare": 0.05}
SCORES = {name: agreement(correlation) for name, correlation in SCORES.items()}


def test_the_claims_are_the_differences_they_say():
    values = claims({"word2vec": 0.9, "frequency": 0.5}, SCORES, 1e-8, -0.99)
    assert values == pytest.approx(
        {
            "embeddings-kinds": 0.4,
            "embeddings-wordsim": 0.35,
            "embeddings-gensim": 0.05,
            "embeddings-shift": 1e-8,
            "embeddings-distance": -0.99,
        }
    )


def test_the_gain_is_over_the_best_baseline_and_never_over_gensim():
    assert math.isclose(wordsim_gain(SCORES), 0.35)
    assert math.isclose(wordsim_gain({**SCORES, "alike": agreement(0.3)}), 0.1)


def test_the_residual_is_measured_on_positions_that_were_held_out():
    waves = sinusoidal_positions(64, 16)
    assert worst_residual(waves, (1, 5), seed=0) < 1e-5
    noise = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))  # 32 rows fit perfectly: only held out errs
    assert worst_residual(noise, (1,), seed=0) > 0.5


def test_dot_products_of_positions_fall_with_distance_where_the_table_is_wide():
    table = sinusoidal_positions(128, 512)
    products = dot_products(table, 20)
    assert_close(products[0], 256.0)
    assert products == sorted(products, reverse=True)
    assert math.isclose(distance_correlation(table, 20), -1.0)


def test_gensims_vectors_are_those_of_its_words_in_our_order():
    texts = [["a", "b", "b", "c", "c", "c"]] * 30
    corpus = WordCorpus.from_texts(texts)
    recipe = Recipe(text_d=8, text_epochs=2)
    first, again = (gensim_vectors(texts, corpus, recipe, seed=0) for _ in range(2))
    assert first.words == ("c", "b", "a")
    assert torch.equal(first.directions, again.directions)


def test_a_small_world_gives_purer_neighbours_than_frequency():
    recipe = Recipe(scenes=3_000)
    vectors, corpus, history = word_vectors(scene_texts(0, recipe), d=20, epochs=5, seed=0)
    purity = purities(vectors, corpus)
    assert purity["word2vec"] > purity["frequency"]
    assert history.loss[-1] < history.loss[0]


def test_the_whole_experiment_writes_its_result(tmp_path, monkeypatch):
    texts = [["tiger", "cat", "love", "sex", "book", "paper"], ["train", "car", "book", "paper"]] * 40
    monkeypatch.setattr(embeddings_claims, "wikipedia_sample", lambda: texts)
    monkeypatch.setattr(embeddings_claims, "lee_news", lambda: texts)
    counted = {word: index for index, word in enumerate("tiger cat love sex book paper train car".split())}
    monkeypatch.setattr(
        embeddings_claims,
        "frequency_similarities",
        lambda *_: {n: lambda a, b: counted[a] - counted[b] ** 2 for n in ("alike", "frequent", "rare")},
    )
    monkeypatch.setattr(
        embeddings_claims,
        "Recipe",
        lambda: Recipe(scenes=300, scene_epochs=1, text_epochs=2, positions=64, shift_d=16, farthest=10),
    )
    assert main(["embeddings_claims", "--seeds", "0", "1", "--out", str(tmp_path / "r.json")]) == 0
    measured = json.loads((tmp_path / "r.json").read_text())["measured"]
    assert all(len(values) == 2 for values in measured["claims"].values())
    assert measured["wordsim_pairs"] == [5, 5]  # tiger and tiger is a pair of the list too
    assert set(measured["wordsim"]) == {"word2vec", "gensim", "alike", "frequent", "rare"}


def test_the_committed_claims_are_of_the_present_recipe_and_of_the_chapters_claims():
    result = load_result("embeddings_claims")
    settings = {**dataclasses.asdict(Recipe()), "thresholds": Thresholds()._asdict()}
    assert result["settings"] == json.loads(json.dumps(settings))
    assert len(result["seed"]) >= 3
    notebook = nbformat.read(ROOT / "book/transformer/embeddings.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    recorded = set(re.findall(r'record_claim\(\s*"([a-z0-9-]+)"', source))
    assert recorded == set(result["measured"]["claims"])


def test_vectors_without_a_word_of_the_list_cannot_be_judged():
    vectors = WordVectors(["x", "y"], torch.eye(2))
    corpus = WordCorpus.from_texts([["x", "y"] * 5])
    with pytest.raises(ValueError, match="at least 3 pairs of known words, got 0 of 353"):
        embeddings_claims.agreements({"word2vec": vectors}, corpus)
