"""Sequence to sequence: one recurrent network reads the sentence, another writes the translation.

The encoder turns a sentence of any length into one vector, the *context*; the decoder starts from the context and
says one token at a time. With *attention* the encoder's states, one a token, stay within reach: at every step the
decoder takes a weighted mean of them.

Sources: Sutskever, Vinyals and Le 2014; Cho et al. 2014; Bahdanau, Cho and Bengio 2015; Luong, Pham and Manning 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lectures_lib.attention import AdditiveAttention, MultiplicativeAttention, padding_mask

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}
ATTENTIONS = ("additive", "multiplicative")


@dataclass(frozen=True)
class Seq2SeqConfig:
    """The sizes of an encoder–decoder.

    `bidirectional` lets half of the encoder's hidden units read from the right. `peek` shows the context to the decoder
    at every step (Cho et al. 2014), instead of only at the first (Sutskever et al. 2014). `max_length` is the longest
    source in tokens, `<eos>` included.

    `attention` is None; "additive", where the decoder looks before it moves (Bahdanau et al. 2015); "multiplicative",
    where it moves and then looks (Luong et al. 2015), with `input_feeding` also telling the next step what it saw.
    `d_encoder` is the width of the encoder's states, both directions together; only additive attention lets it differ
    from `d_hidden`. `d_readout` is the width just before the scores of words, with `peek` and attention; None is
    `d_embedding`.
    """

    source_vocabulary: int
    target_vocabulary: int
    d_embedding: int
    d_hidden: int
    n_layers: int = 1
    cell: str = "gru"  # or "lstm"
    bidirectional: bool = False
    peek: bool = False
    dropout: int | float = 0.0
    max_length: int = 256
    attention: str | None = None  # or "additive", "multiplicative"
    input_feeding: bool = False
    d_encoder: int | None = None
    d_readout: int | None = None

    def __post_init__(self) -> None:
        for name in ("source_vocabulary", "target_vocabulary", "d_embedding", "d_hidden", "n_layers", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.cell not in CELLS:
            raise ValueError(f"cell must be one of {sorted(CELLS)}, got {self.cell!r}")
        if self.bidirectional and self.encoder_width % 2:
            name = "d_encoder" if self.d_encoder else "d_hidden"
            raise ValueError(f"{name} must be even to be shared by two directions, got {self.encoder_width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")
        self._check_attention()

    def _check_attention(self) -> None:
        if self.attention is not None and self.attention not in ATTENTIONS:
            raise ValueError(f"attention must be None or one of {list(ATTENTIONS)}, got {self.attention!r}")
        if self.attention and self.peek:
            raise ValueError("peek must be False with attention, which shows another context at every step, got True")
        if self.input_feeding and self.attention != "multiplicative":
            raise ValueError(f"input_feeding goes with multiplicative attention, got attention={self.attention!r}")
        for name in ("d_encoder", "d_readout"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.encoder_width != self.d_hidden and self.attention != "additive":
            raise ValueError(f"d_encoder must be d_hidden without additive attention, got {self.d_encoder}")

    @property
    def encoder_width(self) -> int:
        """The width of one encoder state, both directions together."""
        return self.d_encoder or self.d_hidden

    @property
    def readout_width(self) -> int:
        """The width just before the scores of words, with `peek` and attention."""
        return self.d_readout or self.d_embedding

    @classmethod
    def tiny(cls, source_vocabulary: int, target_vocabulary: int, attention: str | None = None) -> Seq2SeqConfig:
        """Trains in a notebook on two cores. With attention it reads both ways, and is narrower."""
        if attention is None:
            return cls(source_vocabulary, target_vocabulary, d_embedding=64, d_hidden=192)
        both_ways = dict(bidirectional=True, attention=attention)
        return cls(source_vocabulary, target_vocabulary, d_embedding=64, d_hidden=128, **both_ways)

    @classmethod
    def paper(cls, attention: str | None = None) -> Seq2SeqConfig:
        """The published sizes.

        None: the 384-million-parameter LSTM of Sutskever et al. 2014, section 3.4 (their English–French vocabularies).
        "additive": RNNsearch of Bahdanau et al. 2015, appendices A.2.3 and B. "multiplicative": the four-layer LSTM
        with input feeding of Luong et al. 2015, section 4.1.
        """
        if attention is None:
            return cls(160_000, 80_000, d_embedding=1000, d_hidden=1000, n_layers=4, cell="lstm")
        if attention == "additive":
            wide = dict(bidirectional=True, d_encoder=2000, d_readout=500)  # 1000 units in each direction
            return cls(30_000, 30_000, d_embedding=620, d_hidden=1000, attention=attention, **wide)
        deep = dict(n_layers=4, cell="lstm", dropout=0.2, input_feeding=True)
        return cls(50_000, 50_000, d_embedding=1000, d_hidden=1000, attention=attention, **deep)


class DecoderState(NamedTuple):
    """All that the decoder knows between two steps: its memory, the context it came from, and what it may look at.

    `hidden` is (layers, batch, hidden); `cell` likewise for an LSTM and None for a GRU; `context` is (batch, hidden).
    With attention, `states` are the encoder's (batch, source_time, encoder), `mask` (batch, 1, source_time) is True
    where there is a token, `keys` is what the attention has computed from the states once for all steps, and `fed`
    (batch, readout) is the last step's readout, with input feeding only.
    """

    hidden: Tensor
    cell: Tensor | None
    context: Tensor
    states: Tensor | None = None
    mask: Tensor | None = None
    keys: Tensor | None = None
    fed: Tensor | None = None

    @property
    def memory(self) -> Tensor | tuple[Tensor, Tensor]:
        """What PyTorch's recurrent layers take: `hidden`, or for an LSTM (`hidden`, `cell`)."""
        return self.hidden if self.cell is None else (self.hidden, self.cell)

    def moved_to(self, memory: Tensor | tuple[Tensor, Tensor], fed: Tensor | None = None) -> DecoderState:
        """The same sentence with the memory of a later step."""
        hidden, cell = memory if isinstance(memory, tuple) else (memory, None)
        return self._replace(hidden=hidden, cell=cell, fed=fed)

    def select(self, rows: Int[Tensor, " rows"]) -> DecoderState:
        """The state of the given rows of the batch only; a row may come twice, or not at all."""
        of_batch = {
            name: value.index_select(1 if name in ("hidden", "cell") else 0, rows)
            for name, value in self._asdict().items()
            if value is not None
        }
        return self._replace(**of_batch)


class Encoder(nn.Module):
    """Reads the source, one token after the other, and keeps its last hidden state; with attention, all of them."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.source_vocabulary, config.d_embedding)
        self.dropout = nn.Dropout(config.dropout)
        self.rnn = _rnn(config, config.d_embedding, config.encoder_width, bidirectional=config.bidirectional)

    def forward(self, source: Int[Tensor, "batch time"], lengths: Int[Tensor, "*lengths"]) -> DecoderState:
        """The encoder's state after the last token, and with attention those after every token.

        Padding is never read (packed sequences). `lengths` counts each row's tokens and lives on the CPU.

        Raises:
            ValueError: `lengths` does not fit `source`, or a source is longer than `config.max_length`.
        """
        self._check(source, lengths)
        order = lengths.argsort(descending=True, stable=True)
        back = order.argsort().to(source.device)
        embedded = self.dropout(self.embed(source[order.to(source.device)]))
        packed, memory = self.rnn(pack_padded_sequence(embedded, lengths[order], batch_first=True))
        hidden, cell = memory if self.config.cell == "lstm" else (memory, None)
        hidden = self._join_directions(hidden)[:, back]
        if cell is not None:
            cell = self._join_directions(cell)[:, back]
        state = DecoderState(hidden, cell, hidden[-1])
        if self.config.attention is None:
            return state
        states, _ = pad_packed_sequence(packed, batch_first=True, total_length=source.shape[1])
        # Padding gets states as well, zeros: only the mask keeps the decoder from looking at them.
        mask = padding_mask(lengths, source.shape[1])[:, 0].to(source.device)
        return state._replace(states=self.dropout(states[back]), mask=mask)

    def _join_directions(
        self, memory: Float[Tensor, "layers_and_directions batch _"]
    ) -> Float[Tensor, "layers batch hidden"]:
        if not self.config.bidirectional:
            return memory
        return memory.unflatten(0, (self.config.n_layers, 2)).transpose(1, 2).flatten(start_dim=2)

    def _check(self, source: Tensor, lengths: Tensor) -> None:
        if lengths.shape != source.shape[:1]:
            raise ValueError(f"lengths must have shape {tuple(source.shape[:1])}, got {tuple(lengths.shape)}")
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < 1 or longest > source.shape[1]:
            raise ValueError(f"lengths must lie between 1 and {source.shape[1]}, got {shortest} to {longest}")
        if longest > self.config.max_length:
            raise ValueError(f"source must have at most {self.config.max_length} tokens, got {longest}")


class Decoder(nn.Module):
    """Says the target, one token after the other, from the encoder's last state."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.target_vocabulary, config.d_embedding)
        self.dropout = nn.Dropout(config.dropout)
        self.rnn = _rnn(config, config.d_embedding + (config.d_hidden if config.peek else 0), config.d_hidden)
        if config.peek:  # the readout of Cho et al. sees memory, previous token and context
            self.readout = nn.Linear(2 * config.d_hidden + config.d_embedding, config.readout_width)
        width = config.readout_width if config.peek else config.d_hidden
        self.to_logits = nn.Linear(width, config.target_vocabulary)

    def prepare(self, state: DecoderState) -> DecoderState:
        """From the state the encoder ends with to the one this decoder starts from: the same, without attention."""
        return state

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch time vocabulary"], DecoderState]:
        """Scores of the next token after each of `tokens`, and the state after the last.

        With all of the target's tokens this is teacher forcing; with one token it is a step of decoding.
        """
        embedded = self.dropout(self.embed(tokens))
        context = state.context.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        inputs = torch.cat([embedded, context], dim=-1) if self.config.peek else embedded
        outputs, memory = self.rnn(inputs.contiguous(), state.memory)
        if self.config.peek:
            outputs = torch.tanh(self.readout(torch.cat([outputs, embedded, context], dim=-1)))
        return self.to_logits(self.dropout(outputs)), state.moved_to(memory)


class AttentiveDecoder(nn.Module):
    """A decoder that looks at the encoder's states. What both kinds share; they differ in `look`."""

    attention: nn.Module

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.target_vocabulary, config.d_embedding)
        self.dropout = nn.Dropout(config.dropout)
        self.to_logits = nn.Linear(config.readout_width, config.target_vocabulary)

    def prepare(self, state: DecoderState) -> DecoderState:
        """From the state the encoder ends with to the one this decoder starts from, with the keys."""
        return state._replace(keys=self.attention.prepare(state.states))

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch time vocabulary"], DecoderState]:
        """Scores of the next token after each of `tokens`, and the state after the last, as `Decoder` gives them."""
        readout, _, state = self.look(tokens, state)
        return self.to_logits(self.dropout(readout)), state

    def look(
        self, tokens: Int[Tensor, "batch time"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch time readout"], Float[Tensor, "batch time source_time"], DecoderState]:
        """What the scores are computed from, where the decoder looked for it, and the state after the last token."""
        raise NotImplementedError


class AdditiveDecoder(AttentiveDecoder):
    """Look, then move: the state *before* a word decides where to look, and what is seen changes the state.

    So every step waits for the one before, in training as well. The first state is computed from what the encoder has
    read last on its way from right to left.

    Source: Bahdanau et al. 2015, section 3.1 and appendix A.2; the readout sees the new state, as in equation 4.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self.from_right = config.encoder_width // (2 if config.bidirectional else 1)
        self.bridge = nn.Linear(self.from_right, config.d_hidden)
        self.attention = AdditiveAttention(config.d_hidden, config.encoder_width, config.d_hidden)
        self.rnn = _rnn(config, config.d_embedding + config.encoder_width, config.d_hidden)
        seen = config.d_hidden + config.d_embedding + config.encoder_width
        self.readout = nn.Linear(seen, 2 * config.readout_width)  # maxout: of two numbers the larger

    def prepare(self, state: DecoderState) -> DecoderState:
        """The keys, and the first state: tanh of a projection of the encoder's last one; an LSTM's cell is empty."""
        hidden = torch.tanh(self.bridge(state.hidden[..., -self.from_right :]))
        cell = None if state.cell is None else torch.zeros_like(hidden)
        return super().prepare(state)._replace(hidden=hidden, cell=cell)

    def look(
        self, tokens: Int[Tensor, "batch time"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch time readout"], Float[Tensor, "batch time source_time"], DecoderState]:
        """One step after the other: weights, context, new state."""
        embedded = self.dropout(self.embed(tokens))
        outputs, contexts, looks = [], [], []
        for word in embedded.split(1, dim=1):
            weights = self.attention(state.hidden[-1].unsqueeze(1), state.keys, state.mask)
            context = weights @ state.states
            output, memory = self.rnn(torch.cat([word, context], dim=-1), state.memory)
            state = state.moved_to(memory)
            for kept, new in ((outputs, output), (contexts, context), (looks, weights)):
                kept.append(new)
        seen = torch.cat([torch.cat(outputs, dim=1), embedded, torch.cat(contexts, dim=1)], dim=-1)
        readout = self.readout(seen).unflatten(-1, (-1, 2)).amax(dim=-1)
        return readout, torch.cat(looks, dim=1), state


class MultiplicativeDecoder(AttentiveDecoder):
    """Move, then look: the state *after* a word decides where to look, and what is seen changes the scores only.

    So in training the attention of all steps is one product of matrices. With input feeding the next step also reads
    the readout of this one, and every step waits again.

    Source: Luong et al. 2015, sections 3 (equations 5 and 8, "general") and 3.3.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__(config)
        self.attention = MultiplicativeAttention(config.d_hidden, config.encoder_width)
        fed = config.readout_width if config.input_feeding else 0
        self.rnn = _rnn(config, config.d_embedding + fed, config.d_hidden)
        self.readout = nn.Linear(config.d_hidden + config.encoder_width, config.readout_width)

    def prepare(self, state: DecoderState) -> DecoderState:
        """The keys; the decoder starts from the encoder's last state, and with input feeding from zeros."""
        state = super().prepare(state)
        if self.config.input_feeding:
            state = state._replace(fed=state.states.new_zeros(len(state.states), self.config.readout_width))
        return state

    def look(
        self, tokens: Int[Tensor, "batch time"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch time readout"], Float[Tensor, "batch time source_time"], DecoderState]:
        """All steps at once, or one after the other with input feeding."""
        embedded = self.dropout(self.embed(tokens))
        if not self.config.input_feeding:
            return self._move_and_look(embedded, state)
        readouts, looks = [], []
        for word in embedded.split(1, dim=1):
            fed = torch.cat([word, state.fed.unsqueeze(1)], dim=-1)
            readout, weights, state = self._move_and_look(fed, state)
            state = state._replace(fed=readout[:, 0])
            readouts.append(readout)
            looks.append(weights)
        return torch.cat(readouts, dim=1), torch.cat(looks, dim=1), state

    def _move_and_look(self, inputs: Tensor, state: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        outputs, memory = self.rnn(inputs, state.memory)
        weights = self.attention(outputs, state.keys, state.mask)
        context = weights @ state.states
        readout = torch.tanh(self.readout(torch.cat([context, outputs], dim=-1)))
        return readout, weights, state.moved_to(memory)


DECODERS = {None: Decoder, "additive": AdditiveDecoder, "multiplicative": MultiplicativeDecoder}


class Seq2Seq(nn.Module):
    """Encoder and decoder together.

    Source: Sutskever et al. 2014, section 2; with `peek`, Cho et al. 2014, section 2.2; with attention, Bahdanau et al.
    2015 or Luong et al. 2015.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = DECODERS[config.attention](config)
        self.apply(_initialise)

    def forward(
        self,
        source: Int[Tensor, "batch source_time"],
        source_lengths: Int[Tensor, "*lengths"],
        decoder_input: Int[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time vocabulary"]:
        """Teacher forcing: the scores of every next token, given the true ones before it."""
        logits, _ = self.decoder(decoder_input, self.start(source, source_lengths))
        return logits

    def attention_weights(
        self,
        source: Int[Tensor, "batch source_time"],
        source_lengths: Int[Tensor, "*lengths"],
        decoder_input: Int[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time source_time"]:
        """Where the decoder looks for the word after each of `decoder_input`: rows that sum to 1, padding gets 0.

        Raises:
            ValueError: this model has no attention.
        """
        if self.config.attention is None:
            raise ValueError("attention must be set in the config to have weights, got None")
        _, weights, _ = self.decoder.look(decoder_input, self.start(source, source_lengths))
        return weights

    def start(self, source: Int[Tensor, "batch time"], source_lengths: Int[Tensor, "*lengths"]) -> DecoderState:
        """The decoder's state before its first word: what `inference` starts from."""
        return self.decoder.prepare(self.encoder(source, source_lengths))

    def select(self, state: DecoderState, rows: Int[Tensor, " rows"], *, group: int = 1) -> DecoderState:
        """The state of the given rows of the batch only, for beam search: a row may come twice, or not at all.

        `group` rows in a row belong to one sentence; each has its own copy of what they share.
        """
        return state.select(rows)

    def step(
        self, tokens: Int[Tensor, " batch"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch vocabulary"], DecoderState]:
        """One word further: the scores of the token after `tokens`, and the new state."""
        logits, state = self.decoder(tokens.unsqueeze(1), state)
        return logits[:, -1], state


def _rnn(config: Seq2SeqConfig, d_input: int, d_hidden: int, *, bidirectional: bool = False) -> nn.Module:
    return CELLS[config.cell](
        d_input,
        d_hidden // (2 if bidirectional else 1),
        num_layers=config.n_layers,
        batch_first=True,
        bidirectional=bidirectional,
        dropout=config.dropout if config.n_layers > 1 else 0.0,  # PyTorch applies it between layers only
    )


def _initialise(module: nn.Module) -> None:
    """Xavier for matrices, zeros for biases; embeddings of unit variance, so that words differ from the first step."""
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight)
    elif isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.RNNBase):
        for name, parameter in module.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.chunk(parameter.shape[0] // parameter.shape[1]):
                    nn.init.orthogonal_(gate)
            elif name.startswith("weight"):
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)
