"""The checks of `parity.gpt` agree, and would notice a mistake."""

from types import SimpleNamespace

import pytest
import torch

from lectures_lib import layers
from lectures_lib.inference import lean_gpt
from lectures_lib.models import gpt
from parity import gpt as parity_gpt
from parity.__main__ import CHECKS, TOLERANCE


def test_the_checks_are_registered():
    assert CHECKS["gpt-logits"] is parity_gpt.logits
    assert CHECKS["greedy-gpt"] is parity_gpt.greedy_tokens


def test_what_both_say_differs_from_prompt_to_prompt_and_is_no_single_token():
    ours, _ = parity_gpt.talking_pair()
    said = parity_gpt.sample(ours, parity_gpt.tokens(16, 5, seed=2).tolist(), max_new_tokens=parity_gpt.NEW, top_k=1)
    assert len({tuple(row) for row in said}) >= 14
    assert min(len(set(row)) for row in said) >= 4


# Planted mistakes


def the_exact_gelu(monkeypatch):
    monkeypatch.setitem(layers.ACTIVATIONS, "gelu_tanh", torch.nn.functional.gelu)


def berts_epsilon(monkeypatch):
    monkeypatch.setattr(gpt, "EPSILON", 1e-12)


def no_look_ahead_mask(monkeypatch):
    right = gpt.GPTLayer.forward
    monkeypatch.setattr(gpt.GPTLayer, "forward", lambda self, x, cache=None, *, look_ahead=True: right(
        self, x, cache, look_ahead=False
    ))  # fmt: skip


def matrices_not_turned(monkeypatch):
    right = parity_gpt.gpt_tensors

    def wrong(tensors, config):
        ours = right(tensors, config)
        square = [name for name in ours if name.endswith("project_out.weight")]
        return ours | {name: ours[name].T.contiguous() for name in square}

    monkeypatch.setattr(parity_gpt, "gpt_tensors", wrong)


def positions_from_one(monkeypatch):
    right = layers._rows
    monkeypatch.setattr(layers, "_rows", lambda table, start, time: right(table, start + 1, time))


def a_step_with_the_newest_token_left_out(monkeypatch):
    right = lean_gpt.F.scaled_dot_product_attention
    older = lambda query, key, value: right(query, key[:, :, :-1], value[:, :, :-1])  # noqa: E731
    monkeypatch.setattr(lean_gpt, "F", SimpleNamespace(**{**vars(lean_gpt.F), "scaled_dot_product_attention": older}))


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        (the_exact_gelu, "gpt-logits"),
        (berts_epsilon, "gpt-logits"),
        (no_look_ahead_mask, "gpt-logits"),
        (matrices_not_turned, "gpt-logits"),
        (positions_from_one, "gpt-logits"),
        (no_look_ahead_mask, "greedy-gpt"),
        (positions_from_one, "greedy-gpt"),
        (a_step_with_the_newest_token_left_out, "greedy-gpt"),
    ],
)
def test_a_planted_mistake_is_noticed(mistake, check, monkeypatch):
    parity_gpt.talking_pair()  # trained before, without the mistake
    mistake(monkeypatch)
    assert CHECKS[check]().worst > 10 * TOLERANCE
