"""The checks of `parity.bert` would notice a mistake: one is planted for each part of BERT."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from lectures_lib import attention, layers
from lectures_lib.models import bert as model
from parity import bert as checks
from parity.__main__ import CHECKS, TOLERANCE


def test_the_checks_are_registered():
    assert {"bert-pretraining", "bert-classification", "bert-minilm"} <= set(CHECKS)


def gelu_by_tanh(monkeypatch):
    monkeypatch.setitem(layers.ACTIVATIONS, "gelu", lambda x: F.gelu(x, approximate="tanh"))


def gelu_by_tanh_in_the_head(monkeypatch):
    monkeypatch.setattr(
        model.MaskedLanguageHead,
        "forward",
        lambda self, states, table: F.linear(
            self.norm(F.gelu(self.dense(states), approximate="tanh")), table, self.bias
        ),
    )


def larger_epsilon(monkeypatch):
    # Numbers of a size where 1e-3 beside 1e-12 means something.
    monkeypatch.setattr(
        checks, "BertForPreTraining", lambda config: model.BertForPreTraining(dataclasses.replace(config, epsilon=1e-3))
    )


def no_segments(monkeypatch):
    right = model.Bert.embed
    monkeypatch.setattr(model.Bert, "embed", lambda self, tokens, segments=None: right(self, tokens, None))


def attention_to_padding(monkeypatch):
    right = model.Bert.forward
    monkeypatch.setattr(
        model.Bert, "forward", lambda self, tokens, segments=None, present=None: right(self, tokens, segments, None)
    )


def pooler_without_tanh(monkeypatch):
    monkeypatch.setattr(model.Bert, "pool", lambda self, states: self.pooler(states[:, 0]))


def look_ahead(monkeypatch):
    right = attention.attention
    monkeypatch.setattr(attention, "attention", lambda *rest, **options: right(*rest, **(options | {"causal": True})))


def queries_and_keys_exchanged(monkeypatch):
    right = attention.SelfAttention.heads

    def wrong(self, x, queries=None):
        query, key, value = right(self, x, queries)
        return key, query, value

    monkeypatch.setattr(attention.SelfAttention, "heads", wrong)


def mean_over_all_targets(monkeypatch):
    right = checks.pretraining_loss
    monkeypatch.setattr(checks, "pretraining_loss", lambda *pairs: (right(*pairs)[0], right(*pairs)[1] + 1))


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        (gelu_by_tanh, "bert-pretraining"),
        (gelu_by_tanh_in_the_head, "bert-pretraining"),
        (larger_epsilon, "bert-pretraining"),
        (no_segments, "bert-pretraining"),
        (attention_to_padding, "bert-classification"),
        (pooler_without_tanh, "bert-classification"),
        (look_ahead, "bert-classification"),
        (queries_and_keys_exchanged, "bert-pretraining"),
        (mean_over_all_targets, "bert-pretraining"),
        (attention_to_padding, "bert-minilm"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_planted_mistake_is_noticed(mistake, check, monkeypatch):
    mistake(monkeypatch)
    assert CHECKS[check]().worst > TOLERANCE


def test_the_batch_compared_has_padding_both_segments_and_targets_in_every_text():
    data = checks.batch()
    assert not data["present"].all()
    assert data["segments"].unique().tolist() == [0, 1]
    assert (data["targets"] != -100).any(dim=1).all()
    assert torch.equal(data["tokens"] == 0, ~data["present"])
