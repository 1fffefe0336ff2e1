"""Every checker accepts the solution and rejects typical wrong answers, each with its own message."""

import pytest
import torch

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.self_attention import (
    check_attention,
    check_look_ahead,
    check_self_attention,
    check_split_heads,
    check_weight_count,
)

SIZES = dict(batch=2, heads=8, time=100, d_model=512)
HIDDEN = float("-inf")


def attend(query, key, value, *, scale=lambda q: q.shape[-1] ** 0.5, axis=-1, mix=None):
    weights = (query @ key.transpose(1, 2) / scale(query)).softmax(dim=axis)
    return weights @ (value if mix is None else mix)


def lower(scores, diagonal=0):
    return torch.ones_like(scores, dtype=torch.bool).tril(diagonal)


def look_ahead(scores):
    return scores.masked_fill(~lower(scores), HIDDEN).softmax(dim=-1)


def split(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)


def layer_by_hand(x, layer, *, causal=True, width=None, project=True, join=True, heads=None, order="qkv, heads"):
    n_heads = heads or layer.n_heads
    parts = layer.project_in(x)
    if order == "qkv, heads":
        query, key, value = (split(part, n_heads) for part in parts.chunk(3, dim=-1))
    else:
        query, key, value = parts.unflatten(-1, (n_heads, 3, -1)).permute(3, 0, 2, 1, 4).unbind()
    scores = query @ key.transpose(-2, -1) / (width or query.shape[-1]) ** 0.5
    if causal:
        scores = scores.masked_fill(~lower(scores), HIDDEN)
    mixed = scores.softmax(dim=-1) @ value
    joined = mixed.transpose(1, 2).reshape(x.shape) if join else mixed.reshape(x.shape)
    return layer.project_out(joined) if project else joined


def layer_variant(**options):
    return lambda x, layer: layer_by_hand(x, layer, **options)


CASES = [
    (
        lambda answer: check_weight_count(answer, **SIZES),
        160_000,
        [
            (80_000, "that is one sentence"),
            (20_000, "that is one head;"),
            (10_000, "one head of one sentence"),
            (1_600, "time times time"),
            (2 * 100 * 512, "numbers of the output"),
            (160_000 * 512, "however wide"),
            (4 * 512**2, "counted parameters"),
            (7, "it is not 7"),
            ("many", "should be one number"),
        ],
    ),
    (
        check_attention,
        attend,
        [
            (lambda q, k, v: attend(q, k, v, axis=1), "sum to 1 over the queries"),
            (lambda q, k, v: attend(q, k, v, axis=0), "over the batch"),
            (lambda q, k, v: attend(q, k, v, scale=lambda q: 1), "not divided"),
            (lambda q, k, v: attend(q, k, v, scale=lambda q: q.shape[-1]), "divided by d;"),
            (lambda q, k, v: attend(q, k, v, scale=lambda q: q.shape[1] ** 0.5), "number of tokens"),
            (lambda q, k, v: attend(q, k, v, scale=lambda q: q.shape[-1] ** -0.5), "multiplied by √d"),
            (lambda q, k, v: attend(k, q, v), "swapped"),
            (lambda q, k, v: q @ k.transpose(1, 2) / 2 @ v, "softmax is missing"),
            (lambda q, k, v: attend(q, k, v, mix=k), "mixed the keys"),
            (lambda q, k, v: attend(q, k, v, mix=q), "mixed the queries"),
            (lambda q, k, v: (q @ k.transpose(1, 2) / 2).softmax(-1), "should have shape"),
            (lambda q, k, v: attend(q, k, v) + 1, "differs by up to"),
        ],
    ),
    (
        check_look_ahead,
        look_ahead,
        [
            (lambda s: s.softmax(-1) * lower(s), "masked after the softmax"),
            (lambda s: s.masked_fill(lower(s), HIDDEN).softmax(-1), "upside down"),
            (lambda s: s.masked_fill(~lower(s, -1), HIDDEN).softmax(-1), "hid the diagonal"),
            (lambda s: s.masked_fill(~lower(s).T, HIDDEN).softmax(-1), "wrong triangle"),
            (lambda s: s.masked_fill(~lower(s), 0.0).softmax(-1), "score of 0"),
            (lambda s: (s * lower(s)).softmax(-1), "score of 0"),
            (lambda s: s.masked_fill(~lower(s), HIDDEN).softmax(0), "sum to 1 over the queries"),
            (lambda s: s.softmax(-1), "nothing is hidden"),
            (lambda s: s.masked_fill(~lower(s), HIDDEN), "masked scores"),
            (lambda s: (s + ~lower(s) * HIDDEN).softmax(-1), "there are NaNs"),
            (lambda s: look_ahead(s) / 2, "another one"),
            (lambda s: look_ahead(s)[0], "should have shape"),
        ],
    ),
    (
        check_split_heads,
        split,
        [
            (lambda x, n: x.unflatten(-1, (n, -1)), "transpose"),
            (lambda x, n: x.reshape(len(x), n, x.shape[1], -1), "bare view mixes words"),
            (lambda x, n: x.unflatten(-1, (-1, n)).permute(0, 3, 1, 2), "every second number"),
            (lambda x, n: split(x, n).flip(1), "word 0 of head 0"),
            (lambda x, n: x, "should have shape"),
        ],
    ),
    (
        check_self_attention,
        layer_by_hand,
        [
            (layer_variant(causal=False), "looks ahead"),
            (layer_variant(project=False), "project_out, is missing"),
            (layer_variant(width=12), "root of d_model"),
            (layer_variant(width=1), "not divided by"),
            (layer_variant(join=False), "joined the wrong way"),
            (layer_variant(heads=1), "one wide head"),
            (layer_variant(order="heads, qkv"), "come first, then the heads"),
            (lambda x, layer: layer(x, causal=True)[0], "should have shape"),
            (lambda x, layer: layer(x, causal=True) + 1, "differs by up to"),
        ],
    ),
]


@pytest.mark.parametrize(("check", "solution"), [case[:2] for case in CASES])
def test_the_solution_is_accepted(check, solution, capsys):
    check(solution)
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize(
    ("check", "answer", "message"), [(check, *wrong) for check, _, wrongs in CASES for wrong in wrongs]
)
def test_a_wrong_answer_is_rejected_and_named(check, answer, message, capsys):
    with pytest.raises(WrongAnswer, match=message):
        check(answer)
    assert "✓" not in capsys.readouterr().out


@pytest.mark.parametrize("check", [case[0] for case in CASES])
def test_no_answer_yet_is_neither_right_nor_wrong(check, capsys):
    check(... if check is CASES[0][0] else lambda *_: ...)
    assert capsys.readouterr().out.startswith("…")


def test_a_checker_leaves_the_students_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    check_self_attention(layer_by_hand)
    assert torch.equal(torch.rand(4), expected)
