"""Spoken digits: files laid out as the data set has them, who is held out, and files that are not what they seem."""

import hashlib
import os
import zipfile

import pytest
import torch

from lectures_lib.audio import write_wav
from lectures_lib.data import digits_speech
from lectures_lib.data.digits_speech import RATE, spoken_digits

SPEAKERS = ("ann", "bob", "cy")


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """Three speakers say 0 and 7, six times each; a recording's first sample tells its number."""
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    folder = tmp_path / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    for speaker in SPEAKERS:
        for digit in (0, 7):
            for index in range(7):
                write_wav(folder / f"{digit}_{speaker}_{index}.wav", torch.full((10 + index,), digit / 10), RATE)
    return folder


def test_the_first_five_repetitions_are_for_testing(recordings):
    test, train = spoken_digits("test"), spoken_digits("train")
    assert {digit.index for digit in test} == {0, 1, 2, 3, 4}
    assert {digit.index for digit in train} == {5, 6}
    assert len(test) + len(train) == len(spoken_digits("all")) == 42


def test_recordings_come_in_order_with_their_samples(recordings):
    digits = spoken_digits("all")
    assert [digit[1:] for digit in digits] == sorted(digit[1:] for digit in digits)
    assert all(len(digit.samples) == 10 + digit.index for digit in digits)
    assert all(abs(float(digit.samples[0]) - digit.digit / 10) < 1e-3 for digit in digits)


def test_speakers_can_be_chosen_and_left_out(recordings):
    assert {digit.speaker for digit in spoken_digits(speakers=["bob"])} == {"bob"}
    assert {digit.speaker for digit in spoken_digits(without="bob")} == {"ann", "cy"}
    assert {digit.speaker for digit in spoken_digits(speakers=("ann", "bob"), without=("bob",))} == {"ann"}


def test_other_files_in_the_folder_do_not_matter(recordings):
    (recordings / "notes.txt").write_text("hello")
    assert len(spoken_digits("all")) == 42


def test_an_archive_is_unpacked_once_and_only_into_its_folder(recordings, tmp_path):
    archive = recordings.parent / "archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in recordings.iterdir():
            file.write(path, f"free-spoken-digit-dataset-26eb9aa/recordings/{path.name}")
        file.writestr("../../outside/recordings/../1_eve_0.wav", b"")
        file.writestr("free-spoken-digit-dataset-26eb9aa/README.md", b"")
    os.rename(recordings, tmp_path / "aside")
    assert len(spoken_digits("all", speakers=SPEAKERS)) == 42
    assert {path.parent for path in tmp_path.rglob("1_eve_0.wav")} <= {recordings}
    archive.unlink()
    assert (recordings / "0_ann_0.wav").is_file()


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(split="valid"), "split must be one of .* got 'valid'"),
        (dict(speakers=["dora"]), "speakers must be among ann, bob, cy, got 'dora'"),
        (dict(without=["dora"]), "without must be among ann, bob, cy, got 'dora'"),
        (dict(speakers=["ann"], without=["ann"]), "leave somebody"),
        (dict(speakers=[]), "leave somebody"),
    ],
)
def test_wishes_that_cannot_be_met_are_named(recordings, arguments, message):
    with pytest.raises(ValueError, match=message):
        spoken_digits(**arguments)


def test_a_changed_or_missing_recording_is_noticed(recordings, monkeypatch):
    lines = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(recordings.glob("*_ann_*"))
    )
    monkeypatch.setitem(digits_speech.SPEAKERS_SHA256, "ann", hashlib.sha256(lines.encode()).hexdigest())
    assert len(spoken_digits("all")) == 42
    (recordings / "0_ann_0.wav").unlink()
    with pytest.raises(ValueError, match="the 13 recordings of ann .* damaged, changed or missing"):
        spoken_digits("all")


def test_a_recording_at_another_rate_is_named(recordings):
    write_wav(recordings / "0_bob_0.wav", torch.zeros(10), 16_000)
    with pytest.raises(ValueError, match=r"0_bob_0\.wav must be at 8000 Hz, got 16000 Hz"):
        spoken_digits("test")


def test_a_recording_that_is_none_is_named(recordings):
    (recordings / "0_bob_0.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"0_bob_0\.wav is no readable WAV file"):
        spoken_digits("test")


def test_an_empty_folder_and_a_damaged_archive_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    (tmp_path / "fsdd").mkdir()
    (tmp_path / "fsdd" / "archive.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"archive\.zip is not the archive expected, and was deleted"):
        spoken_digits()
    assert not (tmp_path / "fsdd" / "archive.zip").exists()
    (tmp_path / "fsdd" / "recordings").mkdir()
    with pytest.raises(ValueError, match="must hold recordings named DIGIT_SPEAKER_INDEX.wav, got none"):
        spoken_digits()
