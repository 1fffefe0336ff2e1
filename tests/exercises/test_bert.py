"""The checkers of chapter bert: the right answer passes, each planned mistake is named."""

import pytest
import torch
from torch.nn import functional as F

from lectures_lib.evaluation.senses import nearest_sense_accuracy
from lectures_lib.exercises.bert import (
    MASK,
    check_mask_count,
    check_masked_loss,
    check_masking,
    check_mean_pool,
    check_nearest_sense,
)
from lectures_lib.exercises.checking import WrongAnswer


def passes(check, answer, capsys, **options):
    check(answer, **options)
    assert "✓" in capsys.readouterr().out


def named(check, answer, message, **options):
    with pytest.raises(WrongAnswer, match=message):
        check(answer, **options)


@pytest.mark.parametrize("check", [check_masking, check_masked_loss, check_mean_pool, check_nearest_sense])
def test_no_answer_yet_is_no_mistake(check, capsys):
    check(lambda *_: ...)
    assert "Nothing to check yet" in capsys.readouterr().out


def test_the_count_of_hidden_words(capsys):
    passes(check_mask_count, 120, capsys, words=1000)
    check_mask_count(..., words=1000)
    for wrong, message in [(150, "80 % of them"), (800, "not of all words"), (15, "exchanged"), (7, "it is not 7")]:
        named(check_mask_count, wrong, message, words=1000)


def hide(tokens, chosen, roll, drawn):
    shown = torch.where(chosen & (roll < 0.8), MASK, tokens)
    shown = torch.where(chosen & (roll >= 0.8) & (roll < 0.9), drawn, shown)
    return shown, torch.where(chosen, tokens, -100)


def changed(edit):
    def answer(tokens, chosen, roll, drawn):
        return edit(*hide(tokens, chosen, roll, drawn), tokens, chosen, roll, drawn)

    return answer


def test_masking(capsys):
    passes(check_masking, hide, capsys)
    mistakes = [
        (changed(lambda s, t, tokens, *_: (s, tokens)), "every word is asked for"),
        (changed(lambda s, t, tokens, c, r, d: (s, torch.where(c & (r < 0.8), tokens, -100))), "only the hidden"),
        (changed(lambda s, t, tokens, c, r, d: (s, torch.where(c & (r < 0.9), tokens, -100))), "left as they are"),
        (changed(lambda s, t, tokens, c, *_: (s, torch.where(c, -100, tokens))), "upside down"),
        (changed(lambda s, t, tokens, *_: (s, t + 1)), "must be the true words"),
        (changed(lambda s, t, tokens, c, *_: (torch.where(c, MASK, tokens), t)), "all chosen words are hidden"),
        (lambda tokens, c, r, d: (hide(tokens, c | True, r, d)[0], hide(tokens, c, r, d)[1]), "rolls of all words"),
        (changed(lambda s, t, x, c, r, d: (torch.where(c & (r < 0.8), MASK, x), t)), "no chosen word is exchanged"),
        (
            changed(lambda s, t, x, c, r, d: (torch.where(c & (r < 0.8), MASK, torch.where(c, d, x)), t)),
            "no chosen word is left",
        ),
        (
            changed(lambda s, t, x, c, r, d: (torch.where(c & (r < 0.8), MASK, torch.where(c & (r >= 0.9), d, x)), t)),
            "the other way round",
        ),
        (changed(lambda s, t, *_: (s + 1, t)), "at row 0, column 0 yours shows"),
        (changed(lambda s, t, *_: s), "return two tensors"),
        (changed(lambda s, t, *_: (s[:1], t)), "should have shape"),
    ]
    for answer, message in mistakes:
        named(check_masking, answer, message)


def test_masking_in_place_is_noticed():
    def in_place(tokens, chosen, roll, drawn):
        shown, targets = hide(tokens, chosen, roll, drawn)
        tokens.copy_(shown)
        return tokens, targets

    named(check_masking, in_place, "changed `tokens` itself")


def test_the_masked_loss(capsys):
    def asked(logits, targets):
        return logits[targets != -100], targets[targets != -100]

    passes(check_masked_loss, lambda x, t: F.cross_entropy(*asked(x, t)), capsys)
    mistakes = [
        (lambda x, t: F.cross_entropy(*asked(x, t), reduction="sum"), "that is the sum"),
        (lambda x, t: F.cross_entropy(*asked(x, t), reduction="sum") / 10, "divide by all places"),
        (lambda x, t: F.cross_entropy(x.flatten(0, 1), t.clamp(min=0).flatten()), "-100 is no word"),
        (lambda x, t: -F.cross_entropy(*asked(x, t)), "sign"),
        (lambda x, t: -asked(x, t)[0].gather(1, asked(x, t)[1][:, None]).mean(), "softmax is missing"),
        (lambda x, t: sum(F.cross_entropy(*asked(a, b)) for a, b in zip(x, t, strict=True)) / 2, "each text first"),
        (lambda x, t: F.cross_entropy(x[t == -100], t[t == -100].clamp(min=0)), "upside down"),
        (lambda x, t: torch.tensor(3.21), "it should be"),
        (lambda x, t: x, "one number"),
    ]
    for answer, message in mistakes:
        named(check_masked_loss, answer, message)


def test_mean_pooling(capsys):
    def mean(states, present):
        weight = present.unsqueeze(-1).float()
        return (states * weight).sum(1) / weight.sum(1)

    passes(check_mean_pool, lambda s, p: F.normalize(mean(s, p), dim=1), capsys)
    mistakes = [
        (mean, "divide each vector by its length"),
        (lambda s, p: F.normalize(s.mean(1), dim=1), "padding is in your mean: multiply"),
        (lambda s, p: s.mean(1), "and the vectors do not have length 1"),
        (lambda s, p: (s * p.unsqueeze(-1)).mean(1), "divide by all places"),
        (lambda s, p: F.normalize(s[:, 0], dim=1), r"state of \[CLS\]"),
        (lambda s, p: F.normalize(mean(s, p), dim=0), "over the batch"),
        (lambda s, p: mean(s, p) * 0, "differ by up to"),
        (lambda s, p: s, "should have shape"),
    ]
    for answer, message in mistakes:
        named(check_mean_pool, answer, message)


def test_the_nearest_sense(capsys):
    passes(check_nearest_sense, nearest_sense_accuracy, capsys)

    def share(similarity, senses):
        nearest = similarity.fill_diagonal_(-torch.inf).argmax(1).tolist()
        return sum(senses[i] == senses[n] for i, n in enumerate(nearest)) / len(senses)

    mistakes = [
        (lambda v, s: 1.0, "its own nearest neighbour"),
        (lambda v, s: share(v @ v.T, s), "prefers long vectors"),
        (lambda v, s: share(-torch.cdist(v, v), s), "by distance"),
        (lambda v, s: share(-F.normalize(v, dim=1) @ F.normalize(v, dim=1).T, s), "farthest"),
        (lambda v, s: nearest_sense_accuracy(v, s) * len(s), "how many are right"),
        (lambda v, s: 1 - nearest_sense_accuracy(v, s), "share that is wrong"),
        (lambda v, s: 0.123, "it should be"),
    ]
    for answer, message in mistakes:
        named(check_nearest_sense, answer, message)
