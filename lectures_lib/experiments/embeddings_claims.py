"""The claims of the chapter `embeddings`, over several seeds.

    python -m lectures_lib.experiments embeddings_claims --seeds 0 1 2

The chapter runs the same functions with the same recipe on one seed, live; a test holds the two against each other.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lectures_lib.data.scenes import sample_scenes
from lectures_lib.data.text import Texts, WordCorpus, lee_news, scene_categories, wikipedia_sample, wordsim353
from lectures_lib.device import choose_device
from lectures_lib.evaluation.positions import shift_map, shift_residual
from lectures_lib.evaluation.words import (
    Agreement,
    WordVectors,
    frequency_similarities,
    nearest_by_frequency,
    neighbour_purity,
    spearman,
    word_similarity,
)
from lectures_lib.experiments.record import write_result
from lectures_lib.layers import sinusoidal_positions
from lectures_lib.models.word2vec import SkipGram, Word2VecConfig
from lectures_lib.training import History
from lectures_lib.training.word2vec import fit_skip_gram


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What the chapter trains and measures."""

    scenes: int = 20_000
    scene_d: int = 50
    scene_epochs: int = 10
    text_d: int = 100  # gensim's default, as are window, noise words, threshold and min_count
    text_epochs: int = 10
    min_count: int = 5
    positions: int = 512
    shift_d: int = 128
    shifts: tuple[int, ...] = (1, 5, 20)
    distance_d: int = 512
    farthest: int = 100


class Thresholds(NamedTuple):
    """What the chapter claims: set after pilot runs on one or two seeds, before the three seeds were run."""

    purity_gain: float = 0.3  # share of nearest neighbours of the same kind, over the frequency baseline's
    wordsim_gain: float = 0.15  # rank correlation, over the best of the frequency baselines
    beside_gensim: float = -0.05  # rank correlation, over gensim's
    shift_residual: float = 1e-4  # of the vectors' length, on positions that were held out
    distance_correlation: float = -0.95  # rank correlation of dot product and distance


def scene_texts(seed: int, recipe: Recipe) -> list[list[str]]:
    """The English sentences of the scenes, each a list of words."""
    return [scene.english_tokens for scene in sample_scenes(recipe.scenes, seed=seed)]


def word_vectors(
    texts: Texts, *, d: int, epochs: int, seed: int, min_count: int = 5
) -> tuple[WordVectors, WordCorpus, History]:
    """Train Word2Vec on some texts: (vectors, the numbered text, history)."""
    corpus = WordCorpus.from_texts(texts, min_count=min_count)
    torch.manual_seed(seed)
    model = SkipGram(Word2VecConfig(len(corpus.words), d_embedding=d)).to(choose_device())
    history = fit_skip_gram(model, corpus, epochs=epochs, seed=seed)
    return WordVectors(corpus.words, model.input.weight), corpus, history


def gensim_vectors(texts: Texts, corpus: WordCorpus, recipe: Recipe, *, seed: int, workers: int = 1) -> WordVectors:
    """The same by gensim's Word2Vec: same text, same settings. With one worker it gives the same twice."""
    from gensim.models import Word2Vec

    config = Word2VecConfig(len(corpus.words))
    peer = Word2Vec(
        texts,
        sg=1,
        vector_size=recipe.text_d,
        window=config.window,
        negative=config.negatives,
        ns_exponent=config.noise_power,
        sample=config.subsample,
        min_count=recipe.min_count,
        epochs=recipe.text_epochs,
        seed=seed,
        workers=workers,
    )
    return WordVectors(corpus.words, torch.tensor(peer.wv[list(corpus.words)]))


def purities(vectors: WordVectors, corpus: WordCorpus) -> dict[str, float]:
    """The share of content words whose nearest neighbour is of the same kind: by the vectors, and by frequency."""
    kinds = {word: kind for word, kind in scene_categories().items() if word in vectors}
    by_frequency = nearest_by_frequency(corpus.words, corpus.counts)
    return {
        "word2vec": neighbour_purity(lambda word: vectors.nearest(word, 1)[0][0], kinds),
        "frequency": neighbour_purity(by_frequency.__getitem__, kinds),
    }


def agreements(vectors: Mapping[str, WordVectors], corpus: WordCorpus) -> dict[str, Agreement]:
    """Rank correlation with WordSim-353 of some vectors, and of everything that frequency alone can say."""
    judged = wordsim353()
    ours = {name: word_similarity(v.similarity, judged, corpus.number) for name, v in vectors.items()}
    alone = frequency_similarities(corpus.words, corpus.counts)
    return ours | {name: word_similarity(by_count, judged, corpus.number) for name, by_count in alone.items()}


def wordsim_gain(scores: Mapping[str, Agreement]) -> float:
    """Word2Vec's correlation over that of the best frequency baseline, chosen with the truth in view."""
    return scores["word2vec"].correlation - max(scores[name].correlation for name in ("alike", "frequent", "rare"))


def worst_residual(table: Float[Tensor, "length d_model"], shifts: Sequence[int], *, seed: int) -> float:
    """The largest error of the fitted shifts, each fitted on a random half of the positions, measured on the other."""
    generator = torch.Generator().manual_seed(seed)
    residuals = []
    for shift in shifts:
        rows = torch.randperm(len(table) - shift, generator=generator)
        fitted, held_out = rows.tensor_split(2)
        residuals.append(shift_residual(table, shift_map(table, shift, fitted), shift, held_out))
    return max(residuals)


def dot_products(table: Float[Tensor, "length d_model"], farthest: int) -> list[float]:
    """The dot product of position 0's vector with those of positions 0 to `farthest`."""
    return (table[: farthest + 1] @ table[0]).tolist()


def distance_correlation(table: Float[Tensor, "length d_model"], farthest: int) -> float:
    """Rank correlation of the dot product with the distance: -1 if it only falls."""
    return spearman(range(farthest + 1), dot_products(table, farthest))


def claims(
    purity: Mapping[str, float], scores: Mapping[str, Agreement], residual: int | float, correlation: int | float
) -> dict[str, float]:
    """The measured value of every claim, by its id."""
    return {
        "embeddings-kinds": purity["word2vec"] - purity["frequency"],
        "embeddings-wordsim": wordsim_gain(scores),
        "embeddings-gensim": scores["word2vec"].correlation - scores["gensim"].correlation,
        "embeddings-shift": residual,
        "embeddings-distance": correlation,
    }


def main(arguments: list[str]) -> None:
    """Measure every claim on every seed and write the result file."""
    parser = argparse.ArgumentParser(prog="python -m lectures_lib.experiments embeddings_claims", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("results/embeddings_claims.json"))
    options = parser.parse_args(arguments)
    recipe = Recipe()
    wikipedia = wikipedia_sample()
    by_seed, by_purity, by_score, by_news = [], [], [], []
    for seed in options.seeds:
        texts = scene_texts(seed, recipe)
        vectors, corpus, _ = word_vectors(texts, d=recipe.scene_d, epochs=recipe.scene_epochs, seed=seed)
        purity = purities(vectors, corpus)
        settings = {"d": recipe.text_d, "epochs": recipe.text_epochs, "seed": seed, "min_count": recipe.min_count}
        vectors, corpus, _ = word_vectors(wikipedia, **settings)
        peer = gensim_vectors(wikipedia, corpus, recipe, seed=seed)
        scores = agreements({"word2vec": vectors, "gensim": peer}, corpus)
        news, news_corpus, _ = word_vectors(lee_news(), **settings)
        by_news.append(agreements({"word2vec": news}, news_corpus))
        residual = worst_residual(sinusoidal_positions(recipe.positions, recipe.shift_d), recipe.shifts, seed=seed)
        correlation = distance_correlation(sinusoidal_positions(recipe.positions, recipe.distance_d), recipe.farthest)
        by_seed.append(claims(purity, scores, residual, correlation))
        by_purity.append(purity)
        by_score.append(scores)
        print(f"seed {seed}: {by_seed[-1]}", flush=True)
    write_result(
        options.out,
        name="embeddings_claims",
        seed=options.seeds,
        settings={**dataclasses.asdict(recipe), "thresholds": Thresholds()._asdict()},
        measured={
            "claims": {name: [values[name] for values in by_seed] for name in by_seed[0]},
            "purity": {name: [purity[name] for purity in by_purity] for name in by_purity[0]},
            "wordsim": {name: [scores[name].correlation for scores in by_score] for name in by_score[0]},
            "wordsim_pairs": [scores["word2vec"].pairs for scores in by_score],
            "wordsim_news": {name: [scores[name].correlation for scores in by_news] for name in by_news[0]},
            "wordsim_news_pairs": [scores["word2vec"].pairs for scores in by_news],
        },
    )
