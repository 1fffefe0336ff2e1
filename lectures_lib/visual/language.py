"""Pictures of language models: their parts, what they expect next, and how character after character is drawn."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from lectures_lib.data.corpus import TextCode
from lectures_lib.inference import LeanGPT, continue_text, filtered_probabilities
from lectures_lib.models.gpt import GPT
from lectures_lib.visual.stepper import stepper
from lectures_lib.visual.style import ACCENT, INK, MEMORY, MUTED, SOURCE, TARGET, house_style

SHOWN_CANDIDATES = 8
BAR = 12  # em of the longest bar
NEW_TEXT = f"color: inherit; text-decoration: underline 0.15em {TARGET}"  # a colour alone would be hard to read
VISIBLE = {" ": "␣", "\n": "⏎"}  # characters that one would not see


def gpt_diagram(n_layers: str = "N") -> Figure:
    """GPT in the library's names, read from the bottom up: the Transformer's decoder without a source."""
    parts = [
        ("embed", MUTED),
        ("positions", MUTED),
        ("self_attention\n(look-ahead mask)", TARGET),
        ("add_attention", INK),
        ("feed_forward", TARGET),
        ("add_feed_forward", INK),
        ("norm", INK),
        ("logits, softmax", MUTED),
    ]
    with house_style():
        figure, axes = plt.subplots(figsize=(4.4, 5.2))
        for y, (name, colour) in enumerate(parts):
            box = FancyBboxPatch(
                (-0.9, y - 0.24), 1.8, 0.48, boxstyle="round,pad=0.04", facecolor=colour + "30", edgecolor=colour
            )
            axes.add_patch(box)
            axes.text(0, y, name, ha="center", va="center", fontsize=8, color=INK)
            if y:
                _arrow(axes, (0, y - 0.72), (0, y - 0.28))
        frame = FancyBboxPatch((-1.3, 1.42), 2.6, 4, boxstyle="round,pad=0.02", facecolor="none", edgecolor=INK)
        axes.add_patch(frame)
        axes.text(1.4, 3.5, f"{n_layers} ×", ha="left", va="center", color=INK)
        for below, above in ((2, 3), (4, 5)):
            axes.plot([0, 1.1, 1.1], [below - 0.5, below - 0.5, above], color=INK, linewidth=1)
            _arrow(axes, (1.11, above), (0.93, above))
        _arrow(axes, (0, -0.75), (0, -0.28))
        _arrow(axes, (0, 7.28), (0, 7.75))
        axes.text(0, -0.95, "the text so far", ha="center", va="center", color=SOURCE)
        axes.text(0, 7.95, "the next token", ha="center", va="center", color=TARGET)
        axes.set(xlim=(-1.8, 2.2), ylim=(-1.2, 8.2))
        axes.axis("off")
    return figure


def _arrow(axes: Any, start: tuple[int | float, int | float], end: tuple[int | float, int | float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK})


def next_token_map(table: Float[Tensor, "*table"], tokens: Sequence[str]) -> Figure:
    """How probable each token (column) is after each (row), as a map; the darker, the more probable.

    Raises:
        ValueError: `table` does not have one row and one column a token.
    """
    if tuple(table.shape) != (len(tokens), len(tokens)):
        raise ValueError(f"table must have shape {(len(tokens), len(tokens))}, got {tuple(table.shape)}")
    names = [VISIBLE.get(token, token) for token in tokens]
    with house_style():
        figure, axes = plt.subplots(figsize=(6.4, 5.6))
        picture = axes.imshow(table.numpy(), cmap="Oranges", vmin=0, vmax=1, interpolation="nearest")
        axes.set(xlabel="the next one", ylabel="a character")
        axes.set_xticks(range(len(names)), names, fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.grid(visible=False)
        figure.colorbar(picture, ax=axes, label="probability")
    return figure


def probability_bars(rows: Mapping[str, Float[Tensor, "*row"]], tokens: Sequence[str], *, shown: int = 8) -> Figure:
    """Distributions over the next token under each other, the tokens in the order of the first one.

    Raises:
        ValueError: there is no distribution, or one does not have one number a token.
    """
    if not rows:
        raise ValueError("rows must hold at least one distribution, got none")
    for name, row in rows.items():
        if tuple(row.shape) != (len(tokens),):
            raise ValueError(f"rows[{name!r}] must have shape {(len(tokens),)}, got {tuple(row.shape)}")
    order = next(iter(rows.values())).argsort(descending=True)[:shown].tolist()
    names = [VISIBLE.get(tokens[i], tokens[i]) for i in order]
    highest = max(float(row.max()) for row in rows.values())
    with house_style():
        figure, panels = plt.subplots(
            len(rows), 1, sharex=True, sharey=True, squeeze=False, figsize=(6.4, 0.7 + 1.05 * len(rows))
        )
        for axes, (name, row) in zip(panels[:, 0], rows.items(), strict=True):
            axes.bar(range(len(order)), row[order].numpy(), color=TARGET, alpha=0.8)
            axes.set_title(name, loc="right", fontsize=9, color=INK, y=0.7)
            axes.set(ylim=(0, 1.15 * highest))
        panels[-1, 0].set_xticks(range(len(names)), names, fontsize=9)
        panels[-1, 0].set(xlabel="the next token")
        figure.supylabel("probability", fontsize=10, color=INK)
    return figure


def bits_by_order(ngrams: Mapping[str, Mapping[int, float]], others: Mapping[str, float]) -> Figure:
    """Held-out bits a character of n-grams by their order, a line a kind, with other models as level lines."""
    with house_style():
        figure, axes = plt.subplots()
        for colour, (kind, bits) in zip((SOURCE, MEMORY), ngrams.items(), strict=False):
            axes.plot(list(bits), list(bits.values()), marker="o", color=colour, label=f"n-grams of {kind}")
        for colour, (name, value) in zip((TARGET, ACCENT), others.items(), strict=False):
            axes.axhline(value, color=colour, linestyle="--", label=name)
        axes.set(xlabel="order n, the guessed token included", ylabel="bits a character, smaller is better")
        axes.set(xticks=sorted({order for bits in ngrams.values() for order in bits}))
        axes.legend()
    return figure


@torch.no_grad()
def sampling_frames(
    model: GPT,
    code: TextCode,
    prompt: str,
    *,
    steps: int,
    seed: int = 0,
    temperature: int | float = 1.0,
    top_k: int | None = None,
    top_p: int | float = 1.0,
) -> list[str]:
    """One HTML frame a step: the text so far, the likeliest next tokens, which of them are left, and the one drawn.

    Raises:
        ValueError: the prompt is empty or, with the steps, longer than the context; a filter makes no sense.
    """
    filters = dict(temperature=temperature, top_k=top_k, top_p=top_p)
    ids = code.encode(prompt)
    if not ids or len(ids) + steps > model.config.context:
        raise ValueError(
            f"prompt must have 1 to {model.config.context - steps} tokens, to leave room for {steps}, got {len(ids)}"
        )
    device = model.embed.weight.device
    generator, lean = torch.Generator(device).manual_seed(seed), LeanGPT(model.eval())
    logits, state = lean.start(torch.tensor([ids], device=device))
    frames = []
    for _ in range(steps):
        filtered = filtered_probabilities(logits[0], **filters)
        token = int(torch.multinomial(filtered, 1, generator=generator))
        frames.append(_frame(code, ids, logits[0].softmax(-1), filtered, token))
        ids = [*ids, token]
        logits, state = lean.step(torch.tensor([token], device=device), state)
    return frames


def sampling_widget(
    model: GPT, code: TextCode, prompt: str, settings: Mapping[str, Mapping[str, Any]], *, steps: int = 24
) -> None:
    """Display a widget that steps through sampled continuations of `prompt`, one for each of the named settings."""
    from IPython.display import HTML, display

    stories = {name: sampling_frames(model, code, prompt, steps=steps, **filters) for name, filters in settings.items()}
    display(HTML(stepper(stories, choice="Setting", step="Token")))


def sampler(model: GPT, code: TextCode, *, example: str, max_new_tokens: int = 200) -> None:
    """Display a text field and sliders for temperature, top-k and top-p: the model continues what you type.

    It needs a running notebook; in the static book (environment variable `LECTURES_STATIC`) a sentence says so.
    """
    from IPython.display import HTML, display

    if os.environ.get("LECTURES_STATIC"):
        note = "In a running notebook a text field and three sliders stand here: the model continues what you type."
        display(HTML(f"<p><em>{note}</em></p>"))
        return
    import ipywidgets

    field = ipywidgets.Text(value=example, description="Beginning", continuous_update=False)
    size = len(code)
    temperature = ipywidgets.FloatSlider(1.0, min=0.1, max=3.0, step=0.1, description="Temperature")
    top_k = ipywidgets.IntSlider(size, min=1, max=size, description="Top k")
    top_p = ipywidgets.FloatSlider(1.0, min=0.05, max=1.0, step=0.05, description="Top p")
    again = ipywidgets.Button(description="Draw again")
    answer, draws = ipywidgets.HTML(), [0]

    def write(_=None) -> None:
        answer.value = sampler_answer(
            model, code, field.value, max_new_tokens=max_new_tokens, seed=draws[0],
            temperature=temperature.value, top_k=top_k.value, top_p=top_p.value,
        )  # fmt: skip

    def draw_again(_) -> None:
        draws[0] += 1
        write()

    for control in (field, temperature, top_k, top_p):
        control.observe(write, names="value")
    again.on_click(draw_again)
    write()
    display(ipywidgets.VBox([field, temperature, top_k, top_p, again, answer]))


def sampler_answer(model: GPT, code: TextCode, text: str, *, max_new_tokens: int, seed: int = 0, **filters: Any) -> str:
    """HTML of what was typed and what the model writes after it, or of what is wrong with what was typed."""
    generator = torch.Generator(model.embed.weight.device).manual_seed(seed)
    try:
        whole = continue_text(model, code, text, max_new_tokens=max_new_tokens, generator=generator, **filters)
    except ValueError as error:
        return f"<p>{html.escape(str(error))}</p>"
    return _text(text, whole[len(text) :])


def _frame(
    code: TextCode, ids: Sequence[int], plain: Float[Tensor, " v"], filtered: Float[Tensor, " v"], token: int
) -> str:
    rows, highest = [], float(torch.maximum(plain, filtered).max())
    for i in plain.argsort(descending=True)[:SHOWN_CANDIDATES].tolist():
        name, before, after = _visible(code.decode([i])), float(plain[i]), float(filtered[i])
        drawn = " ← drawn" if i == token else ""
        bars = _bar(before / highest, MUTED) + _bar(after / highest, TARGET)
        rows.append(
            f"<tr><td><code>{html.escape(name)}</code></td><td>{bars}</td>"
            f"<td>{before:.0%} → {'cut' if after == 0 else f'{after:.0%}'}{drawn}</td></tr>"
        )
    rest = "" if token in plain.argsort(descending=True)[:SHOWN_CANDIDATES] else (
        f"<p>Drawn: <code>{html.escape(_visible(code.decode([token])))}</code>, a less likely one.</p>"
    )  # fmt: skip
    return (
        _text(code.decode(ids), _visible(code.decode([token])))
        + "<table><caption>Grey: what the model expects next. Orange: what is drawn from.</caption>"
        + f"<tbody>{''.join(rows)}</tbody></table>{rest}"
    )


def _bar(share: float, colour: str) -> str:
    return f'<div style="height: 0.45em; width: {max(BAR * share, 0.05):.2f}em; background: {colour}"></div>'


def _visible(text: str) -> str:
    return "".join(VISIBLE.get(character, character) for character in text)


def _text(given: str, new: str) -> str:
    return (
        '<pre style="white-space: pre-wrap; overflow-wrap: anywhere">'
        f'{html.escape(given)}<b style="{NEW_TEXT}">{html.escape(new)}</b></pre>'
    )
