"""Pictures of ViLBERT: two streams with bridges, the captions to choose from, and where in the picture a word looks."""

from __future__ import annotations

import base64
import html
import io
import json
import uuid
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from lectures_lib.data.captioned import CROP, region_features
from lectures_lib.visual.style import ACCENT, INK, MEMORY, SOURCE, TARGET, house_style
from lectures_lib.visual.vision import DIMMED, as_pixels

# The script finds its own element by its id: several widgets may stand on one page. A word that is clicked, focused or
# pointed at lights its regions; the last one stays. Without scripts every picture is shown, with a word chosen before.
SCRIPT = """
(() => {
  const root = document.getElementById("%(id)s");
  const choice = root.querySelector("select");
  const stories = [...root.querySelectorAll("[data-story]")];
  stories.forEach((story) => {
    const sayings = JSON.parse(story.dataset.story);
    const [words, boxes] = [[...story.querySelectorAll("button")], [...story.querySelectorAll("[data-region]")]];
    const look = (chosen) => {
      words.forEach((word, n) => {
        word.setAttribute("aria-pressed", String(n === chosen));
        word.style.outline = n === chosen ? "2px solid %(chosen)s" : "none";
      });
      const { given, best, said } = sayings[chosen];
      boxes.forEach((box, n) => {
        box.setAttribute("fill-opacity", (0.7 * given[n]).toFixed(3));
        box.setAttribute("stroke", n === best ? "%(best)s" : "%(ink)s");
        box.setAttribute("stroke-width", n === best ? 1 : 0.4);
      });
      story.querySelector("output").textContent = said;
    };
    words.forEach((word, n) => {
      ["mouseenter", "focus", "click"].forEach((event) => word.addEventListener(event, () => look(n)));
    });
  });
  const update = () => stories.forEach((story, n) => { story.hidden = n !== choice.selectedIndex; });
  choice.addEventListener("change", update);
  update();
})();
"""


def two_streams(words: Sequence[str], regions: Sequence[str]) -> Figure:
    """ViLBERT from the bottom up, in the library's names: a stream of words, one of regions, and the bridge.

    Raises:
        ValueError: there is no word or no region.
    """
    if not words or not regions:
        raise ValueError(f"words and regions must be at least one each, got {list(words)} and {list(regions)}")
    sides = (
        (0.0, SOURCE, words, "text.embed_token + positions", "text_looks", "text.layers", "words", "pool_text"),
        (
            4.0,
            TARGET,
            regions,
            "embed_feature + embed_location",
            "image_looks",
            "image_layers",
            "regions",
            "pool_image",
        ),
    )
    with house_style():
        figure, axes = plt.subplots(figsize=(6.8, 4.4))
        for left, colour, places, embedding, looks, layers, head, pool in sides:
            for number, name in enumerate(places):
                x = left + 3.2 * (number + 0.5) / len(places)
                axes.text(x, 0.1, name, ha="center", va="center", fontsize=8, color=colour)
            for y, name in ((1, embedding), (2.2, f"co_layers: {looks}"), (3.4, layers)):
                _box(axes, left, y, 3.2, name, colour)
                _arrow(axes, (left + 1.6, y - 0.72 if y > 1 else 0.3), (left + 1.6, y - 0.3))
            _box(axes, left + (1.7 if left else 0), 4.6, 1.5, head, colour)
            _arrow(axes, (left + (0.75 if not left else 2.45), 3.7), (left + (0.75 if not left else 2.45), 4.3))
            _arrow(axes, (left + (2.2 if not left else 1.0), 3.7), (3.6, 4.3))
            axes.text(left + (2.4 if not left else 0.8), 4.0, pool, ha="center", fontsize=7, color=INK)
        _box(axes, 2.9, 4.6, 1.4, "match", MEMORY)
        for start, end, colour in (((3.2, 1.3), (4.4, 1.9), SOURCE), ((4.0, 1.3), (2.8, 1.9), TARGET)):
            axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.8})
        axes.text(3.6, 1.14, "keys, values", ha="center", va="center", fontsize=7, color=INK)
        axes.set(xlim=(-0.2, 7.4), ylim=(-0.2, 5.1))
        axes.axis("off")
    return figure


def captioned_grid(
    images: Float[Tensor, "n channels height width"], captions: Sequence[str], *, columns: int = 2
) -> Figure:
    """Pictures with their captions over them.

    Raises:
        ValueError: there is no picture, or not one caption a picture.
    """
    if not len(images) or len(captions) != len(images):
        raise ValueError(f"captions must be {len(images)}, one a picture and at least one, got {len(captions)}")
    across = min(columns, len(images))
    down = -(-len(images) // across)
    with house_style():
        figure, grid = plt.subplots(down, across, figsize=(3.2 * across, 3.5 * down), squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, image, caption in zip(grid.flat, images, captions, strict=False):
            axes.imshow(as_pixels(image).numpy(), interpolation="nearest")
            axes.set_title(caption, color=INK, fontsize=9)
    return figure


def look_panels(
    image: Float[Tensor, "channels height width"],
    looks: Float[Tensor, "*looks"],
    regions: Int[Tensor, "regions 4"],
    boxes: Int[Tensor, "*boxes"],
    nouns: Sequence[str],
) -> Figure:
    """One picture again and again, with what each noun gives to each region: the brighter a box, the more.

    The frame is the noun's own box, the cross the middle of the region it looks at most.

    Raises:
        ValueError: not one row of looks and one box a noun, or not one look a region.
    """
    if not len(nouns) or looks.shape != (len(nouns), len(regions)) or len(boxes) != len(nouns):
        raise ValueError(
            f"looks and boxes must be {len(nouns)}, one a noun, for {len(regions)} regions, "
            f"got {tuple(looks.shape)} and {len(boxes)}"
        )
    with house_style():
        figure, row = plt.subplots(1, len(nouns), figsize=(3.2 * len(nouns), 3.4), squeeze=False)
        for axes, given, own, noun in zip(row[0], looks, boxes.tolist(), nouns, strict=True):
            axes.imshow(
                (as_pixels(image) * _light(image, regions, given).unsqueeze(-1)).numpy(), interpolation="nearest"
            )
            axes.axis("off")
            x0, y0, x1, y1 = own
            axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=TARGET, linewidth=2))
            left, top, right, bottom = regions[int(given.argmax())].tolist()
            middle = (left + right - 1) / 2, (top + bottom - 1) / 2
            axes.plot(*middle, marker="x", color=ACCENT, markersize=8, markeredgewidth=2.5)
            axes.set_title(f"{noun}: {float(given.max()):.0%} to one region", color=INK, fontsize=10)
    return figure


def region_boxes(image: Float[Tensor, "channels height width"], regions: Int[Tensor, "regions 4"]) -> Figure:
    """A picture with the numbered boxes of its regions, and what is in each, brought to one size.

    Raises:
        ValueError: there is no region.
    """
    if not len(regions):
        raise ValueError("regions must hold at least one box, got none")
    cut = region_features(image.unsqueeze(0), regions.unsqueeze(0))[0].unflatten(-1, (3, CROP, CROP))
    across = -(-len(regions) // 2)
    with house_style():
        figure = plt.figure(figsize=(6.4, 3.2))
        grid = figure.add_gridspec(2, 2 + across)
        whole = figure.add_subplot(grid[:, :2])
        whole.imshow(as_pixels(image).numpy(), interpolation="nearest")
        whole.axis("off")
        for number, ((x0, y0, x1, y1), crop) in enumerate(zip(regions.tolist(), cut, strict=True)):
            frame = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=ACCENT, linewidth=1.6)
            whole.add_patch(frame)
            whole.text(x0, y0 - 1, f"{number + 1}", color=ACCENT, fontsize=9, weight="bold")
            axes = figure.add_subplot(grid[number // across, 2 + number % across])
            axes.imshow(as_pixels(crop).numpy(), interpolation="nearest")
            axes.set_title(f"region {number + 1}", color=INK, fontsize=8)
            axes.axis("off")
    return figure


def caption_table(
    image: Float[Tensor, "channels height width"],
    captions: Sequence[str],
    scores: Mapping[str, Float[Tensor, " captions"]],
) -> str:
    """HTML: a picture, and its candidate captions, the true one first, with the probability each model gives them.

    In a wrong caption the words that differ from the true one are bold; ✓ marks the best caption of each model.

    Raises:
        ValueError: there is no caption or no model, or not one score a caption.
    """
    if not captions or not scores:
        raise ValueError(f"captions and scores must not be empty, got {len(captions)} and {len(scores)}")
    for name, values in scores.items():
        if values.shape != (len(captions),):
            raise ValueError(f"scores[{name!r}] must be {len(captions)}, one a caption, got {tuple(values.shape)}")
    shares = {name: values.double().softmax(dim=0) for name, values in scores.items()}
    best = {name: int(values.argmax()) for name, values in scores.items()}
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in scores)
    rows = []
    for number, caption in enumerate(captions):
        said = f"{_marked(caption, captions[0])}{' (true)' if number == 0 else ''}"
        cells = "".join(
            f"<td>{share[number]:.0%}{' ✓' if best[name] == number else ''}</td>" for name, share in shares.items()
        )
        rows.append(f'<tr><th scope="row" style="text-align: left; font-weight: normal">{said}</th>{cells}</tr>')
    alt = f"The picture that belongs to the first caption: {captions[0]}."
    return (
        f'<div class="lectures-stepper">{_as_png(image, alt)}<div style="overflow-x: auto" tabindex="0" role="region" '
        f'aria-label="Captions and their probabilities"><table><thead><tr><th scope="col">caption</th>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div></div>"
    )


def word_sayings(
    words: Sequence[str],
    looks: Float[Tensor, "words regions"],
    regions: Int[Tensor, "regions 4"],
    *,
    own: Mapping[int, int] | None = None,
) -> list[dict]:
    """What the widget shows for each word: how much it gives to each region, which is the most, and a sentence.

    `own` maps a word's number to the number of its thing's region, for the words that have one.

    Raises:
        ValueError: not one row of looks a word, or not one look a region.
    """
    if not len(words) or looks.shape != (len(words), len(regions)):
        raise ValueError(f"looks must be {(len(words), len(regions))}, words by regions, got {tuple(looks.shape)}")
    sayings = []
    for number, (word, given) in enumerate(zip(words, looks, strict=True)):
        best, thing = int(given.argmax()), (own or {}).get(number)
        said = f"“{word}” looks most at region {best + 1}, with {float(given.max()):.0%}"
        if thing is not None:
            said += "; that is its thing" if best == thing else f"; its thing is region {thing + 1}"
        given = [round(value, 3) for value in given.tolist()]
        sayings.append({"given": given, "own": thing, "best": best, "said": f"{said}."})
    return sayings


def word_picture(
    stories: Mapping[
        str,
        tuple[Float[Tensor, "channels height width"], Int[Tensor, "regions 4"], Sequence[str], Sequence[dict]],
    ],
    *,
    chosen: int = 0,
) -> str:
    """HTML of a widget: choose a picture, click a word of its caption, and see which regions the word looks at.

    `stories` maps a name to (picture, regions, the words, what `word_sayings` gives); `chosen` is the word that is
    shown at first.

    Raises:
        ValueError: there is no story, a story's words and sayings are not equally many, or `chosen` is no word of it.
    """
    if not stories:
        raise ValueError("stories must hold at least one, got none")
    for name, (_, _, words, sayings) in stories.items():
        if len(words) != len(sayings) or not 0 <= chosen < len(words):
            raise ValueError(
                f"stories[{name!r}] must have a saying a word, and a word {chosen}, got {len(words)} and {len(sayings)}"
            )
    identity = f"looks-{uuid.uuid4().hex[:12]}"
    options = "".join(f"<option>{html.escape(name)}</option>" for name in stories)
    bodies = "".join(_story(*story, chosen) for story in stories.values())
    return (
        f'<div id="{identity}" class="lectures-stepper" role="group" aria-label="Click a word, see the region">'
        f'<p><label for="{identity}-c">Picture</label> <select id="{identity}-c">{options}</select></p>{bodies}'
        f"<script>{SCRIPT % {'id': identity, 'chosen': MEMORY, 'best': ACCENT, 'ink': INK}}</script></div>"
    )


def _story(image: Tensor, regions: Tensor, words: Sequence[str], sayings: Sequence[dict], chosen: int) -> str:
    height, width = image.shape[1:]
    shown = sayings[chosen]
    boxes = []
    for number, (x0, y0, x1, y1) in enumerate(regions.tolist()):
        best, given = number == shown["best"], shown["given"][number]
        boxes.append(
            f'<rect data-region x="{x0}" y="{y0}" width="{x1 - x0}" height="{y1 - y0}" fill="{MEMORY}" '
            f'fill-opacity="{0.7 * given:.3f}" stroke="{ACCENT if best else INK}" '
            f'stroke-width="{1 if best else 0.4}"/>'
            f'<text x="{x0}" y="{y0 - 0.7}" font-size="3" fill="{INK}">{number + 1}</text>'
        )
    picture = (
        f'<image href="data:image/png;base64,{_png(image)}" width="{width}" height="{height}" '
        f'style="image-rendering: pixelated"/>'
    )
    alt = html.escape(f"The picture of: {' '.join(words)}. Its regions are framed and numbered.", quote=True)
    buttons = " ".join(
        f'<button type="button" aria-pressed="{str(n == chosen).lower()}" style="font: inherit; padding: 0 0.4rem; '
        f'outline: {"2px solid " + MEMORY if n == chosen else "none"}">{html.escape(word)}</button>'
        for n, word in enumerate(words)
    )
    data = html.escape(json.dumps(list(sayings)), quote=True)
    return (
        f'<div data-story="{data}"><svg role="img" aria-label="{alt}" viewBox="0 0 {width} {height}" '
        f'style="width: 100%; max-width: 22rem; display: block">{picture}{"".join(boxes)}</svg>'
        f'<p>{buttons}</p><p><output aria-live="polite">{html.escape(shown["said"])}</output></p></div>'
    )


def _light(image: Tensor, regions: Tensor, given: Tensor) -> Tensor:
    """How bright each pixel is shown, (height, width): as the region it is in that gets most, dim where none is."""
    light = image.new_full(image.shape[1:], DIMMED)
    share = DIMMED + (1 - DIMMED) * (given / given.max().clamp(min=1e-12))
    for (x0, y0, x1, y1), value in zip(regions.tolist(), share.tolist(), strict=True):
        light[y0:y1, x0:x1] = light[y0:y1, x0:x1].clamp(min=value)
    return light


def _png(image: Tensor) -> str:
    buffer = io.BytesIO()
    plt.imsave(buffer, as_pixels(image).numpy(), format="png", metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode()


def _as_png(image: Tensor, alt: str) -> str:
    return (
        f'<img class="dark-light lectures-figure" alt="{html.escape(alt, quote=True)}" src="data:image/png;base64,'
        f'{_png(image)}" style="width: 100%; max-width: 20rem; image-rendering: pixelated">'
    )


def _marked(caption: str, true: str) -> str:
    """The caption as HTML, words that differ from the true one's in bold."""
    same = true.split()
    return " ".join(
        html.escape(word) if number < len(same) and same[number] == word else f"<b>{html.escape(word)}</b>"
        for number, word in enumerate(caption.split())
    )


def _box(axes: Axes, x: int | float, y: int | float, width: int | float, label: str, colour: str) -> None:
    edge = {"facecolor": colour + "30", "edgecolor": colour}
    axes.add_patch(FancyBboxPatch((x, y - 0.25), width, 0.5, boxstyle="round,pad=0.04", **edge))
    axes.text(x + width / 2, y, label, ha="center", va="center", fontsize=8, color=INK)


def _arrow(axes: Axes, start: tuple[int | float, int | float], end: tuple[int | float, int | float]) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK})
