"""Greedy decoding on a model whose words are known, and on a real one."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.data.batching import pair_batch
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from lectures_lib.inference import greedy
from lectures_lib.models.seq2seq import Seq2Seq, Seq2SeqConfig


class Countdown:
    """Says its source's first token, one less each time, and ends after 4."""

    def start(self, source, source_lengths):
        return source[:, 0] + 1

    def step(self, tokens, state):
        state = state - 1
        return F.one_hot(torch.where(state < 4, EOS_ID, state.clamp(min=0)), 12).float(), state


def test_counts_down_and_stops():
    said = greedy(Countdown(), torch.tensor([[7], [4]]), torch.tensor([1, 1]), max_new_tokens=20)
    assert said.tolist() == [[7, 6, 5, 4, EOS_ID], [4, EOS_ID, PAD_ID, PAD_ID, PAD_ID]]


def test_never_says_more_than_allowed():
    said = greedy(Countdown(), torch.tensor([[9]]), torch.tensor([1]), max_new_tokens=3)
    assert said.tolist() == [[9, 8, 7]]


def test_can_be_made_to_go_on():
    said = greedy(Countdown(), torch.tensor([[4]]), torch.tensor([1]), max_new_tokens=6, min_new_tokens=6)
    assert said.shape == (1, 6)
    assert EOS_ID not in said[0, :6]


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


@pytest.mark.parametrize(("most", "least"), [(0, 0), (3, 4), (-1, -2)])
def test_limits_that_make_no_sense_are_refused(most, least):
    with pytest.raises(ValueError, match=f"got {most} and {least}"):
        greedy(Countdown(), torch.tensor([[4]]), torch.tensor([1]), max_new_tokens=most, min_new_tokens=least)
