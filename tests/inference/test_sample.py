"""Sampling follows its filters' distribution, goes through the cache, and repeats with a seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.testing import assert_close

from lectures_lib.data.corpus import Characters
from lectures_lib.inference import continue_text, filtered_probabilities, sample, stream
from lectures_lib.models.gpt import GPT, GPTConfig

PROPERTY = settings(deadline=None, max_examples=30)
ROW = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])
LOGITS = ROW.log()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocabulary=11, context=16, d_model=16, n_heads=2, n_layers=2, d_feed_forward=32)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # far from even, so that the next token depends on all before
            parameter.add_(torch.randn_like(parameter) / 2)
    return model


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def argmax_by_hand(model, prompt, count):
    """Greedy without a cache: the whole text again for every token; the older half goes when the context is full."""
    text = list(prompt)
    window = list(prompt)
    for _ in range(count):
        token = int(model(torch.tensor([window]))[0, -1].argmax())
        text.append(token)
        window = [*window, token]
        if len(window) > model.config.context:
            window = window[-(model.config.context // 2) :]
    return text[len(prompt) :]


# The filters


def test_without_filters_it_is_the_softmax():
    assert_close(filtered_probabilities(LOGITS), ROW)
    assert_close(filtered_probabilities(LOGITS, top_p=1.0), ROW)
    assert_close(filtered_probabilities(LOGITS, top_k=5), ROW)
    assert_close(filtered_probabilities(LOGITS, top_k=50), ROW)


def test_temperature_is_a_power_of_the_probabilities():
    for temperature in (0.5, 2.0, 3):
        powered = ROW ** (1 / temperature)
        assert_close(filtered_probabilities(LOGITS, temperature=temperature), powered / powered.sum())
    cold = filtered_probabilities(LOGITS, temperature=1e-3)
    assert_close(cold, torch.tensor([0.0, 1, 0, 0, 0]))
    hot = filtered_probabilities(LOGITS, temperature=1e4)
    assert_close(hot, torch.full((5,), 0.2), atol=1e-3, rtol=0)


def test_top_k_keeps_the_k_likeliest_and_scales_them_up():
    assert_close(filtered_probabilities(LOGITS, top_k=2), torch.tensor([0, 4 / 7, 0, 3 / 7, 0]))


def test_top_p_keeps_the_fewest_that_hold_the_share_and_the_one_that_reaches_it():
    # 0.4, then 0.7, then 0.85: for 0.6 the second is needed, for 0.75 the third.
    assert_close(filtered_probabilities(LOGITS, top_p=0.6), torch.tensor([0, 4 / 7, 0, 3 / 7, 0]))
    assert_close(filtered_probabilities(LOGITS, top_p=0.75), torch.tensor([0, 0.4, 0, 0.3, 0.15]) / 0.85)
    assert_close(filtered_probabilities(LOGITS, top_p=1e-6), torch.tensor([0.0, 1, 0, 0, 0]))


def test_the_share_of_top_p_is_of_what_top_k_has_left():
    # Of the two likeliest, 4/7 = 0.571 and 3/7: the first alone holds 0.55, though only 0.4 of the whole.
    assert_close(filtered_probabilities(LOGITS, top_k=2, top_p=0.55), torch.tensor([0.0, 1, 0, 0, 0]))
    assert_close(filtered_probabilities(LOGITS, top_p=0.55), torch.tensor([0, 4 / 7, 0, 3 / 7, 0]))


def test_temperature_comes_before_top_p():
    # At temperature 2 the likeliest holds 0.29 of 1 instead of 0.4: a share of 0.35 needs two.
    assert int((filtered_probabilities(LOGITS, temperature=2.0, top_p=0.35) > 0).sum()) == 2
    assert int((filtered_probabilities(LOGITS, top_p=0.35) > 0).sum()) == 1


def test_among_equals_the_lower_numbers_stay():
    even = torch.zeros(6)
    assert_close(filtered_probabilities(even, top_k=2), torch.tensor([0.5, 0.5, 0, 0, 0, 0]))
    assert_close(filtered_probabilities(even, top_p=0.5), torch.tensor([1, 1, 1, 0, 0, 0]) / 3)
    two = torch.tensor([0.0, 2.0, 1.0, 2.0])
    assert_close(filtered_probabilities(two, top_k=1), torch.tensor([0.0, 1, 0, 0]))


@PROPERTY
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 40),
    temperature=st.floats(0.1, 5),
    top_k=st.none() | st.integers(1, 50),
    top_p=st.floats(0.01, 1),
)
def test_what_is_left_is_a_distribution_that_keeps_proportions(seed, size, temperature, top_k, top_p):
    logits = 3 * torch.randn(2, size, generator=seeded(seed), dtype=torch.float64)
    p = filtered_probabilities(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    whole = (logits / temperature).softmax(-1)
    assert_close(p.sum(-1), torch.ones(2, dtype=torch.float64))
    for row, full in zip(p, whole, strict=True):
        kept = row > 0
        assert 1 <= int(kept.sum()) <= (top_k or size)
        assert_close(row[kept], full[kept] / full[kept].sum())
        assert bool((full[kept].min() >= full[~kept]).all())
        left = full.sort(descending=True).values[: top_k or size]
        assert float(full[kept].sum()) >= top_p * float(left.sum()) - 1e-9
        assert float(full[kept].sum() - full[kept].min()) < top_p * float(left.sum()) + 1e-9


# Drawing


@pytest.mark.parametrize(
    "filters",
    [{}, {"temperature": 0.7}, {"temperature": 1.8}, {"top_k": 4}, {"top_p": 0.8}, {"top_k": 6, "top_p": 0.7}],
)
def test_tokens_are_drawn_with_the_filtered_probabilities(model, filters):
    draws = 4_000
    drawn = sample(model, [[3, 1, 4]] * draws, max_new_tokens=1, generator=seeded(5), **filters)
    expected = filtered_probabilities(model(torch.tensor([[3, 1, 4]]))[0, -1].detach(), **filters)
    counts = torch.bincount(torch.tensor([row[0] for row in drawn]), minlength=11)
    possible = expected > 0
    assert int(counts[~possible].sum()) == 0
    expected_counts = (expected[possible].double() / expected[possible].double().sum()) * draws
    assert chisquare(counts[possible].numpy(), expected_counts.numpy()).pvalue > 1e-3


def test_the_second_token_depends_on_the_first(model):
    """Drawn pairs follow p(first) p(second | first): the cache has read what was drawn."""
    draws = 6_000
    pairs = torch.tensor(sample(model, [[2]] * draws, max_new_tokens=2, top_k=3, generator=seeded(8)))
    first = filtered_probabilities(model(torch.tensor([[2]]))[0, -1].detach(), top_k=3)
    expected, counts = [], []
    for a in first.nonzero().flatten().tolist():
        second = filtered_probabilities(model(torch.tensor([[2, a]]))[0, -1].detach(), top_k=3)
        for b in second.nonzero().flatten().tolist():
            expected.append(float(first[a] * second[b]))
            counts.append(int(((pairs[:, 0] == a) & (pairs[:, 1] == b)).sum()))
    assert sum(counts) == draws
    scaled = torch.tensor(expected, dtype=torch.float64) / sum(expected) * draws
    assert chisquare(counts, scaled.numpy()).pvalue > 1e-3


def test_one_likeliest_token_is_greedy_decoding_also_when_the_context_is_full(model):
    for prompt in ([5], [1, 2, 3, 4, 5, 6, 7], list(range(11)) + [3, 1, 4, 1, 5]):
        (ours,) = sample(model, [prompt], max_new_tokens=40, top_k=1)
        assert ours == argmax_by_hand(model, prompt, 40)


def test_a_very_low_temperature_is_greedy_too(model):
    assert sample(model, [[4, 2]], max_new_tokens=12, temperature=1e-4) == sample(
        model, [[4, 2]], max_new_tokens=12, top_k=1
    )


def test_prompts_of_different_lengths_go_together_as_if_alone(model):
    prompts = [[1], [2, 3, 4, 5, 6], [7, 8], list(range(11)) + [0, 1, 2, 3, 4]]
    together = sample(model, prompts, max_new_tokens=9, top_k=1)
    for prompt, said in zip(prompts, together, strict=True):
        assert [said] == sample(model, [prompt], max_new_tokens=9, top_k=1)


def test_a_text_ends_with_the_stop_token_and_a_prompt_may_contain_it(model):
    (free,) = sample(model, [[5]], max_new_tokens=30, top_k=1)
    stop = free[3]
    first = free.index(stop)
    assert sample(model, [[5]], max_new_tokens=30, top_k=1, stop=stop) == [free[: first + 1]]
    said = sample(model, [[stop, 5], [5]], max_new_tokens=30, top_k=1, stop=stop)
    assert said[1] == free[: first + 1]
    assert len(said[0]) >= 1


def test_the_same_seed_writes_the_same_text_and_another_seed_another(model):
    texts = [sample(model, [[1, 2]] * 2, max_new_tokens=20, generator=seeded(seed)) for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]
    assert texts[0][0] != texts[0][1]  # rows are drawn by themselves


def test_a_stream_gives_one_token_after_the_other_and_they_are_those_of_a_sample(model):
    options = dict(max_new_tokens=25, temperature=1.3, top_p=0.9)
    tokens = stream(model, [1, 2], generator=seeded(2), **options)
    first = next(tokens)
    assert isinstance(first, int)
    assert [[first, *tokens]] == sample(model, [[1, 2]], generator=seeded(2), **options)
    stopped = list(stream(model, [1, 2], generator=seeded(2), stop=first, **options))
    assert stopped == [first]


def test_a_stream_leaves_gradients_on_for_whoever_takes_its_tokens(model):
    tokens = stream(model, [1, 2], max_new_tokens=3)
    next(tokens)
    assert torch.is_grad_enabled()


def test_the_models_mode_is_kept(model):
    model.train()
    try:
        sample(model, [[1]], max_new_tokens=2)
        list(stream(model, [1], max_new_tokens=2))
        assert model.training
    finally:
        model.eval()


def test_text_goes_in_and_text_comes_out(model):
    code = Characters("abcdefghijk")
    written = continue_text(model, code, "abba", max_new_tokens=6, top_k=1)
    (ids,) = sample(model, [code.encode("abba")], max_new_tokens=6, top_k=1)
    assert written == "abba" + code.decode(ids)
    long = "abcdefghij" * 5  # longer than the context: read from its end
    (ids,) = sample(model, [code.encode(long)[-16:]], max_new_tokens=6, top_k=1)
    assert continue_text(model, code, long, max_new_tokens=6, top_k=1) == long + code.decode(ids)


def test_filters_run_on_the_meta_device():
    logits = torch.zeros(2, 7, device="meta")
    assert filtered_probabilities(logits, temperature=0.5, top_k=3, top_p=0.9).device.type == "meta"


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(temperature=0), "temperature must be positive and finite, got 0"),
        (dict(temperature=-1.0), "temperature must be positive and finite, got -1.0"),
        (dict(temperature=float("inf")), "temperature must be positive and finite, got inf"),
        (dict(temperature=float("nan")), "temperature must be positive and finite, got nan"),
        (dict(top_k=0), "top_k must be at least 1, got 0"),
        (dict(top_p=0), r"top_p must lie in \(0, 1\], got 0"),
        (dict(top_p=1.01), r"top_p must lie in \(0, 1\], got 1.01"),
        (dict(top_p=-0.5), r"top_p must lie in \(0, 1\], got -0.5"),
    ],
)
def test_filters_that_make_no_sense_are_refused_everywhere(model, options, message):
    with pytest.raises(ValueError, match=message):
        filtered_probabilities(LOGITS, **options)
    with pytest.raises(ValueError, match=message):
        sample(model, [[1]], max_new_tokens=1, **options)
    with pytest.raises(ValueError, match=message):
        stream(model, [1], max_new_tokens=1, **options)  # at the call, not at the first token


def test_prompts_that_make_no_sense_are_refused(model):
    with pytest.raises(ValueError, match="prompts must hold at least one, got none"):
        sample(model, [], max_new_tokens=1)
    with pytest.raises(ValueError, match=r"prompts\[1\] must have at least one token, got none"):
        sample(model, [[1], []], max_new_tokens=1)
    with pytest.raises(ValueError, match=r"prompts\[0\] must have at most 16 tokens, the model's context, got 17"):
        sample(model, [[1] * 17], max_new_tokens=1)
    with pytest.raises(ValueError, match="prompt must hold tokens between 0 and 10, got 11"):
        stream(model, [11], max_new_tokens=1)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        sample(model, [[1]], max_new_tokens=0)
    with pytest.raises(ValueError, match="text must have at least one character"):
        continue_text(model, Characters("ab"), "", max_new_tokens=1)
    with pytest.raises(ValueError, match="'z' at character 2"):
        continue_text(model, Characters("ab"), "az", max_new_tokens=1)
