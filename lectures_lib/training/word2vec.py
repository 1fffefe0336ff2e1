"""Training Word2Vec fast on a CPU: noise words shared within a stretch of text turn single dot products into matrices.

The loop of `training.loop` would compute a dense gradient of both tables at each step, although a step touches a few
hundred of their rows. Here the gradients are written out, and only those rows are changed.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from lectures_lib.data.text import WordCorpus, keep_probability, noise_distribution
from lectures_lib.models.word2vec import SkipGram
from lectures_lib.training.history import History

LOG_ENTRIES = 50  # in the history of one run
MOST_STRETCHES = 16  # in one update
BUSIEST = 10  # how often the most frequent word may occur in one update: all its gradients are added up


class Stretches(NamedTuple):
    """A text cut into stretches of equal length, each with the words around it.

    A stretch has `length` centres; with `window` words before and after, it is `length` + 2 · `window` words wide.
    """

    words: Int[Tensor, "stretches wide"]
    text_of: Int[Tensor, "stretches wide"]  # which text a word stands in; -1 beyond the ends
    reach: Int[Tensor, "stretches length"]  # how far each centre looks

    def pairs(self) -> Bool[Tensor, "stretches length wide"]:
        """True where a centre (second axis) is trained to predict a word (third axis)."""
        length = self.reach.shape[1]
        window = (self.words.shape[1] - length) // 2
        offset = torch.arange(self.words.shape[1], device=self.words.device) - window
        distance = (offset - offset[window : window + length, None]).abs()  # (length, wide)
        text = self.text_of[:, window : window + length, None]
        near = (distance > 0) & (distance <= self.reach[:, :, None])
        return near & (text == self.text_of[:, None, :]) & (text >= 0)


def cut(
    tokens: Int[Tensor, " tokens"],
    text_of: Int[Tensor, " tokens"],
    *,
    window: int,
    length: int,
    generator: torch.Generator,
) -> Stretches:
    """Cut a text into stretches and draw how far each centre looks: 1 to `window` words, all alike."""
    count = math.ceil(len(tokens) / length)
    padding = (window, count * length - len(tokens) + window)
    words = F.pad(tokens, padding).unfold(0, length + 2 * window, length)
    texts = F.pad(text_of, padding, value=-1).unfold(0, length + 2 * window, length)
    reach = torch.randint(1, window + 1, (count, length), generator=generator)
    return Stretches(words, texts, reach)


def shared_noise_loss(model: SkipGram, batch: Stretches, noise: Int[Tensor, "stretches shared"]) -> Float[Tensor, ""]:
    """The loss of equation 4 summed over the pairs of some stretches, with noise words shared within each stretch.

    Each pair should meet `negatives` noise words of its own. All centres of a stretch meet the same `shared` ones
    instead, weighted so that the expected loss, and with it the expected gradient, is that of equation 4.
    """
    mask = batch.pairs()
    length = batch.reach.shape[1]
    centre = model.input(batch.words[:, model.config.window :][:, :length])
    true_scores = centre @ model.output(batch.words).mT  # (stretches, length, wide)
    noise_scores = centre @ model.output(noise).mT  # (stretches, length, shared)
    weight = mask.sum(dim=2, keepdim=True) * (model.config.negatives / noise.shape[1])
    return -(F.logsigmoid(true_scores) * mask).sum() - (F.logsigmoid(-noise_scores) * weight).sum()


@torch.no_grad()
def shared_noise_update(
    model: SkipGram, batch: Stretches, noise: Int[Tensor, "stretches shared"], learning_rate: int | float
) -> None:
    """One step of gradient descent on `shared_noise_loss`, in place, on the rows that occur in the batch only.

    The slope of -log σ(s) is σ(s) - 1 and that of -log σ(-s) is σ(s): nothing else has to be derived.
    """
    mask = batch.pairs()
    length, wide = mask.shape[1:]
    centres = batch.words[:, model.config.window :][:, :length]
    others = torch.cat([batch.words, noise], dim=1)  # (stretches, wide + shared)
    centre_rows, other_rows = model.input.weight[centres], model.output.weight[others]
    slope = torch.bmm(centre_rows, other_rows.mT).sigmoid_()  # (stretches, length, wide + shared)
    weight = mask.sum(dim=2, keepdim=True) * (model.config.negatives / noise.shape[1])
    slope[:, :, :wide].sub_(1).mul_(mask)
    slope[:, :, wide:].mul_(weight)
    slope.mul_(-learning_rate)
    to_centres, to_others = torch.bmm(slope, other_rows), torch.bmm(slope.mT, centre_rows)
    model.input.weight.index_add_(0, centres.flatten(), to_centres.flatten(0, 1))
    model.output.weight.index_add_(0, others.flatten(), to_others.flatten(0, 1))


def fit_skip_gram(
    model: SkipGram,
    corpus: WordCorpus,
    *,
    epochs: int,
    seed: int,
    learning_rate: int | float = 0.025,
    from_epoch: int = 0,
    stretch: int = 32,
    stretches: int | None = None,
    shared: int = 32,
    progress: bool = True,
) -> History:
    """Train on the corpus for some epochs, with a learning rate that falls linearly to nearly nothing.

    Each epoch thins the frequent words out anew. An update takes `stretches` stretches of `stretch` words, and each
    stretch meets `shared` noise words. With no `stretches` given, an update takes as many as are safe: gradients of one
    row are added up, so a word that is met too often in one update would be moved too far. The history counts the
    updates of this call; its loss is that of one pair with its noise words, in nats. An epoch depends on the seed and
    its own number only, so a model trained to `from_epoch` (of the same `epochs`) ends where it would have ended in one
    run.

    Raises:
        ValueError: a number out of range; the corpus does not fit the model; the vectors are no longer finite.

    Source: Mikolov et al. 2013. Shared noise words: Ji, Satish, Li and Dubey 2016.
    """
    if stretches is None:
        stretches = safe_stretches(corpus, subsample=model.config.subsample, stretch=stretch)
    _check(model, corpus, epochs=epochs, stretch=stretch, stretches=stretches, shared=shared)
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be positive, got {learning_rate}")
    if not 0 <= from_epoch < epochs:
        raise ValueError(f"from_epoch must lie between 0 and epochs - 1 = {epochs - 1}, got {from_epoch}")
    config, device = model.config, model.input.weight.device
    keep = keep_probability(corpus.counts, config.subsample)
    noise_up_to = noise_distribution(corpus.counts, config.noise_power).double().cumsum(0)
    history, started = History(), time.perf_counter()
    bar = tqdm(total=epochs, initial=from_epoch, unit="epoch", disable=not progress)
    step = 0
    for epoch in range(from_epoch, epochs):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        kept = torch.rand(len(corpus.tokens), generator=generator) < keep[corpus.tokens]
        text = cut(corpus.tokens[kept], corpus.text_of[kept], window=config.window, length=stretch, generator=generator)
        order = torch.randperm(len(text.words), generator=generator)
        text = Stretches(*(part[order].to(device) for part in text))
        drawn = torch.rand(len(text.words), shared, generator=generator, dtype=torch.float64)
        noise = torch.searchsorted(noise_up_to, drawn).clamp(max=len(corpus.words) - 1).to(device)
        updates = math.ceil(len(text.words) / stretches)
        log_every = max(2, updates * epochs // LOG_ENTRIES)
        for update in range(updates):
            rows = slice(update * stretches, (update + 1) * stretches)
            batch = Stretches(*(part[rows] for part in text))
            done = (epoch + update / updates) / epochs
            shared_noise_update(model, batch, noise[rows], learning_rate * max(1 - done, 1e-4))
            step += 1
            if step % log_every == 1 or (epoch, update) == (epochs - 1, updates - 1):
                _log(history, model, batch, noise[rows], step, time.perf_counter() - started)
        bar.update()
    bar.close()
    return history


def safe_stretches(corpus: WordCorpus, *, subsample: int | float, stretch: int = 32) -> int:
    """How many stretches one update may take, so that it meets the most frequent word about `BUSIEST` times at most."""
    left = corpus.counts * keep_probability(corpus.counts, subsample)
    share = float(left.max() / left.sum())
    return max(1, min(MOST_STRETCHES, int(BUSIEST / (share * stretch))))


@torch.no_grad()
def _log(history: History, model: SkipGram, batch: Stretches, noise: Tensor, step: int, seconds: int | float) -> None:
    pairs = int(batch.pairs().sum())
    if pairs == 0:
        return
    loss = float(shared_noise_loss(model, batch, noise)) / pairs
    if not math.isfinite(loss):
        raise ValueError(f"the loss became {loss} at step {step}: try a lower learning_rate or fewer stretches")
    history.step.append(step)
    history.loss.append(loss)
    history.seconds.append(seconds)


def _check(model: SkipGram, corpus: WordCorpus, **positive: int) -> None:
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if len(corpus.words) != model.config.vocabulary:
        raise ValueError(
            f"corpus must have as many words as the model's vocabulary, {model.config.vocabulary}, "
            f"got {len(corpus.words)}"
        )
