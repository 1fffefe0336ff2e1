"""A generator of images that draws in the page itself: move sliders through its latent space, and see eight images."""

from __future__ import annotations

import base64
import html
import json
import os
import uuid
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lectures_lib.inference.export import generator_to_onnx
from lectures_lib.training.gan import sample
from lectures_lib.visual.gan import latent_path, sheet_png
from lectures_lib.visual.live import SCRIPT, STYLE

COLUMNS = 8
CANVAS_STYLE = """
.lectures-live input[type=range] { width: 16rem; }
.lectures-live canvas, .lectures-live [data-still] { width: 100%; max-width: 36rem; height: auto;
  image-rendering: pixelated; background: white; }
"""
STEP = 0.05


def live_digits(
    generator: nn.Module,
    starts: Float[Tensor, "*starts"],
    ends: Float[Tensor, "*ends"],
    directions: Mapping[str, Float[Tensor, " d_latent"]],
) -> None:
    """Display eight images, a slider for each direction of the latent space, and one that walks to eight others.

    In the static book the generator travels with the page and draws in the browser, which `book/_static/live.js` does;
    in a running notebook the PyTorch model draws.

    Args:
        generator: as it was trained; one grey channel.
        starts: the latents at one end of the walk, (8, d_latent).
        ends: those at its other end.
        directions: by name; a slider adds -1 to 1 times the vector.

    Raises:
        ValueError: latents or directions of another shape, no direction, or a generator of colours.
    """
    from IPython.display import HTML, display

    if os.environ.get("LECTURES_STATIC"):
        display(HTML(digits_html(generator, starts, ends, directions)))
        return
    _check(generator, starts, ends, directions)
    display(_notebook_widget(generator, starts, ends, directions))


def digits_html(
    generator: nn.Module,
    starts: Float[Tensor, "*starts"],
    ends: Float[Tensor, "*ends"],
    directions: Mapping[str, Float[Tensor, " d_latent"]],
) -> str:
    """What `live_digits` displays in the static book, as HTML: see there for the arguments and the errors."""
    _check(generator, starts, ends, directions)
    graph = generator_to_onnx(generator)
    payload = {
        "starts": _rounded(starts),
        "ends": _rounded(ends),
        "directions": [_rounded(direction) for direction in directions.values()],
        "size": generator.config.sample_shape[-1],
        "graph": base64.b64encode(graph).decode(),
    }
    still = torch.cat([sample(generator, moved) for moved in _telling(starts, directions)])
    return _page(payload, list(directions), still, megabytes=len(graph) / 1e6)


def moved_latents(
    starts: Float[Tensor, "n d_latent"],
    ends: Float[Tensor, "n d_latent"],
    share: int | float,
    amounts: Mapping[str, int | float],
    directions: Mapping[str, Float[Tensor, " d_latent"]],
) -> Float[Tensor, "n d_latent"]:
    """The latents at a share of their walks, moved along the directions by some amounts. The page's script agrees."""
    walked = torch.stack([_on_arc(a, b, share) for a, b in zip(starts, ends, strict=True)])
    return walked + sum((amounts[name] * vector for name, vector in directions.items()), torch.zeros(()))


def _on_arc(a: Tensor, b: Tensor, share: int | float) -> Tensor:
    steps = round(1 / STEP)
    return latent_path(torch.stack([a, b]), steps)[round(share * steps)]


def _telling(starts: Tensor, directions: Mapping[str, Tensor]) -> list[Tensor]:
    """What a page without scripts shows: the first direction taken back, left alone, and added."""
    first = next(iter(directions.values()))
    return [starts - first, starts, starts + first]


def _rounded(latents: Tensor) -> list:
    return [[round(x, 4) for x in row] for row in latents.tolist()] if latents.ndim > 1 else _rounded(latents[None])[0]


def _check(generator: nn.Module, starts: Tensor, ends: Tensor, directions: Mapping[str, Tensor]) -> None:
    shape = getattr(generator.config, "sample_shape", ())
    if len(shape) != 3 or shape[0] != 1:
        raise ValueError(f"generator must make grey images, (1, height, width), got {shape}")
    d_latent = generator.config.d_latent
    for name, latents in (("starts", starts), ("ends", ends)):
        if tuple(latents.shape) != (COLUMNS, d_latent):
            raise ValueError(f"{name} must have shape {(COLUMNS, d_latent)}, got {tuple(latents.shape)}")
    if not directions:
        raise ValueError("directions must hold at least one, got none")
    for name, vector in directions.items():
        if tuple(vector.shape) != (d_latent,):
            raise ValueError(f"directions[{name!r}] must have shape ({d_latent},), got {tuple(vector.shape)}")


def _slider(identity: str, key: str, name: str, low: int | float) -> str:
    return (
        f'<p><label for="{identity}-{key}">{html.escape(name)}</label> '
        f'<input id="{identity}-{key}" type="range" min="{low:g}" max="1" step="{STEP}" value="0"> '
        f"<output>0</output></p>"
    )


def _page(payload: Mapping[str, object], names: list[str], still: Tensor, *, megabytes: float) -> str:
    identity = f"live-{uuid.uuid4().hex[:12]}"
    data = json.dumps(payload, separators=(",", ":"))  # numbers and base64: no "<" to end the element
    sliders = "".join(_slider(identity, f"d{n}", name, -1) for n, name in enumerate(names))
    sliders += _slider(identity, "w", "Walk to eight others", 0)
    alt = (
        f"Three rows of the same eight digits. Middle: as they are. Above: “{names[0]}” taken away. Below: it is added."
    )
    size = payload["size"]
    return f"""<div id="{identity}" class="lectures-live" role="group" aria-label="Draw with this generator">
<style>{STYLE}{CANVAS_STYLE}</style>
<p id="{identity}-n" data-note>These digits were drawn when the book was built. With JavaScript, sliders stand here, \
and the generator ({megabytes:.1f} MB) draws in your browser.</p>
<p data-error role="alert" hidden></p>
<form data-form hidden>{sliders}<p><button type="button" data-fresh>Eight other digits</button></p></form>
<canvas data-canvas width="{COLUMNS * size}" height="{size}" role="img" aria-label="Eight digits" hidden></canvas>
<img data-still class="dark-light" alt="{html.escape(alt, quote=True)}" src="{sheet_png(still, COLUMNS)}">
<script type="application/json" data-payload>{data}</script>
<script>{SCRIPT % {"id": identity, "kind": "painter"}}</script></div>"""


def _notebook_widget(generator: nn.Module, starts: Tensor, ends: Tensor, directions: Mapping[str, Tensor]):
    """The same in a running notebook: the PyTorch model draws."""
    import ipywidgets

    sliders = {name: ipywidgets.FloatSlider(value=0, min=-1, max=1, step=STEP, description=name) for name in directions}
    walk = ipywidgets.FloatSlider(value=0, min=0, max=1, step=STEP, description="Walk")
    picture = ipywidgets.HTML()

    def draw(_=None) -> None:
        amounts = {name: slider.value for name, slider in sliders.items()}
        latents = moved_latents(starts, ends, walk.value, amounts, directions)
        picture.value = (
            f'<img alt="Eight digits" style="width: 36rem" src="{sheet_png(sample(generator, latents), COLUMNS)}">'
        )

    for slider in (*sliders.values(), walk):
        slider.observe(draw, names="value")
    draw()
    return ipywidgets.VBox([*sliders.values(), walk, picture])
