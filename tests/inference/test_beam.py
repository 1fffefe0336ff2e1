"""Beam search against all sequences there are, against a slow one in plain Python, and what it must not compute."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.data.batching import pair_batch
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from lectures_lib.inference import greedy
from lectures_lib.inference.beam import beam_search, length_penalty
from lectures_lib.inference.greedy import StepwiseModel
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.models.transformer import Transformer, TransformerConfig

PROPERTY = settings(deadline=None, max_examples=25)
NO_PENALTY = lambda length: 1.0  # noqa: E731
SOURCES, LENGTHS = torch.tensor([[5, 2, 0], [6, 7, 2], [8, 2, 0]]), torch.tensor([2, 3, 2])


class Recomputing:
    """A model without any cache: its state is all that has been said, and every step begins from the start.

    `scores(source, said)` gives the logits of the next token; `rows` remembers how many were computed at each step.
    """

    def __init__(self, scores):
        self.scores, self.rows = scores, []

    def start(self, source, source_lengths):
        return [(s[:n].tolist(), []) for s, n in zip(source, source_lengths, strict=True)]

    def step(self, tokens, state):
        self.rows.append(len(state))
        assert len(tokens) == len(state)
        state = [(source, [*said, token]) for (source, said), token in zip(state, tokens.tolist(), strict=True)]
        return torch.stack([self.scores(source, said) for source, said in state]), state

    def select(self, state, rows, *, group=1):
        assert len(rows) % group == 0
        return [state[row] for row in rows.tolist()]


def dice(vocabulary, seed):
    """A language in which anything may follow anything, with probabilities that depend on all that was said."""

    def scores(source, said):
        generator = torch.Generator().manual_seed(hash((seed, *source, *said)) % 2**62)
        return 2 * torch.randn(vocabulary, generator=generator)

    return Recomputing(scores)


def transformer(**options):
    torch.manual_seed(1)
    sizes = dict(d_model=16, n_heads=2, d_feed_forward=32, n_encoder_layers=1, n_decoder_layers=2, max_length=12)
    model = Transformer(TransformerConfig(12, 9, **sizes, **options)).eval()
    with torch.no_grad():
        model.embed_target.weight.mul_(3)  # a model that has opinions
    return model


def without_cache(model):
    def scores(source, said):
        return model(torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([said]))[0, -1]

    return Recomputing(scores)


def log_probability(model, source, tokens):
    total = 0.0
    for n, token in enumerate(tokens):
        total += model.scores(source, [BOS_ID, *tokens[:n]]).log_softmax(-1)[token].item()
    return total


def all_sequences(vocabulary, longest, shortest=0):
    """Every sentence of at most `longest` tokens: ended by <eos>, which is no sooner than allowed, or cut off."""
    others = [token for token in range(vocabulary) if token != EOS_ID]
    for length in range(shortest, longest):
        for words in itertools.product(others, repeat=length):
            yield [*words, EOS_ID]
    for words in itertools.product(others, repeat=longest):
        yield list(words)


def words(row):
    """Up to and with <eos>: <pad> may be a word of a model that knows nothing."""
    row = row.tolist()
    return row[: row.index(EOS_ID) + 1] if EOS_ID in row else row


@PROPERTY
@given(seed=st.integers(0, 10**6), vocabulary=st.integers(3, 5), longest=st.integers(1, 3), alpha=st.floats(0, 2))
def test_a_beam_wide_enough_finds_what_trying_everything_finds(seed, vocabulary, longest, alpha):
    model, penalty = dice(vocabulary, seed), length_penalty(alpha)
    everything = [
        (log_probability(model, [5], tokens) / penalty(len(tokens)), tokens)
        for tokens in all_sequences(vocabulary, longest)
    ]
    everything.sort(reverse=True)
    found = beam_search(
        model, torch.tensor([[5]]), torch.tensor([1]), beam_size=130, max_new_tokens=longest, penalty=penalty
    )
    count = len(everything)
    assert [words(row) for row in found.tokens[0, :count]] == [tokens for _, tokens in everything]
    assert_close(found.scores[0, :count], torch.tensor([score for score, _ in everything]), atol=1e-5, rtol=1e-5)
    assert found.scores[0, count:].isneginf().all()  # there are no more
    assert (found.tokens[0, count:] == PAD_ID).all()


@PROPERTY
@given(seed=st.integers(0, 10**6), shortest=st.integers(0, 3))
def test_eos_is_not_said_too_early(seed, shortest):
    model = dice(4, seed)
    found = beam_search(
        model, torch.tensor([[5]]), torch.tensor([1]), beam_size=100, max_new_tokens=3, min_new_tokens=shortest
    )
    number = len(list(all_sequences(4, 3, shortest)))
    assert sorted(map(words, found.tokens[0, :number])) == sorted(all_sequences(4, 3, shortest))
    assert found.scores[0, number:].isneginf().all()


def slow_beam(model, source, size, longest, penalty):
    """The same algorithm for one sentence in plain Python, and without stopping early."""
    running, finished = [(0.0, [])], []
    for _ in range(longest):
        following = []
        for total, said in running:
            steps = model.scores(source, [BOS_ID, *said]).log_softmax(-1).tolist()
            following += [(total + step, [*said, token]) for token, step in enumerate(steps)]
        following.sort(reverse=True)
        finished += [(t / penalty(len(said)), said) for t, said in following[:size] if said[-1] == EOS_ID]
        running = [(t, said) for t, said in following if said[-1] != EOS_ID][:size]
    finished += [(t / penalty(len(said)), said) for t, said in running]
    return sorted(finished, reverse=True)[:size]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(1, 5),
    longest=st.integers(1, 7),
    alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
)
def test_a_narrow_beam_of_a_batch_is_the_slow_one_of_each_sentence(seed, size, longest, alpha):
    """Batched, with early stopping and sentences left out: the same sentences and scores as one by one without."""
    model, penalty = dice(7, seed), length_penalty(alpha)
    found = beam_search(model, SOURCES, LENGTHS, beam_size=size, max_new_tokens=longest, penalty=penalty)
    for row, length in enumerate(LENGTHS):
        expected = slow_beam(model, SOURCES[row, :length].tolist(), size, longest, penalty)
        real = found.scores[row].isfinite()
        assert [words(tokens) for tokens in found.tokens[row][real]] == [said for _, said in expected]
        assert_close(found.scores[row][real], torch.tensor([score for score, _ in expected]), atol=1e-5, rtol=1e-5)


@PROPERTY
@given(seed=st.integers(0, 10**6), shortest=st.integers(0, 4))
def test_a_beam_of_one_without_penalty_is_greedy(seed, shortest):
    limits = dict(max_new_tokens=6, min_new_tokens=shortest)
    one = beam_search(dice(8, seed), SOURCES, LENGTHS, beam_size=1, penalty=NO_PENALTY, **limits)
    said = greedy(dice(8, seed), SOURCES, LENGTHS, **limits)
    assert [words(row) for row in one.tokens[:, 0]] == [words(row) for row in said]


@PROPERTY
@given(seed=st.integers(0, 10**6), size=st.integers(1, 6))
def test_hypotheses_come_in_order_are_distinct_and_their_scores_are_their_log_probabilities(seed, size):
    model = dice(6, seed)
    found = beam_search(model, SOURCES, LENGTHS, beam_size=size, max_new_tokens=5)
    penalty = length_penalty(0.6)  # the default
    for row, length in enumerate(LENGTHS):
        scores, sentences = found.scores[row].tolist(), [words(tokens) for tokens in found.tokens[row]]
        assert scores == sorted(scores, reverse=True)
        assert len(set(map(tuple, sentences))) == size
        for score, said in zip(scores, sentences, strict=True):
            source = SOURCES[row, :length].tolist()
            assert log_probability(model, source, said) / penalty(len(said)) == pytest.approx(score, abs=1e-4)


def test_after_eos_there_is_only_padding():
    found = beam_search(dice(6, 3), SOURCES, LENGTHS, beam_size=4, max_new_tokens=8)
    for row in found.tokens.flatten(0, 1):
        assert (row[len(words(row)) :] == PAD_ID).all()


@pytest.mark.parametrize(
    ("size", "options"), [(1, {}), (2, {}), (4, {}), (12, {}), (4, dict(norm="pre", logits_bias=True))], ids=str
)
def test_with_the_cache_and_the_shared_memory_it_says_what_it_says_without(size, options):
    model = transformer(**options)
    arguments = dict(beam_size=size, max_new_tokens=5)
    cached = beam_search(model, SOURCES, LENGTHS, **arguments)
    plain = beam_search(without_cache(model), SOURCES, LENGTHS, **arguments)
    assert cached.tokens.tolist() == plain.tokens.tolist()
    assert_close(cached.scores, plain.scores, atol=1e-5, rtol=1e-5)


def test_a_batch_gives_each_sentence_what_it_gets_alone():
    model = transformer()
    together = beam_search(model, SOURCES, LENGTHS, beam_size=3, max_new_tokens=8)
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        alone = beam_search(model, SOURCES[one, :length], LENGTHS[one], beam_size=3, max_new_tokens=8)
        assert [words(r) for r in together.tokens[row]] == [words(r) for r in alone.tokens[0]]
        assert_close(together.scores[row], alone.scores[0], atol=1e-5, rtol=1e-5)


# What is not computed


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": "lstm"},
        {"attention": "additive", "bidirectional": True},
        {"attention": "multiplicative", "bidirectional": True, "input_feeding": True},
    ],
    ids=["gru", "lstm", "additive", "multiplicative"],
)
def test_a_recurrent_models_hypotheses_have_the_scores_teacher_forcing_gives_them(options):
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(9, 9, 6, 8, **options)).eval()
    found = beam_search(model, SOURCES, LENGTHS, beam_size=3, max_new_tokens=5, penalty=NO_PENALTY)
    for row, length in enumerate(LENGTHS.tolist()):
        source = SOURCES[row : row + 1, :length]
        for tokens, score in zip(found.tokens[row], found.scores[row], strict=True):
            ends = (tokens == EOS_ID).nonzero()
            said = tokens[: int(ends[0]) + 1] if len(ends) else tokens  # a model may say <pad> in between
            shown = torch.cat([torch.tensor([BOS_ID]), said[:-1]]).unsqueeze(0)
            with torch.no_grad():
                log_p = model(source, torch.tensor([length]), shown)[0].log_softmax(-1)
            assert_close(log_p.gather(1, said.unsqueeze(1)).sum(), score, atol=1e-5, rtol=1e-5)


def patient(source, said):
    """A model sure of itself: its sentence has as many words as its source's first number says."""
    right = EOS_ID if len(said) > source[0] else 4
    return torch.full((6,), -20.0).index_fill(0, torch.tensor(right), 0.0)


def test_a_sentence_that_is_done_is_not_computed_any_further():
    """Hypotheses are counted by the rows the model sees; a batch costs what its sentences cost, not its longest."""
    sources, lengths = torch.tensor([[1], [6], [3]]), torch.tensor([1, 1, 1])
    arguments = dict(beam_size=2, max_new_tokens=30, penalty=NO_PENALTY)
    together = Recomputing(patient)
    found = beam_search(together, sources, lengths, **arguments)
    assert [words(row) for row in found.tokens[:, 0]] == [[4] * n + [EOS_ID] for n in (1, 6, 3)]
    alone = []
    for one in range(3):
        model = Recomputing(patient)
        beam_search(model, sources[one : one + 1], lengths[:1], **arguments)
        alone.append(model.rows)
    assert sum(together.rows) == sum(map(sum, alone))
    assert len(together.rows) == max(map(len, alone)) < 10
    assert together.rows[0] == 3  # before the first word there is one hypothesis a sentence


def test_it_goes_on_while_a_longer_sentence_may_still_win():
    """Stopping once k are finished would miss it: a long sentence may overtake through the length penalty."""

    def scores(source, said):
        long = {1: [-9, -9, -1.0, -9, -1.05, -9], 2: [-9, -9, -1.0, -9, 0, -9], 3: [-9, -9, 0, -9, 0.2, -9]}
        return torch.tensor(long.get(len(said), [-20.0, -20, 5, -20, -20, -20]), dtype=torch.float32)

    model = Recomputing(scores)
    penalty = length_penalty(3.0)
    (best, *_), (score, *_) = (x[0] for x in beam_search(
        model, torch.tensor([[5]]), torch.tensor([1]), beam_size=2, max_new_tokens=6, penalty=penalty))  # fmt: skip
    everything = max(
        (log_probability(model, [5], tokens) / penalty(len(tokens)), tokens) for tokens in all_sequences(6, 5)
    )
    assert words(best) == everything[1]
    assert len(words(best)) > 2
    assert score.item() == pytest.approx(everything[0], abs=1e-5)


def test_an_unfinished_sentence_ends_at_the_limit():
    found = beam_search(Recomputing(patient), torch.tensor([[9]]), torch.tensor([1]), beam_size=3, max_new_tokens=4)
    assert found.tokens[0, 0].tolist() == [4, 4, 4, 4]
    assert found.scores[0].isfinite().all()


# Penalty and limits


@pytest.mark.parametrize(("alpha", "length", "divisor"), [(0.0, 9, 1.0), (1.0, 1, 1.0), (1.0, 7, 2.0), (2.0, 7, 4.0)])
def test_the_length_penalty_is_equation_14(alpha, length, divisor):
    assert length_penalty(alpha)(length) == pytest.approx(divisor)


@PROPERTY
@given(alpha=st.floats(0, 3), length=st.integers(1, 100))
def test_the_length_penalty_never_shrinks(alpha, length):
    assert length_penalty(alpha)(length) <= length_penalty(alpha)(length + 1)
    assert length_penalty(alpha)(length) == pytest.approx(math.exp(alpha * math.log((5 + length) / 6)))


def test_a_negative_alpha_is_refused():
    with pytest.raises(ValueError, match="alpha must be at least 0, got -0.1"):
        length_penalty(-0.1)


@pytest.mark.parametrize("size", [0, -3])
def test_a_beam_of_nothing_is_refused(size):
    with pytest.raises(ValueError, match=f"beam_size must be at least 1, got {size}"):
        beam_search(dice(6, 0), SOURCES, LENGTHS, beam_size=size, max_new_tokens=3)


@pytest.mark.parametrize(("most", "least"), [(0, 0), (3, 4), (-1, -2), (3, -1)])
def test_limits_that_make_no_sense_are_refused(most, least):
    with pytest.raises(ValueError, match=f"got {most} and {least}"):
        beam_search(dice(6, 0), SOURCES, LENGTHS, max_new_tokens=most, min_new_tokens=least)


def test_an_empty_source_is_refused():
    with pytest.raises(ValueError, match="source_lengths must be at least 1, got 0: a source is empty"):
        beam_search(transformer(), SOURCES, torch.tensor([2, 0, 2]), max_new_tokens=3)
    with pytest.raises(ValueError, match="at least one sentence, got none"):
        beam_search(transformer(), SOURCES[:0], LENGTHS[:0], max_new_tokens=3)


def test_both_models_are_what_a_decoder_expects():
    assert isinstance(transformer(), StepwiseModel)
    assert isinstance(dice(6, 0), StepwiseModel)


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        model = transformer()
    batch = pair_batch([([5, 6], [4]), ([7], [4])]).to(torch.device("meta"))
    found = beam_search(model, batch.source, batch.source_lengths, beam_size=3, max_new_tokens=5, min_new_tokens=5)
    assert (found.tokens.device.type, found.tokens.shape, found.scores.shape) == ("meta", (2, 3, 5), (2, 3))
