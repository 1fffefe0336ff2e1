"""Nats, perplexity and bits a character are what they say."""

import math

import pytest
import torch

from lectures_lib.evaluation.language import bits_per_character, held_out_nats, perplexity
from lectures_lib.models.gpt import GPT, GPTConfig


def test_a_fair_choice_among_eight_is_three_bits_and_a_perplexity_of_eight():
    nats = math.log(8)
    assert perplexity(nats) == pytest.approx(8)
    assert bits_per_character(nats, tokens=10, characters=10) == pytest.approx(3)
    assert bits_per_character(nats, tokens=10, characters=40) == pytest.approx(0.75)  # four characters a token


def test_the_held_out_loss_is_the_mean_over_every_token_but_the_first():
    torch.manual_seed(0)
    model = GPT(GPTConfig(7, context=5, d_model=8, n_heads=2, n_layers=1, d_feed_forward=8)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    tokens = torch.randint(7, (23,))
    total = 0.0
    for start in range(0, 22, 5):
        window = tokens[start : start + 6]
        log_p = model(window[None, :-1])[0].log_softmax(-1)
        total -= float(log_p.gather(1, window[1:, None]).sum())
    assert held_out_nats(model, tokens) == pytest.approx(total / 22, rel=1e-5)
    assert held_out_nats(model, tokens, batch_size=2) == pytest.approx(total / 22, rel=1e-5)
    assert held_out_nats(model, tokens, time=2) != pytest.approx(total / 22, rel=1e-3)


def test_nothing_to_count_is_refused():
    with pytest.raises(ValueError, match="tokens and characters must be at least 1, got 0 and 3"):
        bits_per_character(1.0, tokens=0, characters=3)
