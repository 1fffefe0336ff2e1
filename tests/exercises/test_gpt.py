"""Every checker accepts the solution and rejects typical wrong answers, each with its own message."""

import math

import pytest
import torch

from lectures_lib.exercises.checking import WrongAnswer
from lectures_lib.exercises.gpt import (
    check_bigram,
    check_bits,
    check_cache_numbers,
    check_gpt_layer,
    check_temperature,
    check_top_p,
)
from lectures_lib.inference import filtered_probabilities

SIZES = dict(n_layers=12, d_model=768, tokens=1024)
RIGHT = 2 * 12 * 1024 * 768


def test_the_cache_of_gpt2_small_is_counted(capsys):
    check_cache_numbers(RIGHT, **SIZES)
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (RIGHT // 2, "the key and the value"),
        (RIGHT // 12, "every layer"),
        (2 * 12 * 768, "not only the newest"),
        (12 * 1024**2, "weights of the attention"),
        (3 * RIGHT // 2, "query is used once"),
        (5, "it is not 5"),
    ],
)
def test_wrong_counts_are_explained(count, message):
    with pytest.raises(WrongAnswer, match=message):
        check_cache_numbers(count, **SIZES)


def test_bits_are_accepted(capsys):
    check_bits(lambda nats, tokens, characters: nats / math.log(2) * tokens / characters)
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n, t, c: n * t / c, "still nats"),
        (lambda n, t, c: n * math.log(2) * t / c, "divide by log 2"),
        (lambda n, t, c: n / math.log(2), "bits a token"),
        (lambda n, t, c: n / math.log(2) * c / t, "costs less"),
        (lambda n, t, c: math.exp(n), "perplexity"),
        (lambda n, t, c: 42.0, "yours is 42"),
        (lambda n, t, c: "many", "one number"),
    ],
)
def test_wrong_bits_are_explained(answer, message):
    with pytest.raises(WrongAnswer, match=message):
        check_bits(answer)


def counted(text, size):
    counts = torch.zeros(size, size)
    for before, after in zip(text[:-1], text[1:], strict=True):
        counts[before, after] += 1
    return counts


def test_a_bigram_table_is_accepted(capsys):
    check_bigram(lambda text, size: (counted(text, size) + 1) / (counted(text, size) + 1).sum(1, keepdim=True))
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda c: (c + 1) / (c + 1).sum(0), "last axis"),
        (lambda c: ((c + 1) / (c + 1).sum(1, keepdim=True)).T, "turned round"),
        (lambda c: (c.T + 1) / (c.T + 1).sum(1, keepdim=True), "a after b"),
        (lambda c: c + 1, "those are counts"),
        (lambda c: (c + 1) / (c + 1).sum(), "in all pairs"),
        (lambda c: c / c.sum(1, keepdim=True), "0/0"),
        (lambda c: c / c.sum(1, keepdim=True).clamp(min=1), "add one"),
        (lambda c: torch.eye(5), "by hand"),
        (lambda c: torch.ones(5), "shape"),
    ],
)
def test_wrong_tables_are_explained(answer, message):
    with pytest.raises(WrongAnswer, match=message):
        check_bigram(lambda text, size: answer(counted(text, size)))


def test_top_p_is_accepted(capsys):
    check_top_p(lambda p, share: filtered_probabilities(p.log(), top_p=share))
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda p, share: p * torch.tensor([0, 1, 0, 1, 0]), "scale them"),
        (lambda p, share: torch.tensor([0.0, 1, 0, 0, 0]), "carries the sum"),
        (lambda p, share: torch.tensor([4 / 7, 3 / 7, 0, 0, 0]), "old places"),
        (lambda p, share: torch.tensor([0.4, 0.3, 0, 0, 0]), "old places, and scale"),
        (lambda p, share: p, "nothing was taken away"),
        (lambda p, share: torch.tensor([0, 4 / 7, 0, 3 / 7, 0]), "share of 1"),
        (lambda p, share: p if share == 1 else torch.tensor([0, 4 / 7, 0, 3 / 7, 0]), "there is always one"),
        (lambda p, share: p.flip(0), "should stay"),
    ],
)
def test_wrong_filters_are_explained(answer, message):
    with pytest.raises(WrongAnswer, match=message):
        check_top_p(answer)


def test_keeping_the_least_likely_is_explained():
    def answer(p, share):
        ordered, places = p.sort()
        kept = ordered * (ordered.cumsum(0) - ordered < share)
        return torch.zeros(5).scatter(0, places, kept) / kept.sum()

    with pytest.raises(WrongAnswer, match="least likely"):
        check_top_p(answer)


def parts(layer):
    first, second = layer.add_attention.norm, layer.add_feed_forward.norm
    return (lambda x: layer.self_attention(x, causal=True)), layer.feed_forward, first, second


def right_layer(x, layer):
    attend, feed, first, second = parts(layer)
    x = x + attend(first(x))
    return x + feed(second(x))


def post(x, layer):
    attend, feed, first, second = parts(layer)
    x = first(x + attend(x))
    return second(x + feed(x))


def seeing(x, layer):
    _, feed, first, second = parts(layer)
    x = x + layer.self_attention(first(x))
    return x + feed(second(x))


def no_second_norm(x, layer):
    attend, feed, first, _ = parts(layer)
    x = x + attend(first(x))
    return x + feed(x)


def half(x, layer):
    attend, _, first, _ = parts(layer)
    return x + attend(first(x))


def swapped(x, layer):
    attend, feed, first, second = parts(layer)
    x = x + attend(second(x))
    return x + feed(first(x))


def no_residual(x, layer):
    attend, feed, first, second = parts(layer)
    return feed(second(x + attend(first(x))))


def test_the_layer_is_accepted(capsys):
    check_gpt_layer(right_layer)
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (post, "post-LN"),
        (seeing, "causal=True"),
        (no_second_norm, "second layer normalisation is missing"),
        (half, "feed-forward network is missing"),
        (swapped, "changed places"),
        (no_residual, "second residual is missing"),
        (lambda x, layer: x, "two steps"),
        (lambda x, layer: x[0], "shape"),
    ],
)
def test_wrong_layers_are_explained(answer, message):
    with pytest.raises(WrongAnswer, match=message):
        check_gpt_layer(answer)


def test_temperature_is_accepted(capsys):
    check_temperature(lambda logits, temperature: (logits / temperature).softmax(0))
    assert "✓" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda logits, t: (logits * t).softmax(0), "you multiplied"),
        (lambda logits, t: logits.softmax(0) / t, "before the softmax"),
        (lambda logits, t: logits.softmax(0), "no effect"),
        (lambda logits, t: logits / t, "softmax is missing"),
        (lambda logits, t: torch.ones(3), "yours is"),
    ],
)
def test_wrong_temperatures_are_explained(answer, message):
    with pytest.raises(WrongAnswer, match=message):
        check_temperature(answer)


@pytest.mark.parametrize("unanswered", [None, ...])
def test_dots_are_no_mistake(unanswered, capsys):
    check_cache_numbers(unanswered, **SIZES)
    for check in (check_bits, check_bigram, check_top_p, check_gpt_layer, check_temperature):
        check(lambda *_: unanswered)
    assert capsys.readouterr().out.count("…") == 6
