"""Where the book's repository is, for the badges and the set-up cell on Colab.

It is written down in one place, `[tool.lectures] repository` in pyproject.toml, and a fork's continuous integration
fills in its own. With none configured the book has no badges and the set-up cell says what to do.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import tomllib


def repository(root: pathlib.Path) -> str:
    """The repository's https address without a trailing slash or `.git`, or "".

    LECTURES_REPOSITORY, else GITHUB_SERVER_URL with GITHUB_REPOSITORY (GitHub Actions), else pyproject.toml.
    Errors: `ValueError` for anything but https://HOST/OWNER/NAME.
    """
    address = os.environ.get("LECTURES_REPOSITORY", "")
    if not address and os.environ.get("GITHUB_REPOSITORY"):
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        address = f"{server}/{os.environ['GITHUB_REPOSITORY']}"
    if not address and (root / "pyproject.toml").is_file():
        settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        address = settings.get("tool", {}).get("lectures", {}).get("repository", "")
    address = address.rstrip("/").removesuffix(".git")
    if address and not re.fullmatch(r"https://[\w.-]+/[\w.-]+/[\w.-]+", address):
        raise ValueError(f"repository must be https://HOST/OWNER/NAME; got {address!r}")
    return address


def commit(root: pathlib.Path) -> str:
    """The commit that is being built: GITHUB_SHA, else git's HEAD, else ""."""
    if os.environ.get("GITHUB_SHA"):
        return os.environ["GITHUB_SHA"]
    try:
        answer = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()


def colab_page(address: str, notebook: str) -> str:
    """The address that opens `notebook` (a path from the root) on Colab, or "" for a host that Colab does not know."""
    if not address.startswith("https://github.com/"):
        return ""
    owner_and_name = address.removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{owner_and_name}/blob/colab/{notebook}"
