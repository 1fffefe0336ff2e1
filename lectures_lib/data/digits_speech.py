"""Spoken digits: the Free Spoken Digit Dataset, with its official test split and with speakers held out."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lectures_lib.audio import read_wav
from lectures_lib.data.downloads import data_folder, fetch

RATE = 8000  # hertz
SPLITS = ("train", "test", "all")
TEST_INDICES = range(5)  # of each digit of each speaker: the split of the data set's own authors
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip"
NAME = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
# SHA-256 over the lines "SHA-256 of the file, two spaces, name" in the order of the names. The data set has two more
# speakers (theo, yweweler); whoever is not listed here is read without this check.
SPEAKERS_SHA256 = {
    "george": "7543fea03052e8492c445f376230a4b080e882d238532002bc974a6e69577f3d",
    "jackson": "422e32a8d1b20006e18ea0bcdcce21860ec13781d91f1786b18ba266c9d6de01",
    "lucas": "9b75b134c810b831a6e9ee7e987f9a673d1877c82a02e7487cd397f7dfcf9a41",
    "nicolas": "fc6e8ed1b1b7280008c3cb0ac9568e16309aa37d9f4956493e5a00e34bdba3c8",
}


class SpokenDigit(NamedTuple):
    """One recording: `samples` (time,) float32 in [-1, 1) at 8,000 Hz; `digit` 0 to 9; `index` counts repetitions."""

    samples: Tensor
    digit: int
    speaker: str
    index: int


def spoken_digits(
    split: str = "train", *, speakers: Iterable[str] | None = None, without: Iterable[str] = ()
) -> list[SpokenDigit]:
    """Recordings of single digits, ordered by digit, speaker and index.

    "test" has the first five repetitions of each digit of each speaker, "train" the others. `speakers` are the only
    ones taken (default: all there are), `without` are left out: train without one speaker and test on that one alone to
    see what a voice never heard costs.

    Raises:
        ValueError: no such split or speaker; nobody is left; a recording is damaged, changed or missing (it is named).
        FileNotFoundError: the recordings are neither in the cache nor to be downloaded.

    Source: Jackson et al., Free Spoken Digit Dataset. Licence: CC BY-SA 4.0.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    files = _files()
    present = sorted({speaker for _, _, speaker, _ in files})
    chosen = _chosen(present, speakers, without)
    recordings = []
    for path, digit, speaker, index in files:
        if speaker in chosen and (split == "all" or (index in TEST_INDICES) == (split == "test")):
            samples, rate = read_wav(path)
            if rate != RATE:
                raise ValueError(f"{path} must be at {RATE} Hz, got {rate} Hz")
            recordings.append(SpokenDigit(samples, digit, speaker, index))
    return recordings


def _chosen(present: list[str], speakers: Iterable[str] | None, without: Iterable[str]) -> set[str]:
    named = {"speakers": present if speakers is None else _names(speakers), "without": _names(without)}
    for name, values in named.items():
        unknown = sorted(set(values) - set(present))
        if unknown:
            raise ValueError(f"{name} must be among {', '.join(present)}, got {', '.join(map(repr, unknown))}")
    chosen = set(named["speakers"]) - set(named["without"])
    if not chosen:
        raise ValueError(f"speakers must leave somebody: {named['speakers']} without {named['without']} is nobody")
    return chosen


def _names(value: Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _files() -> list[tuple[Path, int, str, int]]:
    """(path, digit, speaker, index) of each recording, sorted; each known speaker's files are what they should be."""
    folder = data_folder() / "fsdd" / "recordings"
    if not folder.is_dir():
        _unpack(fetch("fsdd/archive.zip", url=URL, sha256=None), folder)
    files = []
    for path in folder.iterdir():
        match = NAME.fullmatch(path.name)
        if match:
            files.append((path, int(match[1]), match[2], int(match[3])))
    if not files:
        raise ValueError(f"{folder} must hold recordings named DIGIT_SPEAKER_INDEX.wav, got none")
    _check(folder, files)
    return sorted(files, key=lambda file: file[1:])


def _check(folder: Path, files: list[tuple[Path, int, str, int]]) -> None:
    for speaker, expected in SPEAKERS_SHA256.items():
        paths = sorted(path for path, _, name, _ in files if name == speaker)
        lines = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)
        if paths and hashlib.sha256(lines.encode()).hexdigest() != expected:
            raise ValueError(
                f"the {len(paths)} recordings of {speaker} in {folder} are not those of the data set: some are "
                "damaged, changed or missing; delete the folder to download it again"
            )


def _unpack(archive: Path, folder: Path) -> None:
    """The recordings of the archive, each read by its name and written by us: nothing can land outside the folder."""
    temporary = folder.with_name("recordings.part")
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as file:
            members = {Path(name).name: name for name in file.namelist() if "/recordings/" in name}
            for name, member in members.items():
                if NAME.fullmatch(name):
                    (temporary / name).write_bytes(file.read(member))
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise ValueError(f"{archive} is not the archive expected, and was deleted: {error}") from None
    temporary.replace(folder)
