"""Word2Vec: words a second beside gensim's compiled threads, on one text, at equal settings, with both scores."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from lectures_lib.data.text import WordCorpus, wikipedia_sample
from lectures_lib.evaluation.words import WordVectors
from lectures_lib.experiments.embeddings_claims import Recipe, agreements, gensim_vectors
from lectures_lib.models.word2vec import SkipGram, Word2VecConfig
from lectures_lib.training.word2vec import fit_skip_gram

RUNS = 3
THREADS = 2


def training() -> dict:
    """Words a second, counted as gensim counts them: all words of the text times the epochs, counting included.

    Both get the same number of threads and take turns; each run is a whole training with a seed of its own, and the
    correlations with WordSim-353 are those of these very runs. A ratio above 1 means that ours is faster.
    """
    texts, recipe = wikipedia_sample(), Recipe()
    corpus = WordCorpus.from_texts(texts, min_count=recipe.min_count)

    def ours(seed: int) -> WordVectors:
        counted = WordCorpus.from_texts(texts, min_count=recipe.min_count)
        torch.manual_seed(seed)
        model = SkipGram(Word2VecConfig(len(counted.words), d_embedding=recipe.text_d))
        fit_skip_gram(model, counted, epochs=recipe.text_epochs, seed=seed, progress=False)
        return WordVectors(counted.words, model.input.weight)

    def peer(seed: int) -> WordVectors:
        return gensim_vectors(texts, corpus, recipe, seed=seed, workers=THREADS)

    words = corpus.length * recipe.text_epochs
    return compare(ours, peer, words=words, score=lambda v: agreements({"word2vec": v}, corpus)["word2vec"].correlation)


def compare(
    ours: Callable[[int], WordVectors],
    peer: Callable[[int], WordVectors],
    *,
    words: int,
    score: Callable[[WordVectors], float],
    runs: int = RUNS,
) -> dict:
    """Rates and scores of two trainings that take turns; a function of the seed each."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    rates: dict[str, list[float]] = {"ours": [], "peer": []}
    scores: dict[str, list[float]] = {"ours": [], "peer": []}
    try:
        for seed in range(runs):
            for name, train in (("ours", ours), ("peer", peer)):
                started = time.perf_counter()
                vectors = train(seed)
                rates[name].append(words / (time.perf_counter() - started))
                scores[name].append(score(vectors))
    finally:
        torch.set_num_threads(before)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "ours": middle["ours"],
        "peer": middle["peer"],
        "ratio": middle["ours"] / middle["peer"],
        "unit": "words/s",
        "spread": max(rates["ours"]) - min(rates["ours"]),
        "threads": THREADS,
        "wordsim": {name: statistics.median(values) for name, values in scores.items()},
    }
