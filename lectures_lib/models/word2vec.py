"""Word2Vec, skip-gram with negative sampling: a vector for every word, learned from the company it keeps.

Two tables, and nothing else: a row of the first stands for a word as the centre of a window, a row of the second for
the same word as somebody's neighbour. The score of a pair is the dot product of the two rows. Source: Mikolov,
Sutskever, Chen, Corrado and Dean 2013 (arXiv 1310.4546).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Word2VecConfig:
    """The size of the tables, and what counts as a pair.

    `window` is the farthest neighbour of a centre in words, `negatives` the noise words drawn for each true neighbour,
    `noise_power` what their counts are raised to, and `subsample` the share of the text above which a word is thinned
    out (0: never).
    """

    vocabulary: int
    d_embedding: int = 100
    window: int = 5
    negatives: int = 5
    noise_power: int | float = 0.75
    subsample: int | float = 1e-3

    def __post_init__(self) -> None:
        for name in ("vocabulary", "d_embedding", "window", "negatives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.subsample < 0:
            raise ValueError(f"subsample must be 0 or more, got {self.subsample}")

    @classmethod
    def tiny(cls, vocabulary: int) -> Word2VecConfig:
        """Trains in a notebook on two cores: 100 numbers a word, which is also gensim's default."""
        return cls(vocabulary)

    @classmethod
    def paper(cls) -> Word2VecConfig:
        """692,000 words with 300 numbers each, fifteen noise words and t = 1e-5 (Mikolov et al. 2013, section 3)."""
        return cls(692_000, d_embedding=300, negatives=15, subsample=1e-5)


class SkipGram(nn.Module):
    """Scores how well words go together: the dot product of the one's input row and the other's output row.

    The input rows, `model.input.weight`, are the word vectors that people use.

    Source: Mikolov et al. 2013, section 2.2; initial values as in the authors' C program.
    """

    def __init__(self, config: Word2VecConfig) -> None:
        super().__init__()
        self.config = config
        self.input = nn.Embedding(config.vocabulary, config.d_embedding)
        self.output = nn.Embedding(config.vocabulary, config.d_embedding)
        nn.init.uniform_(self.input.weight, -0.5 / config.d_embedding, 0.5 / config.d_embedding)
        nn.init.zeros_(self.output.weight)

    def forward(
        self, centres: Int[Tensor, " batch"], others: Int[Tensor, "*others"]
    ) -> Float[Tensor, "batch candidates"]:
        """The score of every word of `others`, (batch, candidates), beside its row's centre.

        Raises:
            ValueError: `others` does not have one row a centre.
        """
        if others.ndim != 2 or others.shape[0] != centres.shape[0]:
            raise ValueError(f"others must have shape ({centres.shape[0]}, candidates), got {tuple(others.shape)}")
        return torch.einsum("bd,bcd->bc", self.input(centres), self.output(others))
