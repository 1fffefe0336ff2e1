"""LJSpeech on a folder laid out as the archive leaves it, and on an archive."""

import hashlib
import shutil
import tarfile

import pytest
import torch

from lectures_lib.audio import write_wav
from lectures_lib.data import ljspeech as module
from lectures_lib.data.ljspeech import RATE, ljspeech

NAMES = [f"LJ001-{n:04d}" for n in range(1, 104)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """103 utterances, each ten samples long."""
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    folder = tmp_path / "LJSpeech-1.1"
    (folder / "wavs").mkdir(parents=True)
    lines = [f'{name}|No. {n}, "quoted|Number {n}, "quoted' for n, name in enumerate(NAMES)]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for n, name in enumerate(NAMES):
        write_wav(folder / "wavs" / f"{name}.wav", torch.full((10,), n / 200), RATE)
    return folder


def test_every_fiftieth_is_for_testing_and_no_utterance_is_in_both(folder):
    test, train = ([u.name for u in ljspeech(split)] for split in ("test", "train"))
    assert test == ["LJ001-0001", "LJ001-0051", "LJ001-0101"]
    assert sorted(test + train) == [u.name for u in ljspeech("all")] == NAMES


def test_an_utterance_has_its_sound_and_its_text_spelled_out(folder):
    utterance = next(ljspeech("test"))
    assert utterance.text == 'Number 0, "quoted'
    assert len(list(ljspeech("all", limit=4))) == 4
    assert abs(float(list(ljspeech("all", limit=4))[3].samples[0]) - 3 / 200) < 1e-3


def test_recordings_are_read_only_when_asked_for(folder):
    (folder / "wavs" / f"{NAMES[1]}.wav").unlink()
    utterances = ljspeech("all")
    assert next(utterances).name == NAMES[0]
    with pytest.raises(FileNotFoundError):
        next(utterances)


def test_an_archive_is_unpacked_into_its_folder_only(folder, monkeypatch, tmp_path):
    archive = tmp_path / "LJSpeech-1.1.tar.bz2"
    with tarfile.open(archive, "w:bz2") as file:
        file.add(folder / "metadata.csv", "LJSpeech-1.1/metadata.csv")
        file.add(folder / "metadata.csv", "../outside.csv")
        for name in NAMES:
            file.add(folder / "wavs" / f"{name}.wav", f"LJSpeech-1.1/wavs/{name}.wav")
    shutil.rmtree(folder)
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    assert len(list(ljspeech("all"))) == 103
    assert not (tmp_path.parent / "outside.csv").exists()


def test_what_is_damaged_is_named(folder, monkeypatch, tmp_path):
    for arguments, message in (
        (dict(split="valid"), "split must be one of .* got 'valid'"),
        (dict(limit=0), "limit must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ljspeech(**arguments)
    write_wav(folder / "wavs" / f"{NAMES[0]}.wav", torch.zeros(9), 16_000)
    with pytest.raises(ValueError, match=r"LJ001-0001\.wav must be at 22050 Hz, got 16000 Hz"):
        next(ljspeech("all"))
    (folder / "metadata.csv").write_text("LJ001-0001|only two\n")
    with pytest.raises(ValueError, match=r"metadata\.csv, line 1: expected name\|text\|spelled out"):
        ljspeech()
    (folder / "metadata.csv").write_text("")
    with pytest.raises(ValueError, match="must list utterances, got none"):
        ljspeech()
    shutil.rmtree(folder)
    (tmp_path / "LJSpeech-1.1.tar.bz2").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="is damaged: its SHA-256"):
        ljspeech()
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(b"no archive").hexdigest())
    with pytest.raises(ValueError, match=r"tar\.bz2 is damaged"):
        ljspeech()
