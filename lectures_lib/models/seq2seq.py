"""Sequence to sequence: one recurrent network reads the sentence, another writes the translation.

The encoder turns a sentence of any length into one vector, the *context*; the decoder starts from the context and
says one token at a time. Sources: Sutskever, Vinyals and Le 2014; Cho et al. 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class Seq2SeqConfig:
    """The sizes of an encoder–decoder.

    `bidirectional` lets half of the encoder's hidden units read from the right. `peek` shows the context to the decoder
    at every step (Cho et al. 2014), instead of only at the first (Sutskever et al. 2014). `max_length` is the longest
    source in tokens, `<eos>` included.
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

    def __post_init__(self) -> None:
        for name in ("source_vocabulary", "target_vocabulary", "d_embedding", "d_hidden", "n_layers", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.cell not in CELLS:
            raise ValueError(f"cell must be one of {sorted(CELLS)}, got {self.cell!r}")
        if self.bidirectional and self.d_hidden % 2:
            raise ValueError(f"d_hidden must be even to be shared by two directions, got {self.d_hidden}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}")

    @classmethod
    def tiny(cls, source_vocabulary: int, target_vocabulary: int) -> Seq2SeqConfig:
        """Trains in a notebook on two cores."""
        return cls(source_vocabulary, target_vocabulary, d_embedding=64, d_hidden=192)

    @classmethod
    def paper(cls) -> Seq2SeqConfig:
        """The 384-million-parameter LSTM of Sutskever et al. 2014, section 3.4 (their English–French vocabularies)."""
        return cls(160_000, 80_000, d_embedding=1000, d_hidden=1000, n_layers=4, cell="lstm")


class DecoderState(NamedTuple):
    """All that the decoder knows between two steps: its memory, and the context it came from.

    `hidden` is (layers, batch, hidden); `cell` likewise for an LSTM and None for a GRU; `context` is (batch, hidden).
    """

    hidden: Tensor
    cell: Tensor | None
    context: Tensor


class Encoder(nn.Module):
    """Reads the source, one token after the other, and keeps its last hidden state."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.source_vocabulary, config.d_embedding)
        self.dropout = nn.Dropout(config.dropout)
        self.rnn = _rnn(config, config.d_embedding, bidirectional=config.bidirectional)

    def forward(self, source: Int[Tensor, "batch time"], lengths: Int[Tensor, "*lengths"]) -> DecoderState:
        """The state the decoder starts from. Padding is never read (packed sequences).

        `lengths` counts each row's tokens and lives on the CPU.

        Raises:
            ValueError: `lengths` does not fit `source`, or a source is longer than `config.max_length`.
        """
        self._check(source, lengths)
        order = lengths.argsort(descending=True, stable=True)
        back = order.argsort().to(source.device)
        embedded = self.dropout(self.embed(source[order.to(source.device)]))
        _, memory = self.rnn(pack_padded_sequence(embedded, lengths[order], batch_first=True))
        hidden, cell = memory if self.config.cell == "lstm" else (memory, None)
        hidden = self._join_directions(hidden)[:, back]
        if cell is not None:
            cell = self._join_directions(cell)[:, back]
        return DecoderState(hidden, cell, hidden[-1])

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
        self.rnn = _rnn(config, config.d_embedding + (config.d_hidden if config.peek else 0))
        if config.peek:  # the readout of Cho et al. sees memory, previous token and context
            self.readout = nn.Linear(2 * config.d_hidden + config.d_embedding, config.d_embedding)
        width = config.d_embedding if config.peek else config.d_hidden
        self.to_logits = nn.Linear(width, config.target_vocabulary)

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch time vocabulary"], DecoderState]:
        """Scores of the next token after each of `tokens`, and the state after the last.

        With all of the target's tokens this is teacher forcing; with one token it is a step of decoding.
        """
        embedded = self.dropout(self.embed(tokens))
        context = state.context.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        inputs = torch.cat([embedded, context], dim=-1) if self.config.peek else embedded
        memory = state.hidden if state.cell is None else (state.hidden, state.cell)
        outputs, memory = self.rnn(inputs.contiguous(), memory)
        if self.config.peek:
            outputs = torch.tanh(self.readout(torch.cat([outputs, embedded, context], dim=-1)))
        hidden, cell = memory if self.config.cell == "lstm" else (memory, None)
        return self.to_logits(self.dropout(outputs)), DecoderState(hidden, cell, state.context)


class Seq2Seq(nn.Module):
    """Encoder and decoder together.

    Source: Sutskever et al. 2014, section 2; with `peek`, Cho et al. 2014, section 2.2.
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.apply(_initialise)

    def forward(
        self,
        source: Int[Tensor, "batch source_time"],
        source_lengths: Int[Tensor, "*lengths"],
        decoder_input: Int[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time vocabulary"]:
        """Teacher forcing: the scores of every next token, given the true ones before it."""
        logits, _ = self.decoder(decoder_input, self.encoder(source, source_lengths))
        return logits

    def start(self, source: Int[Tensor, "batch time"], source_lengths: Int[Tensor, "*lengths"]) -> DecoderState:
        """The decoder's state before its first word: what `inference` starts from."""
        return self.encoder(source, source_lengths)

    def step(
        self, tokens: Int[Tensor, " batch"], state: DecoderState
    ) -> tuple[Float[Tensor, "batch vocabulary"], DecoderState]:
        """One word further: the scores of the token after `tokens`, and the new state."""
        logits, state = self.decoder(tokens.unsqueeze(1), state)
        return logits[:, -1], state


def _rnn(config: Seq2SeqConfig, d_input: int, *, bidirectional: bool = False) -> nn.Module:
    return CELLS[config.cell](
        d_input,
        config.d_hidden // (2 if bidirectional else 1),
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
