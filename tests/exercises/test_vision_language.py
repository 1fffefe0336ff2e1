"""The checkers of the chapter `vision_language` accept the truth, and name the mistake in a wrong answer."""

import pytest
import torch
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.vision_language import check_bridge, check_passes, check_recall, check_region_loss


def look(query, memory, visible=None, *, scale=True):
    scores = query @ memory.transpose(1, 2) / (query.shape[-1] ** 0.5 if scale else 1)
    if visible is not None:
        scores = scores.masked_fill(~visible[:, None], float("-inf"))
    return scores.softmax(dim=-1) @ memory


def bridge(text, image, visible):
    return look(text, image, visible), look(image, text)


def recall(scores, k, *, ties="fair"):
    own = scores[:, :1]
    above, equal = (scores > own).sum(dim=1), (scores == own).sum(dim=1)
    if ties == "won":
        return (above < k).double().mean()
    if ties == "lost":
        return (above + equal <= k).double().mean()
    return ((k - above) / equal).clamp(0, 1).double().mean()


def divergence(logits, target, masked):
    said = logits.log_softmax(dim=-1)
    return (target * (target.log() - said)).sum(dim=-1)[masked]


CASES = [
    (
        lambda answer: check_passes(answer, captions=1000, pictures=500),
        (500_000, 1500),
        [
            ((1500, 500_000), "the other way round"),
            ((1500, 1500), "read anew with each one"),
            ((1000, 1500), "how many pairs"),
            ((500_000, 500_000), "a tower reads each caption once"),
            ((500_000, 1000), "that is not 1000"),
            (7, "two numbers"),
        ],
    ),
    (
        check_bridge,
        bridge,
        [
            (lambda t, i, v: bridge(t, i, v)[::-1], "the two are exchanged"),
            (lambda t, i, v: (look(t, i), look(i, t)), "regions that are not there"),
            (lambda t, i, v: (look(t, t), look(i, t)), "the text looks at itself"),
            (lambda t, i, v: (look(t, i, v, scale=False), look(i, t)), "square root"),
            (lambda t, i, v: (look(t, i, v), look(i, i)), "the picture looks at itself"),
            (lambda t, i, v: (look(t, i, v), look(i, look(t, i, v))), "before"),
            (lambda t, i, v: (look(t, i, v), look(i, t) + 1), "who are its queries"),
            (lambda t, i, v: (t, look(i, t)), "the text's first number should be"),
            (lambda t, i, v: (i, t), "should have shape"),
            (lambda t, i, v: t, "return two tensors"),
        ],
    ),
    (
        check_recall,
        recall,
        [
            (lambda s, k: recall(-s, k), "lowest"),
            (lambda s, k: recall(s, k + 1), "one rank too many"),
            (lambda s, k: recall(s, k - 1), "one rank too few"),
            (lambda s, k: recall(s, k) * len(s), "divide by the rows"),
            (lambda s, k: recall(s, k, ties="won"), "counts as won"),
            (lambda s, k: recall(s, k, ties="lost"), "counts as lost"),
            (lambda s, k: 0.123, "without any ties R@2 should be"),
            (lambda s, k: recall(s, k) * (s.frac().abs().sum() > 0), "with ties it should be"),
        ],
    ),
    (
        check_region_loss,
        lambda g, t, m: divergence(g, t, m).mean(),
        [
            (lambda g, t, m: divergence(g, t, torch.ones_like(m)).mean(), "over all regions"),
            (lambda g, t, m: divergence(g, t, ~m).mean(), "upside down"),
            (lambda g, t, m: divergence(g, t, m).sum(), "that is the sum"),
            (lambda g, t, m: F.kl_div(t.log(), g.log_softmax(-1), reduction="none", log_target=True).sum(-1)[m].mean(),
             "the other way"),
            (lambda g, t, m: F.cross_entropy(g[m], t[m]), "cross-entropy"),
            (lambda g, t, m: divergence(g, t, m).mean() / 4, "sum over the classes"),
            (lambda g, t, m: F.cross_entropy(g[m], t[m].argmax(-1)), "not its peak"),
            (lambda g, t, m: 7, "it should be"),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("check", "truth", "_"), CASES)
def test_the_truth_is_right(check, truth, _, capsys):
    check(truth)
    assert "✓ Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("check", "wrong", "message"),
    [(check, wrong, message) for check, _, mistakes in CASES for wrong, message in mistakes],
)
def test_a_wrong_answer_is_told_what_is_wrong(check, wrong, message):
    with pytest.raises(WrongAnswer, match=message):
        check(wrong)


@pytest.mark.parametrize("check", [case[0] for case in CASES])
def test_dots_are_no_answer_yet(check, capsys):
    check(... if check is CASES[0][0] else lambda *_: None)
    assert "Nothing to check yet" in capsys.readouterr().out
