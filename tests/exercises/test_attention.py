"""Every checker accepts the solution and rejects typical wrong answers, each with its own message."""

import pytest
import torch

from lectures_lib.exercises.attention import (
    check_context,
    check_error_rate,
    check_masked_softmax,
    check_multiplicative_scores,
    check_weight_count,
)
from lectures_lib.exercises.checking import WrongAnswer

SIZES = dict(n_source=9, n_target=12, d_hidden=128)
INF = float("inf")


def masked(scores, mask):
    return scores.masked_fill(~mask, -INF).softmax(-1)


def turn(keys):
    return keys.transpose(1, 2)


def general(queries, keys, matrix):
    return queries @ matrix @ turn(keys)


def links(weights):
    return {(row, int(best)) for row, best in enumerate(weights.argmax(1))}


def error_rate(weights, gold):
    found = links(weights)
    return 1 - 2 * len(found & gold) / (len(found) + len(gold))


RIGHT = [
    lambda: check_weight_count(108, **SIZES),
    lambda: check_masked_softmax(masked),
    lambda: check_masked_softmax(lambda s, m: (s.exp() * m) / (s.exp() * m).sum(-1, keepdim=True)),
    lambda: check_context(lambda w, h: w @ h),
    lambda: check_context(lambda w, h: (w.unsqueeze(-1) * h.unsqueeze(1)).sum(2)),
    lambda: check_multiplicative_scores(general),
    lambda: check_error_rate(error_rate),
]
WRONG = {
    "one written token": lambda: check_weight_count(9, **SIZES),
    "number of written tokens": lambda: check_weight_count(12, **SIZES),
    "you added": lambda: check_weight_count(21, **SIZES),
    "numbers in the encoder's states": lambda: check_weight_count(9 * 128, **SIZES),
    "not one a hidden unit": lambda: check_weight_count(108 * 128, **SIZES),
    "pairs of tokens read": lambda: check_weight_count(81, **SIZES),
    "pairs of written tokens": lambda: check_weight_count(144, **SIZES),
    "it is not 7": lambda: check_weight_count(7, **SIZES),
    "one number": lambda: check_weight_count("many", **SIZES),
    "padding still gets weight": lambda: check_masked_softmax(lambda s, m: s.softmax(-1)),
    "is missing now": lambda: check_masked_softmax(lambda s, m: s.softmax(-1) * m),
    "a score of 0 is not nothing": lambda: check_masked_softmax(lambda s, m: (s * m).softmax(-1)),
    "upside down": lambda: check_masked_softmax(lambda s, m: s.masked_fill(m, -INF).softmax(-1)),
    "sum to 1 over the queries": lambda: check_masked_softmax(lambda s, m: s.masked_fill(~m, -INF).softmax(1)),
    "scores still": lambda: check_masked_softmax(lambda s, m: s.masked_fill(~m, -INF)),
    "do not sum to 1 yet": lambda: check_masked_softmax(lambda s, m: s.masked_fill(~m, -INF).exp()),
    "which score must": lambda: check_masked_softmax(lambda s, m: torch.full_like(s, 0.3)),
    "should have shape": lambda: check_masked_softmax(lambda s, m: s[0]),
    "plain mean": lambda: check_context(lambda w, h: h.mean(1, keepdim=True).expand(-1, 3, -1)),
    "that is the sum": lambda: check_context(lambda w, h: h.sum(1, keepdim=True).expand(-1, 3, -1)),
    "divided by the number": lambda: check_context(lambda w, h: w @ h / 4),
    "largest weight alone": lambda: check_context(
        lambda w, h: torch.nn.functional.one_hot(w.argmax(-1), 4).float() @ h
    ),
    "the same context": lambda: check_context(lambda w, h: (w.mean(1, keepdim=True) @ h).expand(-1, 3, -1)),
    "the values differ by": lambda: check_context(lambda w, h: w @ h + 1),
    "W is not used": lambda: check_multiplicative_scores(lambda q, k, w: q @ turn(k)),
    "turned round": lambda: check_multiplicative_scores(lambda q, k, w: q @ w.T @ turn(k)),
    "divided by √d": lambda: check_multiplicative_scores(lambda q, k, w: general(q, k, w) / 2),
    "weights already": lambda: check_multiplicative_scores(lambda q, k, w: general(q, k, w).softmax(-1)),
    "no tanh": lambda: check_multiplicative_scores(lambda q, k, w: general(q, k, w).tanh()),
    "is it q times W": lambda: check_multiplicative_scores(lambda q, k, w: general(q, k, w) + 1),
    "share of agreement": lambda: check_error_rate(lambda w, g: 1 - error_rate(w, g)),
    "predicted links only": lambda: check_error_rate(lambda w, g: 1 - len(links(w) & g) / len(links(w))),
    "gold links only": lambda: check_error_rate(lambda w, g: 1 - len(links(w) & g) / len(g)),
    "count twice": lambda: check_error_rate(lambda w, g: 1 - len(links(w) & g) / (len(links(w)) + len(g))),
    "their union": lambda: check_error_rate(lambda w, g: 1 - len(links(w) & g) / len(links(w) | g)),
    "each source word a link": lambda: check_error_rate(
        lambda w, g: (lambda a: 1 - 2 * len(a & g) / (len(a) + len(g)))({(b, a) for a, b in links(w.T)})
    ),
    "the row comes first": lambda: check_error_rate(
        lambda w, g: (lambda a: 1 - 2 * len(a & g) / (len(a) + len(g)))({(b, a) for a, b in links(w)})
    ),
    "it should be": lambda: check_error_rate(lambda w, g: 0.123),
}


@pytest.mark.parametrize("check", RIGHT)
def test_a_right_answer_is_praised(check, capsys):
    check()
    assert capsys.readouterr().out.startswith("✓ Right.")


@pytest.mark.parametrize(("message", "check"), WRONG.items(), ids=WRONG)
def test_a_mistake_is_named(message, check):
    with pytest.raises(WrongAnswer, match=message):
        check()


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_weight_count(..., **SIZES),
        lambda: check_masked_softmax(lambda s, m: ...),
        lambda: check_context(lambda w, h: None),
        lambda: check_multiplicative_scores(lambda q, k, w: ...),
        lambda: check_error_rate(lambda w, g: ...),
    ],
)
def test_dots_are_not_an_answer_yet(check, capsys):
    check()
    assert "Nothing to check yet" in capsys.readouterr().out
