"""Widgets that need no kernel: precomputed pictures, a choice and a slider.

They are plain HTML with a few lines of script, so the same widget works in Jupyter, on Colab and in the static pages,
with the mouse and from the keyboard.
"""

from __future__ import annotations

import html
import os
import uuid
from collections.abc import Callable, Mapping, Sequence

# The script finds its own element by its id: several widgets may stand on one page.
SCRIPT = """
(() => {
  const root = document.getElementById("%(id)s");
  const [choice, slider, label] = ["select", "input", "output"].map((name) => root.querySelector(name));
  const stories = [...root.querySelectorAll("[data-story]")];
  const update = () => {
    stories.forEach((story, s) => {
      story.hidden = s !== choice.selectedIndex;
      const frames = [...story.children];
      if (!story.hidden) {
        slider.max = frames.length - 1;
        slider.value = Math.min(slider.value, slider.max);
        label.textContent = (Number(slider.value) + 1) + " / " + frames.length;
      }
      frames.forEach((frame, f) => { frame.hidden = f !== Number(slider.value); });
    });
  };
  choice.addEventListener("change", () => { slider.value = 0; update(); });
  slider.addEventListener("input", update);
  update();
})();
"""


def stepper(stories: Mapping[str, Sequence[str]], *, choice: str, step: str) -> str:
    """HTML of a widget that steps through frames: `stories` maps each choice to its frames, which are HTML too.

    `choice` and `step` name the two controls. Without scripts every frame is shown, one under the other.

    Raises:
        ValueError: there is no story, or one has no frames.
    """
    if not stories:
        raise ValueError("stories must hold at least one, got none")
    for name, frames in stories.items():
        if not frames:
            raise ValueError(f"stories[{name!r}] must hold at least one frame, got none")
    identity = f"stepper-{uuid.uuid4().hex[:12]}"
    options = "".join(f"<option>{html.escape(name)}</option>" for name in stories)
    bodies = "".join(
        f"<div data-story>{''.join(f'<div>{frame}</div>' for frame in frames)}</div>" for frames in stories.values()
    )
    most = max(map(len, stories.values())) - 1
    return (
        f'<div id="{identity}" class="lectures-stepper" role="group" aria-label="{html.escape(choice)}">'
        f'<p><label for="{identity}-c">{html.escape(choice)}</label> <select id="{identity}-c">{options}</select></p>'
        f'<p><label for="{identity}-s">{html.escape(step)}</label> '
        f'<input id="{identity}-s" type="range" min="0" max="{most}" value="0" step="1"> <output></output></p>'
        f'<div aria-live="polite">{bodies}</div>'
        f"<script>{SCRIPT % {'id': identity}}</script></div>"
    )


# As above, with a second choice in place of the slider.
CHOOSER_SCRIPT = """
(() => {
  const root = document.getElementById("%(id)s");
  const [first, second] = root.querySelectorAll("select");
  const stories = [...root.querySelectorAll("[data-story]")];
  const update = () => stories.forEach((story, s) => {
    story.hidden = s !== first.selectedIndex;
    [...story.children].forEach((frame, f) => { frame.hidden = f !== second.selectedIndex; });
  });
  first.addEventListener("change", update);
  second.addEventListener("change", update);
  update();
})();
"""


def chooser(frames: Mapping[str, Mapping[str, str]], *, first: str, second: str, chosen: str | None = None) -> str:
    """HTML of a widget with two choices: `frames` maps each first choice to its frames by the second choice.

    `first` and `second` name the two controls; `chosen` is the second choice that is shown at first, the first one if
    none is given. Without scripts every frame is shown, one under the other.

    Raises:
        ValueError: there are no frames, the second choices are not the same everywhere, or `chosen` is none of them.
    """
    if not frames or not all(frames.values()):
        raise ValueError("frames must hold at least one frame for each first choice, got none")
    names = [list(by_second) for by_second in frames.values()]
    if any(others != names[0] for others in names):
        raise ValueError(f"frames must offer the same second choices everywhere, got {names}")
    if chosen is not None and chosen not in names[0]:
        raise ValueError(f"chosen must be one of {', '.join(names[0])}, got {chosen!r}")
    identity = f"chooser-{uuid.uuid4().hex[:12]}"
    boxes = []
    for number, (label, options) in enumerate(((first, list(frames)), (second, names[0]))):
        inside = "".join(
            f"<option{' selected' if name == chosen else ''}>{html.escape(name)}</option>" for name in options
        )
        boxes.append(
            f'<label for="{identity}-{number}">{html.escape(label)}</label> '
            f'<select id="{identity}-{number}">{inside}</select>'
        )
    bodies = "".join(
        f"<div data-story>{''.join(f'<div>{frame}</div>' for frame in by_second.values())}</div>"
        for by_second in frames.values()
    )
    return (
        f'<div id="{identity}" class="lectures-stepper" role="group" aria-label="{html.escape(first)}, '
        f'{html.escape(second)}"><p>{" ".join(boxes)}</p><div aria-live="polite">{bodies}</div>'
        f"<script>{CHOOSER_SCRIPT % {'id': identity}}</script></div>"
    )


def text_box(answer: Callable[[str], str], *, example: str) -> None:
    """Display a text field: type a sentence, press Enter, see the HTML that `answer` makes of it; `example` at first.

    It needs a running notebook; in the static book (environment variable `LECTURES_STATIC`) a sentence says so.
    """
    from IPython.display import HTML, display

    if os.environ.get("LECTURES_STATIC"):
        display(HTML("<p><em>In a running notebook a text field stands here: type any sentence of the world.</em></p>"))
        return
    import ipywidgets

    field = ipywidgets.Text(value=example, description="Sentence", continuous_update=False)
    picture = ipywidgets.Output()

    def show_answer(_=None) -> None:
        picture.clear_output(wait=True)
        with picture:
            display(HTML(answer(field.value)))

    field.observe(show_answer, names="value")
    show_answer()
    display(ipywidgets.VBox([field, picture]))
