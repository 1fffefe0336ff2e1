"""CTC with its readable error, guided attention, and the loss of a spectrogram."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.losses.speech import ctc_loss, frames_needed, guided_attention_loss, spectrogram_loss

PROPERTY = settings(deadline=None, max_examples=15)


# CTC


def collapsed(path, blank=0):
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


@pytest.mark.parametrize("labels", [(1,), (1, 2), (2, 2), ()])
def test_the_loss_sums_up_every_way_to_say_the_labels(labels):
    """Four frames, three symbols: all 81 paths by hand."""
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 3)
    chance = logits[0].softmax(-1)
    ways = [path for path in itertools.product(range(3), repeat=4) if collapsed(path) == labels]
    expected = -math.log(sum(math.prod(float(chance[t, s]) for t, s in enumerate(path)) for path in ways))
    padded = torch.tensor([[*labels, 0, 0]])
    total, count = ctc_loss(logits, torch.tensor([4]), padded, torch.tensor([len(labels)]))
    assert count == len(labels)
    assert_close(total, torch.tensor(expected))


def test_frames_and_labels_after_the_end_do_not_count():
    logits = torch.randn(2, 6, 5, requires_grad=True)
    labels = torch.tensor([[1, 2, 3], [4, 0, 0]])
    total, count = ctc_loss(logits, torch.tensor([6, 2]), labels, torch.tensor([3, 1]))
    alone, _ = ctc_loss(logits[1:, :2], torch.tensor([2]), labels[1:, :1], torch.tensor([1]))
    rest, _ = ctc_loss(logits[:1], torch.tensor([6]), labels[:1], torch.tensor([3]))
    assert count == 4
    assert_close(total, alone + rest)
    total.backward()
    assert logits.grad[1, 2:].count_nonzero() == 0
    assert logits.grad.isfinite().all()


@PROPERTY
@given(labels=st.lists(st.integers(1, 2), max_size=4))
def test_frames_needed_is_the_shortest_path_there_is(labels):
    row = torch.tensor([[*labels, 0]])
    needed = int(frames_needed(row, torch.tensor([len(labels)])))
    possible = [
        n for n in range(8) if any(collapsed(p) == tuple(labels) for p in itertools.product(range(3), repeat=n))
    ]
    assert needed == possible[0]


def test_a_recording_too_short_for_its_labels_is_named():
    """PyTorch gives inf and a NaN gradient (crnn.pytorch#235, icefall#1777)."""
    logits, labels = torch.randn(2, 5, 4), torch.tensor([[1, 2, 0], [1, 1, 1]])
    ctc_loss(logits, torch.tensor([2, 5]), labels, torch.tensor([2, 3]))
    message = r"frames of row 1 must be at least 5 for its 3 labels \(2 of them repeat the one before\), got 4"
    with pytest.raises(ValueError, match=message):
        ctc_loss(logits, torch.tensor([5, 4]), labels, torch.tensor([2, 3]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(frames=torch.tensor([6])), "frames must lie between 0 and 5, got 6"),
        (dict(frames=torch.tensor([5, 5])), r"frames must have shape \(1,\), got \(2,\)"),
        (dict(lengths=torch.tensor([4])), "label_lengths must lie between 0 and 3, got 4"),
        (dict(labels=torch.tensor([[1, 4, 1]])), "labels must lie between 0 and 3 without the blank 0, got 4"),
        (dict(labels=torch.tensor([[1, 0, 1]])), "labels must lie between 0 and 3 without the blank 0, got 0"),
        (dict(labels=torch.tensor([1, 2, 1])), r"labels must have shape \(1, 3\), got \(3,\)"),
        (dict(blank=4), "blank must lie between 0 and 3, got 4"),
    ],
)
def test_what_ctc_cannot_use_is_refused(options, message):
    frames, labels = options.get("frames", torch.tensor([5])), options.get("labels", torch.tensor([[1, 2, 1]]))
    lengths, blank = options.get("lengths", torch.tensor([3])), options.get("blank", 0)
    with pytest.raises(ValueError, match=message):
        ctc_loss(torch.zeros(1, 5, 4), frames, labels, lengths, blank=blank)


# Guided attention


def test_attention_on_the_diagonal_is_free_and_the_far_corner_dear():
    time = torch.tensor([6])
    total, count = guided_attention_loss(torch.eye(6).expand(1, 2, 6, 6), time, time)
    assert (total, count) == (0, 2 * 36)
    corner = torch.zeros(1, 1, 6, 6)
    corner[0, 0, 0, 5] = 1
    total, _ = guided_attention_loss(corner, time, time, width=0.2)
    assert_close(total, torch.tensor(1 - math.exp(-((5 / 6) ** 2) / (2 * 0.2**2))))


def test_padding_has_no_price_and_no_share():
    weights = torch.rand(2, 3, 5, 4)
    queries, keys = torch.tensor([5, 3]), torch.tensor([4, 2])
    total, count = guided_attention_loss(weights, queries, keys)
    one, _ = guided_attention_loss(weights[:1], queries[:1], keys[:1])
    two, _ = guided_attention_loss(weights[1:, :, :3, :2], queries[1:], keys[1:])
    assert count == 3 * (20 + 6)
    assert_close(total, one + two)


@pytest.mark.parametrize(
    ("queries", "keys", "width", "message"),
    [
        ([6], [4], 0.4, "query_lengths must lie between 0 and 5, got 6"),
        ([5], [4, 4], 0.4, r"key_lengths must have shape \(1,\), got \(2,\)"),
        ([5], [4], 0, "width must be positive, got 0"),
    ],
)
def test_lengths_that_do_not_fit_the_weights_are_refused(queries, keys, width, message):
    with pytest.raises(ValueError, match=message):
        guided_attention_loss(torch.zeros(1, 1, 5, 4), torch.tensor(queries), torch.tensor(keys), width=width)


# Spectrograms


def test_a_perfect_spectrogram_with_a_sure_stop_costs_nothing():
    target, lengths = torch.randn(2, 5, 3), torch.tensor([5, 2])
    stop = torch.full((2, 5), -99.0)
    stop[0, 4] = stop[1, 1] = 99
    total, count = spectrogram_loss(target, target, stop, target, lengths)
    assert count == 7
    assert_close(total, torch.tensor(0.0))


def test_every_part_counts_once_a_frame():
    before, after, target = torch.randn(3, 1, 4, 3)
    stop, lengths = torch.randn(1, 4), torch.tensor([3])
    total, count = spectrogram_loss(before, after, stop, target, lengths)
    expected = 0.0
    for t in range(3):
        for guess in (before, after):
            difference = guess[0, t] - target[0, t]
            expected = expected + difference.abs().mean() + (difference**2).mean()
        chance = stop[0, t].sigmoid()
        expected = expected - (5 * chance.log() if t == 2 else (1 - chance).log())
    assert count == 3
    assert_close(total, expected)


def test_frames_after_the_end_get_no_gradient():
    before, after = torch.randn(2, 1, 4, 3).requires_grad_()
    stop = torch.randn(1, 4, requires_grad=True)
    total, _ = spectrogram_loss(before, after, stop, torch.randn(1, 4, 3), torch.tensor([2]))
    for gradient in torch.autograd.grad(total, (before, after, stop)):
        assert gradient[0, 2:].count_nonzero() == 0
        assert gradient[0, :2].count_nonzero() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(after=torch.zeros(1, 3, 3)), r"after must have shape \(1, 4, 3\), got \(1, 3, 3\)"),
        (dict(stop=torch.zeros(1, 4, 1)), r"stop must have shape \(1, 4\), got \(1, 4, 1\)"),
        (dict(lengths=torch.tensor([0])), "lengths must lie between 1 and 4, got 0"),
        (dict(lengths=torch.tensor([5])), "lengths must lie between 1 and 4, got 5"),
    ],
)
def test_parts_of_a_spectrogram_that_do_not_fit_are_refused(options, message):
    given_ = dict(after=torch.zeros(1, 4, 3), stop=torch.zeros(1, 4), lengths=torch.tensor([4])) | options
    with pytest.raises(ValueError, match=message):
        spectrogram_loss(torch.zeros(1, 4, 3), target=torch.zeros(1, 4, 3), **given_)


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    x = torch.zeros(2, 5, 3, device="meta")
    lengths = torch.zeros(2, dtype=torch.long, device="meta")
    results = [
        spectrogram_loss(x, x, x[..., 0], x, lengths),
        guided_attention_loss(x[:, None], lengths, lengths),
    ]
    for total, count in results:
        assert (total.device.type, count.device.type) == ("meta", "meta")


def test_ctc_is_pytorchs_apart_from_its_errors():
    logits = torch.randn(3, 9, 6)
    frames, lengths = torch.tensor([9, 7, 8]), torch.tensor([3, 2, 1])
    labels = torch.tensor([[1, 1, 2], [5, 3, 0], [4, 0, 0]])
    total, _ = ctc_loss(logits, frames, labels, lengths)
    theirs = torch.nn.CTCLoss(reduction="sum")(logits.log_softmax(-1).transpose(0, 1), labels, frames, lengths)
    assert_close(total, theirs)
    assert F.ctc_loss(logits[:, :1].log_softmax(-1).transpose(0, 1), labels, frames.clamp(max=1), lengths).isinf()
