"""The ONNX graphs say what the PyTorch model says, to float precision and token by token, at any length."""

import onnxruntime
import pytest
import torch
from torch import nn

from lectures_lib.attention import recorded_weights
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID
from lectures_lib.inference import greedy
from lectures_lib.inference.export import to_onnx, transformer_to_onnx
from lectures_lib.models.transformer import Transformer, TransformerConfig

SMALL = dict(source_vocabulary=23, target_vocabulary=19, d_model=16, n_heads=4, d_feed_forward=24, max_length=40)
SHAPES = [(1, 1), (1, 7), (2, 2), (3, 1), (5, 3), (6, 6), (40, 40)]


def make(seed=0, std=0.4, **changes):
    torch.manual_seed(seed)
    layers = dict(n_encoder_layers=2, n_decoder_layers=3)
    model = Transformer(TransformerConfig(**{**SMALL, **layers, **changes})).eval()
    for parameter in model.parameters():  # biases and norms away from zero and one, where a mistake would not show
        nn.init.normal_(parameter, std=std)
    return model


def sessions(model):
    return [onnxruntime.InferenceSession(graph) for graph in transformer_to_onnx(model)]


def run(session, **inputs):
    return [torch.from_numpy(x) for x in session.run(None, {name: x.numpy() for name, x in inputs.items()})]


def difference(ours, theirs):
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def graphs(model):
    return sessions(model)


@torch.no_grad()
def assert_agreement(model, encoder, decoder, source_time, time):
    source = torch.randint(4, model.config.source_vocabulary, (1, source_time))
    tokens = torch.randint(4, model.config.target_vocabulary, (1, time))
    lengths = torch.tensor([source_time])
    with recorded_weights(model) as weights:
        logits = model(source, lengths, tokens)[:, -1]
    memory, own = run(encoder, source=source)
    found, own_target, cross = run(decoder, memory=memory, tokens=tokens)
    assert difference(memory, model.encode(source, lengths)[0]) <= 1e-5
    assert difference(found, logits) <= 1e-5
    for kind, maps in (("encoder self", own), ("decoder self", own_target), ("decoder cross", cross)):
        side, name = kind.split()
        for layer, heads in enumerate(maps):
            assert difference(heads, weights[f"{side}_layers.{layer}.{name}_attention"][0]) <= 1e-5, (kind, layer)


@pytest.mark.parametrize(("source_time", "time"), SHAPES)
def test_logits_memory_and_every_heads_weights_agree_with_pytorch(model, graphs, source_time, time):
    assert_agreement(model, *graphs, source_time, time)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": "pre", "positions": "learned", "logits_bias": True, "activation": "silu", "dropout": 0.5},
        {"norm": "none", "residual": False, "shared_vocabulary": True, "source_vocabulary": 19},
    ],
    ids=["pre-norm", "bare"],
)
def test_other_kinds_of_transformer_can_be_exported(changes):
    # Without norms numbers grow with every layer, and so does what rounding does to them.
    other = make(1, std=0.2 if changes["norm"] == "none" else 0.4, **changes)
    assert_agreement(other, *sessions(other), 6, 4)


def test_the_loop_a_page_runs_says_the_same_tokens_as_greedy(model, graphs):
    encoder, decoder = graphs
    generator = torch.Generator().manual_seed(5)
    for length in (1, 2, 5, 11, 20):
        source = torch.randint(4, SMALL["source_vocabulary"], (1, length), generator=generator)
        source[0, -1] = EOS_ID
        expected = greedy(model, source, torch.tensor([length]), max_new_tokens=25)[0].tolist()
        memory, _ = run(encoder, source=source)
        tokens = [BOS_ID]
        while len(tokens) <= 25 and tokens[-1] != EOS_ID:
            tokens.append(int(run(decoder, memory=memory, tokens=torch.tensor([tokens]))[0].argmax()))
        assert tokens[1:] == expected


def test_exporting_changes_neither_weights_nor_mode_and_the_files_hold_each_weight_once_and_no_path_of_this_machine():
    model = Transformer(TransformerConfig.tiny(120, 110))
    model.encoder_layers[0].eval()
    before = [p.clone() for p in model.parameters()]
    files = transformer_to_onnx(model)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert model.training
    assert not model.encoder_layers[0].training
    weights = 4 * sum(p.numel() for p in model.parameters())
    tables = 2 * 4 * model.positions.table.numel()  # the positions stand in both
    assert sum(map(len, files)) < 1.1 * (weights + tables)
    assert not any(b".py" in file for file in files)


def test_a_module_without_attention_exports_too():
    linear = nn.Linear(3, 2)
    graph = to_onnx(linear, {"input": torch.zeros(4, 3)}, outputs=["y"], dynamic={"input": {0: torch.export.Dim.AUTO}})
    x = torch.randn(7, 3)
    assert difference(run(onnxruntime.InferenceSession(graph), input=x)[0], linear(x)) <= 1e-6


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="inputs and outputs must have at least one name"):
        to_onnx(nn.Linear(3, 2), {}, outputs=["y"])
    with pytest.raises(ValueError, match=r"dynamic must name inputs, \['input'\], got \['x'\]"):
        to_onnx(nn.Linear(3, 2), {"input": torch.zeros(1, 3)}, outputs=["y"], dynamic={"x": {0: None}})
