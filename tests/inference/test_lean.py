"""The flat list of operations computes what the modules compute."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.vocabulary import BOS_ID
from lectures_lib.inference import LeanTransformer, beam_search, greedy
from lectures_lib.inference.greedy import StepwiseModel
from lectures_lib.inference.lean import ROOM, FoldedMemory, HeadMemory
from lectures_lib.models.transformer import Transformer, TransformerConfig

KINDS = [
    {},
    {"norm": "pre"},
    {"norm": "none"},
    {"residual": False},
    {"positions": "learned", "activation": "gelu", "logits_bias": True},
    {"n_decoder_layers": 1, "n_heads": 1},
]


def model_of(**changes):
    sizes = dict(d_model=16, n_heads=4, d_feed_forward=24, n_encoder_layers=1, n_decoder_layers=2, max_length=80)
    torch.manual_seed(3)
    model = Transformer(TransformerConfig(13, 11, **sizes | changes)).double().eval()  # differences are mistakes
    for parameter in model.parameters():  # biases and norms are not zeros and ones
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def sources(*lengths):
    torch.manual_seed(4)
    return torch.randint(4, 13, (len(lengths), max(lengths))), torch.tensor(lengths)


# Up to 8 tokens (2 · 16 numbers over 4 heads) the memory is folded.
@pytest.mark.parametrize(
    "lengths", [(5, 5, 5), (5, 2, 4), (9, 9, 9), (3, 12, 7)], ids=["full", "padded", "long", "long padded"]
)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_step_gives_the_models_own_logits(kind, lengths):
    model = model_of(**kind)
    lean = LeanTransformer(model)
    states = [writer.start(*sources(*lengths)) for writer in (model, lean)]
    tokens = torch.full((3,), BOS_ID)
    for _ in range(6):
        with torch.no_grad():
            expected, states[0] = model.step(tokens, states[0])
        found, states[1] = lean.step(tokens, states[1])
        assert_close(found, expected, atol=1e-9, rtol=1e-9)
        tokens = expected.argmax(-1)


@pytest.mark.parametrize(("lengths", "kind"), [((3, 6, 4), FoldedMemory), ((3, 10, 4), HeadMemory)])
def test_rows_may_be_dropped_repeated_and_regrouped_at_any_step(lengths, kind):
    model = model_of()
    lean = LeanTransformer(model)
    states = [writer.start(*sources(*lengths)) for writer in (model, lean)]
    assert {type(memory) for memory in states[1].memory} == {kind}
    tokens = torch.tensor([4, 5, 6])
    changes = [  # the rows that are kept, and how many of them in a row share a sentence
        (torch.tensor([0, 0, 1, 1, 2, 2]), 2),
        (torch.tensor([1, 0, 5, 5]), 2),  # the sentence in the middle is done
        (torch.tensor([3, 2]), 2),
        (torch.tensor([1]), 1),
        (torch.tensor([0, 0, 0]), 3),
    ]
    for rows, group in changes:
        with torch.no_grad():
            expected, states[0] = model.step(tokens, states[0])
        found, states[1] = lean.step(tokens, states[1])
        assert_close(found, expected, atol=1e-9, rtol=1e-9)
        states = [w.select(s, rows, group=group) for w, s in zip((model, lean), states, strict=True)]
        tokens = expected.argmax(-1)[rows]


def test_what_is_written_has_room_to_grow():
    model = model_of()
    limits = dict(max_new_tokens=2 * ROOM + 5, min_new_tokens=2 * ROOM + 5)
    assert torch.equal(
        greedy(LeanTransformer(model), *sources(4, 3), **limits), greedy(model, *sources(4, 3), **limits)
    )


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_beam_finds_the_same_hypotheses(size):
    model = model_of()
    options = dict(beam_size=size, max_new_tokens=12)
    expected = beam_search(model, *sources(3, 6, 4, 1), **options)
    found = beam_search(LeanTransformer(model), *sources(3, 6, 4, 1), **options)
    assert torch.equal(found.tokens, expected.tokens)
    assert_close(found.scores, expected.scores)


def test_it_follows_the_models_weights_when_they_change():
    model = model_of()
    lean = LeanTransformer(model)
    before = greedy(lean, *sources(4), max_new_tokens=9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-1)
    after = greedy(lean, *sources(4), max_new_tokens=9)
    assert not torch.equal(after, before)
    assert torch.equal(after, greedy(model, *sources(4), max_new_tokens=9))


def test_it_gives_no_gradients():
    lean = LeanTransformer(model_of())
    logits, _ = lean.step(torch.tensor([BOS_ID]), lean.start(*sources(3)))
    assert not logits.requires_grad


def test_a_sentence_longer_than_the_position_table_is_refused():
    lean = LeanTransformer(model_of(max_length=5))
    with pytest.raises(ValueError, match="the position table has 5 rows, got a sequence of 6"):
        greedy(lean, *sources(3), max_new_tokens=6, min_new_tokens=6)


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="evaluation mode"):
        LeanTransformer(model_of().train())


def test_it_is_what_a_decoder_expects():
    assert isinstance(LeanTransformer(model_of()), StepwiseModel)


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        lean = LeanTransformer(model_of())
        source, lengths = torch.zeros(2, 3, dtype=torch.long), torch.full((2,), 3)
        logits, state = lean.step(torch.zeros(2, dtype=torch.long), lean.start(source, lengths))
        lean.select(state, torch.zeros(4, dtype=torch.long), group=2)
    assert logits.device.type == "meta"
