"""BERT: what may influence what, the head that computes only what is asked, the paper's sizes, and that it learns."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.attention import recorded_weights
from lectures_lib.losses import masked_language_loss, next_sentence_loss, pretraining_loss, target_places
from lectures_lib.losses.pretraining import NO_TARGET
from lectures_lib.models.bert import Bert, BertConfig, BertForClassification, BertForPreTraining, mean_pool

SMALL = BertConfig(vocabulary=20, d_model=8, n_heads=2, d_feed_forward=16, n_layers=2, max_length=12, init_std=0.2)
TOKENS = torch.tensor([[2, 7, 8, 9, 3], [2, 5, 3, 0, 0]])
PRESENT = TOKENS != 0
SEGMENTS = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])


def build(kind=BertForPreTraining, config=SMALL, **options):
    torch.manual_seed(0)
    model = kind(dataclasses.replace(config, **options)).eval()
    with torch.no_grad():  # biases begin at zero: a bug that loses one must show
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) / 4)
    return model


# What it computes


def test_a_forward_pass_is_the_papers_figure_part_by_part():
    model = build(Bert)
    x = model.embed_token.weight[TOKENS] + model.embed_segment.weight[SEGMENTS] + model.positions.table[:5]
    x = model.embedding_norm(x)
    for layer in model.layers:
        x = layer.add_attention.norm(x + layer.self_attention(x, PRESENT[:, None, None]))
        inner = x @ layer.feed_forward.widen.weight.T + layer.feed_forward.widen.bias
        inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))  # GELU, not its tanh approximation
        x = layer.add_feed_forward.norm(x + layer.feed_forward.narrow(inner))
    assert_close(model(TOKENS, SEGMENTS, PRESENT), x)
    assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {1e-12}


def test_text_without_segments_is_all_in_the_first():
    model = build(Bert)
    assert_close(model(TOKENS, None, PRESENT), model(TOKENS, torch.zeros_like(TOKENS), PRESENT))
    assert (model(TOKENS, None, PRESENT) - model(TOKENS, SEGMENTS, PRESENT)).abs().max() > 0.01


def test_logits_at_some_places_are_those_of_all_places_there():
    model = build()
    everywhere, follows = model(TOKENS, SEGMENTS, PRESENT)
    assert everywhere.shape == (2, 5, 20)
    places = torch.tensor([1, 4, 6])
    some, also_follows = model(TOKENS, SEGMENTS, PRESENT, places)
    assert_close(some, everywhere.flatten(0, 1)[places])
    assert_close(follows, also_follows)
    assert follows.shape == (2, 2)


def test_the_head_scores_words_with_the_table_they_came_in_through():
    model = build()
    names = [name for name, parameter in model.named_parameters() if len(parameter) == SMALL.vocabulary]
    assert names == ["bert.embed_token.weight", "masked_language.bias"]
    before = model(TOKENS)[0] - model.masked_language.bias
    with torch.no_grad():
        model.bert.embed_token.weight[19] *= 3  # no token of the text
    assert_close((model(TOKENS)[0] - model.masked_language.bias)[..., 19], 3 * before[..., 19], atol=1e-4, rtol=1e-4)


def test_the_next_sentence_is_judged_from_the_first_token_alone():
    model = build()
    states = model.bert(TOKENS, SEGMENTS, PRESENT)
    pooled = torch.tanh(model.bert.pooler(states[:, 0]))
    assert_close(model(TOKENS, SEGMENTS, PRESENT)[1], model.next_sentence(pooled))


# What may influence what


@pytest.mark.parametrize("kind", [Bert, lambda c: BertForClassification(Bert(c), 3, pooling="mean")])
def test_a_text_means_the_same_alone_and_beside_a_longer_one(kind):
    model = build(kind)
    together = model(TOKENS, SEGMENTS, PRESENT)[1]
    alone = model(TOKENS[1:, :3], SEGMENTS[1:, :3], PRESENT[1:, :3])[0]
    assert_close(together[:3] if together.ndim == 2 else together, alone, atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=15)
@given(place=st.integers(0, 4), seed=st.integers(0, 99))
def test_every_word_sees_every_word_and_the_left_to_right_twin_only_those_before(place, seed):
    torch.manual_seed(seed)
    for look_ahead in (False, True):
        model = build(Bert, look_ahead=look_ahead)
        changed = TOKENS[:1].clone()
        changed[0, place] = 15
        moved = (model(changed) - model(TOKENS[:1])).abs().amax(-1)[0] > 1e-7
        assert moved.tolist() == [not look_ahead or at >= place for at in range(5)]


def test_padding_gets_no_attention_and_recorded_weights_show_every_layer():
    model = build(Bert)
    with recorded_weights(model) as weights:
        model(TOKENS, SEGMENTS, PRESENT)
    assert list(weights) == [f"layers.{n}.self_attention" for n in range(2)]
    for recorded in weights.values():
        assert recorded.shape == (2, 2, 5, 5)
        assert recorded[1, :, :, 3:].count_nonzero() == 0


def test_a_mean_over_words_leaves_padding_out_and_a_text_of_none_is_zero():
    states = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [7.0], [9.0]]])
    present = torch.tensor([[True, True, False], [False, False, False]])
    assert_close(mean_pool(states, present), torch.tensor([[2.0], [0.0]]))
    assert_close(mean_pool(states), states.mean(1))
    with pytest.raises(ValueError, match=r"present must have shape \(2, 3\), got \(2, 4\)"):
        mean_pool(states, torch.ones(2, 4, dtype=torch.bool))


# Dropout


def test_dropout_works_while_training_only_and_on_attention_too():
    for options in ({"dropout": 0.5}, {"attention_dropout": 0.5}):
        model = build(Bert, **options)
        assert_close(model(TOKENS, None, PRESENT), model(TOKENS, None, PRESENT))
        model.train()
        torch.manual_seed(1)
        one, other = model(TOKENS, None, PRESENT), model(TOKENS, None, PRESENT)
        assert (one - other).abs().max() > 0.01
        assert one.isfinite().all()


# Sizes


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_base_has_the_published_code_s_number_of_parameters():
    with torch.device("meta"):
        model = BertForPreTraining(BertConfig.paper())
        assert count(model) == 110_106_428
        assert count(model.bert) == 109_482_240
        large = Bert(BertConfig.paper("large"))
    assert count(large) == 335_141_888


def test_the_paper_s_sizes_are_those_of_hugging_face():
    from transformers import BertConfig as TheirConfig
    from transformers import BertForPreTraining as Theirs

    with torch.device("meta"):
        assert count(Theirs(TheirConfig())) == count(BertForPreTraining(BertConfig.paper()))


def test_tiny_is_small_enough_for_a_notebook():
    assert count(BertForPreTraining(BertConfig.tiny(170))) < 150_000


def test_weights_begin_within_two_standard_deviations_and_biases_at_zero():
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(500, 64, 4, 128, 1, init_std=0.02))
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            assert parameter.abs().max() <= 0.04, name
            if parameter.numel() > 1000:
                assert 0.015 < parameter.std() < 0.02, name  # cut off, so a little less than 0.02
        elif "norm" not in name:
            assert parameter.count_nonzero() == 0, name


def test_it_runs_where_tensors_have_no_values():
    with torch.device("meta"):
        model = BertForPreTraining(SMALL)
        tokens = torch.zeros(2, 5, dtype=torch.long)
        places = torch.zeros(3, dtype=torch.long)
        logits, follows = model(tokens, tokens, tokens == 0, places)
        classes = BertForClassification(Bert(SMALL), 3)(tokens, tokens, tokens == 0)
    assert (logits.shape, follows.shape, classes.shape) == ((3, 20), (2, 2), (2, 3))
    assert {logits.device.type, follows.device.type, classes.device.type} == {"meta"}


# Learning


def test_it_learns_to_fill_gaps_that_need_the_right_hand_side_and_its_twin_cannot():
    """Texts are x y with y = x + 5; x is hidden. Only who looks to the right can know it."""
    generator = torch.Generator().manual_seed(0)
    final = {}
    for look_ahead in (False, True):
        model = build(look_ahead=look_ahead).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(120):
            x = torch.randint(5, 10, (32,), generator=generator)
            tokens = torch.stack([torch.full_like(x, 2), torch.full_like(x, 4), x + 5, torch.full_like(x, 3)], dim=1)
            targets = torch.full_like(tokens, NO_TARGET)
            targets[:, 1] = x
            logits, follows = model(tokens, places=target_places(targets))
            hidden = masked_language_loss(logits, targets)
            total, number = pretraining_loss(hidden, next_sentence_loss(follows, (x > 7).long()))
            optimizer.zero_grad()
            (total / number).backward()
            optimizer.step()
        final[look_ahead] = float((hidden[0] / hidden[1]).detach())
    assert final[False] < 0.1
    assert final[True] > 1.4  # the logarithm of 5 is 1.61


def test_with_a_mean_the_pooler_stays_as_it_is_and_everything_else_gets_gradients():
    for pooling in ("cls", "mean"):
        model = BertForClassification(build(Bert), 3, pooling=pooling)
        F.cross_entropy(model(TOKENS, SEGMENTS, PRESENT), torch.tensor([0, 2])).backward()
        without = {name for name, p in model.named_parameters() if p.grad is None}
        assert without == ({"bert.pooler.weight", "bert.pooler.bias"} if pooling == "mean" else set())


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_heads": 3}, "d_model must be divisible by n_heads, got 8 and 3"),
        ({"n_layers": 0}, "n_layers must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"epsilon": 0.0}, "epsilon must be positive, got 0.0"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **options)


def test_a_text_that_is_too_long_and_shapes_that_do_not_fit_are_named():
    model = build(Bert)
    with pytest.raises(ValueError, match="at most 12 long.*got 13"):
        model(torch.zeros(1, 13, dtype=torch.long))
    with pytest.raises(ValueError, match=r"present must have the shape of tokens, \(2, 5\), got \(2, 4\)"):
        model(TOKENS, None, PRESENT[:, :4])
    with pytest.raises(ValueError, match=r"segments must have the shape of tokens, \(2, 5\), got \(1, 5\)"):
        model(TOKENS, SEGMENTS[:1])


@pytest.mark.parametrize(
    ("arguments", "message"), [((1, "cls"), "at least 2, got 1"), ((2, "max"), "pooling must be one of.*'max'")]
)
def test_a_classifier_needs_two_classes_and_a_known_pooling(arguments, message):
    with pytest.raises(ValueError, match=message):
        BertForClassification(build(Bert), arguments[0], pooling=arguments[1])


def test_there_is_a_base_and_a_large():
    with pytest.raises(ValueError, match='"base" or "large", got \'huge\''):
        BertConfig.paper("huge")
