"""Sampling: draw the next token from the model's probabilities instead of taking the likeliest, again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lectures_lib.data.corpus import TextCode
from lectures_lib.inference.lean_gpt import LeanGPT
from lectures_lib.models.gpt import GPT


def filtered_probabilities(
    logits: Float[Tensor, "*batch vocabulary"],
    *,
    temperature: int | float = 1.0,
    top_k: int | None = None,
    top_p: int | float = 1.0,
) -> Float[Tensor, "*batch vocabulary"]:
    """The probabilities that the next token is drawn from.

    First softmax(logits / temperature): below 1 it sharpens, above 1 it flattens. Then `top_k` keeps the k likeliest
    tokens, and after it `top_p` the fewest that hold at least this share of what is left; the rest gets 0, and what
    stays is scaled to sum to 1. Among equally likely tokens those with the lower number come first, so that exactly k
    stay and `top_k=1` is greedy decoding.

    Raises:
        ValueError: `temperature` is not positive and finite, `top_k` is below 1, or `top_p` is outside (0, 1].

    Sources: Fan et al. 2018, section 5.4 (top-k); Holtzman et al. 2020, section 3.1 (top-p, "nucleus sampling").
    """
    _check_filters(temperature, top_k, top_p)
    return _filtered(logits, temperature, top_k, top_p)


def _filtered(logits: Tensor, temperature: int | float, top_k: int | None, top_p: int | float) -> Tensor:
    probabilities = (logits if temperature == 1 else logits / temperature).softmax(dim=-1)
    if top_k is None and top_p == 1:
        return probabilities
    ordered, places = probabilities.sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        ordered[..., top_k:] = 0
    if top_p < 1:
        share = ordered / ordered.sum(dim=-1, keepdim=True)
        before = share.cumsum(dim=-1) - share  # what likelier tokens hold already
        ordered.masked_fill_(before >= top_p, 0)
    kept = torch.zeros_like(probabilities).scatter_(-1, places, ordered)
    return kept / kept.sum(dim=-1, keepdim=True)


def sample(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: int | float = 1.0,
    top_k: int | None = None,
    top_p: int | float = 1.0,
    stop: int | None = None,
    generator: torch.Generator | None = None,
) -> list[list[int]]:
    """Continue every prompt by `max_new_tokens` tokens, or up to and with the token `stop`; returns what is new.

    Prompts of different lengths go through the model together without padding: while the shorter ones are continued
    already, the longer ones are still being read. A prompt that is done is not computed any further. The model is in
    evaluation mode meanwhile.

    **When the context is full** the older half of it is forgotten: the model reads the newer half again, as if the text
    began there, and goes on. So a text may be longer than the context.

    Args:
        temperature, top_k, top_p: see `filtered_probabilities`.
        generator: draws the tokens, on the model's device; with the same seed come the same texts.

    Raises:
        ValueError: there is no prompt, one is empty, longer than the model's context or has tokens outside its
            vocabulary; `max_new_tokens` is below 1; a filter makes no sense.
    """
    if not prompts:
        raise ValueError("prompts must hold at least one, got none")
    for index, prompt in enumerate(prompts):
        _check_prompt(f"prompts[{index}]", prompt, model)
    choose = _chooser(max_new_tokens, temperature, top_k, top_p, generator)
    was_training = model.training
    model.eval()
    try:
        return _continued(_Reader(model, prompts), prompts, choose, max_new_tokens, stop)
    finally:
        model.train(was_training)


def _continued(
    reader: _Reader, prompts: Sequence[Sequence[int]], choose: Callable, most: int, stop: int | None
) -> list[list[int]]:
    said: list[list[int]] = [[] for _ in prompts]
    alive, time = list(range(len(prompts))), min(map(len, prompts))
    longest = max(map(len, prompts))
    while True:
        tokens = choose(reader.logits)
        drawn = tokens.tolist()
        if time < longest:
            for place, row in enumerate(alive):
                if time < len(prompts[row]):
                    drawn[place] = prompts[row][time]
            tokens = torch.tensor(drawn, device=tokens.device)
        going = []
        for place, (row, token) in enumerate(zip(alive, drawn, strict=True)):
            if time >= len(prompts[row]):
                said[row].append(token)
            if len(said[row]) < most and not (said[row] and token == stop):
                going.append(place)
        if not going:
            return said
        if len(going) < len(alive):
            alive, rows = [alive[place] for place in going], torch.tensor(going, device=tokens.device)
            tokens = tokens[rows]
            reader.select(rows)
        reader.read(tokens)
        time += 1


def stream(
    model: GPT,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    temperature: int | float = 1.0,
    top_k: int | None = None,
    top_p: int | float = 1.0,
    stop: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """The tokens that continue one prompt, each as soon as it is drawn. Arguments and errors as `sample`'s.

    Errors come at the call, not at the first token. The model is in evaluation mode until the last token is taken.
    """
    _check_prompt("prompt", prompt, model)
    return _streamed(
        model, prompt, _chooser(max_new_tokens, temperature, top_k, top_p, generator), max_new_tokens, stop
    )


def _streamed(
    model: GPT, prompt: Sequence[int], choose: Callable[[Tensor], Tensor], most: int, stop: int | None
) -> Iterator[int]:
    was_training = model.training
    model.eval()
    try:
        reader = _Reader(model, [prompt])
        for count in range(1, most + 1):
            tokens = choose(reader.logits)
            token = int(tokens)
            yield token
            if token == stop or count == most:
                return
            reader.read(tokens)
    finally:
        model.train(was_training)


def continue_text(
    model: GPT,
    code: TextCode,
    text: str,
    *,
    max_new_tokens: int,
    temperature: int | float = 1.0,
    top_k: int | None = None,
    top_p: int | float = 1.0,
    stop: int | None = None,
    generator: torch.Generator | None = None,
) -> str:
    """`text` and what the model writes after it. Arguments and errors as `sample`'s.

    A text longer than the context is read from its end.

    Raises:
        ValueError: besides `sample`'s: the text is empty, or has what the code does not know.
    """
    if not text:
        raise ValueError("text must have at least one character, got an empty text")
    ids = code.encode(text)[-model.config.context :]
    options = dict(temperature=temperature, top_k=top_k, top_p=top_p, stop=stop, generator=generator)
    (new,) = sample(model, [ids], max_new_tokens=max_new_tokens, **options)
    return text + code.decode(new)


class _Reader:
    """Reads texts of equal length side by side, through the cache, and knows the scores of the next tokens."""

    def __init__(self, model: GPT, prompts: Sequence[Sequence[int]]) -> None:
        shortest = min(map(len, prompts))
        begun = torch.tensor([list(prompt[:shortest]) for prompt in prompts], device=model.embed.weight.device)
        self.model, self.context = LeanGPT(model), model.config.context
        self.columns = list(begun.unbind(1))  # the text so far, a tensor (rows) a place
        self.logits, self.state = self.model.start(begun)

    def read(self, tokens: Int[Tensor, " rows"]) -> None:
        """One token further in every row."""
        self.columns.append(tokens)
        if self.state.length < self.context:
            self.logits, self.state = self.model.step(tokens, self.state)
            return
        newer = torch.stack(self.columns[-max(self.context // 2, 1) :], dim=1)
        self.columns = list(newer.unbind(1))
        self.logits, self.state = self.model.start(newer)

    def select(self, rows: Int[Tensor, " kept"]) -> None:
        """Go on with these rows only."""
        self.columns = list(torch.stack(self.columns)[:, rows])
        self.state = self.model.select(self.state, rows)


def _chooser(
    max_new_tokens: int,
    temperature: int | float,
    top_k: int | None,
    top_p: int | float,
    generator: torch.Generator | None,
) -> Callable[[Tensor], Tensor]:
    """A function from logits (rows, vocabulary) to one token a row."""
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
    _check_filters(temperature, top_k, top_p)
    if top_k == 1:
        return lambda logits: logits.argmax(dim=-1)
    return lambda logits: _drawn(_filtered(logits, temperature, top_k, top_p), generator)


def _drawn(probabilities: Float[Tensor, "rows vocabulary"], generator: torch.Generator | None) -> Int[Tensor, " rows"]:
    """One token a row: the one at whose place among the running sums a uniform random number falls.

    `torch.multinomial` would draw a random number for every token of the vocabulary.

    Source: Devroye 1986, section III.2 (the inversion method).
    """
    exact = torch.float32 if probabilities.device.type == "mps" else torch.float64  # MPS has nothing finer
    sums = probabilities.cumsum(dim=-1, dtype=exact)
    at = torch.rand(len(sums), 1, dtype=exact, device=sums.device, generator=generator)
    return torch.searchsorted(sums, at * sums[:, -1:], right=True).squeeze(1)


def _check_filters(temperature: int | float, top_k: int | None, top_p: int | float) -> None:
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], got {top_p}")


def _check_prompt(name: str, prompt: Sequence[int], model: GPT) -> None:
    context, vocabulary = model.config.context, model.config.vocabulary
    if len(prompt) == 0:
        raise ValueError(f"{name} must have at least one token, got none")
    if len(prompt) > context:
        raise ValueError(f"{name} must have at most {context} tokens, the model's context, got {len(prompt)}")
    outside = [token for token in prompt if not 0 <= token < vocabulary]
    if outside:
        raise ValueError(f"{name} must hold tokens between 0 and {vocabulary - 1}, got {outside[0]}")
