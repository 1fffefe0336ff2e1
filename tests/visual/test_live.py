"""The live translator: the page holds the very model, names what it does not know, and asks no other host."""

import base64
import functools
import html
import html.parser
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import threading

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from lectures_lib.attention import recorded_weights
from lectures_lib.data.batching import source_batch
from lectures_lib.data.scenes import chinese_words, sample_scenes, segment_chinese
from lectures_lib.data.vocabulary import BOS_ID, EOS_ID, Vocabulary
from lectures_lib.inference import translate
from lectures_lib.inference.export import TransformerGraphs
from lectures_lib.models.transformer import Transformer, TransformerConfig
from lectures_lib.visual import live_translator
from lectures_lib.visual.live import cut, map_html, translate_and_look, translator_html
from tools import web_assets

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / "book" / "_static" / "live.js").read_text(encoding="utf-8")
CHINESE = Vocabulary.words([["人", "在", "骑", "马", "斑马", "女人"]])
ENGLISH = Vocabulary.words([["a", "man", "woman", "is", "riding", "horse", "zebra", "<b>"]])
EXAMPLES = ["人在骑马", "女人 骑斑马。"]
LIMIT = 9
VOID = {"input", "br", "img", "meta", "link"}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    sizes = dict(d_model=16, n_heads=2, d_feed_forward=16, n_encoder_layers=1, n_decoder_layers=2, max_length=12)
    model = Transformer(TransformerConfig(len(CHINESE), len(ENGLISH), **sizes)).eval()
    for parameter in model.parameters():  # so that words follow on words, not one word for ever
        nn.init.normal_(parameter, std=0.5)
    return model


@pytest.fixture(scope="module")
def page(model):
    return translator_html(model, CHINESE, ENGLISH, examples=EXAMPLES, max_new_tokens=LIMIT)


@pytest.fixture(scope="module")
def payload(page):
    (text,) = re.findall(r'<script type="application/json" data-payload>(.*?)</script>', page, flags=re.DOTALL)
    assert "<" not in text  # "</script>" in a word would end the element
    return json.loads(text)


@pytest.fixture
def quick_export(monkeypatch):
    """Exporting takes seconds; what is in the graphs is looked at elsewhere."""
    monkeypatch.setattr("lectures_lib.visual.live.transformer_to_onnx", lambda _: TransformerGraphs(b"one", b"two"))


class Reader(html.parser.HTMLParser):
    """Every element with its attributes; fails on tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_chinese_is_cut_as_the_scenes_cut_it():
    for scene in sample_scenes(200, seed=1, clauses=(1, 4)):
        assert cut(scene.chinese, chinese_words(), "longest") == segment_chinese(scene.chinese) == scene.chinese_tokens
    assert cut(" 女人 骑斑马。", CHINESE.tokens, "longest") == ["女人", "骑", "斑马"]


def test_words_between_spaces_may_have_capitals_and_a_full_stop():
    words = ["a", "man", "is", "Rome"]
    assert cut("A man  is Rome.", words, "spaces") == ["a", "man", "is", "Rome"]


def test_what_is_unknown_is_named_never_replaced():
    with pytest.raises(ValueError, match=r"text has '斑' at character 4, .*; near: 斑马"):
        cut("人在骑斑驴", CHINESE.tokens, "longest")
    with pytest.raises(ValueError, match=r"text has the word 'Horsse', which the model does not know; near: horse"):
        cut("a Horsse", ENGLISH.tokens, "spaces")
    for empty in ("", " 。"):
        with pytest.raises(ValueError, match="text must have at least one word"):
            cut(empty, CHINESE.tokens, "longest")


def test_the_model_in_the_page_says_what_the_model_in_the_notebook_says(model, payload):
    encoder, decoder = (
        onnxruntime.InferenceSession(base64.b64decode(payload["graphs"][name])) for name in ("encoder", "decoder")
    )
    for text in ("人", "马", "斑马在骑女人", *EXAMPLES):
        words = cut(text, payload["source"][payload["specials"] :], payload["segment"])
        source = [payload["source"].index(word) for word in words] + [payload["eos"]]
        memory = encoder.run(["memory"], {"source": np.array([source])})[0]
        tokens = [payload["bos"]]
        while len(tokens) <= payload["maxNew"] and tokens[-1] != payload["eos"]:
            (logits,) = decoder.run(["logits"], {"memory": memory, "tokens": np.array([tokens])})
            tokens.append(int(logits.argmax()))
        said = " ".join(payload["target"][i] for i in tokens[1:] if i != payload["eos"])
        (expected,) = translate(model, [words], CHINESE, ENGLISH, max_new_tokens=LIMIT)
        assert said == expected


def test_examples_come_with_the_weights_of_every_head_of_every_layer(model, payload):
    assert (payload["bos"], payload["eos"]) == (BOS_ID, EOS_ID)
    for text, example in zip(EXAMPLES, payload["examples"], strict=True):
        words = cut(text, CHINESE.tokens, "longest")
        assert example["read"] == [*words, "<eos>"]
        shown = torch.tensor([[BOS_ID, *(ENGLISH.tokens.index(word) for word in example["written"][:-1])]])
        source, lengths = source_batch([CHINESE.encode(words)])
        with recorded_weights(model) as weights:
            model(source, lengths, shown)
        for kind, name in (
            ("encoder", "encoder_layers.{}.self"),
            ("decoder", "decoder_layers.{}.self"),
            ("cross", "decoder_layers.{}.cross"),
        ):
            layers = range(payload["layers"][kind])
            expected = torch.cat([weights[name.format(layer) + "_attention"] for layer in layers])
            found = torch.tensor(example["maps"][kind]).view_as(expected) / 1000
            assert float((found - expected).abs().max()) <= 5.1e-4


def test_a_map_is_labelled_with_what_is_written_and_what_may_be_looked_at(model):
    done = translate_and_look(model, "人在骑马", CHINESE, ENGLISH, max_new_tokens=LIMIT)
    rows, columns = done.axes("decoder")
    assert columns[0] == "<bos>"
    assert columns[1:] == rows[:-1]
    for kind, weights in done.weights.items():
        rows, columns = done.axes(kind)
        assert weights.shape[2:] == (len(rows), len(columns))
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert float(done.weights["decoder"].triu(1).abs().max()) == 0.0  # never into the future


def test_looking_leaves_the_mode_as_it_was(model):
    model.train()
    translate_and_look(model, "人", CHINESE, ENGLISH, max_new_tokens=2)
    assert model.training
    model.eval()


def test_the_page_is_well_formed_and_every_control_has_its_label(page):
    elements = Reader(page).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = {attributes["for"] for tag, attributes in elements if tag == "label"}
    controls = [attributes for tag, attributes in elements if tag in ("input", "select")]
    assert len(controls) == 4
    assert {attributes["id"] for attributes in controls} == labelled
    described = [a["aria-describedby"].split() for _, a in elements if "aria-describedby" in a]
    assert all(name in ids for names in described for name in names)
    assert any(a.get("aria-live") == "polite" for _, a in elements)
    assert any(a.get("role") == "alert" for _, a in elements)


def test_without_scripts_a_translation_and_its_attention_stand_there_and_no_dead_control(page, payload):
    elements = Reader(page).elements
    first = payload["examples"][0]
    said = html.escape(" ".join(word for word in first["written"] if word != "<eos>"))
    assert f'aria-live="polite">{said}</b>' in page
    assert page.count("<tr><th scope='row'>") == len(first["written"])
    assert "computed when the book was built" in page
    for part in ("form", "examples", "choices"):
        (attributes,) = [a for _, a in elements if f"data-{part}" in a]
        assert "hidden" in attributes


def test_words_that_look_like_html_are_shown_as_text():
    table = map_html(["<b>", "a"], ["<eos>"], torch.tensor([[1.0], [0.25]]))
    assert "<b>" not in table
    assert table.count("&lt;b&gt;") == 2
    assert "title='a → &lt;eos&gt;: 25 %'" in table
    Reader(table)


def test_two_widgets_do_not_share_an_id(model, page, quick_export):
    second = translator_html(model, CHINESE, ENGLISH, examples=EXAMPLES[:1], max_new_tokens=LIMIT)
    assert re.search(r'id="(live-\w+)"', page)[1] not in second


def test_nothing_asks_another_host_and_what_the_script_asks_for_is_among_the_books_files(page):
    assert not re.search(r"(https?:)?//[\w.-]+\.\w", re.sub(r"^\s*//.*$", "", SCRIPT + page, flags=re.MULTILINE))
    wanted = set(re.findall(r'new URL\("(onnx/[^"]+\.(?:mjs|wasm))", base\)', SCRIPT))
    assert wanted == {name for name in web_assets.FILES.values() if name.startswith("onnx/")}
    assert len(wanted) == 2
    lock = json.loads((ROOT / "tools/web/package-lock.json").read_text(encoding="utf-8"))
    assert "node_modules/onnxruntime-web" in lock["packages"]
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    assert "live.js" not in config  # pages without the widget load nothing of it


def test_the_script_knows_every_part_of_the_page(page):
    parts = {name for _, a in Reader(page).elements for name in a if name.startswith("data-")}
    asked = set(re.findall(r"""get\("([a-z]+)"\)""", SCRIPT))
    asked |= {name for names in re.findall(r"= \[([^\]]*)\]\.map\(get\)", SCRIPT) for name in re.findall(r"\w+", names)}
    assert {f"data-{name}" for name in asked} <= parts
    assert len(asked) >= 10


def test_in_the_static_book_it_is_a_page_and_in_a_notebook_a_widget(model, quick_export, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setenv("LECTURES_STATIC", "1")
    live_translator(model, CHINESE, ENGLISH, examples=EXAMPLES, max_new_tokens=LIMIT)
    assert "data-payload" in shown[0].data
    monkeypatch.delenv("LECTURES_STATIC")
    live_translator(model, CHINESE, ENGLISH, examples=EXAMPLES, max_new_tokens=LIMIT)
    field, kind, layer, head, picture = shown[1].children
    (said,) = translate(model, [["人", "在", "骑", "马"]], CHINESE, ENGLISH, max_new_tokens=LIMIT)
    assert f"Written: <b>{html.escape(said)}</b>" in picture.value
    kind.value = "encoder"
    assert [text for text, _ in layer.options] == ["1"]
    head.value = 1
    done = translate_and_look(model, "人在骑马", CHINESE, ENGLISH, max_new_tokens=LIMIT)
    assert map_html(done.read, done.read, done.weights["encoder"][0, 1], kind="encoder") in picture.value
    kind.value = "cross"
    assert len(layer.options) == 2
    field.value = "人在骑驴"
    assert "驴" in picture.value
    assert "lectures-map" not in picture.value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"examples": []}, "examples must hold at least one sentence"),
        ({"examples": "人"}, "examples must hold at least one sentence"),
        ({"examples": ["驴"]}, "'驴' at character 1"),
        ({"examples": ["人" * 12]}, "text must have at most 11 words, got 12"),
        ({"segment": "letters"}, r"segment must be one of \('longest', 'spaces'\), got 'letters'"),
        ({"max_new_tokens": 13}, "max_new_tokens must lie between 1 and the model's 12, got 13"),
        ({"max_new_tokens": 0}, "max_new_tokens must lie between 1"),
    ],
)
def test_bad_input_is_refused_by_name(model, changes, message):
    with pytest.raises(ValueError, match=message):
        translator_html(model, CHINESE, ENGLISH, **{"examples": EXAMPLES, "max_new_tokens": LIMIT, **changes})


def test_a_vocabulary_or_a_map_of_another_size_is_refused(model):
    with pytest.raises(ValueError, match=f"target_vocabulary must have the model's {len(ENGLISH)} tokens, got 10"):
        translator_html(model, CHINESE, CHINESE, examples=EXAMPLES, max_new_tokens=LIMIT)
    with pytest.raises(ValueError, match=r"weights must have shape \(1, 2\), got \(2, 1\)"):
        map_html(["a"], ["b", "c"], torch.ones(2, 1))


# What a reader does, as a script of the page; Chromium then prints the page as it stands.
VISIT = """
addEventListener("load", async () => {
  const wait = (done) => new Promise((go) => { const t = setInterval(() => done() && (clearInterval(t), go()), 20); });
  const root = document.querySelector(".lectures-live"), get = (name) => root.querySelector(`[data-${name}]`);
  await wait(() => !get("form").hidden);
  for (const text of %s) {
    get("said").removeAttribute("aria-busy");
    get("form").querySelector("input").value = text;
    get("form").requestSubmit();
    await wait(() => get("said").getAttribute("aria-busy") === "false" || !get("error").hidden);
    const line = document.body.appendChild(document.createElement("pre"));
    line.textContent = JSON.stringify([text, get("error").hidden ? get("said").textContent : get("error").textContent]);
  }
  document.body.append(document.createElement("hr"));
});
"""


def test_in_a_browser_the_page_says_what_pytorch_says(model, page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    runtime = ROOT / "_build" / "web" / "onnx"
    if browser is None or not runtime.is_dir():
        pytest.skip("needs Chromium, and ONNX Runtime in _build/web, which `make book` fetches")
    static = tmp_path / "_static"
    static.mkdir()
    shutil.copytree(runtime, static / "onnx")
    shutil.copy(ROOT / "book" / "_static" / "live.js", static)
    typed = ["人", "斑马在骑女人", EXAMPLES[1], "人在骑驴"]
    visit = f"<script>{VISIT % json.dumps(typed)}</script>"
    head = '<!doctype html><html lang="en" data-content_root="./"><meta charset="utf-8"><title>live</title><body>'
    (tmp_path / "page.html").write_text(head + page + visit, encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --virtual-time-budget=60000 --dump-dom".split()
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        address = f"http://127.0.0.1:{server.server_port}/page.html"
        done = subprocess.run([browser, *flags, profile, address], capture_output=True, text=True, timeout=300)
        server.shutdown()
    answers = dict(json.loads(html.unescape(line)) for line in re.findall(r"<pre>(.*?)</pre>", done.stdout))
    assert list(answers) == typed, done.stderr[-2000:]
    assert "“驴” (character 4)" in answers.pop("人在骑驴")
    for text, said in answers.items():
        assert said == translate_and_look(model, text, CHINESE, ENGLISH, max_new_tokens=LIMIT).said


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
