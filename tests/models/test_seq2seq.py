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
ATTENTIVE = [
    dict(attention="additive"),
    dict(attention="additive", bidirectional=True, d_encoder=10, d_readout=5),
    dict(attention="additive", cell="lstm", n_layers=2, bidirectional=True),
    dict(attention="multiplicative"),
    dict(attention="multiplicative", cell="lstm", n_layers=2, bidirectional=True, d_readout=5),
    dict(attention="multiplicative", bidirectional=True, input_feeding=True, n_layers=2),
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


def read(model, source):
    """The encoder of one sentence: its states after every token, and the final memory of every layer."""
    config = model.config
    lstm = config.cell == "lstm"
    zero = torch.zeros(config.encoder_width // (2 if config.bidirectional else 1))
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
    return inputs, finals


def reference(model, source, target):
    """The logits of one sentence pair, from the equations, without padding, packing or batches."""
    config, decoder = model.config, model.decoder
    states, finals = read(model, source)
    embedded = [decoder.embed.weight[i] for i in target]
    if config.attention == "additive":
        return bahdanau(model, states, finals, embedded)
    if config.attention == "multiplicative":
        return luong(model, states, finals, embedded)
    context = finals[-1][0] if config.cell == "lstm" else finals[-1]
    outputs = [torch.cat([e, context]) for e in embedded] if config.peek else embedded
    for layer in range(config.n_layers):
        outputs, _ = run(model, decoder.rnn, f"l{layer}", outputs, finals[layer])
    if config.peek:
        readout = decoder.readout
        rows = [torch.cat([o, e, context]) for o, e in zip(outputs, embedded, strict=True)]
        outputs = [torch.tanh(readout.weight @ row + readout.bias) for row in rows]
    return torch.stack([decoder.to_logits.weight @ o + decoder.to_logits.bias for o in outputs])


def move(model, memories, x):
    """One step of all layers of the decoder; the output is the uppermost state."""
    for layer, memory in enumerate(memories):
        (x,), memories[layer] = run(model, model.decoder.rnn, f"l{layer}", [x], memory)
    return x


def bahdanau(model, states, finals, embedded):
    """Bahdanau et al. 2015, equations 5 and 6 and appendix A.1.2: v·tanh(W s + U h), from the state before."""
    decoder, lstm = model.decoder, model.config.cell == "lstm"
    w, u, v = (getattr(decoder.attention, f"project_{name}").weight for name in ("query", "key", "score"))
    memories = []
    for final in finals:
        final = (final[0] if lstm else final)[-decoder.bridge.in_features :]
        hidden = torch.tanh(decoder.bridge.weight @ final + decoder.bridge.bias)
        memories.append((hidden, torch.zeros_like(hidden)) if lstm else hidden)
    logits = []
    for word in embedded:
        before = memories[-1][0] if lstm else memories[-1]
        scores = torch.stack([(v @ torch.tanh(w @ before + u @ h))[0] for h in states])
        context = sum(weight * h for weight, h in zip(scores.softmax(0), states, strict=True))
        state = move(model, memories, torch.cat([word, context]))
        seen = decoder.readout.weight @ torch.cat([state, word, context]) + decoder.readout.bias
        logits.append(decoder.to_logits.weight @ torch.maximum(seen[::2], seen[1::2]) + decoder.to_logits.bias)
    return torch.stack(logits)


def luong(model, states, finals, embedded):
    """Luong et al. 2015, equations 5, 7 and 8 ("general"): s·(W h), from the state after the word."""
    decoder, config = model.decoder, model.config
    memories, fed, logits = list(finals), torch.zeros(config.readout_width), []
    for word in embedded:
        state = move(model, memories, torch.cat([word, fed]) if config.input_feeding else word)
        scores = torch.stack([state @ (decoder.attention.project_key.weight @ h) for h in states])
        context = sum(weight * h for weight, h in zip(scores.softmax(0), states, strict=True))
        fed = torch.tanh(decoder.readout.weight @ torch.cat([context, state]) + decoder.readout.bias)
        logits.append(decoder.to_logits.weight @ fed + decoder.to_logits.bias)
    return torch.stack(logits)


@pytest.mark.parametrize("options", KINDS + ATTENTIVE, ids=str)
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


@pytest.mark.parametrize("options", KINDS + ATTENTIVE, ids=str)
def test_a_sentence_means_the_same_alone_and_beside_a_longer_one(options):
    model = build(**options)
    alone, together = pair_batch(PAIRS[1:2]), pair_batch(PAIRS)
    first = model.start(alone.source, alone.source_lengths)
    second = model.start(together.source, together.source_lengths)
    assert_close(first.hidden[:, 0], second.hidden[:, 1])
    assert_close(first.context[0], second.context[1])


@pytest.mark.parametrize("options", KINDS + ATTENTIVE, ids=str)
def test_step_by_step_gives_the_logits_of_teacher_forcing(options):
    model, batch = build(**options), pair_batch(PAIRS)
    whole = model(batch.source, batch.source_lengths, batch.decoder_input)
    state = model.start(batch.source, batch.source_lengths)
    for time, tokens in enumerate(batch.decoder_input.unbind(1)):
        logits, state = model.step(tokens, state)
        assert_close(logits, whole[:, time], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", ATTENTIVE, ids=str)
def test_padding_gets_no_weight_and_no_influence(options):
    model, batch = build(**options), pair_batch(PAIRS)
    weights = model.attention_weights(batch.source, batch.source_lengths, batch.decoder_input)
    assert weights.shape == (3, 4, 5)
    assert_close(weights.sum(-1), torch.ones(3, 4))
    for row, length in zip(weights, batch.source_lengths, strict=True):
        assert (row[:, :length] > 0).all()
        assert (row[:, length:] == 0).all()
    state = model.start(batch.source, batch.source_lengths)
    filled = state._replace(
        states=state.states.masked_fill(~state.mask.transpose(1, 2), 1e3),
        keys=state.keys.masked_fill(~state.mask.transpose(1, 2), 1e3),
    )
    assert_close(model.decoder(batch.decoder_input, filled)[0], model.decoder(batch.decoder_input, state)[0])


@pytest.mark.parametrize("options", ATTENTIVE, ids=str)
def test_no_gradient_goes_to_padding(options):
    model, batch = build(**options), pair_batch(PAIRS)
    state = model.encoder(batch.source, batch.source_lengths)
    states = state.states.detach().requires_grad_()
    logits, _ = model.decoder(batch.decoder_input, model.decoder.prepare(state._replace(states=states)))
    logits.sin().sum().backward()
    lost = states.grad.abs().sum(-1) > 0
    assert lost.tolist() == state.mask[:, 0].tolist()


@pytest.mark.parametrize("options", ATTENTIVE, ids=str)
def test_one_step_looks_where_all_steps_together_look(options):
    model, batch = build(**options), pair_batch(PAIRS)
    whole = model.attention_weights(batch.source, batch.source_lengths, batch.decoder_input)
    state = model.start(batch.source, batch.source_lengths)
    for time, tokens in enumerate(batch.decoder_input.split(1, dim=1)):
        _, weights, state = model.decoder.look(tokens, state)
        assert_close(weights[:, 0], whole[:, time], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("options", KINDS + ATTENTIVE, ids=str)
def test_selected_rows_go_on_as_they_would_have(options):
    model, batch = build(**options), pair_batch(PAIRS)
    state = model.start(batch.source, batch.source_lengths)
    _, state = model.step(batch.decoder_input[:, 0], state)
    rows = torch.tensor([2, 0, 2, 2])
    some, after = model.step(batch.decoder_input[rows, 1], model.select(state, rows))
    every, _ = model.step(batch.decoder_input[:, 1], state)
    assert_close(some, every[rows], atol=1e-6, rtol=1e-5)
    assert after.hidden.shape[1] == 4


@pytest.mark.parametrize("kind", ["additive", "multiplicative"])
def test_attention_learns_to_copy_what_one_vector_cannot_hold(kind):
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(4, 12, (64, 8), generator=generator).tolist()
    batch = pair_batch([(row, row) for row in words])
    losses = {}
    for attention in (None, kind):
        torch.manual_seed(0)
        model = Seq2Seq(Seq2SeqConfig(12, 12, d_embedding=16, d_hidden=16, bidirectional=True, attention=attention))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(150):
            logits = model(batch.source, batch.source_lengths, batch.decoder_input)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.decoder_target.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[attention] = loss.item()
    assert losses[kind] < 0.5 * losses[None]


def test_without_attention_there_are_no_weights():
    batch = pair_batch(PAIRS)
    with pytest.raises(ValueError, match="attention must be set.*got None"):
        build().attention_weights(batch.source, batch.source_lengths, batch.decoder_input)


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


def gru(d_input, d_hidden):
    """Three gates, each with a matrix for the input, one for the state, and PyTorch's two biases."""
    return 3 * (d_input * d_hidden + d_hidden * d_hidden + 2 * d_hidden)


def test_the_papers_rnnsearch_has_the_sizes_of_its_appendix():
    with torch.device("meta"):
        model = Seq2Seq(Seq2SeqConfig.paper("additive"))
    m, n, readout, words = 620, 1000, 500, 30_000  # A.2.3 of Bahdanau et al. 2015; n' = n
    embeddings = 2 * words * m
    encoder = 2 * gru(m, n)
    attention = n * n + n * 2 * n + n  # W, U and v
    first_state = n * n + n
    decoder = gru(m + 2 * n, n)
    maxout = (n + m + 2 * n) * 2 * readout + 2 * readout
    scores = readout * words + words
    counted = sum(p.numel() for p in model.parameters())
    assert counted == embeddings + encoder + attention + first_state + decoder + maxout + scores == 80_451_000


def test_the_papers_input_feeding_lstm_has_the_sizes_of_its_section_4():
    with torch.device("meta"):
        model = Seq2Seq(Seq2SeqConfig.paper("multiplicative"))
    n, words = 1000, 50_000
    lstm = 4 * (2 * n * n + 2 * n)  # four gates
    layers = 8 * lstm + 4 * n * n  # four in each half; the decoder's first also reads the fed readout
    attention, readout = n * n, 2 * n * n + n
    scores = n * words + words
    counted = sum(p.numel() for p in model.parameters())
    assert counted == 2 * words * n + layers + attention + readout + scores


@pytest.mark.parametrize("attention", ["additive", "multiplicative"])
def test_tiny_with_attention_is_no_larger_than_without(attention):
    sizes = [
        sum(p.numel() for p in Seq2Seq(Seq2SeqConfig.tiny(170, 150, kind)).parameters()) for kind in (None, attention)
    ]
    assert sizes[1] < sizes[0]


def test_tiny_is_small_enough_for_a_notebook():
    model = Seq2Seq(Seq2SeqConfig.tiny(170, 150))
    assert sum(p.numel() for p in model.parameters()) < 500_000


@pytest.mark.parametrize("options", KINDS + ATTENTIVE, ids=str)
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
        (dict(attention="dot"), r"attention must be None or one of \['additive', 'multiplicative'\], got 'dot'"),
        (dict(attention="additive", peek=True), "peek must be False with attention.*got True"),
        (dict(attention="additive", input_feeding=True), "input_feeding goes with multiplicative.*got.*'additive'"),
        (dict(d_encoder=6), "d_encoder must be d_hidden without additive attention, got 6"),
        (dict(attention="additive", d_encoder=7, bidirectional=True), "d_encoder must be even.*got 7"),
        (dict(d_readout=0), "d_readout must be at least 1, got 0"),
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
