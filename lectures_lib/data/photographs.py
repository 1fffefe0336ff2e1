"""horse2zebra: photographs of horses and of zebras, no two of which belong together."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lectures_lib.data.downloads import data_folder, fetch

URL = "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/horse2zebra.zip"
FOLDERS = {"horse": "A", "zebra": "B"}
SPLITS = ("train", "test")
SUFFIXES = (".jpg", ".jpeg", ".png")


def photographs(
    kind: str, split: str = "train", *, size: int = 64, limit: int | None = None
) -> Iterator[Float[Tensor, "3 size size"]]:
    """Photographs of "horse" or "zebra" in the order of their names, each read when it is asked for, in [-1, 1].

    The shorter side is scaled to `size` pixels and the middle is cut out; the paper has 256. At most `limit` of them.

    Raises:
        ValueError: no such kind or split, `size` below 8, `limit` below 1, an empty folder or a damaged archive; later,
            a file that is no picture (it is named).
        FileNotFoundError: the photographs are neither in the cache nor to be downloaded.

    Source: Zhu et al. 2017, section 5.2; pictures of ImageNet (Deng et al. 2009), for research.
    """
    if kind not in FOLDERS:
        raise ValueError(f"kind must be one of {tuple(FOLDERS)}, got {kind!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    for name, value, least in (("size", size, 8), ("limit", limit, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    folder = _folder() / f"{split}{FOLDERS[kind]}"
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder} must hold pictures, got none")
    return (_read(path, size) for path in paths[:limit])


def _read(path: Path, size: int) -> Tensor:
    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is no readable picture: {error}") from None
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    cut = image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    return torch.from_numpy(np.array(cut, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1)


def _folder() -> Path:
    folder = data_folder() / "horse2zebra"
    if not folder.is_dir():
        # The authors publish no checksum: what can be checked is that the archive is whole and holds what it should.
        _unpack(fetch("horse2zebra.zip", url=URL, sha256=None), folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    """The pictures of the four folders, each read by its name and written by us: nothing lands outside."""
    temporary = folder.with_name("horse2zebra.part")
    try:
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                path = Path(name)
                if path.parent.name in {s + f for s in SPLITS for f in FOLDERS.values()} and path.suffix in SUFFIXES:
                    (temporary / path.parent.name).mkdir(parents=True, exist_ok=True)
                    (temporary / path.parent.name / path.name).write_bytes(file.read(name))
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise ValueError(f"{archive} is not the archive expected, and was deleted: {error}") from None
    if not temporary.is_dir():
        archive.unlink()
        raise ValueError(f"{archive} holds no photographs, and was deleted")
    temporary.replace(folder)
