"""Copies of the notebooks for Colab: identical but for the line of the set-up cell that says where the library is."""

from __future__ import annotations

import pathlib
import shutil

import nbformat

SETUP_CELL = (pathlib.Path(__file__).parent / "setup_cell.txt").read_text(encoding="utf-8").strip()
PLACEHOLDER = 'REPOSITORY, COMMIT = "", ""'


def fill(source: str, address: str, commit: str) -> str:
    """The set-up cell's source with address and commit in it. Errors: `ValueError` without exactly one placeholder."""
    if source.count(PLACEHOLDER) != 1:
        raise ValueError(f"source must hold {PLACEHOLDER!r} exactly once; got {source!r}")
    return source.replace(PLACEHOLDER, f'REPOSITORY, COMMIT = "{address}", "{commit}"')


def write_copies(root: pathlib.Path, notebooks: list[str], address: str, commit: str) -> list[pathlib.Path]:
    """Write `_build/colab/NOTEBOOK` for every notebook (paths from the root); with no address remove them all."""
    folder = root / "_build" / "colab"
    shutil.rmtree(folder, ignore_errors=True)
    if not address:
        return []
    written = []
    for name in notebooks:
        notebook = nbformat.read(root / name, as_version=4)
        cell = next((c for c in notebook.cells if c.cell_type == "code"), None)
        if cell is not None and PLACEHOLDER in cell.source:
            cell.source = fill(cell.source, address, commit)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)
        written.append(target)
    return written
