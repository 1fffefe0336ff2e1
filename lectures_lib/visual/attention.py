"""Pictures of attention: maps with the words at their edges, the truth marked, and a widget to hover over."""

from __future__ import annotations

import html
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from lectures_lib.data.batching import source_batch
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, Text, Vocabulary
from lectures_lib.inference import greedy
from lectures_lib.visual.style import INK, MEMORY, SOURCE, TARGET, house_style

# From see-through to full colour, so that nothing looked at shows the ground of either theme.
FADE = LinearSegmentedColormap.from_list("fade", [MEMORY + "00", MEMORY])

Looked = tuple[Tensor, Sequence[str], Sequence[str]]
"""Weights (rows, columns), the words of the rows (who looks), the words of the columns (what is looked at)."""

# The script finds its own element by its id: several widgets may stand on one page. A word that is pointed at, focused
# or tapped says where it looked; the last one stays.
SCRIPT = """
(() => {
  const root = document.getElementById("%(id)s");
  const choice = root.querySelector("select");
  const stories = [...root.querySelectorAll("[data-story]")];
  const percent = (weight) => (100 * weight).toFixed(0) + " %%";
  stories.forEach((story) => {
    const weights = JSON.parse(story.dataset.story);
    const [words, places] = [[...story.querySelectorAll("button")], [...story.querySelectorAll("[data-place]")]];
    const look = (chosen) => {
      words.forEach((word, row) => word.setAttribute("aria-pressed", String(row === chosen)));
      words.forEach((word, row) => { word.style.outline = row === chosen ? "2px solid %(chosen)s" : "none"; });
      places.forEach((place, column) => {
        const weight = weights[chosen][column];
        place.style.background = "rgba(%(rgb)s," + (0.75 * weight).toFixed(3) + ")";
        place.querySelector("small").textContent = weight < 0.005 ? "" : percent(weight);
      });
      const best = weights[chosen].indexOf(Math.max(...weights[chosen]));
      story.querySelector("output").textContent = words[chosen].textContent + " looked most at " +
        places[best].dataset.place + ", with " + percent(weights[chosen][best]);
    };
    words.forEach((word, row) => {
      ["mouseenter", "focus", "click"].forEach((event) => word.addEventListener(event, () => look(row)));
    });
  });
  choice.addEventListener("change", () => {
    stories.forEach((story, index) => { story.hidden = index !== choice.selectedIndex; });
  });
  stories.forEach((story, index) => { story.hidden = index !== 0; });
})();
"""


def attention_diagram(source: Sequence[str], weights: Sequence[int | float], said: Sequence[str]) -> Figure:
    """One step of a decoder that looks back: the encoder's states, their weights, the context, and the word it says.

    `said` are the words said so far, the newest last; `weights` has one number a word of `source`.

    Raises:
        ValueError: there is no word on one side, or not one weight a word.
    """
    if not source or not said:
        raise ValueError(f"source and said must have at least one word, got {list(source)} and {list(said)}")
    if len(weights) != len(source):
        raise ValueError(f"weights must have one number a word, {len(source)}, got {len(weights)}")
    middle = (len(source) - 1) / 2
    with house_style():
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
        for place, (word, weight) in enumerate(zip(source, weights, strict=True)):
            _label(axes, (place, 0), "Encoder\nrnn", SOURCE)
            axes.text(place, -0.75, word, ha="center", va="center", color=SOURCE)
            axes.text(place, 0.62, f"{weight:.0%}", ha="center", va="center", fontsize=9, color=INK)
            line = {"arrowstyle": "-|>", "color": MEMORY, "linewidth": 0.5 + 5 * weight, "alpha": 0.3 + 0.7 * weight}
            axes.annotate("", (middle, 1.75), (place, 0.85), arrowprops=line)
            if place:
                axes.annotate("", (place - 0.4, 0), (place - 0.6, 0), arrowprops={"arrowstyle": "<->", "color": INK})
        _label(axes, (middle, 2), "context", MEMORY)
        _label(axes, (middle, 3), "Decoder\nrnn", TARGET)
        axes.annotate("", (middle, 2.65), (middle, 2.35), arrowprops={"arrowstyle": "-|>", "color": INK})
        axes.text(middle - 0.6, 3, " ".join(said[:-1]), ha="right", va="center", color=TARGET, alpha=0.7)
        axes.annotate("", (middle + 0.85, 3), (middle + 0.42, 3), arrowprops={"arrowstyle": "-|>", "color": INK})
        axes.text(middle + 0.95, 3, said[-1], ha="left", va="center", color=TARGET, weight="bold")
        axes.set(xlim=(-0.8, len(source) - 0.2), ylim=(-1.1, 3.5))
        axes.axis("off")
    return figure


def attention_map(
    weights: Float[Tensor, "*weights"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    links: Iterable[tuple[int, int]] = (),
    ylabel: str = "written",
    xlabel: str = "read",
) -> Figure:
    """How much each row looks at each column, as a map: see-through is 0, full colour is 1.

    `weights` is (rows, columns). `links` are (row, column) pairs to be framed: the gold alignment.

    Raises:
        ValueError: `weights` does not fit the words, a weight is not in [0, 1], or a link lies outside.
    """
    return attention_maps({"": weights}, rows, columns, links=links, ylabel=ylabel, xlabel=xlabel)


def attention_maps(
    panels: Mapping[str, Float[Tensor, "*weights"]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    links: Iterable[tuple[int, int]] = (),
    ylabel: str = "written",
    xlabel: str = "read",
) -> Figure:
    """Maps of the same words side by side, one a title: heads, models, or what breaking something does.

    Raises:
        ValueError: there is no panel, or as `attention_map`.
    """
    if not panels:
        raise ValueError("panels must hold at least one map, got none")
    links = list(links)
    for weights in panels.values():
        _check(weights, rows, columns)
    for row, column in links:
        if not (0 <= row < len(rows) and 0 <= column < len(columns)):
            raise ValueError(f"links must lie within {len(rows)} rows and {len(columns)} columns, got {(row, column)}")
    width = 1.3 + len(panels) * (0.5 + 0.36 * len(columns))
    with house_style():
        figure, grid = plt.subplots(
            1, len(panels), figsize=(max(3.6, width), 1.2 + 0.3 * len(rows)), sharey=True, squeeze=False
        )
        for axes, (title, weights) in zip(grid[0], panels.items(), strict=True):
            _draw(axes, weights.detach().cpu(), columns, links)
            axes.set(title=title, xlabel=xlabel)
        grid[0][0].set(ylabel=ylabel, yticks=range(len(rows)), yticklabels=rows)
    return figure


def attention_widget(stories: Mapping[str, Looked], *, choice: str = "Sentence") -> None:
    """Display a widget: point at a word that was written, or focus it, and see where the model looked.

    Raises:
        ValueError: as `attention_html`.
    """
    from IPython.display import HTML, display

    display(HTML(attention_html(stories, choice=choice)))


def attention_html(stories: Mapping[str, Looked], *, choice: str = "Sentence") -> str:
    """The widget as HTML. It needs no kernel; without scripts it shows where the first word of each story looked.

    Raises:
        ValueError: there is no story, or a story's weights do not fit its words.
    """
    if not stories:
        raise ValueError("stories must hold at least one sentence, got none")
    for weights, rows, columns in stories.values():
        _check(weights, rows, columns)
    identity = f"attention-{uuid.uuid4().hex[:12]}"
    options = "".join(f"<option>{html.escape(name)}</option>" for name in stories)
    rgb = ",".join(str(int(MEMORY[i : i + 2], 16)) for i in (1, 3, 5))
    script = SCRIPT % {"id": identity, "chosen": TARGET, "rgb": rgb}
    return (
        f'<div id="{identity}" class="lectures-attention" role="group" aria-label="{html.escape(choice)}">'
        f'<p><label for="{identity}-c">{html.escape(choice)}</label> <select id="{identity}-c">{options}</select></p>'
        f"{''.join(_story(*story, rgb) for story in stories.values())}<script>{script}</script></div>"
    )


@torch.no_grad()
def look_while_translating(
    model: nn.Module,
    sentence: Text,
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    *,
    max_new_tokens: int = 80,
) -> Looked:
    """Translate greedily, and tell where the model looked for each word: (weights, words said, words read).

    Both lists of words end with `<eos>` (that of the words said only where the model has ended).

    Raises:
        ValueError: the sentence is empty or has unknown words, or the model has no attention.
    """
    device = next(model.parameters()).device
    source, lengths = source_batch([source_vocabulary.encode(sentence)])
    source = source.to(device)
    model.eval()
    said = greedy(model, source, lengths, max_new_tokens=max_new_tokens)
    shown = torch.cat([torch.full_like(said[:, :1], BOS_ID), said[:, :-1]], dim=1)
    weights = model.attention_weights(source, lengths, shown)[0].cpu()
    written = [target_vocabulary.tokens[i] for i in said[0].tolist()]
    return weights, written, [*source_vocabulary.split(sentence), source_vocabulary.tokens[EOS_ID]]


def _check(weights: Tensor, rows: Sequence[str], columns: Sequence[str]) -> None:
    if not rows or not columns:
        raise ValueError(f"rows and columns must have at least one word, got {list(rows)} and {list(columns)}")
    if tuple(weights.shape) != (len(rows), len(columns)):
        raise ValueError(
            f"weights must have shape {(len(rows), len(columns))}, one row a word of rows, got {tuple(weights.shape)}"
        )
    low, high = float(weights.min()), float(weights.max())
    if not (low >= -1e-6 and high <= 1 + 1e-5):
        raise ValueError(f"weights must lie between 0 and 1, got {low:g} to {high:g}")


def _label(axes: Axes, place: tuple[int | float, int | float], text: str, colour: str) -> None:
    box = {"boxstyle": "round,pad=0.4", "facecolor": colour + "30", "edgecolor": colour}
    axes.text(*place, text, ha="center", va="center", fontsize=8, color=INK, bbox=box)


def _draw(axes: Axes, weights: Tensor, columns: Sequence[str], links: Iterable[tuple[int, int]]) -> None:
    axes.imshow(weights.numpy(), cmap=FADE, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    for row, column in links:
        axes.add_patch(Rectangle((column - 0.42, row - 0.42), 0.84, 0.84, fill=False, edgecolor=TARGET, linewidth=1.5))
    words = [word for word in columns if not word.startswith("<")]
    long = max(map(len, words), default=0) > 3  # Chinese words fit side by side, English ones do not
    axes.set_xticks(range(len(columns)), columns, rotation=90 if long else 0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=INK)


def _story(weights: Tensor, rows: Sequence[str], columns: Sequence[str], rgb: str) -> str:
    numbers = [[round(float(w), 4) for w in row] for row in weights]
    places = "".join(
        f'<span data-place="{html.escape(word, quote=True)}" style="display: inline-block; text-align: center; '
        f"padding: 0.2em 0.4em; margin: 0.1em; vertical-align: top; min-height: 3em; "
        f'background: rgba({rgb},{0.75 * weight:.3f})">{html.escape(word)}<br>'
        f"<small>{f'{100 * weight:.0f} %' if weight >= 0.005 else ''}</small></span>"
        for word, weight in zip(columns, numbers[0], strict=True)
    )
    words = "".join(
        f'<button type="button" aria-pressed="{"true" if row == 0 else "false"}" style="font: inherit; '
        f'color: inherit; background: none; border: 1px solid {INK}; padding: 0.2em 0.4em; margin: 0.15em">'
        f"{html.escape(word)}</button>"
        for row, word in enumerate(rows)
    )
    best = max(range(len(columns)), key=lambda column: numbers[0][column])
    sentence = f"{rows[0]} looked most at {columns[best]}, with {100 * numbers[0][best]:.0f} %"
    return (
        f'<div data-story="{html.escape(json.dumps(numbers), quote=True)}"><p>Read: <span>{places}</span></p>'
        f'<p>Written: {words}</p><p><output aria-live="polite">{html.escape(sentence)}</output></p></div>'
    )
