"""A conditional generator that writes in the page itself: type a number, and it is written by hand."""

from __future__ import annotations

import base64
import html
import json
import os
import uuid
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from lectures_lib.data.samples import Labelled, numbered
from lectures_lib.inference.export import generator_to_onnx
from lectures_lib.models.cgan import CganGenerator
from lectures_lib.training.gan import sample
from lectures_lib.visual.gan import sheet_png
from lectures_lib.visual.live import SCRIPT, STYLE
from lectures_lib.visual.live_digits import CANVAS_STYLE

LONGEST = 8  # digits of a number
STILL_ROWS = 3
WRITER_STYLE = ".lectures-live input[type=checkbox] { width: auto; }"


def live_numbers(generator: CganGenerator, *, number: str = "2026", seed: int = 0, scale: int | float = 1.0) -> None:
    """Display a field for a number of up to eight digits, and the number as the generator writes it.

    In the static book the generator travels with the page and writes in the browser, which `book/_static/live.js` does;
    in a running notebook the PyTorch model writes. `number` is what stands in the field at first, and `seed` draws the
    first latents, which are N(0, scale²).

    Raises:
        ValueError: a generator of colours, or of other classes than the ten digits; a number without digits, or with
            more than eight.
    """
    from IPython.display import HTML, display

    if os.environ.get("LECTURES_STATIC"):
        display(HTML(numbers_html(generator, number=number, seed=seed, scale=scale)))
        return
    _check(generator, number)
    display(_notebook_widget(generator, number, seed, scale))


def numbers_html(generator: CganGenerator, *, number: str = "2026", seed: int = 0, scale: int | float = 1.0) -> str:
    """What `live_numbers` displays in the static book, as HTML: see there for the arguments and the errors."""
    _check(generator, number)
    # The label is nothing but more numbers beside the random ones: the page looks them up in the table, and the graph
    # is that of a generator without labels.
    graph = generator_to_onnx(generator.draw)
    latents = hands(generator, seed, scale)
    payload = {
        "latents": _rounded(latents),
        "table": _rounded(generator.embed.weight.detach().cpu()),
        "scale": scale,
        "size": generator.config.sample_shape[-1],
        "graph": base64.b64encode(graph).decode(),
    }
    rows = [written(generator, latents[[hand]].expand(10, -1), "0123456789") for hand in range(STILL_ROWS)]
    return _page(payload, number, torch.cat(rows), megabytes=len(graph) / 1e6)


def hands(generator: CganGenerator, seed: int, scale: int | float = 1.0) -> Float[Tensor, "eight d_latent"]:
    """Random numbers for as many digits as fit, N(0, scale²)."""
    return scale * torch.randn(LONGEST, generator.config.d_latent, generator=numbered(seed, 8))


def written(
    generator: CganGenerator, latents: Float[Tensor, "n d_latent"], number: str
) -> Float[Tensor, "digits 1 height width"]:
    """The images of a number's digits, the n-th with the n-th latent.

    Raises:
        ValueError: there is nothing but digits in a number, and not more of them than latents.
    """
    if not number.isdecimal() or not number.isascii() or len(number) > len(latents):
        raise ValueError(f"number must be 1 to {len(latents)} digits, got {number!r}")
    return sample(generator, Labelled(latents[: len(number)], torch.tensor([int(digit) for digit in number])))


def _check(generator: CganGenerator, number: str) -> None:
    config = generator.config
    if config.sample_shape[0] != 1:
        raise ValueError(f"generator must make grey images, (1, height, width), got {config.sample_shape}")
    if config.n_classes != 10:
        raise ValueError(f"generator must know the ten digits, got n_classes = {config.n_classes}")
    if not number.isdecimal() or not number.isascii() or len(number) > LONGEST:
        raise ValueError(f"number must be 1 to {LONGEST} digits, got {number!r}")


def _rounded(rows: Tensor) -> list[list[float]]:
    return [[round(x, 4) for x in row] for row in rows.tolist()]


def _page(payload: Mapping[str, object], number: str, still: Tensor, *, megabytes: float) -> str:
    identity = f"live-{uuid.uuid4().hex[:12]}"
    data = json.dumps(payload, separators=(",", ":"))  # numbers and base64: no "<" to end the element
    alt = "The digits 0 to 9 in three rows: each row is written with one set of random numbers, as by one hand."
    size = payload["size"]
    return f"""<div id="{identity}" class="lectures-live" role="group" aria-label="Ask for a number">
<style>{STYLE}{CANVAS_STYLE}{WRITER_STYLE}</style>
<p id="{identity}-n" data-note>These digits were drawn when the book was built. With JavaScript, a field stands here, \
and the generator ({megabytes:.1f} MB) writes in your browser.</p>
<p data-error role="alert" hidden></p>
<form data-form hidden>
<p><label for="{identity}-f">A number of up to {LONGEST} digits</label> \
<input id="{identity}-f" data-number type="text" \
inputmode="numeric" maxlength="{LONGEST}" autocomplete="off" value="{html.escape(number, quote=True)}"></p>
<p><input id="{identity}-h" data-hand type="checkbox" checked> <label for="{identity}-h">one latent for all \
digits</label></p>
<p><button>Write it</button> <button type="button" data-fresh>Another hand</button></p></form>
<canvas data-canvas width="{LONGEST * size}" height="{size}" role="img" aria-label="A number" hidden></canvas>
<img data-still class="dark-light" alt="{html.escape(alt, quote=True)}" src="{sheet_png(still, 10)}">
<script type="application/json" data-payload>{data}</script>
<script>{SCRIPT % {"id": identity, "kind": "writer"}}</script></div>"""


def _notebook_widget(generator: CganGenerator, number: str, seed: int, scale: int | float):
    """The same in a running notebook: the PyTorch model writes."""
    import ipywidgets

    field = ipywidgets.Text(value=number, description="Number", continuous_update=False)
    one_hand = ipywidgets.Checkbox(value=True, description="one latent for all digits")
    fresh = ipywidgets.Button(description="Another hand")
    picture = ipywidgets.HTML()
    state = {"seed": seed}

    def write(_=None) -> None:
        digits = "".join(letter for letter in field.value if letter in "0123456789")[:LONGEST]
        if not digits:
            picture.value = "<p>Type at least one digit.</p>"
            return
        latents = hands(generator, state["seed"], scale)
        if one_hand.value:
            latents = latents[:1].expand(LONGEST, -1)
        address = sheet_png(written(generator, latents, digits), LONGEST)
        picture.value = f'<img alt="{digits}, as written by the generator" style="width: 36rem" src="{address}">'

    def another(_) -> None:
        state["seed"] += 1
        write()

    field.observe(write, names="value")
    one_hand.observe(write, names="value")
    fresh.on_click(another)
    write()
    return ipywidgets.VBox([field, one_hand, fresh, picture])
