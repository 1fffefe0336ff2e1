"""Every checker accepts the solution and rejects typical wrong answers, each with its own message."""

import pytest
import torch
from torch.nn import functional as F

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.transformer import (
    check_beam_step,
    check_encoder_layer,
    check_label_smoothing,
    check_layer_norm,
    check_layer_parameters,
)
from lectures_lib.models.transformer import EncoderLayer, TransformerConfig

SIZES = dict(d_model=64, d_feed_forward=128, n_heads=4)
ATTENTION, FEED_FORWARD, NORMS = 4 * (64 * 64 + 64), 2 * 64 * 128 + 128 + 64, 4 * 64


def test_the_count_is_that_of_the_library(capsys):
    layer = EncoderLayer(TransformerConfig.tiny(8, 8))
    check_layer_parameters(sum(p.numel() for p in layer.parameters()), **SIZES)
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (ATTENTION + FEED_FORWARD, "normalisations are missing"),
        (ATTENTION + FEED_FORWARD + NORMS // 2, "there are two"),
        (4 * 64 * 64 + 2 * 64 * 128 + NORMS, "biases"),
        (ATTENTION * 3 // 4 + FEED_FORWARD + NORMS, "after its heads are joined"),
        (4 * ATTENTION + FEED_FORWARD + NORMS, "share the width"),
        (ATTENTION + NORMS, "feed-forward network is missing"),
        (17, "named_parameters"),
    ],
)
def test_wrong_counts_are_explained(count, message):
    with pytest.raises(WrongAnswer, match=message):
        check_layer_parameters(count, **SIZES)


def norm(axes, correction=0, outside=0.0):
    def answer(x):
        variance = x.var(axes, correction=correction, keepdim=True) + (0 if outside else 1e-5)
        return (x - x.mean(axes, keepdim=True)) / (variance.sqrt() + outside)

    return answer


def test_layer_norm_is_accepted(capsys):
    check_layer_norm(norm(-1))
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (norm((0, 1)), "batch norm"),
        (norm(1), "axis is the last"),
        (lambda x: x - x.mean(-1, keepdim=True), "size"),
        (norm(-1, correction=1), "n - 1"),
        (norm(-1, outside=1e-5), "under the root"),
        (norm(-1, correction=1, outside=1e-5), "under the root, and"),
        (lambda x: x, "mean 0 and variance 1"),
        (lambda x: x.mean(), "shape"),
    ],
)
def test_wrong_normalisations_are_explained(answer, message):
    with pytest.raises(WrongAnswer, match=message):
        check_layer_norm(answer)


def parts(layer):
    return layer.self_attention, layer.feed_forward, layer.add_attention.norm, layer.add_feed_forward.norm


def right_layer(x, layer):
    attend, feed, first, second = parts(layer)
    h = first(x + attend(x))
    return second(h + feed(h))


def without_residuals(x, layer):
    attend, feed, first, second = parts(layer)
    return second(feed(first(attend(x))))


def without_last_norm(x, layer):
    attend, feed, first, _ = parts(layer)
    h = first(x + attend(x))
    return h + feed(h)


def without_feed_forward(x, layer):
    return layer.add_attention.norm(x + layer.self_attention(x))


def wrong_residual(x, layer):
    attend, feed, first, second = parts(layer)
    return second(x + feed(first(x + attend(x))))


def without_norms(x, layer):
    attend, feed, _, _ = parts(layer)
    h = x + attend(x)
    return h + feed(h)


def pre(x, layer):
    attend, feed, first, second = parts(layer)
    h = x + attend(first(x))
    return h + feed(second(h))


def test_the_encoder_layer_is_accepted(capsys):
    check_encoder_layer(right_layer)
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (without_residuals, "residual connections are missing"),
        (without_last_norm, "second layer normalisation"),
        (without_feed_forward, "feed-forward network is missing"),
        (wrong_residual, "second residual"),
        (without_norms, "normalisations are missing"),
        (pre, "pre-LN"),
        (lambda x, layer: x, "two steps"),
    ],
)
def test_wrong_layers_are_explained(answer, message):
    with pytest.raises(WrongAnswer, match=message):
        check_encoder_layer(answer)


def beam_step(totals, following, size):
    table = totals.unsqueeze(1) + following
    places = table.flatten().topk(size).indices.tolist()
    return [divmod(place, table.shape[1]) for place in places]


def test_the_beam_step_is_accepted(capsys):
    check_beam_step(beam_step)
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda t, f, k: beam_step(torch.zeros(3), f, k), "next tokens alone"),
        (lambda t, f, k: [(i, int(f[i].argmax())) for i in range(k)], "continued each hypothesis once"),
        (lambda t, f, k: beam_step(t, f, k)[::-1], "best first"),
        (lambda t, f, k: beam_step(t, f, 3), "keeps 2"),
        (lambda t, f, k: 3, "list of"),
        (lambda t, f, k: [(0, 1), (0, 2)], "two largest"),
    ],
)
def test_wrong_beam_steps_are_explained(answer, message):
    with pytest.raises(WrongAnswer, match=message):
        check_beam_step(answer)


def smoothed(logits, target, smoothing, others_only=False, total=False):
    vocabulary = logits.shape[-1]
    goal = torch.full_like(logits, smoothing * (1 if total else 1 / (vocabulary - others_only)))
    extra = 1 - smoothing - (smoothing / (vocabulary - 1) if others_only else 0)
    goal += F.one_hot(target, vocabulary) * extra
    if others_only:
        goal[torch.arange(len(target)), target] = 1 - smoothing
    return -(goal * logits.log_softmax(-1)).sum(-1).mean()


def test_the_smoothed_loss_is_accepted(capsys):
    check_label_smoothing(smoothed)
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda z, y, e: F.cross_entropy(z, y), "plain cross-entropy"),
        (lambda z, y, e: smoothed(z, y, e, others_only=True), "other tokens only"),
        (lambda z, y, e: smoothed(z, y, e, total=True), "divide by V"),
        (lambda z, y, e: (1 - e) * F.cross_entropy(z, y), "is missing"),
        (lambda z, y, e: smoothed(z, y, 1 - e), "changed places"),
        (lambda z, y, e: 0.0, "sum to 1"),
    ],
)
def test_wrong_smoothings_are_explained(answer, message):
    with pytest.raises(WrongAnswer, match=message):
        check_label_smoothing(answer)


@pytest.mark.parametrize(
    ("check", "options"),
    [
        (check_layer_parameters, SIZES),
        (check_layer_norm, {}),
        (check_encoder_layer, {}),
        (check_beam_step, {}),
        (check_label_smoothing, {}),
    ],
)
def test_no_answer_yet_is_no_mistake(check, options, capsys):
    check(... if options else (lambda *arguments: ...), **options)
    assert "Nothing to check yet" in capsys.readouterr().out
