"""Greedy decoding on a model whose words are known, and on a real one."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.data.batching import pair_batch
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from lectures_lib.inference import greedy
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lectures_lib.models.transformer import Transformer, TransformerConfig


class Countdown:
    """Says its source's first token, one less each time, and ends after 4. Counts the rows it is asked to compute."""

    def __init__(self):
        self.rows = []

    def start(self, source, source_lengths):
        return source[:, 0] + 1

    def step(self, tokens, state):
        self.rows.append(len(tokens))
        state = state - 1
        return F.one_hot(torch.where(state < 4, EOS_ID, state.clamp(min=0)), 12).float(), state

    def select(self, state, rows, *, group=1):
        return state[rows]


def test_counts_down_and_stops():
    said = greedy(Countdown(), torch.tensor([[7], [4]]), torch.tensor([1, 1]), max_new_tokens=20)
    assert said.tolist() == [[7, 6, 5, 4, EOS_ID], [4, EOS_ID, PAD_ID, PAD_ID, PAD_ID]]


def test_a_sentence_that_has_ended_is_not_computed_any_further():
    model = Countdown()
    said = greedy(model, torch.tensor([[4], [9], [6]]), torch.tensor([1, 1, 1]), max_new_tokens=20)
    assert [(row != PAD_ID).sum().item() for row in said] == [2, 7, 4]
    assert model.rows == [3, 3, 2, 2, 1, 1, 1]


def test_never_says_more_than_allowed():
    said = greedy(Countdown(), torch.tensor([[9]]), torch.tensor([1]), max_new_tokens=3)
    assert said.tolist() == [[9, 8, 7]]


def test_can_be_made_to_go_on():
    said = greedy(Countdown(), torch.tensor([[4]]), torch.tensor([1]), max_new_tokens=6, min_new_tokens=6)
    assert said.shape == (1, 6)
    assert EOS_ID not in said[0, :6]


def test_a_transformer_with_its_cache_says_the_same_in_a_batch_and_alone():
    torch.manual_seed(0)
    sizes = dict(d_model=16, n_heads=2, d_feed_forward=32, n_encoder_layers=1, n_decoder_layers=2, max_length=12)
    model = Transformer(TransformerConfig(12, 9, **sizes)).eval()
    batch = pair_batch([([5, 6], [4]), ([7, 8, 9, 4], [4]), ([11], [4])])
    together = greedy(model, batch.source, batch.source_lengths, max_new_tokens=8)
    for row, length in enumerate(batch.source_lengths):
        one = slice(row, row + 1)
        alone = greedy(model, batch.source[one, :length], batch.source_lengths[one], max_new_tokens=8)[0]
        assert together[row, : len(alone)].tolist() == alone.tolist()
        shown = torch.cat([torch.tensor([[BOS_ID]]), alone[None, :-1]], dim=1)
        without_cache = model(batch.source[one, :length], batch.source_lengths[one], shown).argmax(-1)
        assert without_cache[0].tolist() == alone.tolist()


def test_is_the_argmax_of_teacher_forcing_on_its_own_words():
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(12, 11, 6, 16)).eval()
    batch = pair_batch([([5, 6], [4]), ([7, 8, 9], [4])])
    said = greedy(model, batch.source, batch.source_lengths, max_new_tokens=8, min_new_tokens=8)
    shown = torch.cat([torch.full((2, 1), BOS_ID), said[:, :-1]], dim=1)
    logits = model(batch.source, batch.source_lengths, shown)
    logits[:, :, EOS_ID] = -torch.inf
    assert_close(logits.argmax(-1), said)


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        model = Seq2Seq(Seq2SeqConfig(12, 11, 6, 8))
    batch = pair_batch([([5, 6], [4])]).to(torch.device("meta"))
    said = greedy(model, batch.source, batch.source_lengths, max_new_tokens=5, min_new_tokens=5)
    assert (said.device.type, said.shape) == ("meta", (1, 5))


def test_an_empty_source_is_refused():
    with pytest.raises(ValueError, match="source_lengths must be at least 1, got 0: a source is empty"):
        greedy(Countdown(), torch.tensor([[4], [5]]), torch.tensor([1, 0]), max_new_tokens=3)
    with pytest.raises(ValueError, match="source must hold at least one sentence, got none"):
        greedy(Countdown(), torch.zeros(0, 1, dtype=torch.long), torch.zeros(0, dtype=torch.long), max_new_tokens=3)


@pytest.mark.parametrize(("most", "least"), [(0, 0), (3, 4), (-1, -2)])
def test_limits_that_make_no_sense_are_refused(most, least):
    with pytest.raises(ValueError, match=f"got {most} and {least}"):
        greedy(Countdown(), torch.tensor([[4]]), torch.tensor([1]), max_new_tokens=most, min_new_tokens=least)
