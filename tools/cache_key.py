"""What an executed notebook depends on besides its own cells, as one key.

jupyter-cache knows a notebook by its kernel and its code cells. It does not know that the library, the exact
versions, the checkpoints or the device changed, and would hand out stale outputs. So the cache's *folder* carries a
hash of all of those.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import sys

# Relative to the book's root: files and folders whose content a notebook's outputs depend on.
INPUTS = ("constraints.txt", "lectures_lib", "book/checkpoints", "results")
KEPT = 2


def cache_key(root: pathlib.Path, device: str | None = None, more: tuple[str, ...] = ()) -> str:
    """The key of the tree under `root` on `device` (default: the environment's LECTURES_DEVICE).

    `more` names further files and folders to depend on.
    """
    device = os.environ.get("LECTURES_DEVICE", "") if device is None else device
    digest = hashlib.sha256(f"python {sys.version_info[0]}.{sys.version_info[1]}, device {device!r}\n".encode())
    for name in INPUTS + more:
        for path in _files(root / name):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def cache_folder(root: pathlib.Path, key: str | None = None) -> pathlib.Path:
    """Where the executed notebooks of this key lie."""
    return root / "_build" / "cache" / (key or cache_key(root))


def prune(root: pathlib.Path, key: str) -> None:
    """Delete the folders of old keys, but for the newest: switching back and forth between two states stays cheap."""
    current = cache_folder(root, key)
    current.mkdir(parents=True, exist_ok=True)
    os.utime(current)
    folders = sorted(current.parent.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders[KEPT:]:
        shutil.rmtree(folder)


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    if path.is_file():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file()
        and not any(part == "__pycache__" or part.startswith(".") for part in file.relative_to(path).parts)
    )
