"""The parts between attentions: the position table against the paper, dropout's statistics, where the norm stands."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.layers import (
    ACTIVATIONS,
    Dropout,
    FeedForward,
    LearnedPositions,
    Residual,
    SelfAttentionLayer,
    SinusoidalPositions,
    gelu_tanh,
    random_keep,
    sinusoidal_positions,
)

PROPERTY = settings(deadline=None, max_examples=30)


# Positions


@PROPERTY
@given(length=st.integers(1, 40), half=st.integers(1, 20))
def test_the_position_table_is_the_papers_formula_in_plain_python(length, half):
    d = 2 * half
    by_hand = [
        [f(pos / 10_000 ** (2 * i / d)) for i in range(half) for f in (math.sin, math.cos)] for pos in range(length)
    ]
    assert_close(sinusoidal_positions(length, d), torch.tensor(by_hand, dtype=torch.float32), atol=1e-6, rtol=0)


def test_sines_and_cosines_take_turns_and_do_not_stand_in_two_halves():
    """Marian and the paper's own code put all sines first; the paper's formula does not."""
    table = sinusoidal_positions(5, 8)
    assert_close(table[0], torch.tensor([0.0, 1.0] * 4))
    assert_close(table[1, :2], torch.tensor([math.sin(1), math.cos(1)]))


def test_the_table_is_exact_far_out():
    """Angles are computed in double precision: in float32 position 5,000 would be off in the fourth digit."""
    assert_close(sinusoidal_positions(5001, 4)[5000, 0], torch.tensor(math.sin(5000)), atol=1e-7, rtol=0)


@PROPERTY
@given(position=st.integers(0, 50), offset=st.integers(0, 50))
def test_a_shift_is_a_rotation(position, offset):
    table = sinusoidal_positions(101, 6).double()
    for i in range(3):
        angle = offset / 10_000 ** (2 * i / 6)
        turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]).double()
        pair = slice(2 * i, 2 * i + 2)
        assert_close(turn @ table[position, pair], table[position + offset, pair], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("length", "d_model", "message"),
    [
        (0, 4, "length must be at least 1, got 0"),
        (4, 5, "d_model must be an even number of at least 2, got 5"),
        (4, 0, "d_model must be an even number of at least 2, got 0"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(length, d_model, message):
    with pytest.raises(ValueError, match=message):
        sinusoidal_positions(length, d_model)


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
def test_positions_are_added_from_start_on(kind):
    positions, x = kind(6, 4), torch.randn(2, 3, 4)
    assert_close(positions(x), x + positions.table[:3])
    assert_close(positions(x, start=3), x + positions.table[3:])
    assert_close(positions(x[:, 1:], start=1), positions(x)[:, 1:])


@pytest.mark.parametrize("kind", [SinusoidalPositions, LearnedPositions])
@pytest.mark.parametrize(("time", "start"), [(7, 0), (1, 6), (3, 4)])
def test_a_sequence_longer_than_the_table_is_refused(kind, time, start):
    with pytest.raises(ValueError, match=f"the position table has 6 rows, got a sequence of {time + start}"):
        kind(6, 4)(torch.zeros(1, time, 4), start=start)


def test_sinusoids_are_no_weights_and_learned_positions_are():
    assert not SinusoidalPositions(6, 4).state_dict()
    assert not list(SinusoidalPositions(6, 4).parameters())
    learned = LearnedPositions(6, 4)
    assert list(learned.state_dict()) == ["table"]
    learned(torch.zeros(1, 3, 4)).sum().backward()
    assert_close(learned.table.grad, torch.tensor([1.0, 1, 1, 0, 0, 0]).unsqueeze(1).expand(6, 4))


def test_learned_positions_start_as_large_as_embeddings_do():
    torch.manual_seed(0)
    assert_close(LearnedPositions(1000, 64).table.std(), torch.tensor(1 / 8), atol=2e-3, rtol=0)


# Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(1000, 1000))
    rounded = round(p * 256) / 256
    spread = math.sqrt(rounded * (1 - rounded) / 1e6)  # of the share among a million independent draws
    assert abs((out == 0).float().mean().item() - rounded) < 5 * spread
    assert abs(out.double().mean().item() - 1) < 5 * spread / (1 - rounded)
    assert_close(out[out != 0].unique(), torch.tensor([1 / (1 - rounded)]))


@PROPERTY
@given(p=st.floats(0.001, 0.999))
def test_p_is_rounded_to_a_256th_and_never_to_nothing_or_everything(p):
    torch.manual_seed(0)
    (kept,) = Dropout(p)(torch.ones(4096)).unique()[-1:].tolist()
    share = 1 - 1 / kept
    assert abs(share - p) <= 1 / 256
    assert 1 / 256 - 1e-6 <= share <= 255 / 256 + 1e-6
    assert share * 256 == pytest.approx(round(share * 256), abs=1e-3)


def test_what_is_dropped_is_independent_from_place_to_place():
    """Eight bytes come out of one random number: neighbours must not know of each other."""
    torch.manual_seed(0)
    dropped = (~random_keep(torch.empty(400_000), 128)).double() - 0.5
    for lag in (1, 2, 4, 7, 8, 16):
        assert abs((dropped[lag:] * dropped[:-lag]).mean().item() * 4) < 5 / math.sqrt(400_000)
    each_byte = dropped.view(-1, 8).mean(0)
    assert each_byte.abs().max() < 5 * 0.5 / math.sqrt(50_000)  # the sign bit too is drawn


def test_dropout_is_reproducible_from_the_seed_and_new_every_time():
    dropout, x = Dropout(0.5), torch.ones(100)
    torch.manual_seed(0)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(0)
    assert_close(dropout(x), first)
    assert not torch.equal(first, second)


def test_dropout_does_nothing_in_evaluation_or_with_p_zero():
    x = torch.randn(50)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_the_gradient_goes_where_the_number_went():
    torch.manual_seed(0)
    x = torch.randn(1000, requires_grad=True)
    out = Dropout(0.25)(x)
    out.sum().backward()
    assert_close(x.grad, (out != 0) / 0.75)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 5), (8,), (3, 3, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dropout_keeps_shape_and_type(shape, dtype):
    out = Dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert (out.shape, out.dtype) == (shape, dtype)


@pytest.mark.parametrize("p", [-0.1, 1.0, 2])
def test_a_share_outside_the_unit_interval_is_refused(p):
    with pytest.raises(ValueError, match=rf"p must lie in \[0, 1\), got {p}"):
        Dropout(p)


# Feed-forward


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_feed_forward_is_equation_two_at_every_position(name):
    torch.manual_seed(0)
    module, x = FeedForward(4, 7, name), torch.randn(2, 3, 4)
    w1, b1, w2, b2 = module.widen.weight, module.widen.bias, module.narrow.weight, module.narrow.bias
    for b in range(2):
        for t in range(3):
            bend = {"gelu_tanh": lambda z: F.gelu(z, approximate="tanh")}.get(name) or getattr(F, name)
            assert_close(module(x)[b, t], w2 @ bend(w1 @ x[b, t] + b1) + b2)


def test_gelu_is_the_one_with_the_error_function():
    x = 1.5
    exact = x * 0.5 * (1 + math.erf(x / math.sqrt(2)))
    assert_close(ACTIVATIONS["gelu"](torch.tensor(x)), torch.tensor(exact), atol=1e-6, rtol=0)


def test_an_unknown_activation_lists_those_there_are():
    with pytest.raises(
        ValueError, match=r"activation must be one of \['gelu', 'gelu_tanh', 'relu', 'silu'\], got 'swish'"
    ):
        FeedForward(4, 8, "swish")


# The residual connection


def test_post_norm_is_the_papers_and_pre_norm_leaves_the_sum_alone():
    torch.manual_seed(0)
    x, part, norm = torch.randn(2, 3, 4), nn.Linear(4, 4), nn.LayerNorm(4)
    post, pre, none = (Residual(4, norm=kind) for kind in ("post", "pre", "none"))
    assert_close(post(x, part), norm(x + part(x)))
    assert_close(pre(x, part), x + part(norm(x)))
    assert_close(none(x, part), x + part(x))


def test_without_the_addition_only_the_part_is_left():
    torch.manual_seed(0)
    x, part, norm = torch.randn(2, 3, 4), nn.Linear(4, 4), nn.LayerNorm(4)
    assert_close(Residual(4, norm="none", residual=False)(x, part), part(x))
    assert_close(Residual(4, norm="post", residual=False)(x, part), norm(part(x)))
    assert_close(Residual(4, norm="pre", residual=False)(x, part), part(norm(x)))


@PROPERTY
@given(seed=st.integers(0, 1000))
def test_layer_normalisation_divides_by_the_biased_deviation_with_epsilon_inside_the_root(seed):
    """A well-known annotated implementation takes the unbiased one, with epsilon outside, and so differs."""
    torch.manual_seed(seed)
    x = torch.randn(6) * 0.01  # so small that epsilon matters
    mean = sum(x.tolist()) / 6
    variance = sum((v - mean) ** 2 for v in x.tolist()) / 6
    expected = torch.tensor([(v - mean) / math.sqrt(variance + 1e-5) for v in x.tolist()])
    assert_close(Residual(6, residual=False)(x, lambda x: x), expected, atol=1e-4, rtol=1e-4)


def test_epsilon_is_passed_on():
    assert Residual(4, epsilon=1e-12).norm.eps == 1e-12


@pytest.mark.parametrize("kind", ["post", "pre", "none"])
def test_dropout_falls_on_the_parts_output_and_never_on_the_residual(kind):
    torch.manual_seed(0)
    module = Residual(4, dropout=0.5, norm=kind)
    module.norm = nn.Identity()
    x = torch.zeros(1000, 4)
    out = module(x, lambda x: x + 1)
    assert set(out.unique().tolist()) == {0.0, 2.0}
    out = module(x + 5, torch.zeros_like)
    assert_close(out, x + 5)


def test_an_unknown_norm_lists_those_there_are():
    with pytest.raises(ValueError, match=r"norm must be one of \('post', 'pre', 'none'\), got 'rms'"):
        Residual(4, norm="rms")


# A layer


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_layer_is_attention_and_feed_forward_each_in_its_residual(norm):
    torch.manual_seed(0)
    layer, x = SelfAttentionLayer(8, 2, 16, norm=norm, epsilon=1e-3), torch.randn(2, 5, 8)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])[:, None, None]

    def add_and_norm(residual, x, part):
        assert residual.norm.eps == 1e-3
        return residual.norm(x + part(x)) if norm == "post" else x + part(residual.norm(x))

    expected = add_and_norm(layer.add_attention, x, lambda x: layer.self_attention(x, mask))
    expected = add_and_norm(layer.add_feed_forward, expected, lambda x: layer.feed_forward(x))
    assert_close(layer(x, mask), expected)
    assert layer.feed_forward.activation is F.gelu


# The meta device


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        modules = [SinusoidalPositions(6, 4), LearnedPositions(6, 4), Dropout(0.5), FeedForward(4, 8)]
        residual = Residual(4, dropout=0.1)
    x = torch.zeros(2, 3, 4, device="meta")
    outputs = [module(x) for module in modules] + [residual(x, modules[-1])]
    assert {(out.device.type, out.shape) for out in outputs} == {("meta", (2, 3, 4))}


def test_gelu_with_tanh_is_pytorchs_forward_and_backward_with_and_without_gradients():
    x = torch.cat([torch.linspace(-12, 12, 401), torch.tensor([-1e4, -40.0, 40.0, 1e4])])
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    output, expected = gelu_tanh(ours), F.gelu(theirs, approximate="tanh")
    assert_close(output, expected, atol=1e-6, rtol=1e-5)
    assert torch.equal(gelu_tanh(x), expected.detach())
    for out in (output, expected):
        out.sum().backward()
    assert bool(ours.grad.isfinite().all())
    assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-5)
    double = torch.randn(7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gelu_tanh, (double,))
