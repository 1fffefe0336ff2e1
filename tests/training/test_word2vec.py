"""Fast training of Word2Vec: its update is autograd's, its loss is equation 4 in expectation, and it learns."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.text import WordCorpus
from lectures_lib.evaluation.words import WordVectors
from lectures_lib.losses.word2vec import negative_sampling_loss
from lectures_lib.models.word2vec import SkipGram, Word2VecConfig
from lectures_lib.training.word2vec import (
    Stretches,
    cut,
    fit_skip_gram,
    safe_stretches,
    shared_noise_loss,
    shared_noise_update,
)

LENGTH, WINDOW = 4, 2


def small(seed=0, *, dtype=torch.float64, **options):
    torch.manual_seed(seed)
    model = SkipGram(Word2VecConfig(9, d_embedding=5, window=WINDOW, negatives=3, **options)).to(dtype)
    torch.nn.init.normal_(model.input.weight)
    torch.nn.init.normal_(model.output.weight)
    return model


def batch_of_two_texts(seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 9, (11,), generator=generator)
    text_of = torch.tensor([0] * 5 + [1] * 6)
    return tokens, text_of, cut(tokens, text_of, window=WINDOW, length=LENGTH, generator=generator)


def pairs_by_loops(tokens, text_of, reach):
    """(centre, context) as the paper's double sum has them: the oracle for `Stretches.pairs`."""
    return [
        (int(tokens[i]), int(tokens[j]))
        for i, j in itertools.product(range(len(tokens)), repeat=2)
        if i != j and abs(i - j) <= reach[i] and text_of[i] == text_of[j]
    ]


def test_the_stretches_hold_every_pair_once_and_none_across_texts():
    for seed in range(20):
        tokens, text_of, batch = batch_of_two_texts(seed)
        stretch, centre, other = batch.pairs().nonzero(as_tuple=True)
        found = zip(batch.words[stretch, centre + WINDOW].tolist(), batch.words[stretch, other].tolist(), strict=True)
        expected = pairs_by_loops(tokens, text_of, batch.reach.flatten()[: len(tokens)])
        assert sorted(found) == sorted(expected)


def test_every_reach_from_one_to_the_window_is_drawn():
    tokens = torch.zeros(400, dtype=torch.long)
    batch = cut(tokens, tokens, window=5, length=8, generator=torch.Generator().manual_seed(0))
    assert sorted(set(batch.reach.flatten().tolist())) == [1, 2, 3, 4, 5]


def test_with_every_word_as_noise_the_loss_is_the_expected_loss_of_equation_4():
    model = small()
    tokens, text_of, batch = batch_of_two_texts()
    everything = torch.arange(9).expand(len(batch.words), 9)  # uniform noise, each word once: no chance left
    pairs = torch.tensor(pairs_by_loops(tokens, text_of, batch.reach.flatten()[: len(tokens)]))
    true = model(pairs[:, 0], pairs[:, 1:]).squeeze(1)
    every = model(pairs[:, 0], torch.arange(9).expand(len(pairs), 9))
    alone, _ = negative_sampling_loss(true, every[:, :0])
    with_all, _ = negative_sampling_loss(true, every)
    expected = alone + 3 * (with_all - alone) / 9  # three noise words, each of the nine with probability 1/9
    assert_close(shared_noise_loss(model, batch, everything), expected)


def test_the_fast_update_is_a_step_along_autograds_gradient():
    by_hand, by_autograd = small(), small()
    _, _, batch = batch_of_two_texts()
    noise = torch.randint(0, 9, (len(batch.words), 6), generator=torch.Generator().manual_seed(3))
    shared_noise_update(by_hand, batch, noise, 0.1)
    shared_noise_loss(by_autograd, batch, noise).backward()
    for ours, theirs in zip(by_hand.parameters(), by_autograd.parameters(), strict=True):
        assert theirs.grad.abs().max() > 0.1
        assert_close(ours.detach(), theirs.detach() - 0.1 * theirs.grad)


def test_rows_of_words_that_do_not_occur_stay_as_they_are():
    model = small()
    before = [p.detach().clone() for p in model.parameters()]
    words = torch.full((1, LENGTH + 2 * WINDOW), 4)
    batch = Stretches(words, torch.zeros_like(words), torch.ones(1, LENGTH, dtype=torch.long))
    shared_noise_update(model, batch, torch.full((1, 3), 7), 0.1)
    changed = [
        (p.detach() != b).any(dim=1).nonzero().flatten().tolist()
        for p, b in zip(model.parameters(), before, strict=True)
    ]
    assert changed == [[4], [4, 7]]


def two_worlds(count=400):
    """Words a, b, c occur together and x, y, z occur together, never mixed."""
    generator = torch.Generator().manual_seed(0)
    worlds = (["a", "b", "c"], ["x", "y", "z"])
    draws = torch.randint(0, 3, (count, 8), generator=generator).tolist()
    return [[worlds[index % 2][i] for i in row] for index, row in enumerate(draws)]


def train(seed=0, **options):
    corpus = WordCorpus.from_texts(two_worlds())
    torch.manual_seed(seed)
    model = SkipGram(Word2VecConfig(len(corpus.words), d_embedding=8, subsample=0))
    return model, corpus, fit_skip_gram(model, corpus, **{"epochs": 6, "seed": seed, "progress": False, **options})


def test_words_that_keep_the_same_company_end_up_close():
    model, corpus, history = train()
    vectors = WordVectors(corpus.words, model.input.weight)
    assert {word for word, _ in vectors.nearest("a", 2)} == {"b", "c"}
    assert {word for word, _ in vectors.nearest("y", 2)} == {"x", "z"}
    assert vectors.similarity("a", "b") > 0.5 > vectors.similarity("a", "x")
    assert history.loss[-1] < history.loss[0]
    assert history.step == sorted(history.step)


def test_the_same_seed_gives_the_same_vectors_and_another_seed_others():
    first, again, other = (train(seed)[0].input.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_a_run_that_was_stopped_ends_where_it_would_have_ended(monkeypatch):
    from lectures_lib.training import word2vec

    whole, corpus, _ = train()
    torch.manual_seed(0)
    model = SkipGram(Word2VecConfig(len(corpus.words), d_embedding=8, subsample=0))
    plain, epochs_begun = word2vec.cut, []

    def stop_at_the_third(*arguments, **options):
        epochs_begun.append(len(epochs_begun))
        if len(epochs_begun) == 3:
            raise KeyboardInterrupt
        return plain(*arguments, **options)

    monkeypatch.setattr(word2vec, "cut", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        fit_skip_gram(model, corpus, epochs=6, seed=0, progress=False)
    monkeypatch.undo()
    fit_skip_gram(model, corpus, epochs=6, seed=0, from_epoch=2, progress=False)
    assert torch.equal(model.input.weight, whole.input.weight)


def test_an_update_takes_fewer_stretches_where_one_word_is_everywhere():
    even = WordCorpus.from_texts([[f"w{i}" for i in range(500)]] * 5)
    uneven = WordCorpus.from_texts([["the", f"w{i}"] for i in range(500)] * 5)
    assert safe_stretches(even, subsample=0) == 16
    assert safe_stretches(uneven, subsample=0) == 1
    assert safe_stretches(uneven, subsample=1e-3) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(epochs=0), "epochs must be at least 1, got 0"),
        (dict(stretch=0, stretches=1), "stretch must be at least 1"),
        (dict(shared=0), "shared must be"),
        (dict(learning_rate=0), "learning_rate must be positive, got 0"),
        (dict(from_epoch=6), "from_epoch must lie between 0 and epochs - 1 = 5, got 6"),
        (dict(learning_rate=1e6, epochs=20), "the loss became"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train(**options)


def test_a_corpus_of_another_vocabulary_is_refused():
    model = SkipGram(Word2VecConfig(7))
    with pytest.raises(ValueError, match="as many words as the model's vocabulary, 7, got 6"):
        fit_skip_gram(model, WordCorpus.from_texts(two_worlds()), epochs=1, seed=0)
