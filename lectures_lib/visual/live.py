"""Models that run in the page itself: the reader types, and the very model that was trained in the notebook answers.

The model travels in the output of its cell, as ONNX graphs. `book/_static/live.js` runs them with ONNX Runtime, which
the book serves itself. Where that cannot be (no script, a page opened as a file), what was computed when the book was
built stays; in a running notebook the PyTorch model answers, through ipywidgets.
"""

from __future__ import annotations

import base64
import difflib
import html
import json
import os
import re
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lectures_lib.attention import recorded_weights
from lectures_lib.data.batching import source_batch
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, SPECIAL_TOKENS, Vocabulary
from lectures_lib.inference.export import transformer_to_onnx
from lectures_lib.inference.greedy import greedy
from lectures_lib.models.transformer import Transformer
from lectures_lib.visual.style import INK, SOURCE, TARGET

SEGMENTS = ("longest", "spaces")
# What there is to see; `live.js` knows them by the keys.
KINDS = {
    "cross": "cross-attention",
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
}
CAPTIONS = {
    "cross": "Each row is a word being written, each column a word of the sentence it may look at.",
    "encoder": "Each row is a word of the sentence, each column a word it may look at.",
    "decoder": "Each row is a word being written, each column a word before it, which it may look at.",
}
MEAN = "mean of all"

# In the output itself, since it must look the same without scripts, on Colab and in Jupyter.
VARIABLES = f".lectures-live {{ --ink: {INK}; --faint: {INK}44; --target: {TARGET} }}"
STYLE = (
    VARIABLES
    + """
.lectures-live [hidden] { display: none !important; }
.lectures-live input, .lectures-live button, .lectures-live select { font: inherit; max-width: 100%; }
.lectures-live input { width: 24rem; box-sizing: border-box; }
.lectures-live button { color: inherit; background: none; border: 1px solid var(--ink); border-radius: 4px;
  padding: 0.1em 0.5em; margin: 0.15em 0; cursor: pointer; }
.lectures-live [data-error] { border-left: 4px solid var(--target); padding-left: 0.5em; }
.lectures-live [data-map] { overflow-x: auto; }
.lectures-live table.lectures-map { border-collapse: collapse; margin: 0.3em 0; width: auto; }
.lectures-live table.lectures-map caption { caption-side: top; text-align: left; color: inherit; }
.lectures-live table.lectures-map th { font-weight: normal; border: 0; padding: 0.1em 0.35em; background: none; }
.lectures-live table.lectures-map thead th { writing-mode: vertical-rl; text-align: right; padding: 0.35em 0; }
.lectures-live table.lectures-map tbody th { text-align: right; white-space: nowrap; }
.lectures-live table.lectures-map td { min-width: 1.5em; height: 1.5em; padding: 0; border: 1px solid var(--faint); }
.lectures-live table.lectures-map td:is(:hover, :focus) { outline: 2px solid var(--ink); outline-offset: -1px; }
.lectures-live table.lectures-map tr { background: none !important; }
@media (max-width: 600px) { .lectures-live table.lectures-map { font-size: 0.85em; } }
"""
)

# Loads live.js when the widget comes into sight, on a page of the book; elsewhere nothing happens.
SCRIPT = """
(() => {
  const root = document.getElementById("%(id)s");
  const top = document.documentElement.dataset.content_root;
  if (top === undefined) return;
  const start = () => {
    window.lecturesLiveScript = window.lecturesLiveScript || new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = new URL(top + "_static/live.js", document.baseURI);
      script.onload = done;
      script.onerror = fail;
      document.head.append(script);
    });
    window.lecturesLiveScript.then(
      () => window.lecturesLive.%(kind)s(root),
      () => { root.querySelector("[data-note]").textContent = "The script of this widget could not be loaded."; });
  };
  if (!("IntersectionObserver" in window)) return start();
  const watch = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) { watch.disconnect(); start(); }
  }, { rootMargin: "300px" });
  watch.observe(root);
})();
"""


class Translation(NamedTuple):
    """A sentence, its translation, and where every head of every layer looked.

    `read` ends with `<eos>`; `written` too, unless the limit came first. `weights` holds, for "encoder", "decoder" and
    "cross", a tensor (layers, heads, looking, looked at). The decoder's rows are the words it writes; the columns of
    "decoder" are `shown`, the words it sees: `<bos>` and those written before.
    """

    text: str
    read: list[str]
    written: list[str]
    weights: Mapping[str, Tensor]

    @property
    def shown(self) -> list[str]:
        """What the decoder had before it as it wrote each word."""
        return [SPECIAL_TOKENS[BOS_ID], *self.written[:-1]]

    @property
    def said(self) -> str:
        """The translation as text."""
        return " ".join(word for word in self.written if word != SPECIAL_TOKENS[EOS_ID])

    def axes(self, kind: str) -> tuple[list[str], list[str]]:
        """The words of the rows and of the columns of an attention."""
        return {
            "encoder": (self.read, self.read),
            "decoder": (self.written, self.shown),
            "cross": (self.written, self.read),
        }[kind]


def live_translator(
    model: Transformer,
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    *,
    examples: Sequence[str],
    segment: str = "longest",
    max_new_tokens: int = 40,
) -> None:
    """Display a translator that runs in the page: a text field, the translation, and the attention of every head.

    Args:
        model: as it was trained; greedy decoding.
        source_vocabulary: of words, what a reader may type.
        target_vocabulary: of words.
        examples: sentences as a reader would type them; the first stands in the page without scripts.
        segment: how a sentence is cut into words: "longest" takes the longest known word each time (Chinese), "spaces"
            cuts at spaces. A final full stop is left out.
        max_new_tokens: where a translation ends at the latest.

    Raises:
        ValueError: there is no example, one has unknown words or is too long, `segment` is unknown, or a vocabulary or
            limit does not fit the model.
    """
    from IPython.display import HTML, display

    if os.environ.get("LECTURES_STATIC"):
        page = translator_html(
            model,
            source_vocabulary,
            target_vocabulary,
            examples=examples,
            segment=segment,
            max_new_tokens=max_new_tokens,
        )
        display(HTML(page))
        return
    _check(model, source_vocabulary, target_vocabulary, examples, segment, max_new_tokens)
    display(_notebook_widget(model, source_vocabulary, target_vocabulary, examples[0], segment, max_new_tokens))


def translator_html(
    model: Transformer,
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    *,
    examples: Sequence[str],
    segment: str = "longest",
    max_new_tokens: int = 40,
) -> str:
    """What `live_translator` displays in the static book, as HTML: see there for the arguments and the errors."""
    _check(model, source_vocabulary, target_vocabulary, examples, segment, max_new_tokens)
    done = [
        translate_and_look(
            model, text, source_vocabulary, target_vocabulary, segment=segment, max_new_tokens=max_new_tokens
        )
        for text in examples
    ]
    graphs = transformer_to_onnx(model)
    payload = {
        "source": source_vocabulary.tokens,
        "target": target_vocabulary.tokens,
        "specials": len(SPECIAL_TOKENS),
        "bos": BOS_ID,
        "eos": EOS_ID,
        "segment": segment,
        "maxSource": model.config.max_length - 1,
        "maxNew": max_new_tokens,
        "heads": model.config.n_heads,
        "layers": _layers(model),
        "captions": CAPTIONS,
        "colours": {kind: _colour(kind) for kind in KINDS},
        "examples": [_as_json(translation) for translation in done],
        "graphs": {name: base64.b64encode(graph).decode() for name, graph in graphs._asdict().items()},
    }
    return _page(payload, done[0], megabytes=sum(map(len, graphs)) / 1e6)


@torch.no_grad()
def translate_and_look(
    model: Transformer,
    text: str,
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    *,
    segment: str = "longest",
    max_new_tokens: int = 40,
) -> Translation:
    """Translate greedily, and keep the weights of every attention.

    Raises:
        ValueError: the sentence is empty or too long, or has words the vocabulary does not know.
    """
    words = cut(text, source_vocabulary.tokens[len(SPECIAL_TOKENS) :], segment)
    limit = model.config.max_length - 1
    if len(words) > limit:
        raise ValueError(f"text must have at most {limit} words, got {len(words)}")
    device = next(model.parameters()).device
    source, lengths = source_batch([[source_vocabulary.tokens.index(word) for word in words]])
    source = source.to(device)
    was_training = model.training
    model.eval()
    said = greedy(model, source, lengths, max_new_tokens=max_new_tokens)
    shown = torch.cat([torch.full_like(said[:, :1], BOS_ID), said[:, :-1]], dim=1)
    with recorded_weights(model) as recorded:
        model(source, lengths, shown)
    model.train(was_training)
    weights = {
        kind: torch.cat([recorded[f"{side}_layers.{layer}.{name}"] for layer in range(_layers(model)[kind])]).cpu()
        for kind, side, name in (
            ("encoder", "encoder", "self_attention"),
            ("decoder", "decoder", "self_attention"),
            ("cross", "decoder", "cross_attention"),
        )
    }
    written = [target_vocabulary.tokens[i] for i in said[0].tolist()]
    return Translation(text, [*words, SPECIAL_TOKENS[EOS_ID]], written, weights)


def cut(text: str, words: Sequence[str], segment: str) -> list[str]:
    """A sentence as known words: the longest that fits each time, or what stands between spaces.

    A final full stop is left out. Between spaces, a word that is unknown with its capitals may be known without.

    Raises:
        ValueError: `segment` is unknown, `text` is empty, or it has something that is no known word, which is named.
    """
    if segment not in SEGMENTS:
        raise ValueError(f"segment must be one of {SEGMENTS}, got {segment!r}")
    text = re.sub(r"[。.]$", "", unicodedata.normalize("NFC", text).strip())
    found = (_longest if segment == "longest" else _between_spaces)(text, words)
    if not found:
        raise ValueError("text must have at least one word, got none")
    return found


def _longest(text: str, words: Sequence[str]) -> list[str]:
    known, longest = set(words), max(map(len, words))
    found, position = [], 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        ends = range(min(len(text), position + longest), position, -1)
        word = next((text[position:end] for end in ends if text[position:end] in known), None)
        if word is None:
            near = [word for word in words if text[position] in word][:5]
            raise ValueError(
                f"text has {text[position]!r} at character {position + 1}, where no word the model knows starts"
                + (f"; near: {', '.join(near)}" if near else "")
            )
        found.append(word)
        position += len(word)
    return found


def _between_spaces(text: str, words: Sequence[str]) -> list[str]:
    known, found = set(words), []
    for word in text.split():
        chosen = word if word in known else word.lower()
        if chosen not in known:
            near = difflib.get_close_matches(chosen, words)
            raise ValueError(
                f"text has the word {word!r}, which the model does not know"
                + (f"; near: {', '.join(near)}" if near else "")
            )
        found.append(chosen)
    return found


def _check(
    model: Transformer,
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    examples: Sequence[str],
    segment: str,
    max_new_tokens: int,
) -> None:
    """Errors that do not depend on the sentence."""
    if isinstance(examples, str) or not examples:
        raise ValueError(f"examples must hold at least one sentence, got {examples!r}")
    if segment not in SEGMENTS:
        raise ValueError(f"segment must be one of {SEGMENTS}, got {segment!r}")
    if not 1 <= max_new_tokens <= model.config.max_length:
        raise ValueError(
            f"max_new_tokens must lie between 1 and the model's {model.config.max_length}, got {max_new_tokens}"
        )
    for name, vocabulary in (("source_vocabulary", source_vocabulary), ("target_vocabulary", target_vocabulary)):
        size = getattr(model.config, name)
        if len(vocabulary) != size:
            raise ValueError(f"{name} must have the model's {size} tokens, got {len(vocabulary)}")


def _layers(model: Transformer) -> dict[str, int]:
    encoder, decoder = model.config.n_encoder_layers, model.config.n_decoder_layers
    return {"encoder": encoder, "decoder": decoder, "cross": decoder}


def _colour(kind: str) -> str:
    """What is looked at has the colour of what is read, or of what is written."""
    return TARGET if kind == "decoder" else SOURCE


def _as_json(translation: Translation) -> dict[str, object]:
    """Weights as thousandths, one row of numbers for each attention: small, and exact enough for a picture."""
    maps = {kind: (1000 * w).round().int().flatten().tolist() for kind, w in translation.weights.items()}
    return {"text": translation.text, "read": translation.read, "written": translation.written, "maps": maps}


def _page(payload: Mapping[str, object], first: Translation, *, megabytes: float) -> str:
    identity = f"live-{uuid.uuid4().hex[:12]}"
    # In a script element "<" could end it: JSON may write it as an escape.
    data = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    buttons = " ".join(
        f'<button type="button" data-example="{index}">{html.escape(example["text"])}</button>'
        for index, example in enumerate(payload["examples"])
    )
    kinds = "".join(f'<option value="{kind}">{html.escape(text)}</option>' for kind, text in KINDS.items())
    return f"""<div id="{identity}" class="lectures-live" role="group" aria-label="Translate with this model">
<style>{STYLE}</style>
<form data-form hidden><label for="{identity}-t">Sentence</label>
<input id="{identity}-t" type="text" autocomplete="off" spellcheck="false" aria-describedby="{identity}-n {identity}-e">
<button type="submit">Translate</button></form>
<p data-examples hidden>Examples: {buttons}</p>
<p id="{identity}-n" data-note>This translation was computed when the book was built. With JavaScript, you can type a \
sentence of your own here, and the model ({megabytes:.1f} MB) answers in your browser.</p>
<p id="{identity}-e" data-error role="alert" hidden></p>
<p>Read: <span data-read>{html.escape(" ".join(first.read))}</span></p>
<p>Written: <b data-said aria-live="polite">{html.escape(first.said)}</b></p>
<p data-choices hidden><label for="{identity}-k">Attention</label> <select id="{identity}-k" data-kind>{kinds}</select>
<label for="{identity}-l">Layer</label> <select id="{identity}-l" data-layer></select>
<label for="{identity}-h">Head</label> <select id="{identity}-h" data-head></select></p>
<p data-readout hidden></p>
<div data-map tabindex="0" role="region" aria-label="Map of attention">{_first_map(first)}</div>
<script type="application/json" data-payload>{data}</script>
<script>{SCRIPT % {"id": identity, "kind": "translator"}}</script></div>"""


def _first_map(translation: Translation) -> str:
    """What the controls begin with: cross-attention of the last layer, mean of its heads."""
    return map_html(*translation.axes("cross"), translation.weights["cross"][-1].mean(0), kind="cross")


def map_html(
    rows: Sequence[str], columns: Sequence[str], weights: Float[Tensor, "*map"], *, kind: str = "cross"
) -> str:
    """A map of attention as a table: the stronger the colour, the larger the weight, which each cell's title says.

    Raises:
        ValueError: `weights` does not have one row a word of `rows` and one column a word of `columns`.
    """
    if tuple(weights.shape) != (len(rows), len(columns)):
        raise ValueError(f"weights must have shape {(len(rows), len(columns))}, got {tuple(weights.shape)}")
    head = "".join(f"<th scope='col'>{html.escape(word)}</th>" for word in columns)
    colour, body = _colour(kind), ""
    for word, row in zip(rows, weights.tolist(), strict=True):
        cells = "".join(
            f"<td title='{html.escape(f'{word} → {column}: {100 * weight:.0f} %', quote=True)}' "
            f"style='background: {colour}{round(255 * min(max(weight, 0.0), 1.0)):02x}'></td>"
            for column, weight in zip(columns, row, strict=True)
        )
        body += f"<tr><th scope='row'>{html.escape(word)}</th>{cells}</tr>"
    return (
        f"<table class='lectures-map'><caption>{html.escape(CAPTIONS[kind])}</caption>"
        f"<thead><tr><td style='border: 0'></td>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _notebook_widget(
    model: Transformer,
    source_vocabulary: Vocabulary,
    target_vocabulary: Vocabulary,
    example: str,
    segment: str,
    max_new_tokens: int,
):
    """The same in a running notebook: the PyTorch model answers."""
    import ipywidgets

    counts = _layers(model)
    field = ipywidgets.Text(value=example, description="Sentence", continuous_update=False)
    kind = ipywidgets.Dropdown(options=[(text, key) for key, text in KINDS.items()], description="Attention")
    layer = ipywidgets.Dropdown(description="Layer")
    head = ipywidgets.Dropdown(
        options=[(MEAN, None), *((str(i + 1), i) for i in range(model.config.n_heads))], description="Head"
    )
    picture = ipywidgets.HTML()

    def layers(_=None) -> None:
        count = counts[kind.value]
        layer.options = [(str(i + 1), i) for i in range(count)]
        layer.value = count - 1

    def answer(_=None) -> None:
        try:
            done = translate_and_look(
                model, field.value, source_vocabulary, target_vocabulary, segment=segment, max_new_tokens=max_new_tokens
            )
        except ValueError as error:
            picture.value = f"<p>{html.escape(str(error))}</p>"
            return
        heads = done.weights[kind.value][layer.value]
        weights = heads.mean(0) if head.value is None else heads[head.value]
        drawn = map_html(*done.axes(kind.value), weights, kind=kind.value)
        picture.value = (
            f'<div class="lectures-live"><style>{STYLE}</style><p>Written: <b>{html.escape(done.said)}</b></p>'
            f"<div data-map>{drawn}</div></div>"
        )

    layers()
    kind.observe(layers, names="value")
    for control in (field, kind, layer, head):
        control.observe(answer, names="value")
    answer()
    return ipywidgets.VBox([field, kind, layer, head, picture])
