"""LJSpeech: a day of one voice reading, sentence by sentence, for vocoders and text to speech."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lectures_lib.audio import read_wav
from lectures_lib.data.downloads import data_folder, fetch

RATE = 22_050  # hertz
SPLITS = ("train", "test", "all")
URL = "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2"
SHA256 = "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5"
EVERY = 50  # one utterance in fifty is for testing
MEMBER = re.compile(r"LJSpeech-1\.1/(metadata\.csv|wavs/LJ\d{3}-\d{4}\.wav)")


class Utterance(NamedTuple):
    """`samples` (time,) float32 in [-1, 1) at 22,050 Hz, and the text, numbers and abbreviations spelled out."""

    samples: Tensor
    text: str
    name: str  # "LJ001-0001"


def ljspeech(split: str = "train", *, limit: int | None = None) -> Iterator[Utterance]:
    """The utterances in their order, each read when it is asked for; at most `limit` of them.

    "test" has every fiftieth of all 13,100. The archive of 2.6 GB is downloaded and unpacked once.

    Raises:
        ValueError: no such split, `limit` below 1, a damaged archive, list or recording (it is named); at once, but for
            the recordings.
        FileNotFoundError: the recordings are neither in the cache nor to be downloaded, or one is missing.

    Source: Ito and Johnson 2017. Public domain.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    folder = _folder()
    rows = _rows(folder / "metadata.csv")
    chosen = [row for n, row in enumerate(rows) if split == "all" or (n % EVERY == 0) == (split == "test")]
    return _utterances(folder, chosen[:limit])


def _utterances(folder: Path, rows: list[tuple[str, str]]) -> Iterator[Utterance]:
    for name, text in rows:
        path = folder / "wavs" / f"{name}.wav"
        samples, rate = read_wav(path)
        if rate != RATE:
            raise ValueError(f"{path} must be at {RATE} Hz, got {rate} Hz")
        yield Utterance(samples, text, name)


def _rows(path: Path) -> list[tuple[str, str]]:
    """(name, spelled-out text) of each line of metadata.csv: name|text|text spelled out, without quoting."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("|")
        if len(fields) != 3 or not fields[0] or not fields[2].strip():
            raise ValueError(f"{path}, line {number}: expected name|text|spelled out, got {line[:60]!r}")
        rows.append((fields[0], fields[2].strip()))
    if not rows:
        raise ValueError(f"{path} must list utterances, got none")
    return rows


def _folder() -> Path:
    folder = data_folder() / "LJSpeech-1.1"
    if not (folder / "metadata.csv").is_file():
        _unpack(fetch("LJSpeech-1.1.tar.bz2", url=URL, sha256=SHA256), folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """Members are read in their order, by names we know, and written by us: nothing lands outside the folder."""
    temporary = folder.with_name("LJSpeech-1.1.part")
    (temporary / "wavs").mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r|bz2") as file:
            for member in file:
                match = MEMBER.fullmatch(member.name)
                content = file.extractfile(member) if match and member.isfile() else None
                if match and content:
                    (temporary / match[1]).write_bytes(content.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive} is damaged: {error}; delete it to download it again") from None
    temporary.replace(folder)
