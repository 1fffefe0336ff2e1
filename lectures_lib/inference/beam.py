"""Beam search: keep the few best unfinished sentences at every step, instead of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from lectures_lib.inference.greedy import StepwiseModel, check_limits

LengthPenalty = Callable[[int], float]


class Hypotheses(NamedTuple):
    """What beam search found for each sentence, the best first.

    `tokens` is (batch, beams, time): without `<bos>`, up to and with `<eos>`, then padding. `scores` is (batch, beams):
    the log-probability of the whole, divided by the length penalty. Where fewer sentences are possible than the beam is
    wide, the rest are padding and have the score -inf.
    """

    tokens: Tensor
    scores: Tensor


def length_penalty(alpha: int | float = 0.6) -> LengthPenalty:
    """The divisor ((5 + length) / 6)^alpha: without one the shortest sentence would win, since each token costs.

    Raises:
        ValueError: `alpha` is negative.

    Source: Wu et al. 2016, equation 14; alpha from Vaswani et al. 2017, section 6.1.
    """
    if alpha < 0:
        raise ValueError(f"alpha must be at least 0, got {alpha}")
    return lambda length: ((5 + length) / 6) ** alpha


@torch.no_grad()
def beam_search(
    model: StepwiseModel,
    source: Int[Tensor, "batch source_time"],
    source_lengths: Int[Tensor, " batch"],
    *,
    beam_size: int = 4,
    max_new_tokens: int,
    min_new_tokens: int = 0,
    penalty: LengthPenalty | None = None,
) -> Hypotheses:
    """The best sentences that a beam of `beam_size` finds; a hypothesis at `max_new_tokens` ends unfinished.

    A sentence is done when no unfinished hypothesis can still beat the finished ones; it is not computed any further.
    `penalty` divides a hypothesis' log-probability by a number that does not shrink with its length; by default
    `length_penalty(0.6)`.

    Raises:
        ValueError: `beam_size` is below 1, the limits make no sense, or a source is empty.
    """
    if beam_size < 1:
        raise ValueError(f"beam_size must be at least 1, got {beam_size}")
    check_limits(source_lengths, max_new_tokens, min_new_tokens)
    penalty = penalty or length_penalty()
    beam = _Beam(source, beam_size, max_new_tokens)
    state = model.start(source, source_lengths)
    tokens = torch.full((len(source),), BOS_ID, device=source.device)
    for index in range(max_new_tokens):
        logits, state = model.step(tokens, state)
        if index < min_new_tokens:
            logits[:, EOS_ID] = -torch.inf
        may_end = index >= min_new_tokens  # before that nothing can be finished, and looking at values makes a GPU wait
        # In float32: sums of bfloat16 would lose their differences.
        beam.extend(logits.float(), index, penalty(index + 1), may_end=may_end)
        going = beam.rows() if not may_end else beam.leave_out_the_done(penalty(max_new_tokens))
        if len(going) == 0:
            break
        tokens = beam.said[..., index].flatten()
        state = model.select(state, going, group=beam_size)
    return beam.result(penalty(max_new_tokens), index + 1)


class _Beam:
    """The running and the finished hypotheses of the sentences that are not done, and the results of those that are.

    B counts the sentences that are not done, k is the beam's size. `said` (B, k, time) and `total` (B, k) are the
    running hypotheses and their log-probabilities; `ended` (B, k, time) and `score` (B, k) the finished ones.
    """

    def __init__(self, source: Tensor, size: int, time: int) -> None:
        self.size = size
        sentences, device = len(source), source.device
        self.total = torch.zeros(sentences, 1, device=device)  # one hypothesis at first: nothing has been said
        self.said = torch.full((sentences, 1, time), PAD_ID, device=device)
        self.score = torch.full((sentences, size), -torch.inf, device=device)
        self.ended = torch.full((sentences, size, time), PAD_ID, device=device)
        self.alive = torch.arange(sentences, device=device)
        self.done = Hypotheses(self.ended.clone(), self.score.clone())

    def extend(self, logits: Float[Tensor, "rows vocabulary"], index: int, penalty: float, *, may_end: bool) -> None:
        """One token more for every running hypothesis; those that say `<eos>` are finished, where any `may_end`."""
        total, before, token = self._candidates(logits)
        said = self.said.gather(1, before.unsqueeze(-1).expand(-1, -1, self.said.shape[-1]))
        said[..., index] = token
        ends = token == EOS_ID
        if not may_end or not ends[:, : self.size].any():  # the candidates are in order: the best k go on
            self.total, self.said, self.before = (x[:, : self.size] for x in (total, said, before))
            return
        # Only an end among the best k counts: one that is worse would not have been kept as a running one either.
        score = (total / penalty).masked_fill(~ends, -torch.inf)[:, : self.size]
        self._finish(score, said[:, : self.size])
        self.total, best = total.masked_fill(ends, -torch.inf).topk(self.size, dim=1)
        self.said = said.gather(1, best.unsqueeze(-1).expand(-1, -1, said.shape[-1]))
        self.before = before.gather(1, best)

    def rows(self) -> Int[Tensor, " rows"]:
        """The rows of the state that the running hypotheses go on from."""
        first = self.width * torch.arange(len(self.before), device=self.before.device).unsqueeze(1)
        return (first + self.before).flatten()

    def leave_out_the_done(self, longest_penalty: float) -> Int[Tensor, " rows"]:
        """Store the sentences that are done; the rows of the state that the others go on from."""
        # Log-probabilities are negative and only fall: the best a running one can reach is to stay, and grow long.
        reachable = self.total[:, 0] / longest_penalty
        going = self.score[:, -1] < reachable
        rows = self.rows().view_as(self.before)
        if not going.all():
            self._store(~going)
            rows = rows[going]
            for name in ("total", "said", "score", "ended", "alive"):
                setattr(self, name, getattr(self, name)[going])
        return rows.flatten()

    def result(self, penalty: float, length: int) -> Hypotheses:
        """All hypotheses, `length` tokens long; those still running have come to the greatest length."""
        if len(self.alive):
            self._finish(self.total / penalty, self.said)
            self.done.tokens[self.alive], self.done.scores[self.alive] = self.ended, self.score
        tokens, scores = self.done
        return Hypotheses(tokens[..., :length].masked_fill(scores.isneginf().unsqueeze(-1), PAD_ID), scores)

    def _candidates(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best 2k continuations a sentence: log-probability, which hypothesis is continued, and the token.

        Twice the beam, since up to k of them may end: then k to go on with are left.
        """
        self.width = self.total.shape[1]
        twice = min(2 * self.size, logits.shape[-1])
        normaliser = logits.logsumexp(-1, keepdim=True)
        each, token = logits.topk(twice, dim=-1)  # (rows, twice): no other continuation can be among the best
        total = (each - normaliser).unflatten(0, (-1, self.width)) + self.total.unsqueeze(-1)
        total, place = total.flatten(1).topk(min(2 * self.size, self.width * twice), dim=1)
        token = token.unflatten(0, (-1, self.width)).flatten(1).gather(1, place)
        missing = 2 * self.size - total.shape[1]  # a tiny vocabulary has fewer
        if missing:
            total, place, token = (
                F.pad(x, (0, missing), value=fill) for x, fill in ((total, -torch.inf), (place, 0), (token, PAD_ID))
            )
        return total, place // twice, token

    def _finish(self, score: Tensor, said: Tensor) -> None:
        """Put these among the finished hypotheses and keep the best k."""
        self.score, best = torch.cat([self.score, score], dim=1).topk(self.size, dim=1)
        both = torch.cat([self.ended, said], dim=1)
        self.ended = both.gather(1, best.unsqueeze(-1).expand(-1, -1, both.shape[-1]))

    def _store(self, which: Tensor) -> None:
        sentences = self.alive[which]
        self.done.tokens[sentences] = self.ended[which]
        self.done.scores[sentences] = self.score[which]
