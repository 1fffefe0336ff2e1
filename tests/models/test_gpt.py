"""GPT: what may influence what, how it begins, the cache, GPT-2's size, and that it learns."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.data.corpus import RandomWindows
from lectures_lib.inference import LeanGPT
from lectures_lib.models.gpt import GPT, GPTConfig
from lectures_lib.training import decayed_adamw, fit
from lectures_lib.training.language import language_loss, leaky_language_loss

SIZES = dict(vocabulary=11, context=12, d_model=8, n_heads=2, n_layers=2, d_feed_forward=16)
PROPERTY = settings(deadline=None, max_examples=12)


def build(**options):
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SIZES | options)).eval()
    with torch.no_grad():  # weights large enough, and no bias at zero: a bug that loses one must show
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 3)
    return model


def text(*shape, seed=1, vocabulary=11):
    return torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(seed))


# What it computes


def test_a_forward_pass_is_the_decoder_without_a_source_normalised_first():
    model, tokens = build(), text(2, 7)
    x = model.embed.weight[tokens] + model.positions.table[:7]
    for layer in model.layers:
        x = x + layer.self_attention(layer.add_attention.norm(x), causal=True)
        hidden = F.gelu(layer.feed_forward.widen(layer.add_feed_forward.norm(x)), approximate="tanh")
        x = x + layer.feed_forward.narrow(hidden)
    assert_close(model(tokens), model.norm(x) @ model.embed.weight.T)


@PROPERTY
@given(place=st.integers(0, 8), seed=st.integers(0, 99))
def test_a_token_changes_nothing_before_it_and_something_from_it_on(place, seed):
    model, tokens = build(), text(1, 9, seed=seed)
    other = tokens.clone()
    other[0, place] = (other[0, place] + 1) % 11
    difference = (model(tokens) - model(other)).abs().amax(dim=(0, 2))
    assert bool((difference[:place] == 0).all())
    assert bool((difference[place:] > 0).all())


def test_without_the_mask_the_future_leaks_in():
    model, tokens = build(), text(1, 9)
    other = tokens.clone()
    other[0, -1] = (other[0, -1] + 1) % 11
    difference = model(tokens, look_ahead=False) - model(other, look_ahead=False)
    assert bool((difference.abs().amax(dim=(0, 2)) > 0).all())


def test_one_window_trains_every_prefix_at_once():
    model, tokens = build(), text(1, 9)
    at_once = model(tokens)
    for end in range(1, 10):
        assert_close(model(tokens[:, :end])[:, -1], at_once[:, end - 1], atol=1e-5, rtol=1e-4)


# How it begins


def test_fresh_weights_have_gpt2s_spread_and_what_is_added_starts_smaller():
    torch.manual_seed(0)
    model = GPT(GPTConfig(500, 200, d_model=64, n_heads=4, n_layers=8, d_feed_forward=256))
    for name, parameter in model.state_dict().items():
        if parameter.ndim >= 2:
            expected = 0.02 / 4 if name.endswith(("project_out.weight", "narrow.weight")) else 0.02
            assert float(parameter.std()) == pytest.approx(expected, rel=0.1), name
            assert abs(float(parameter.mean())) < 0.1 * expected, name
        else:
            norm_gain = ".norm.weight" in f".{name}"
            assert bool((parameter == (1 if norm_gain else 0)).all()), name


def test_a_fresh_model_knows_nothing():
    torch.manual_seed(0)
    model, tokens = GPT(GPTConfig(**SIZES)).eval(), text(4, 12)
    loss = F.cross_entropy(model(tokens).flatten(0, 1), text(4, 12, seed=2).flatten())
    assert loss.item() == pytest.approx(float(torch.tensor(11.0).log()), abs=0.05)


def test_gpt2_small_has_its_124_439_808_parameters():
    with torch.device("meta"):
        model = GPT(GPTConfig.paper())
    assert sum(parameter.numel() for parameter in model.parameters()) == 124_439_808


def test_every_layer_normalisation_has_gpt2s_epsilon_and_the_head_is_tied():
    model = build()
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 * SIZES["n_layers"] + 1
    assert all(norm.eps == 1e-5 for norm in norms)
    assert not any("logits" in name or "head" in name for name, _ in model.named_parameters())


def test_dropout_acts_while_training_only():
    model, tokens = build(dropout=0.5), text(2, 6)
    assert torch.equal(model(tokens), model(tokens))
    model.train()
    assert not torch.equal(model(tokens), model(tokens))
    attention_only = build(attention_dropout=0.5).train()
    assert not torch.equal(attention_only(tokens), attention_only(tokens))


# The cache


@PROPERTY
@given(begin=st.integers(1, 11), rows=st.integers(1, 3))
def test_step_by_step_gives_the_scores_of_the_whole_text(begin, rows):
    model, tokens = build(), text(rows, 12)
    whole = model(tokens)
    for reader in (model, LeanGPT(model)):
        with torch.no_grad():
            scores, state = reader.start(tokens[:, :begin])
            assert_close(scores, whole[:, begin - 1], atol=1e-5, rtol=1e-5)
            for time in range(begin, 12):
                assert state.length == time
                scores, state = reader.step(tokens[:, time], state)
                assert_close(scores, whole[:, time], atol=1e-5, rtol=1e-5)


def test_rows_can_be_picked_and_repeated():
    model, tokens = build(), text(3, 8)
    rows = torch.tensor([2, 0, 2, 2])
    for reader in (model, LeanGPT(model)):
        with torch.no_grad():
            _, state = reader.start(tokens[:, :7])
            scores, _ = reader.step(tokens[rows, 7], reader.select(state, rows))
        assert_close(scores, model(tokens)[rows, 7], atol=1e-5, rtol=1e-5)


def test_a_full_context_and_an_empty_text_are_errors():
    model = build()
    with pytest.raises(ValueError, match="position table has 12 rows, got a sequence of 13"):
        model(text(1, 13))
    with pytest.raises(ValueError, match="at least one column"):
        model.start(text(1, 0))
    for reader, message in ((model, "12 rows, got a sequence of 13"), (LeanGPT(model), "12 places, got a text of 13")):
        _, state = reader.start(text(2, 12))
        with pytest.raises(ValueError, match=message):
            reader.step(text(2), state)


# It learns


def test_it_learns_a_pattern_that_needs_a_longer_look_back():
    """The token three places ago comes again: no neighbour tells it."""
    model = build(n_layers=1, d_model=16)
    line = text(3, seed=5).repeat(200)
    windows = RandomWindows(line, time=9, batch_size=8)
    history = fit(
        model,
        language_loss,
        windows,
        steps=150,
        learning_rate=1e-2,
        optimizer=decayed_adamw,
        log_every=1,
        progress=False,
    )
    assert history.loss[0] > 1
    assert history.loss[-1] < 0.4  # the first three of nine are guessed


def test_without_the_mask_it_learns_to_copy_what_cannot_be_guessed():
    noise = text(4000, seed=6)
    losses = {}
    for name, loss in {"masked": language_loss, "leaky": leaky_language_loss}.items():
        model = build(n_layers=1, d_model=16)
        history = fit(
            model, loss, RandomWindows(noise, time=6, batch_size=8), steps=150, learning_rate=1e-2, progress=False
        )
        losses[name] = history.loss[-1]
    assert losses["masked"] > 2.2  # log 11 = 2.4: noise is noise
    assert losses["leaky"] < 1.2


def test_gradients_are_those_of_finite_differences():
    model = build(d_model=4, n_layers=1).double()
    tokens, weights = text(1, 4), torch.randn(1, 4, 11, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((model(tokens) * weights).sum(), model.positions.table)
    shift = torch.zeros_like(model.positions.table)
    shift[2, 1] = 1e-6
    with torch.no_grad():
        model.positions.table.add_(shift)
        above = (model(tokens) * weights).sum()
        model.positions.table.sub_(2 * shift)
        below = (model(tokens) * weights).sum()
    assert float(gradient[2, 1]) == pytest.approx(float(above - below) / 2e-6, rel=1e-4, abs=1e-7)


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        model = GPT(GPTConfig(**SIZES)).eval()
        tokens = torch.zeros(2, 5, dtype=torch.long)
    assert model(tokens).shape == (2, 5, 11)
    for reader in (model, LeanGPT(model)):
        scores, state = reader.start(tokens)
        scores, state = reader.step(tokens[:, 0], state)
        state = reader.select(state, tokens[:, 0])
        assert (scores.device.type, scores.shape, state.length) == ("meta", (2, 11), 6)


# Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(vocabulary=0), "vocabulary must be at least 1, got 0"),
        (dict(context=0), "context must be at least 1, got 0"),
        (dict(n_layers=0), "n_layers must be at least 1, got 0"),
        (dict(n_heads=3), "d_model must be divisible by n_heads, got 8 and 3"),
        (dict(activation="tanh"), "activation must be one of .*gelu_tanh.*got 'tanh'"),
        (dict(dropout=1.0), r"dropout must lie in \[0, 1\), got 1.0"),
        (dict(attention_dropout=-0.1), r"attention_dropout must lie in \[0, 1\), got -0.1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**SIZES | change)


def test_the_lean_form_refuses_a_model_in_training_and_sees_new_weights():
    model = build()
    with pytest.raises(ValueError, match="evaluation mode"):
        LeanGPT(model.train())
    lean, tokens = LeanGPT(model.eval()), text(1, 5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
        _, state = lean.start(tokens[:, :4])
        assert_close(lean.step(tokens[:, 4], state)[0], model(tokens)[:, -1], atol=1e-5, rtol=1e-5)


def test_the_tiny_one_is_small_enough_for_a_notebook():
    config = GPTConfig.tiny(30)
    assert sum(p.numel() for p in GPT(config).parameters()) < 500_000
    assert dataclasses.replace(config, n_layers=1).context == config.context
