"""Attention against its formula in loops, and against every way a mask, a cache or padding can mislead it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.attention import (
    AdditiveAttention,
    CrossAttention,
    LayerCache,
    MultiplicativeAttention,
    SelfAttention,
    attention,
    attention_weights,
    key_value_cache,
    look_ahead_mask,
    masked_softmax,
    padding_mask,
    recorded_weights,
)

SEEDS = st.integers(0, 2**16)
PROPERTY = settings(deadline=None, max_examples=40)
FORMULA = dict(atol=1e-6, rtol=1e-5)


def random_tensors(*shapes, seed=0, gradient=True):
    torch.manual_seed(seed)
    return [torch.randn(shape, requires_grad=gradient) for shape in shapes]


def gradients(output, inputs):
    """The gradients of a sum that weighs every number of `output` differently."""
    return torch.autograd.grad((output * torch.arange(output.numel()).view_as(output).sin()).sum(), inputs)


# Masks


def test_the_lectures_look_ahead_example():
    """I / Am / Learn' / Math: the lower triangle stays, the first word sees only itself."""
    mask = look_ahead_mask(4)
    assert mask.tolist() == [[True, False, False, False], [True] * 2 + [False] * 2, [True] * 3 + [False], [True] * 4]
    weights = attention_weights(torch.zeros(4, 8), torch.zeros(4, 8), mask)  # equal scores: 1, 1/2, 1/3, 1/4
    assert_close(weights, torch.ones(4, 4).tril() / torch.arange(1.0, 5).unsqueeze(1))


def test_a_padding_mask_is_true_at_tokens():
    assert padding_mask(torch.tensor([3, 1, 0]), 3)[:, 0, 0].tolist() == [[True] * 3, [True, False, False], [False] * 3]


def test_true_means_may_attend_as_in_the_fused_kernel_and_unlike_in_nn_transformer():
    """PyTorch has two opposite conventions; ours is the one of `scaled_dot_product_attention`."""
    query, key, value = random_tensors((2, 3, 4), (2, 5, 4), (2, 5, 4))
    mask = torch.rand(3, 5) < 0.5
    mask[:, 0] = True
    assert_close(attention(query, key, value, mask), F.scaled_dot_product_attention(query, key, value, mask))
    opposite = nn.MultiheadAttention(4, 1, bias=False, batch_first=True)
    for matrix in (
        opposite.in_proj_weight.data[:4],
        opposite.in_proj_weight.data[4:8],
        opposite.in_proj_weight.data[8:],
    ):
        matrix.copy_(torch.eye(4))
    opposite.out_proj.weight.data.copy_(torch.eye(4))
    theirs, _ = opposite(query, key, value, attn_mask=~mask)  # there, True means "may not"
    assert_close(attention(query, key, value, mask), theirs, **FORMULA)


@PROPERTY
@given(seed=SEEDS, length=st.integers(1, 8), batch=st.integers(1, 3))
def test_padding_and_look_ahead_masks_join_with_and(seed, length, batch):
    lengths = torch.randint(0, length + 1, (batch,), generator=torch.Generator().manual_seed(seed))
    joined = padding_mask(lengths, length) & look_ahead_mask(length)
    assert joined.shape == (batch, 1, length, length)
    for row, query, key in joined[:, 0].nonzero().tolist():
        assert key <= query
        assert key < lengths[row]
    assert int(joined.sum()) == sum(min(q + 1, int(n)) for n in lengths for q in range(length))


@pytest.mark.parametrize("function", ["weights", "attention", "softmax", "self", "cross", "additive", "multiplicative"])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(3, 3), r"mask must be boolean \(True = may attend\), got torch.float32"),
        (torch.ones(3, 3, dtype=torch.long), "mask must be boolean.*got torch.int64"),
        (torch.ones(4, 4, dtype=torch.bool), r"mask must broadcast to \(2, .*3, 3\), got \(4, 4\)"),
        (torch.ones(5, 1, 1, 1, 3, dtype=torch.bool), r"mask must broadcast to \(2, .*3, 3\), got \(5, 1, 1, 1, 3\)"),
    ],
)
def test_a_mask_of_the_wrong_type_or_shape_is_shown_with_the_right_one(function, mask, message):
    (x,) = random_tensors((2, 3, 4))
    additive, multiplicative = AdditiveAttention(4, 4, 5), MultiplicativeAttention(4, 4)
    call = {
        "weights": lambda: attention_weights(x, x, mask),
        "attention": lambda: attention(x, x, x, mask),
        "softmax": lambda: masked_softmax(x @ x.mT, mask),
        "self": lambda: SelfAttention(4, 2)(x, mask),
        "cross": lambda: CrossAttention(4, 2)(x, x, mask),
        "additive": lambda: additive(x, additive.prepare(x), mask),
        "multiplicative": lambda: multiplicative(x, multiplicative.prepare(x), mask),
    }
    with pytest.raises(ValueError, match=message):
        call[function]()


@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 1), (4, 5), (1, 4, 5), (2, 1, 1, 5), (2, 3, 4, 5)], ids=str)
def test_every_mask_that_broadcasts_is_accepted_and_means_what_it_says_when_spread_out(shape):
    query, key = random_tensors((2, 3, 4, 8), (2, 3, 5, 8))
    mask = torch.rand(shape) < 0.6
    whole = mask.expand(2, 3, 4, 5)
    assert_close(attention(query, key, key, mask), attention(query, key, key, whole))
    assert_close(attention_weights(query, key, mask), attention_weights(query, key, whole))


@pytest.mark.parametrize(("lengths", "message"), [([4, 2], "0 and 3, got 2 to 4"), ([-1, 2], "0 and 3, got -1 to 2")])
def test_lengths_outside_the_sequence_are_refused(lengths, message):
    with pytest.raises(ValueError, match=message):
        padding_mask(torch.tensor(lengths), 3)


def test_an_empty_look_ahead_mask_is_refused():
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        look_ahead_mask(0)


# Queries that may see nothing


@pytest.mark.parametrize("axes", [(), (2,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_kernel_of_this_device_gives_zeros_to_a_query_that_may_see_nothing(axes, dtype):
    """`attention` relies on it on a CPU, with every number of axes, in every precision, for a mask of every shape."""
    query = torch.ones(*axes, 3, 4, dtype=dtype, requires_grad=True)
    for mask in (torch.tensor([[True] * 3, [False] * 3, [True] * 3]), torch.zeros(3, dtype=torch.bool)):
        with torch.no_grad():
            nothing = attention(query, query, query, mask)[..., 1, :]
        mixed = attention(query, query, query, mask)
        (gradient,) = torch.autograd.grad(mixed.sum(), query)
        assert nothing.count_nonzero() == mixed[..., 1, :].count_nonzero() == 0
        assert gradient.isfinite().all()


@pytest.mark.parametrize("causal", [False, True])
def test_a_query_that_may_attend_to_nothing_gets_zeros_and_sends_back_zeros(causal):
    """pytorch#41508: NaN gradients from fully masked rows. Here: zeros in both directions, and others unharmed."""
    query, key, value = random_tensors((2, 2, 4, 8), (2, 2, 4, 8), (2, 2, 4, 8))
    mask = torch.ones(2, 1, 4, 4, dtype=torch.bool)
    mask[0, :, 2] = False
    mixed = attention(query, key, value, mask, causal=causal)
    assert mixed[0, :, 2].count_nonzero() == 0
    for gradient in gradients(mixed, (query, key, value)):
        assert gradient.isfinite().all()
    assert gradients(attention(query, key, value, mask, causal=causal), query)[0][0, :, 2].count_nonzero() == 0
    assert_close(mixed[1], attention(query[1], key[1], value[1], causal=causal))


def test_a_sentence_that_is_all_padding_gives_zeros_and_zero_gradients():
    query, key, value = random_tensors((2, 1, 3, 4), (2, 1, 3, 4), (2, 1, 3, 4))
    mask = padding_mask(torch.tensor([0, 2]), 3)
    mixed = attention(query, key, value, mask)
    assert mixed[0].count_nonzero() == 0
    for gradient in gradients(mixed, (query, key, value)):
        assert gradient[0].count_nonzero() == 0
        assert gradient.isfinite().all()
    weights = attention_weights(query, key, mask)
    assert weights[0].count_nonzero() == 0
    assert all(g[0].count_nonzero() == 0 and g.isfinite().all() for g in gradients(weights, (query, key)))


@pytest.mark.parametrize("scores", [torch.tensor([[-1e9, -1e9]]), torch.tensor([[0.0, -3e38]])], ids=str)
def test_masked_is_zero_however_low_the_scores_are(scores):
    """Adding -1e9 instead of masking would give a uniform row here."""
    assert masked_softmax(scores, torch.tensor([False, False])).tolist() == [[0.0, 0.0]]
    assert masked_softmax(scores, torch.tensor([False, True])).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_masked_softmax_holds_in_other_precisions(dtype):
    weights = masked_softmax(torch.zeros(2, 3, dtype=dtype), torch.tensor([[True, True, False], [False] * 3]))
    assert_close(weights, torch.tensor([[0.5, 0.5, 0], [0, 0, 0]], dtype=dtype))


# The formula and the fused kernel


def attention_in_loops(query, key, value, mask):
    """Equation 1 one number at a time, in Python's own floats."""
    out = []
    for i, q in enumerate(query):
        seen = [j for j in range(len(key)) if mask[i][j]]
        scores = {j: math.exp(sum(a * b for a, b in zip(q, key[j], strict=True)) / math.sqrt(len(q))) for j in seen}
        total = sum(scores.values()) or 1.0
        out.append([sum(scores[j] / total * value[j][n] for j in seen) for n in range(len(value[0]))])
    return out


@PROPERTY
@given(seed=SEEDS, queries=st.integers(1, 5), keys=st.integers(1, 5))
def test_attention_is_its_formula_in_plain_loops(seed, queries, keys):
    query, key, value = random_tensors((queries, 4), (keys, 4), (keys, 3), seed=seed, gradient=False)
    mask = torch.rand(queries, keys) < 0.7
    rows = attention_in_loops(query.tolist(), key.tolist(), value.tolist(), mask.tolist())
    by_hand = torch.tensor(rows, dtype=torch.float32)
    assert_close(attention_weights(query, key, mask) @ value, by_hand, **FORMULA)
    assert_close(attention(query, key, value, mask), by_hand, **FORMULA)


@PROPERTY
@given(seed=SEEDS, queries=st.integers(1, 6), keys=st.integers(1, 6), kind=st.sampled_from(["none", "mask", "causal"]))
def test_the_fused_kernel_is_weights_times_value_forward_and_backward(seed, queries, keys, kind):
    keys = queries if kind == "causal" else keys
    tensors = random_tensors((2, 3, queries, 4), (2, 3, keys, 4), (2, 3, keys, 5), seed=seed)
    query, key, value = tensors
    mask = torch.rand(2, 1, queries, keys) < 0.6 if kind == "mask" else None
    shown = look_ahead_mask(keys) if kind == "causal" else mask
    ours, formula = (
        attention(query, key, value, mask, causal=kind == "causal"),
        attention_weights(query, key, shown) @ value,
    )
    assert_close(ours, formula, **FORMULA)
    for a, b in zip(gradients(ours, tensors), gradients(formula, tensors), strict=True):
        assert_close(a, b, **FORMULA)


def test_causal_with_a_mask_obeys_both():
    (x,) = random_tensors((2, 2, 5, 4))
    mask = padding_mask(torch.tensor([5, 3]), 5)
    assert_close(attention(x, x, x, mask, causal=True), attention(x, x, x, mask & look_ahead_mask(5)))


@PROPERTY
@given(seed=SEEDS, queries=st.integers(1, 6), keys=st.integers(1, 6))
def test_weights_are_shares(seed, queries, keys):
    query, key = random_tensors((queries, 4), (keys, 4), seed=seed, gradient=False)
    weights = attention_weights(query, key)
    assert (weights >= 0).all()
    assert_close(weights.sum(-1), torch.ones(queries))


def test_scores_are_divided_by_the_root_of_the_width():
    query, key = torch.full((1, 16), 0.5), torch.stack([torch.ones(16), torch.zeros(16)])
    expected = math.exp(2) / (math.exp(2) + 1)  # 16 · 0.5 / √16 = 2
    assert_close(attention_weights(query, key), torch.tensor([[expected, 1 - expected]]))


def test_causal_is_for_as_many_queries_as_keys_or_for_the_newest_one():
    query, key = random_tensors((1, 2, 4), (1, 3, 4))
    with pytest.raises(ValueError, match="as many queries as keys, or one query, got 2 and 3"):
        attention(query, key, key, causal=True)
    assert_close(attention(query[:, :1], key, key, causal=True), attention(query[:, :1], key, key))


@PROPERTY
@given(length=st.integers(1, 10), position=st.integers(0, 9), seed=SEEDS)
def test_no_future_token_has_any_influence(length, position, seed):
    """The gradient to what lies ahead is not small but exactly zero, through weights, kernel and module."""
    position = min(position, length - 1)
    torch.manual_seed(seed)
    module, (x,) = SelfAttention(8, 2), random_tensors((1, length, 8), seed=seed)
    ways = (
        attention_weights(x, x, look_ahead_mask(length)) @ x,
        attention(x, x, x, causal=True),
        attention(x, x, x, look_ahead_mask(length)),
        module(x, causal=True),
    )
    for mixed in ways:
        (gradient,) = torch.autograd.grad(mixed[0, position].sin().sum(), x)
        assert gradient[0, position + 1 :].count_nonzero() == 0
        assert gradient[0, position].count_nonzero() > 0


# Several heads


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"mask": torch.tensor([[True, True, False]] * 3)}], ids=str)
def test_dropped_weights_are_zero_and_the_others_grow_so_that_the_mean_stays(options):
    """With values that are the identity matrix, what comes out are the weights themselves."""
    query, key = random_tensors((4000, 3, 2), (4000, 3, 2), gradient=False)
    value = torch.eye(3).expand(4000, 3, 3)
    kept = attention(query, key, value, **options)
    dropped = attention(query, key, value, dropout=0.25, **options)
    seen = kept > 0
    stayed = dropped[seen] > 0
    assert float(stayed.float().mean()) == pytest.approx(0.75, abs=0.02)
    assert_close(dropped[seen][stayed], (kept / 0.75)[seen][stayed], atol=1e-5, rtol=1e-4)
    assert dropped[~seen].count_nonzero() == 0


def test_weights_are_dropped_in_training_only_and_nothing_to_see_stays_zero():
    (x,) = random_tensors((2, 5, 8), gradient=False)
    module = SelfAttention(8, 2, dropout=0.5)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert_close(module(x), module(x))
    nothing = torch.tensor([[[[False] * 5]], [[[True] * 5]]])
    module.train()
    assert_close(module(x, nothing)[0], module.project_out.bias.expand(5, 8))


def heads_by_hand(query, key, value, n_heads):
    """Each head is the formula on its own slice of the width, one after the other."""
    slices = zip(*(x.chunk(n_heads, dim=-1) for x in (query, key, value)), strict=True)
    return torch.cat([attention_weights(q, k) @ v for q, k, v in slices], dim=-1)


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_heads_are_attentions_side_by_side_on_slices_of_the_width(n_heads):
    torch.manual_seed(0)
    ours, other = SelfAttention(8, n_heads), CrossAttention(8, n_heads)
    x, memory = random_tensors((2, 5, 8), (2, 3, 8))
    query, key, value = ours.project_in(x).chunk(3, dim=-1)
    assert_close(ours(x), ours.project_out(heads_by_hand(query, key, value, n_heads)), **FORMULA)
    key, value = other.project_key_value(memory).chunk(2, dim=-1)
    expected = other.project_out(heads_by_hand(other.project_query(x), key, value, n_heads))
    assert_close(other(x, memory), expected, **FORMULA)
    assert_close(other(x, other.keys_and_values(memory)), expected, **FORMULA)


def test_weights_of_a_module_are_what_its_forward_uses():
    torch.manual_seed(0)
    ours, other = SelfAttention(8, 2), CrossAttention(8, 2)
    x, memory = random_tensors((2, 5, 8), (2, 3, 8))
    mask = padding_mask(torch.tensor([5, 2]), 5)
    _, _, value = ours.heads(x)
    mixed = (ours.weights(x, mask, causal=True) @ value).transpose(1, 2).flatten(2)
    assert_close(ours.project_out(mixed), ours(x, mask, causal=True), **FORMULA)
    _, value = other.keys_and_values(memory)
    mixed = (other.weights(x, memory) @ value).transpose(1, 2).flatten(2)
    assert_close(other.project_out(mixed), other(x, memory), **FORMULA)


@pytest.mark.parametrize("module", [SelfAttention, CrossAttention])
def test_heads_must_divide_the_width(module):
    with pytest.raises(ValueError, match="d_model must be divisible by n_heads, got 10 and 4"):
        module(10, 4)
    with pytest.raises(ValueError, match="must be at least 1, got 8 and 0"):
        module(8, 0)


def test_self_attention_without_positions_does_not_know_the_order():
    torch.manual_seed(0)
    module, (x,) = SelfAttention(8, 2), random_tensors((1, 6, 8))
    order = torch.randperm(6)
    assert_close(module(x)[:, order], module(x[:, order]), **FORMULA)


# The cache


@PROPERTY
@given(cuts=st.lists(st.integers(1, 7), max_size=4, unique=True), seed=SEEDS)
def test_the_cache_changes_nothing_whatever_the_chunks(cuts, seed):
    """One by one, in chunks, or all at once: the same numbers; and `weights` agrees before each `forward`."""
    torch.manual_seed(seed)
    module, (x,) = SelfAttention(8, 2), random_tensors((2, 8, 8), seed=seed, gradient=False)
    (cache,) = key_value_cache(1, 2, 2, 8, 4, like=x)
    edges = [0, *sorted(cuts), 8]
    outputs, looks = [], []
    with torch.no_grad():
        for first, last in zip(edges, edges[1:], strict=False):
            looks.append(F.pad(module.weights(x[:, first:last], causal=True, cache=cache), (0, 8 - last)))
            outputs.append(module(x[:, first:last], causal=True, cache=cache))
            assert cache.length == last
        assert_close(torch.cat(outputs, dim=1), module(x, causal=True), **FORMULA)
        assert_close(torch.cat(looks, dim=2), module.weights(x, causal=True), **FORMULA)


def test_a_cache_with_a_padding_mask_still_looks_at_the_past_only():
    torch.manual_seed(0)
    module, (x,) = SelfAttention(8, 2), random_tensors((2, 5, 8), gradient=False)
    mask = padding_mask(torch.tensor([5, 3]), 5)
    (cache,) = key_value_cache(1, 2, 2, 5, 4, like=x)
    with torch.no_grad():
        first = module(x[:, :2], mask[..., :2], causal=True, cache=cache)
        rest = module(x[:, 2:], mask, causal=True, cache=cache)
        assert_close(torch.cat([first, rest], dim=1), module(x, mask, causal=True), **FORMULA)


def test_a_full_cache_says_how_much_room_it_had():
    (x,) = random_tensors((1, 3, 8), gradient=False)
    module, (cache,) = SelfAttention(8, 2), key_value_cache(1, 1, 2, 4, 4, like=x)
    with torch.no_grad():
        module(x, causal=True, cache=cache)
        with pytest.raises(ValueError, match="room for 4 positions, got 6"):
            module(x, causal=True, cache=cache)
    assert cache.length == 3  # a refusal leaves it as it was


@pytest.mark.parametrize("rows", [[2, 0], [1, 1, 0], [2, 1, 0], [0], [2, 2, 2]], ids=str)
def test_rows_selected_into_the_same_memory_do_not_overwrite_each_other(rows):
    key, value = random_tensors((3, 2, 4, 5), (3, 2, 4, 5), gradient=False)
    before = [key.clone(), value.clone()]
    chosen = LayerCache(key, value, length=3).select(torch.tensor(rows))
    assert_close(chosen.key[:, :, :3], before[0][rows, :, :3])
    assert_close(chosen.value[:, :, :3], before[1][rows, :, :3])
    keys, _ = chosen.append(torch.ones(len(rows), 2, 1, 5), torch.ones(len(rows), 2, 1, 5))
    assert_close(keys, torch.cat([before[0][rows, :, :3], torch.ones(len(rows), 2, 1, 5)], dim=2))
    assert_close(chosen.select(torch.tensor([0, 0, 0, 0])).key[:, :, :4], keys[[0, 0, 0, 0]])  # and on to a larger one


def test_more_rows_than_a_cache_has_come_in_order_and_in_fresh_memory():
    key, value = random_tensors((3, 2, 4, 5), (3, 2, 4, 5), gradient=False)
    cache = LayerCache(key, value, length=2)
    chosen = cache.select(torch.tensor([2, 0, 0, 1]))
    assert chosen.length == 2
    assert_close(chosen.key[:, :, :2], key[[2, 0, 0, 1], :, :2])
    assert_close(chosen.value[:, :, :2], value[[2, 0, 0, 1], :, :2])
    new = torch.ones(4, 2, 1, 5)
    keys, _ = chosen.append(new, new)
    keys.zero_()
    assert key[:, :, :2].count_nonzero() > 0
    assert cache.length == 2


@pytest.mark.parametrize("name", ["n_layers", "batch", "n_heads", "max_length", "d_head"])
def test_a_cache_without_size_is_refused(name):
    sizes = dict(n_layers=1, batch=1, n_heads=1, max_length=1, d_head=1) | {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        key_value_cache(**sizes, like=torch.zeros(1))


def test_a_cache_has_the_type_of_its_example():
    cache = key_value_cache(2, 3, 4, 5, 6, like=torch.zeros(1, dtype=torch.bfloat16))
    assert [(layer.key.dtype, layer.value.shape) for layer in cache] == [(torch.bfloat16, (3, 4, 5, 6))] * 2


# The attentions of recurrent networks


def test_additive_attention_is_bahdanaus_formula_in_loops():
    torch.manual_seed(0)
    module = AdditiveAttention(3, 4, 5)
    query, keys = random_tensors((2, 2, 3), (2, 6, 4), gradient=False)
    mask = padding_mask(torch.tensor([6, 2]), 6)[:, 0]
    ours = module(query, module.prepare(keys), mask)
    w, u, v = module.project_query.weight, module.project_key.weight, module.project_score.weight[0]
    for b in range(2):
        for t in range(2):
            scores = torch.stack([v @ torch.tanh(w @ query[b, t] + u @ k) for k in keys[b][mask[b, 0]]])
            assert_close(ours[b, t][mask[b, 0]], scores.softmax(0), **FORMULA)
    assert ours[1, :, 2:].count_nonzero() == 0


def test_multiplicative_attention_is_luongs_formula_in_loops():
    torch.manual_seed(0)
    module = MultiplicativeAttention(3, 4)
    query, keys = random_tensors((2, 2, 3), (2, 6, 4), gradient=False)
    ours = module(query, module.prepare(keys))
    for b in range(2):
        for t in range(2):
            scores = torch.stack([query[b, t] @ module.project_key.weight @ k for k in keys[b]])
            assert_close(ours[b, t], scores.softmax(0), **FORMULA)


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_recurrent_attention_to_nothing_is_zero_with_finite_gradients(kind):
    """A reference implementation has no padding mask at all here, and so looks at padding."""
    torch.manual_seed(0)
    module = AdditiveAttention(3, 4, 5) if kind == "additive" else MultiplicativeAttention(3, 4)
    query, keys = random_tensors((2, 1, 3), (2, 4, 4))
    weights = module(query, module.prepare(keys), padding_mask(torch.tensor([0, 2]), 4)[:, 0])
    assert weights[0].count_nonzero() == 0
    assert all(g.isfinite().all() and g[0].count_nonzero() == 0 for g in gradients(weights, (query, keys)))


# Looking at what attends where


def test_recorded_weights_are_the_modules_own_and_recording_ends_with_the_block():
    torch.manual_seed(0)
    model = nn.ModuleDict({"first": SelfAttention(8, 2), "second": CrossAttention(8, 4)})
    x, memory = random_tensors((2, 5, 8), (2, 3, 8), gradient=False)
    with recorded_weights(model) as weights:
        model["second"](model["first"](x, causal=True), memory)
    assert {name: tuple(w.shape) for name, w in weights.items()} == {"first": (2, 2, 5, 5), "second": (2, 4, 5, 3)}
    assert_close(weights["first"], model["first"].weights(x, causal=True))
    before = weights["first"].clone()
    model["first"](x + 1)
    assert_close(weights["first"], before)


def test_recorded_weights_carry_gradients_only_where_they_are_asked_for():
    module, (x,) = SelfAttention(8, 2), random_tensors((1, 3, 8))
    with recorded_weights(module) as weights:
        module(x)
    assert not weights[""].requires_grad
    with recorded_weights(module, differentiable=True) as weights:
        module(x)
    weights[""].square().sum().backward()
    assert module.project_in.weight.grad.abs().sum() > 0


def test_cross_attention_joins_streams_of_other_widths():
    """With widths of its own it is the same attention, between projections of other shapes."""
    torch.manual_seed(0)
    module, (x, memory) = CrossAttention(6, 2, d_memory=10, d_attention=8), random_tensors((2, 5, 6), (2, 3, 10))
    mask = torch.tensor([[True, True, False], [True, False, False]])[:, None, None]
    query, (key, value) = module.project_query(x), module.project_key_value(memory).split(8, dim=-1)
    query, key, value = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in (query, key, value))
    mixed = attention_weights(query, key, mask) @ value
    expected = module.project_out(mixed.transpose(1, 2).flatten(2))
    assert_close(module(x, memory, mask), expected, **FORMULA)
    assert expected.shape == (2, 5, 6)


def test_recording_ends_when_the_block_fails():
    module, (x,) = SelfAttention(8, 2), random_tensors((1, 2, 8))
    with pytest.raises(RuntimeError, match="stop"), recorded_weights(module):
        raise RuntimeError("stop")
    assert not module._forward_pre_hooks
    module(x)


# Training, and the meta device


@pytest.mark.slow
def test_attention_learns_to_look_something_up():
    """Each query carries a key's name; the answer is that key's value. Without looking there is no way to know."""
    torch.manual_seed(0)
    module = CrossAttention(16, 1)
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    losses = []
    for _ in range(400):
        names = torch.stack([torch.randperm(8)[:5] for _ in range(32)])
        values = torch.randint(0, 8, (32, 5))
        asked = torch.randint(0, 5, (32, 1))
        memory = torch.cat([F.one_hot(names, 8), F.one_hot(values, 8)], dim=-1).float() * 4
        query = torch.cat([F.one_hot(names.gather(1, asked), 8), torch.zeros(32, 1, 8)], dim=-1).float() * 4
        loss = F.cross_entropy(module(query, memory)[:, 0, :8], values.gather(1, asked)[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert sum(losses[-20:]) / 20 < 0.2


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        x, module, cross = torch.zeros(2, 3, 8), SelfAttention(8, 2), CrossAttention(8, 2)
        additive, multiplicative, lengths = (
            AdditiveAttention(8, 8, 4),
            MultiplicativeAttention(8, 8),
            torch.ones(2).long(),
        )
    mask = padding_mask(lengths, 3)
    (cache,) = key_value_cache(1, 2, 2, 6, 4, like=x)
    outputs = [module(x, mask, causal=True), cross(x, x, mask), module(x, causal=True, cache=cache)]
    outputs += [module(x, causal=True, cache=cache), additive(x, additive.prepare(x), mask[:, 0])]
    outputs += [multiplicative(x, multiplicative.prepare(x), mask[:, 0]), cache.select(torch.arange(2)).key]
    assert {output.device.type for output in outputs} == {"meta"}
