"""Pictures of words and of positions: windows over a sentence, a map of words, the position table and its sinusoids."""

from __future__ import annotations

import html
import json
import uuid
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from lectures_lib.evaluation.words import WordVectors
from lectures_lib.visual.style import ACCENT, INK, MEMORY, MUTED, SOURCE, TARGET, house_style

KIND_COLOURS = (
    SOURCE,
    TARGET,
    MEMORY,
    ACCENT,
    "#E69F00",
    "#56B4E9",
)  # the rest of Okabe and Ito's that suit both themes
MAP_WIDTH, MAP_HEIGHT, MAP_MARGIN = 640, 420, 24
CURVE_WIDTH, CURVE_HEIGHT, CLOCK = 420, 140, 140


def window_diagram(words: Sequence[str], centre: int, window: int, noise: Sequence[str] = ()) -> Figure:
    """A sentence: a centre word, arrows to its neighbours within `window`, and noise words on dotted lines below."""
    if not 0 <= centre < len(words):
        raise ValueError(f"centre must lie between 0 and {len(words) - 1}, got {centre}")
    with house_style():
        figure, axes = plt.subplots(figsize=(max(6.4, 0.8 * len(words)), 2.4))
        for x, word in enumerate(words):
            near = x != centre and abs(x - centre) <= window
            colour = SOURCE if x == centre else TARGET if near else MUTED
            weight = "bold" if x == centre else "normal"
            axes.text(x, 1, word, ha="center", va="center", color=colour, fontsize=11, fontweight=weight)
            if near:
                arc = {
                    "arrowstyle": "->",
                    "color": TARGET,
                    "connectionstyle": f"arc3,rad={0.5 if x < centre else -0.5}",
                }
                axes.annotate("", (x, 1.2), (centre, 1.2), arrowprops=arc)
        for index, word in enumerate(noise):
            x = centre + index - (len(noise) - 1) / 2
            axes.text(x, 0, word, ha="center", va="center", color=ACCENT, fontsize=11)
            axes.plot([centre, x], [0.82, 0.18], linestyle=":", color=ACCENT)
        axes.set(xlim=(-0.6, len(words) - 0.4), ylim=(-0.3, 2.2))
        axes.axis("off")
    return figure


def position_heat_map(table: Float[Tensor, "length d_model"]) -> Figure:
    """The position table as colours: a row a position, a column a number of its vector."""
    with house_style():
        figure, axes = plt.subplots(figsize=(6.4, 4.2))
        picture = axes.imshow(table.numpy(), aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        axes.set(xlabel="column of the vector", ylabel="position")
        axes.grid(visible=False)
        figure.colorbar(picture, ax=axes, label="value")
    return figure


def principal_plane(vectors: Float[Tensor, "words d"]) -> Float[Tensor, "words 2"]:
    """The vectors seen in the plane in which they vary most (PCA, by singular value decomposition).

    Raises:
        ValueError: there are fewer than three vectors.
    """
    if len(vectors) < 3:
        raise ValueError(f"vectors must hold at least 3 words to draw a plane through, got {len(vectors)}")
    centred = vectors - vectors.mean(dim=0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    flat = centred @ axes[:2].T
    # A plane has no front: turn it so that the farthest point lies on the positive side, on every machine.
    return flat * flat.gather(0, flat.abs().argmax(dim=0, keepdim=True)).sign()


def word_map(vectors: WordVectors, kinds: Mapping[str, str], *, labelled: Sequence[str] = ()) -> None:
    """Display words as dots in the plane in which they vary most, coloured by kind.

    A dot names its word when the mouse is over it; a list names the nearest neighbours of a chosen word and rings them.
    The words of `labelled` are named always. It works in static HTML.
    """
    from IPython.display import HTML, display

    display(HTML(word_map_html(vectors, kinds, labelled=labelled)))


def word_map_html(vectors: WordVectors, kinds: Mapping[str, str], *, labelled: Sequence[str] = ()) -> str:
    """The HTML of `word_map`.

    Raises:
        ValueError: more kinds than colours, a word without a vector, a label that is no word of the map.
    """
    names = list(dict.fromkeys(kinds.values()))
    if len(names) > len(KIND_COLOURS):
        raise ValueError(f"kinds must have at most {len(KIND_COLOURS)} different values, got {len(names)}")
    for word in labelled:
        if word not in kinds:
            raise ValueError(f"labelled must hold words of kinds, got {word!r}")
    words = list(kinds)
    places = _fit(principal_plane(torch.stack([vectors[word] for word in words])))
    colour = dict(zip(names, KIND_COLOURS, strict=False))
    dots = "".join(
        _dot(word, kinds[word], x, y, colour[kinds[word]]) for word, (x, y) in zip(words, places, strict=True)
    )
    dots += "".join(_label(word, *places[words.index(word)]) for word in labelled)  # last: no dot covers a label
    shown = WordVectors(words, torch.stack([vectors[word] for word in words]))
    nearest = {word: [near for near, _ in shown.nearest(word, min(5, len(words) - 1))] for word in words}
    identity = f"words-{uuid.uuid4().hex[:12]}"
    legend = " ".join(
        f'<span style="white-space: nowrap"><span style="color: {colour[name]}">●</span> {html.escape(name)}</span>'
        for name in names
    )
    options = "".join(f"<option>{html.escape(word)}</option>" for word in sorted(words))
    about = f"A map of {len(words)} words as dots; words of one kind lie close together."
    return (
        f'<div id="{identity}" class="lectures-figure lectures-word-map"><p>{legend}</p>'
        f'<svg viewBox="0 0 {MAP_WIDTH} {MAP_HEIGHT}" role="img" aria-label="{html.escape(about)}" '
        f'style="width: 100%; max-width: {MAP_WIDTH}px; height: auto">{dots}</svg>'
        f'<p><label for="{identity}-w">Nearest to</label> <select id="{identity}-w"><option value="">…</option>'
        f'{options}</select> <output aria-live="polite"></output></p>'
        f"<script>{_MAP_SCRIPT % {'id': identity, 'nearest': _json(nearest)}}</script></div>"
    )


def position_widget(table: Float[Tensor, "length d_model"]) -> None:
    """Display a widget with three sliders: a position, a step along the text, and a pair of columns of the table.

    It draws the pair's two sinusoids, and the pair as the hand of a clock, at the position and one step further. It
    works in static HTML; what it draws are the numbers of `table`.
    """
    from IPython.display import HTML, display

    display(HTML(position_widget_html(table)))


def position_widget_html(table: Float[Tensor, "length d_model"]) -> str:
    """The HTML of `position_widget`.

    Raises:
        ValueError: fewer than four positions, or an odd number of columns.
    """
    length, width = table.shape
    if length < 4 or width % 2:
        raise ValueError(f"table must have at least 4 rows and an even number of columns, got {tuple(table.shape)}")
    pairs = table.unflatten(1, (width // 2, 2))  # (length, pairs, sine and cosine)
    start = {"position": length // 4, "step": length // 8, "pair": min(1, width // 2 - 1)}
    identity = f"positions-{uuid.uuid4().hex[:12]}"
    most = {"position": length // 2 - 1, "step": length // 2, "pair": width // 2 - 1}
    names = {"position": "Position p", "step": "Step k", "pair": "Pair of columns"}
    sliders = "".join(
        f'<p><label for="{identity}-{key}">{names[key]}</label> <input id="{identity}-{key}" data-is="{key}" '
        f'type="range" min="0" max="{most[key]}" value="{start[key]}" step="1"> <output>{start[key]}</output></p>'
        for key in names
    )
    curves = "".join(
        f'<g data-pair="{pair}"{"" if pair == start["pair"] else " hidden display=none"}>'
        f"{_curve(pairs[:, pair, 0], SOURCE)}{_curve(pairs[:, pair, 1], TARGET)}</g>"
        for pair in range(width // 2)
    )
    sine, cosine = pairs[start["position"], start["pair"]].tolist()
    later_sine, later_cosine = pairs[start["position"] + start["step"], start["pair"]].tolist()
    marks = _mark("p", start["position"], length, MEMORY) + _mark(
        "q", start["position"] + start["step"], length, ACCENT
    )
    hands = _hand("p", sine, cosine, MEMORY) + _hand("q", later_sine, later_cosine, ACCENT)
    about = (
        "Left, a sine and a cosine over positions, with two marks. Right, a clock whose two hands stand for the marks."
    )
    legend = "".join(
        f'<span style="color: {colour}">■</span> {text}&ensp;'
        for colour, text in ((SOURCE, "sine"), (TARGET, "cosine"), (MEMORY, "position p"), (ACCENT, "position p + k"))
    )
    numbers = [[[round(float(value), 4) for value in pair] for pair in row] for row in pairs]
    says = _says(start, sine, cosine, later_sine, later_cosine)
    middle = CURVE_WIDTH + CLOCK / 2 + 10
    return (
        f'<div id="{identity}" class="lectures-stepper" role="group" aria-label="The sinusoids of the position table">'
        f'{sliders}<svg viewBox="0 0 {CURVE_WIDTH + CLOCK + 20} {CURVE_HEIGHT}" role="img" aria-label="{about}" '
        f'style="width: 100%; max-width: 40em; height: auto">{curves}{marks}'
        f'<circle cx="{middle}" cy="{CURVE_HEIGHT / 2}" r="{CLOCK / 2 - 8}" fill="none" stroke="{INK}"/>{hands}</svg>'
        f'<p>{legend}</p><p aria-live="polite" data-is="says">{says}</p>'
        f"<script>{_POSITION_SCRIPT % {'id': identity, 'table': json.dumps(numbers), **_GEOMETRY}}</script></div>"
    )


def _fit(plane: Float[Tensor, "words 2"]) -> list[tuple[float, float]]:
    low, high = plane.min(dim=0).values, plane.max(dim=0).values
    unit = (plane - low) / (high - low).clamp(min=1e-9)
    return [
        (MAP_MARGIN + x * (MAP_WIDTH - 3 * MAP_MARGIN), MAP_HEIGHT - MAP_MARGIN - y * (MAP_HEIGHT - 2 * MAP_MARGIN))
        for x, y in unit.tolist()
    ]


def _dot(word: str, kind: str, x: float, y: float, colour: str) -> str:
    name = html.escape(word, quote=True)
    return (
        f'<g data-word="{name}"><title>{name} ({html.escape(kind)})</title>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}" fill-opacity="0.75"/></g>'
    )


def _label(word: str, x: float, y: float) -> str:
    place = f'x="{x + 8:.1f}" y="{y + 4:.1f}"'
    return f'<text {place} font-size="13" fill="currentColor" pointer-events="none">{html.escape(word)}</text>'


def _curve(values: Float[Tensor, " length"], colour: str) -> str:
    points = " ".join(f"{_x(p, len(values)):.1f},{_y(v):.1f}" for p, v in enumerate(values.tolist()))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _mark(name: str, position: int, length: int, colour: str) -> str:
    x = f"{_x(position, length):.1f}"
    ends = f'x1="{x}" x2="{x}" y1="4" y2="{CURVE_HEIGHT - 4}"'
    return f'<line data-is="mark-{name}" {ends} stroke="{colour}" stroke-width="2"/>'


def _hand(name: str, sine: float, cosine: float, colour: str) -> str:
    x, y, reach = _GEOMETRY["clock_x"], _GEOMETRY["clock_y"], _GEOMETRY["reach"]
    return (
        f'<line data-is="hand-{name}" x1="{x}" y1="{y}" x2="{x + reach * cosine:.1f}" y2="{y - reach * sine:.1f}" '
        f'stroke="{colour}" stroke-width="4" stroke-linecap="round"/>'
    )


def _says(state: Mapping[str, int], sine: float, cosine: float, later_sine: float, later_cosine: float) -> str:
    return (
        f"Position {state['position']}: ({sine:.2f}, {cosine:.2f}). "
        f"Position {state['position'] + state['step']}: ({later_sine:.2f}, {later_cosine:.2f})."
    )


def _x(position: int, length: int) -> float:
    return 4 + position * (CURVE_WIDTH - 8) / (length - 1)


def _y(value: float) -> float:
    return CURVE_HEIGHT / 2 - value * (CURVE_HEIGHT / 2 - 8)


def _json(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")  # a word cannot end the script


_GEOMETRY = {
    "width": CURVE_WIDTH,
    "clock_x": CURVE_WIDTH + CLOCK // 2 + 10,
    "clock_y": CURVE_HEIGHT // 2,
    "reach": CLOCK // 2 - 12,
}

_MAP_SCRIPT = """
(() => {
  const root = document.getElementById("%(id)s"), nearest = %(nearest)s;
  const dots = new Map([...root.querySelectorAll("[data-word]")].map((dot) => [dot.dataset.word, dot]));
  const choice = root.querySelector("select"), says = root.querySelector("output");
  choice.addEventListener("change", () => {
    const near = nearest[choice.value] || [];
    dots.forEach((dot, word) => {
      const ring = dot.querySelector("circle"), on = word === choice.value || near.includes(word);
      ring.setAttribute("stroke", on ? "currentColor" : "none");
      ring.setAttribute("stroke-width", word === choice.value ? 4 : 2);
    });
    says.textContent = near.join(", ");
  });
})();
"""

_POSITION_SCRIPT = """
(() => {
  const root = document.getElementById("%(id)s"), table = %(table)s;
  const find = (name) => root.querySelector('[data-is="' + name + '"]');
  const sliders = ["position", "step", "pair"].map(find);
  const hand = (name, [sine, cosine]) => {
    find("hand-" + name).setAttribute("x2", %(clock_x)s + %(reach)s * cosine);
    find("hand-" + name).setAttribute("y2", %(clock_y)s - %(reach)s * sine);
  };
  const mark = (name, position) => {
    const x = 4 + position * (%(width)s - 8) / (table.length - 1);
    ["x1", "x2"].forEach((end) => find("mark-" + name).setAttribute(end, x));
  };
  const update = () => {
    const [position, step, pair] = sliders.map((slider) => Number(slider.value));
    sliders.forEach((slider) => { slider.parentElement.querySelector("output").textContent = slider.value; });
    root.querySelectorAll("[data-pair]").forEach((group) => {
      const on = Number(group.dataset.pair) === pair;
      group.toggleAttribute("hidden", !on);
      if (on) group.removeAttribute("display"); else group.setAttribute("display", "none");
    });
    const said = [["p", position], ["q", position + step]].map(([name, place]) => {
      mark(name, place);
      hand(name, table[place][pair]);
      return "Position " + place + ": (" + table[place][pair].map((v) => v.toFixed(2)).join(", ") + ").";
    });
    find("says").textContent = said.join(" ");
  };
  sliders.forEach((slider) => slider.addEventListener("input", update));
})();
"""
