"""The cache of data files: look there first, download what is missing, check every byte.

The folder is `LECTURES_DATA` where that is set, else the user's cache directory.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pooch


def data_folder() -> Path:
    """Where data files are kept between runs."""
    named = os.environ.get("LECTURES_DATA", "")
    return Path(named) if named else Path(pooch.os_cache("lectures-lib"))


def fetch(name: str, *, url: str, sha256: str | None) -> Path:
    """The path of a data file, which is downloaded if the cache does not have it.

    `name` is its place in the cache, such as "multi30k/train.de.gz". With a `sha256` the file is checked, be it cached
    or fresh; a download that breaks off or is not what was expected leaves nothing behind. `sha256=None` is for the
    rare file that grows over time.

    Raises:
        FileNotFoundError: the file is not there and cannot be downloaded.
        ValueError: the file is there but damaged.
    """
    path = data_folder() / name
    if path.is_file():
        _check(path, sha256)
        return path
    try:
        # pooch writes to a temporary file, compares the hash, and moves it into place only if they agree.
        pooch.retrieve(url, f"sha256:{sha256}" if sha256 else None, fname=path.name, path=path.parent)
    except ValueError as error:
        raise ValueError(f"the download of {name} is not what it should be: {error}") from None
    except Exception as error:
        raise FileNotFoundError(
            f"{path} is missing and could not be downloaded from {url} ({error}); "
            "put the file there, or set LECTURES_DATA to a folder that has it"
        ) from error
    return path


def _check(path: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{path} is damaged: its SHA-256 is {found}, not {sha256}; delete it to download it again")
