"""Word2Vec's two tables: their first values, their scores, their published size."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.models.word2vec import SkipGram, Word2VecConfig


def test_a_score_is_the_dot_product_of_an_input_row_and_an_output_row():
    torch.manual_seed(0)
    model = SkipGram(Word2VecConfig(7, d_embedding=4))
    torch.nn.init.normal_(model.output.weight)
    scores = model(torch.tensor([2, 5]), torch.tensor([[1, 6, 1], [0, 5, 3]]))
    for row, (centre, others) in enumerate([(2, [1, 6, 1]), (5, [0, 5, 3])]):
        for column, other in enumerate(others):
            expected = sum(model.input.weight[centre] * model.output.weight[other])
            assert_close(scores[row, column], expected)


def test_the_first_values_are_those_of_the_authors_program():
    model = SkipGram(Word2VecConfig(1000, d_embedding=50))
    rows = model.input.weight.detach()
    assert float(rows.abs().max()) <= 0.5 / 50
    assert float(rows.abs().max()) > 0.49 / 50
    assert abs(float(rows.mean())) < 1e-3 / 50 * 10
    assert not model.output.weight.any()
    assert not model(torch.tensor([1]), torch.tensor([[2, 3]])).any()  # so every score begins at 0


def test_the_published_size_is_two_tables_of_300_numbers_for_692_000_words():
    with torch.device("meta"):
        model = SkipGram(Word2VecConfig.paper())
        scores = model(torch.zeros(3, dtype=torch.long), torch.zeros(3, 6, dtype=torch.long))
    assert sum(p.numel() for p in model.parameters()) == 2 * 692_000 * 300
    assert scores.shape == (3, 6)
    assert scores.device.type == "meta"


def test_the_tiny_preset_is_gensims_default():
    from gensim.models import Word2Vec

    peer, ours = Word2Vec(), Word2VecConfig.tiny(10)
    assert (ours.d_embedding, ours.window, ours.negatives) == (peer.vector_size, peer.window, peer.negative)
    assert (ours.noise_power, ours.subsample) == (peer.ns_exponent, peer.sample)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(vocabulary=0), "vocabulary must be at least 1, got 0"),
        (dict(vocabulary=9, window=0), "window must be at least 1"),
        (dict(vocabulary=9, negatives=0), "negatives must be"),
        (dict(vocabulary=9, subsample=-0.1), "subsample must be 0 or more, got -0.1"),
    ],
)
def test_sizes_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Word2VecConfig(**options)


def test_other_words_that_do_not_fit_the_centres_are_refused():
    model = SkipGram(Word2VecConfig(7, d_embedding=4))
    with pytest.raises(ValueError, match=r"others must have shape \(2, candidates\), got \(3, 1\)"):
        model(torch.tensor([1, 2]), torch.zeros(3, 1, dtype=torch.long))
    with pytest.raises(ValueError, match="others must have shape"):
        model(torch.tensor([1, 2]), torch.tensor([1, 2]))
