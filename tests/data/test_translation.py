"""Multi30k and Tatoeba: the loaders on files laid out as a download leaves them, and on damaged ones."""

import gzip
import hashlib
import http.server
import os
import threading
import zipfile
from pathlib import Path

import pytest

from lectures_lib.data import translation
from lectures_lib.data.downloads import fetch
from lectures_lib.data.translation import multi30k, tatoeba


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    return tmp_path


def write_multi30k(folder, monkeypatch, **sides: bytes):
    (folder / "multi30k").mkdir(exist_ok=True)
    for language, content in sides.items():
        path = folder / "multi30k" / f"val.{language}.gz"
        path.write_bytes(gzip.compress(content))
        monkeypatch.setitem(
            translation.MULTI30K_SHA256, f"val.{language}", hashlib.sha256(path.read_bytes()).hexdigest()
        )


def test_multi30k_pairs_the_lines_of_two_files(cache, monkeypatch):
    write_multi30k(cache, monkeypatch, de=b"Ein Mann.\nZwei Hunde.\n", en=b"A man.\nTwo dogs.\n")
    assert multi30k("val") == [("Ein Mann.", "A man."), ("Zwei Hunde.", "Two dogs.")]


def test_a_line_without_partner_is_named(cache, monkeypatch):
    write_multi30k(cache, monkeypatch, de=b"Eins.\nZwei.\n", en=b"One.\n")
    with pytest.raises(ValueError, match=r"val\.en\.gz, line 2: missing"):
        multi30k("val")


def test_a_line_that_is_not_utf8_is_named(cache, monkeypatch):
    write_multi30k(cache, monkeypatch, de=b"Eins.\n\xff\xfe\n", en=b"One.\nTwo.\n")
    with pytest.raises(ValueError, match=r"val\.de\.gz, line 2: not UTF-8"):
        multi30k("val")


def test_an_empty_line_is_named(cache, monkeypatch):
    write_multi30k(cache, monkeypatch, de=b"Eins.\n\n", en=b"One.\nTwo.\n")
    with pytest.raises(ValueError, match=r"val\.de\.gz, line 2: empty"):
        multi30k("val")


def test_a_damaged_file_is_refused_by_its_hash(cache, monkeypatch):
    write_multi30k(cache, monkeypatch, de=b"Eins.\n", en=b"One.\n")
    (cache / "multi30k" / "val.de.gz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"val\.de\.gz is damaged: its SHA-256"):
        multi30k("val")


def test_a_file_cut_short_is_refused(cache, monkeypatch):
    write_multi30k(cache, monkeypatch, de=b"Eins.\n" * 999, en=b"One.\n" * 999)
    path = cache / "multi30k" / "val.de.gz"
    path.write_bytes(path.read_bytes()[:-9])
    monkeypatch.setitem(translation.MULTI30K_SHA256, "val.de", hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ValueError, match=r"val\.de\.gz is damaged"):
        multi30k("val")


def test_an_unknown_split_is_named(cache):
    with pytest.raises(ValueError, match="got 'validation.de'"):
        multi30k("validation")


def test_tatoeba_reads_the_tab_separated_form(cache):
    (cache / "tatoeba").mkdir()
    (cache / "tatoeba" / "cmn.txt").write_bytes("\ufeffHi.\t嗨。\tCC-BY\nRun.\t跑。\tCC-BY\n".encode())
    assert tatoeba() == [("嗨。", "Hi."), ("跑。", "Run.")]
    assert tatoeba(source="en", target="zh")[0] == ("Hi.", "嗨。")


def test_tatoebas_splits_share_no_chinese_sentence_and_lose_none(cache):
    (cache / "tatoeba").mkdir()
    lines = [f"Sentence {i}.\t句子{i % 60}。\tx\n" for i in range(90)]
    (cache / "tatoeba" / "cmn.txt").write_text("".join(lines), encoding="utf-8")
    parts = {split: tatoeba(split) for split in ("train", "val", "test")}
    sources = {split: {zh for zh, _ in pairs} for split, pairs in parts.items()}
    assert not sources["train"] & sources["test"]
    assert not sources["train"] & sources["val"]
    assert sum(map(len, parts.values())) == 90


def test_a_tatoeba_line_without_tab_is_named(cache):
    (cache / "tatoeba").mkdir()
    (cache / "tatoeba" / "cmn.txt").write_text("Hi.\t嗨。\nno tab here\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"cmn\.txt, line 2: expected English, tab, Chinese, got b'no tab here"):
        tatoeba()


def test_tatoeba_unpacks_the_downloaded_archive(cache):
    (cache / "tatoeba").mkdir()
    with zipfile.ZipFile(cache / "tatoeba" / "cmn-eng.zip", "w") as file:
        file.writestr("cmn.txt", "Hi.\t嗨。\tCC-BY\n")
        file.writestr("../escape.txt", "outside")
    assert tatoeba() == [("嗨。", "Hi.")]
    assert not (cache / "escape.txt").exists()


def test_a_broken_archive_is_deleted(cache):
    (cache / "tatoeba").mkdir()
    archive = cache / "tatoeba" / "cmn-eng.zip"
    archive.write_bytes(b"PK not a zip")
    with pytest.raises(ValueError, match="not the archive expected"):
        tatoeba()
    assert not archive.exists()
    assert not list((cache / "tatoeba").iterdir())


class Server(http.server.BaseHTTPRequestHandler):
    """Serves eleven bytes; under /cut it breaks off after three."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "11")
        self.end_headers()
        self.wfile.write(b"hel" if "cut" in self.path else b"hello world")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


HELLO = hashlib.sha256(b"hello world").hexdigest()


def test_a_missing_file_is_downloaded_and_checked(cache, address):
    path = fetch("words/hello.txt", url=f"{address}/hello.txt", sha256=HELLO)
    assert path == cache / "words" / "hello.txt"
    assert path.read_bytes() == b"hello world"


def test_a_download_that_breaks_off_leaves_nothing(cache, address):
    with pytest.raises((ValueError, FileNotFoundError), match="hello.txt"):
        fetch("words/hello.txt", url=f"{address}/cut.txt", sha256=HELLO)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


def test_a_download_with_another_hash_leaves_nothing(cache, address):
    with pytest.raises(ValueError, match="is not what it should be"):
        fetch("words/hello.txt", url=f"{address}/hello.txt", sha256="0" * 64)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


def test_no_file_and_no_network_says_what_to_do(cache):
    with pytest.raises(FileNotFoundError, match="put the file there, or set LECTURES_DATA"):
        fetch("words/hello.txt", url="http://127.0.0.1:9/hello.txt", sha256=HELLO)


REAL_DATA = Path(os.environ.get("LECTURES_DATA") or "nowhere")


@pytest.mark.skipif(
    not all((REAL_DATA / name).is_file() for name in ("multi30k/train.de.gz", "tatoeba/cmn.txt")),
    reason="Multi30k and Tatoeba are not in the folder LECTURES_DATA",
)
def test_the_real_files_have_the_published_sizes():
    assert [len(multi30k(split)) for split in ("train", "val", "test_2016_flickr")] == [29_000, 1_014, 1_000]
    assert multi30k("train")[0][1] == "Two young, White males are outside near many bushes."
    assert len(tatoeba()) > 20_000
