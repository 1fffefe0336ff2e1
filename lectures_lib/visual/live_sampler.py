"""A language model that writes in the page itself: type a beginning, move the sliders, see it go on."""

from __future__ import annotations

import base64
import html
import json
import os
import uuid
from collections.abc import Mapping, Sequence

import torch

from lectures_lib.data.corpus import TextCode
from lectures_lib.inference import continue_text
from lectures_lib.inference.export import gpt_to_onnx
from lectures_lib.models.gpt import GPT
from lectures_lib.visual.language import NEW_TEXT, sampler
from lectures_lib.visual.live import SCRIPT, STYLE

TEXT_STYLE = (
    f".lectures-live pre {{ white-space: pre-wrap; overflow-wrap: anywhere }} .lectures-live pre b {{ {NEW_TEXT} }}"
)


def live_sampler(model: GPT, code: TextCode, *, examples: Sequence[str], max_new_tokens: int = 200) -> None:
    """Display a field for the beginning of a text, and sliders for temperature, top-k and top-p; the model goes on.

    In the static book the model travels with the page and answers in the browser, which `book/_static/live.js` does; in
    a running notebook the PyTorch model answers.

    Args:
        model: as it was trained.
        code: of the tokens it was trained on. The page cuts what is typed into the longest tokens that fit, which for
            byte-pair encoding is nearly always what `code` does.
        examples: beginnings; each is continued when the book is built, and the first stands in the page.
        max_new_tokens: how many tokens are written.

    Raises:
        ValueError: there is no example, one is empty or cannot be encoded, or the code does not fit the model.
    """
    from IPython.display import HTML, display

    if os.environ.get("LECTURES_STATIC"):
        display(HTML(sampler_html(model, code, examples=examples, max_new_tokens=max_new_tokens)))
        return
    _check(model, code, examples)
    sampler(model, code, example=examples[0], max_new_tokens=max_new_tokens)


def sampler_html(model: GPT, code: TextCode, *, examples: Sequence[str], max_new_tokens: int = 200) -> str:
    """What `live_sampler` displays in the static book, as HTML: see there for the arguments and the errors."""
    _check(model, code, examples)
    done = []
    for seed, text in enumerate(examples):
        generator = torch.Generator(model.embed.weight.device).manual_seed(seed)
        whole = continue_text(model, code, text, max_new_tokens=max_new_tokens, generator=generator)
        done.append({"text": text, "written": whole[len(text) :]})
    graph = gpt_to_onnx(model)
    payload = {
        "tokens": [_typed(code.decode([i])) for i in range(len(code))],
        "context": model.config.context,
        "maxNew": max_new_tokens,
        "examples": done,
        "graph": base64.b64encode(graph).decode(),
    }
    return _page(payload, megabytes=len(graph) / 1e6, size=len(code))


def _check(model: GPT, code: TextCode, examples: Sequence[str]) -> None:
    if isinstance(examples, str) or not examples:
        raise ValueError(f"examples must hold at least one beginning, got {examples!r}")
    if len(code) != model.config.vocabulary:
        raise ValueError(f"code must have the model's {model.config.vocabulary} tokens, got {len(code)}")


def _typed(token: str) -> str:
    """The token as somebody would type it; a piece of a character cannot be typed, and shows as nothing."""
    return "" if "\ufffd" in token else token


def _page(payload: Mapping[str, object], *, megabytes: float, size: int) -> str:
    identity = f"live-{uuid.uuid4().hex[:12]}"
    # In a script element "<" could end it: JSON may write it as an escape.
    data = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    examples = payload["examples"]
    buttons = " ".join(
        f'<button type="button" data-example="{index}">{html.escape(example["text"])}</button>'
        for index, example in enumerate(examples)
    )
    sliders = "".join(
        f'<p><label for="{identity}-{key}">{name}</label> '
        f'<input id="{identity}-{key}" type="range" min="{low}" max="{high}" step="{step}" value="{value}"> '
        f"<output>{value}</output></p>"
        for key, name, low, high, step, value in (
            ("t", "Temperature", 0.1, 3, 0.1, 1),
            ("k", "Top k", 1, size, 1, size),
            ("p", "Top p", 0.05, 1, 0.05, 1),
        )
    )
    first = examples[0]
    return f"""<div id="{identity}" class="lectures-live" role="group" aria-label="Write with this model">
<style>{STYLE}
{TEXT_STYLE}</style>
<form data-form hidden><p><label for="{identity}-b">Beginning</label>
<input id="{identity}-b" type="text" autocomplete="off" spellcheck="false" aria-describedby="{identity}-n {identity}-e">
<button type="submit">Write</button></p>{sliders}</form>
<p data-examples hidden>Examples: {buttons}</p>
<p id="{identity}-n" data-note>This text was written when the book was built. With JavaScript, you can type a \
beginning of your own here, and the model ({megabytes:.1f} MB) goes on in your browser.</p>
<p id="{identity}-e" data-error role="alert" hidden></p>
<pre><span data-given>{html.escape(first["text"])}</span><b data-new aria-live="polite">{html.escape(first["written"])}\
</b></pre>
<script type="application/json" data-payload>{data}</script>
<script>{SCRIPT % {"id": identity, "kind": "sampler"}}</script></div>"""
