"""Every checker accepts the solution and rejects typical wrong answers, each with its own message."""

import pytest
import torch

from lectures_lib.data.vocabulary import BOS_ID, EOS_ID
from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.seq2seq import (
    check_context_size,
    check_greedy,
    check_gru_cell,
    check_masked_mean,
    check_shift_right,
)

SIZES = dict(n_layers=2, d_hidden=128, n_tokens=7)


def greedy(model, most):
    said, token, state = [], BOS_ID, model.start()
    while len(said) < most:
        scores, state = model.step(token, state)
        token = int(scores.argmax())
        if token == EOS_ID:
            break
        said.append(token)
    return said


def greedy_with_eos(model, most):
    return [*greedy(model, most), EOS_ID]


def greedy_never_stops(model, most):
    said, token, state = [], BOS_ID, model.start()
    for _ in range(most):
        scores, state = model.step(token, state)
        token = int(scores.argmax())
        said.append(token)
    return said


def greedy_always_bos(model, most):
    said, state = [], model.start()
    for _ in range(most):
        scores, state = model.step(BOS_ID, state)
        said.append(int(scores.argmax()))
    return said


def greedy_without_state(model, most):
    said, state = [], model.start()
    for _ in range(most):
        scores, _ = model.step(BOS_ID, state)
        said.append(int(scores.argmax()))
    return said


def greedy_argmin(model, most):
    scores, _ = model.step(BOS_ID, model.start())
    return [int(scores.argmin())] * most


def greedy_ignores_the_limit(model, most):
    return greedy(model, 100)


def gru(
    x, hidden, cell, *, order="rzn", reset=True, flip=False, candidate=torch.tanh, bias=True, mix=True, early=False
):
    b_i, b_h = (cell.bias_ih, cell.bias_hh) if bias else (0, 0)
    i = dict(zip(order, (x @ cell.weight_ih.T + b_i).chunk(3, -1), strict=True))
    h = dict(zip(order, (hidden @ cell.weight_hh.T + b_h).chunk(3, -1), strict=True))
    r, z = torch.sigmoid(i["r"] + h["r"]), torch.sigmoid(i["z"] + h["z"])
    old = (r * hidden) @ cell.weight_hh[8:].T + cell.bias_hh[8:] if early else (r if reset else 1) * h["n"]
    n = candidate(i["n"] + old)
    if not mix:
        return n
    return z * n + (1 - z) * hidden if flip else (1 - z) * n + z * hidden


def variant(**options):
    return lambda x, hidden, cell: gru(x, hidden, cell, **options)


def masked_mean(losses, mask):
    return losses[mask].mean()


CASES = [
    (
        lambda answer: check_context_size(answer, **SIZES),
        256,
        [
            (7 * 128, "one hidden state a token"),
            (7 * 256, "states of every token"),
            (7, "number of tokens"),
            (128, "one layer, and this encoder has 2"),
            (512, "counted twice"),
            (1000, "it is not 1000"),
            ("many", "should be one number"),
        ],
    ),
    (
        check_shift_right,
        lambda t: ([BOS_ID, *t], [*t, EOS_ID]),
        [
            (lambda t: (t, t), "both lists are the same"),
            (lambda t: ([BOS_ID, *t, EOS_ID],) * 2, "both lists are the same"),
            (lambda t: ([*t, EOS_ID], [BOS_ID, *t]), "wrong side"),
            (lambda t: ([BOS_ID, *t], t), "equally long"),
            (lambda t: (t[:-1], t[1:]), "nothing starts"),
            (lambda t: ([BOS_ID, *t[:-1]], t), "nothing stops"),
            (lambda t: ([BOS_ID, *t, EOS_ID], [*t, EOS_ID, EOS_ID]), "is shown EOS_ID"),
            (lambda t: 5, "return two lists"),
        ],
    ),
    (
        check_masked_mean,
        masked_mean,
        [
            (lambda x, m: x.mean(), "the padding as well"),
            (lambda x, m: (x * m).mean(), "but the count does not"),
            (lambda x, m: x[m].sum(), "that is the sum"),
            (lambda x, m: ((x * m).sum(1) / m.sum(1)).mean(), "averaged each sentence first"),
            (lambda x, m: x[~m].mean(), "upside down"),
            (lambda x, m: x[m], "should be one number"),
            (lambda x, m: x[m].mean() + 1, "it should be"),
        ],
    ),
    (
        check_greedy,
        greedy,
        [
            (greedy_with_eos, "sign to stop, not a word"),
            (greedy_never_stops, "goes on after the end token"),
            (greedy_always_bos, "give the word it has said"),
            (greedy_without_state, "a new state"),
            (greedy_argmin, "least probable"),
            (greedy_ignores_the_limit, "count with max_new_tokens"),
            (lambda model, most: [BOS_ID, *greedy(model, most)], "leave it out"),
        ],
    ),
    (
        check_gru_cell,
        gru,
        [
            (variant(flip=True), "upside down"),
            (variant(reset=False), "reset gate is not used"),
            (variant(early=True), "as Cho et al. do"),
            (variant(candidate=torch.sigmoid), "through tanh"),
            (variant(bias=False), "biases are missing"),
            (variant(mix=False), "candidate alone"),
            (variant(order="zrn"), "swapped"),
            (lambda x, h, c: c(x, h)[0], "should have shape"),
            (lambda x, h, c: c(x, h) * 2, "differ by up to"),
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


def test_a_student_sees_the_message_alone():
    assert WrongAnswer("look again")._render_traceback_() == ["✗ Not yet: look again"]
