"""horse2zebra on folders laid out as the archive leaves them, and on archives."""

import shutil
import zipfile

import pytest
import torch
from PIL import Image

from lectures_lib.data.photographs import photographs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Brown horses and grey zebras of several sizes."""
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    for name, colour in (("trainA", (200, 100, 0)), ("trainB", (90, 90, 90)), ("testA", (0, 0, 255))):
        (tmp_path / "horse2zebra" / name).mkdir(parents=True)
        for n, size in enumerate([(40, 30), (30, 50), (8, 8)]):
            Image.new("RGB", size, colour).save(tmp_path / "horse2zebra" / name / f"n{n}.png")
    return tmp_path / "horse2zebra"


def test_photographs_are_squares_in_their_range_with_their_colours(folder):
    horses = list(photographs("horse", size=16))
    assert [horse.shape for horse in horses] == [(3, 16, 16)] * 3
    expected = torch.tensor([200, 100, 0]) / 127.5 - 1
    assert all(torch.allclose(horse[:, 8, 8], expected, atol=0.01) for horse in horses)


def test_the_middle_is_kept_and_the_sides_are_cut(folder):
    wide = Image.new("RGB", (30, 10), (0, 0, 0))
    wide.paste((255, 255, 255), (10, 0, 20, 10))
    wide.save(folder / "trainA" / "a.png")
    assert next(photographs("horse", size=10)).min() > 0.5


def test_kinds_and_splits_are_folders(folder):
    assert len(list(photographs("zebra", size=8, limit=2))) == 2
    assert next(photographs("horse", "test", size=8))[2].min() == 1
    grey = Image.new("L", (9, 9), 255)
    grey.save(folder / "testA" / "0.png")
    assert next(photographs("horse", "test", size=8)).shape == (3, 8, 8)


def test_an_archive_is_unpacked_into_its_folders_only(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "horse2zebra.zip", "w") as file:
        for path in folder.rglob("*.png"):
            file.write(path, f"horse2zebra/{path.parent.name}/{path.name}")
        file.write(folder / "trainA" / "n0.png", "../../outside/n0.png")
    shutil.rmtree(folder)
    assert len(list(photographs("zebra", size=8))) == 3
    assert not list(tmp_path.parent.glob("outside"))


def test_what_cannot_be_shown_is_named(folder, tmp_path):
    for arguments, message in (
        (dict(kind="camel"), "kind must be one of .* got 'camel'"),
        (dict(kind="horse", split="val"), "split must be one of .* got 'val'"),
        (dict(kind="horse", size=4), "size must be at least 8, got 4"),
        (dict(kind="horse", limit=0), "limit must be at least 1, got 0"),
        (dict(kind="zebra", split="test"), "testB must hold pictures, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            photographs(**arguments)
    (folder / "trainA" / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a\.png is no readable picture"):
        next(photographs("horse"))
    shutil.rmtree(folder)
    (tmp_path / "horse2zebra.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="not the archive expected, and was deleted"):
        photographs("horse")
    with zipfile.ZipFile(tmp_path / "horse2zebra.zip", "w") as file:
        file.writestr("readme.txt", "")
    with pytest.raises(ValueError, match="holds no photographs"):
        photographs("horse")
