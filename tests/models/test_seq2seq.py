"""The encoder–decoder against a reference written out in loops, and what padding, shapes and sizes must not do."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.batching import pair_batch
from lectures_lib.models.seq2seq import CELLS, Seq2Seq, Seq2SeqConfig

PAIRS = [([5, 6, 7, 8], [4, 5]), ([9], [6, 7, 8]), ([4, 4], [9])]
KINDS = [
    dict(cell=cell, peek=peek, bidirectional=both, n_layers=layers)
    for cell in CELLS
    for peek, both, layers in ((False, False, 1), (True, True, 1), (False, True, 2))
]


def build(**options):
    torch.manual_seed(0)
    return Seq2Seq(Seq2SeqConfig(12, 11, d_embedding=6, d_hidden=8, **options)).eval()


def gru_step(rnn, layer, x, h):
    """Cho et al. 2014, equations 5 to 8, with PyTorch's placing of the reset gate."""
    w_i, w_h, b_i, b_h = (getattr(rnn, f"{n}_{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    i_r, i_z, i_n = (w_i @ x + b_i).chunk(3)
    h_r, h_z, h_n = (w_h @ h + b_h).chunk(3)
    reset, update = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
    return (1 - update) * torch.tanh(i_n + reset * h_n) + update * h


def lstm_step(rnn, layer, x, memory):
    """Sutskever et al. 2014's cell: input, forget, cell and output gates."""
    w_i, w_h, b_i, b_h = (getattr(rnn, f"{n}_{layer}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h, c = memory
    i, f, g, o = (w_i @ x + b_i + w_h @ h + b_h).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def run(model, rnn, layer, inputs, start):
    """One layer in one direction over a list of vectors, one step at a time."""
    memory, outputs = start, []
    for x in inputs:
        memory = gru_step(rnn, layer, x, memory) if model.config.cell == "gru" else lstm_step(rnn, layer, x, memory)
        outputs.append(memory if model.config.cell == "gru" else memory[0])
    return outputs, memory


def reference(model, source, target):
    """The logits of one sentence pair, from the equations, without padding, packing or batches."""
    config = model.config
    lstm = config.cell == "lstm"
    width = config.d_hidden // (2 if config.bidirectional else 1)
    zero = torch.zeros(width)
    inputs, finals = [model.encoder.embed.weight[i] for i in source], []
    for layer in range(config.n_layers):
        start = (zero, zero) if lstm else zero
        forward, last = run(model, model.encoder.rnn, f"l{layer}", inputs, start)
        if not config.bidirectional:
            inputs, final = forward, last
        else:
            backward, first = run(model, model.encoder.rnn, f"l{layer}_reverse", inputs[::-1], start)
            inputs = [torch.cat(pair) for pair in zip(forward, backward[::-1], strict=True)]
            final = tuple(map(torch.cat, zip(last, first, strict=True))) if lstm else torch.cat([last, first])
        finals.append(final)
    context = finals[-1][0] if lstm else finals[-1]
    embedded = [model.decoder.embed.weight[i] for i in target]
    outputs = [torch.cat([e, context]) for e in embedded] if config.peek else embedded
    for layer in range(config.n_layers):
        outputs, _ = run(model, model.decoder.rnn, f"l{layer}", outputs, finals[layer])
    if config.peek:
        readout = model.decoder.readout
        rows = [torch.cat([o, e, context]) for o, e in zip(outputs, embedded, strict=True)]
        outputs = [torch.tanh(readout.weight @ row + readout.bias) for row in rows]
    return torch.stack([model.decoder.to_logits.weight @ o + model.decoder.to_logits.bias for o in outputs])


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_agrees_with_the_equations_forward_and_backward(options):
    model, batch = build(**options), pair_batch(PAIRS)
    logits = model(batch.source, batch.source_lengths, batch.decoder_input)
    rows = [reference(model, [*source, 2], [1, *target]) for source, target in PAIRS]
    for ours, theirs in zip(logits, rows, strict=True):
        assert_close(ours[: len(theirs)], theirs, atol=1e-5, rtol=1e-5)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(sum(a[: len(b)].sin().sum() for a, b in zip(logits, rows, strict=True)), parameters)
    theirs = torch.autograd.grad(sum(r.sin().sum() for r in rows), parameters)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_sentence_means_the_same_alone_and_beside_a_longer_one(options):
    model = build(**options)
    alone, together = pair_batch(PAIRS[1:2]), pair_batch(PAIRS)
    first = model.start(alone.source, alone.source_lengths)
    second = model.start(together.source, together.source_lengths)
    assert_close(first.hidden[:, 0], second.hidden[:, 1])
    assert_close(first.context[0], second.context[1])


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_step_by_step_gives_the_logits_of_teacher_forcing(options):
    model, batch = build(**options), pair_batch(PAIRS)
    whole = model(batch.source, batch.source_lengths, batch.decoder_input)
    state = model.start(batch.source, batch.source_lengths)
    for time, tokens in enumerate(batch.decoder_input.unbind(1)):
        logits, state = model.step(tokens, state)
        assert_close(logits, whole[:, time], atol=1e-6, rtol=1e-5)


def test_the_future_has_no_influence_on_teacher_forced_logits():
    model, batch = build(), pair_batch(PAIRS)
    changed = batch.decoder_input.clone()
    changed[:, 2:] = 3
    ours = model(batch.source, batch.source_lengths, batch.decoder_input)
    assert_close(model(batch.source, batch.source_lengths, changed)[:, :2], ours[:, :2])


def test_the_papers_lstm_has_384_million_parameters():
    with torch.device("meta"):
        model = Seq2Seq(Seq2SeqConfig.paper())
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) == 384


def test_tiny_is_small_enough_for_a_notebook():
    model = Seq2Seq(Seq2SeqConfig.tiny(170, 150))
    assert sum(p.numel() for p in model.parameters()) < 500_000


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_runs_where_no_tensor_may_be_made_on_the_cpu(options):
    with torch.device("meta"):
        model = Seq2Seq(Seq2SeqConfig(12, 11, d_embedding=6, d_hidden=8, **options))
    batch = pair_batch(PAIRS).to(torch.device("meta"))
    logits = model(batch.source, batch.source_lengths, batch.decoder_input)
    assert logits.device.type == "meta"
    assert logits.shape == (3, 4, 11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(cell="rnn"), "cell must be one of .*got 'rnn'"),
        (dict(dropout=1.0), r"dropout must lie in \[0, 1\), got 1.0"),
        (dict(n_layers=0), "n_layers must be at least 1, got 0"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_an_odd_width_cannot_be_shared_by_two_directions():
    with pytest.raises(ValueError, match="d_hidden must be even.*got 7"):
        Seq2SeqConfig(12, 11, 6, 7, bidirectional=True)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([2, 2], r"lengths must have shape \(3,\), got \(2,\)"),
        ([5, 0, 3], "lengths must lie between 1 and 5, got 0 to 5"),
        ([9, 1, 1], "lengths must lie between 1 and 5, got 1 to 9"),
    ],
)
def test_lengths_that_do_not_fit_are_shown(lengths, message):
    with pytest.raises(ValueError, match=message):
        build().start(pair_batch(PAIRS).source, torch.tensor(lengths))


def test_a_source_over_the_limit_is_refused():
    batch = pair_batch(PAIRS)
    with pytest.raises(ValueError, match="source must have at most 4 tokens, got 5"):
        build(max_length=4).start(batch.source, batch.source_lengths)
