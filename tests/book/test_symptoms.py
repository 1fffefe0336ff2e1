"""The page of symptoms leads to headings that exist."""

import re
from pathlib import Path

import nbformat
import pytest

BOOK = Path(__file__).parents[2] / "book"
LINKS = re.findall(r"\]\(([\w./]+)#([\w-]+)\)", (BOOK / "symptoms.md").read_text(encoding="utf-8"))


def anchors(path):
    """Of every heading, as the build makes them: lower case, words joined by hyphens, everything else left out."""
    if path.suffix == ".md":
        text = path.read_text(encoding="utf-8")
    else:
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    titles = re.findall(r"^#{1,3} (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_symptoms_of_both_halves_of_the_lecture():
    assert len(LINKS) >= 20
    assert {name.split("/")[0] for name, _ in LINKS} >= {"sequences", "transformer", "pretraining", "gans"}


@pytest.mark.parametrize(("name", "anchor"), sorted(set(LINKS)))
def test_a_symptom_leads_to_a_heading(name, anchor):
    assert anchor in anchors(BOOK / name)
