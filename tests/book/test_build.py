"""`make test` and `make book` on a toy book: one execution, and no failure ever passes for a success."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from jupyter_cache import get_cache

from tools import build
from tools.cache_key import cache_folder, cache_key

REPO = pathlib.Path(__file__).resolve().parents[2]
CHAPTER = "book/chapter.ipynb"
CONFIG = """
title: Toy
only_build_toc_files: true
exclude_patterns: [_build, ".*", "**/.*"]
execute: {execute_notebooks: cache, stderr_output: remove}
parse: {myst_enable_extensions: [dollarmath]}
sphinx:
  local_extensions: {sphinx_course: %s}
  config:
    nb_execution_raise_on_error: true
    suppress_warnings: [myst.domains, mystnb.unknown_mime_type]
    mathjax_path: mathjax/tex-mml-chtml.js
"""
TOC = "format: jb-book\nroot: book/intro\nchapters:\n  - file: book/chapter\n  - file: book/claims\n"
CELLS = (
    "from lectures_lib.evaluation.claims import record_claim\nfrom lectures_lib.visual.glue import glue",
    "from IPython.display import clear_output, display\n"
    "shown = display('before', display_id=True)\nprint('one')\nprint('two')",
    "shown.update('after')\nprint('gone')\nclear_output()\nprint('stays')\nprint('0%\\r100%')",
    "claim = record_claim('toy-gain', 'Two is more than one.', 2, 1, caveat='anything about three')\n"
    "glue('toy-number', f'{claim.measured:.1f}')",
    "40 + 2",
)
PROSE = "# A toy\n\nThe gain is {glue:text}`toy-number`, and $x^2$ is a formula."


def write_chapter(root, *cells, prose=PROSE, tags=None):
    new = nbformat.v4
    code = [new.new_code_cell(source) for source in cells]
    for index, names in (tags or {}).items():
        code[index].metadata.tags = names
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new.new_notebook(cells=[new.new_markdown_cell(prose), *code], metadata={"kernelspec": kernel})
    nbformat.write(notebook, root / CHAPTER)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "book" / "_static").mkdir(parents=True)
    (tmp_path / "_config.yml").write_text(CONFIG % (REPO / "tools"))
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tools.nbval_cache"]\n')
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "book" / "intro.md").write_text("# Intro\n\n[A chapter](chapter.ipynb)\n")
    (tmp_path / "book" / "claims.md").write_text("# Claims\n\n```{claims-table}\n```\n")
    shutil.copy(REPO / "book" / "_static" / "colab.svg", tmp_path / "book" / "_static")
    write_chapter(tmp_path, *CELLS)
    return tmp_path


def run(root, *command, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "PYTEST_", "LECTURES_"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env={**clean, "PYTHONPATH": str(REPO), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def make_book(root, **environment):
    return run(root, str(REPO / "tools" / "build.py"), "--root", str(root), **environment)


def make_test(root, *more):
    return run(root, "-m", "pytest", "book", "--nbval-lax", "--nbval-current-env", "-q", *more)


def executed(root):
    return build.executed(root, cache_key(root, device=""), CHAPTER)


def executions(root):
    folder = cache_folder(root, cache_key(root, device=""))
    return len(get_cache(folder).list_cache_records()) if folder.is_dir() else 0


def test_the_book_shows_what_the_tests_executed_and_executes_nothing_itself(root):
    status, said = make_test(root)
    assert status == 0, said
    assert "5 passed" in said
    status, said = make_book(root, LECTURES_REPOSITORY="https://github.com/owner/name")
    assert status == 0, said
    assert "all 1 executed already" in said
    page = (root / "_build/html/book/chapter.html").read_text()
    assert "The gain is 2.0, and" in re.sub("<[^>]+>", "", page)
    assert "https://colab.research.google.com/github/owner/name/blob/colab/book/chapter.ipynb" in page
    assert not re.search(r"<script[^>]*(src=\"(https?:|[^\"]*thebe)|>[^<]*THEBE)", page)
    assert (root / "_build/colab" / CHAPTER).is_file()
    claims = (root / "_build/html/book/claims.html").read_text()
    assert 'href="chapter.html"' in claims
    assert "anything about three" in claims
    (claim,) = json.loads((root / "_build/claims.json").read_text())
    assert (claim["id"], claim["chapter"], claim["holds"]) == ("toy-gain", "book/chapter", True)
    (timing,) = json.loads((root / "_build/notebooks.json").read_text())
    assert timing["notebook"] == CHAPTER
    assert 0 < timing["seconds"] < 90
    assert 20 < timing["peak_mib"] < 1000

    # Nothing changed: nothing runs; with no address the badge and the copies go.
    status, said = make_book(root)
    assert status == 0, said
    assert "all 1 executed already" in said
    assert "colab.research" not in (root / "_build/html/book/chapter.html").read_text()
    assert not (root / "_build/colab").exists()

    # Sphinx by itself refuses to run what has not been tested.
    write_chapter(root, *CELLS, "'untested'")
    with pytest.raises(build.BuildError):
        build.build_pages(root)
    assert executed(root) is None


def test_outputs_are_those_a_reader_of_jupyter_would_see(root):
    write_chapter(root, *CELLS, "1 / 0", tags={5: ["raises-exception"]})
    status, said = make_test(root)
    assert status == 0, said
    notebook, _ = executed(root)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4, 5, 6]
    shown, printed = cells[1].outputs
    assert shown.data["text/plain"] == "'after'"  # updated by a later cell
    assert printed.text == "one\ntwo\n"  # two messages, one stream
    assert [output.text for output in cells[2].outputs] == ["stays\n100%\n"]
    assert cells[4].outputs[0].execution_count == 5
    assert cells[5].outputs[0].ename == "ZeroDivisionError"


def test_widgets_keep_their_state_and_what_they_captured(root):
    write_chapter(
        root,
        "import ipywidgets\nfrom IPython.display import display\ntaken = ipywidgets.Output()\n"
        "with taken:\n    print('inside')\nprint('outside')",
        "ipywidgets.VBox([ipywidgets.IntSlider(value=7, description='length'), taken])",
    )
    status, said = make_test(root)
    assert status == 0, said
    notebook, _ = executed(root)
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    assert [s["state"]["value"] for s in states if s["model_name"] == "IntSliderModel"] == [7]
    (taken,) = [s["state"]["outputs"] for s in states if s["model_name"] == "OutputModel"]
    assert [output["text"] for output in taken] == ["inside\n"]
    assert [output.text for output in notebook.cells[0].outputs] == ["outside\n"]


def test_a_failing_notebook_fails_both_commands_the_first_time_and_the_second(root):
    write_chapter(root, "1", "raise RuntimeError('broken')")
    for _ in range(2):
        status, said = make_book(root)
        assert status != 0
        assert "not executed without error: book/chapter.ipynb" in said
        assert "RuntimeError" in said
    for _ in range(2):
        status, said = make_test(root)
        assert status != 0
        assert "1 failed" in said
    assert executed(root) is None


def test_a_failure_throws_away_an_older_execution_of_the_same_cells(root):
    flag = root / "flag"
    write_chapter(root, f"import pathlib\nassert not pathlib.Path({str(flag)!r}).exists()", "1")
    assert make_test(root)[0] == 0
    assert executed(root) is not None
    flag.touch()
    assert make_test(root)[0] != 0
    assert executed(root) is None


def test_a_run_of_some_cells_only_is_not_stored(root):
    write_chapter(root, "1", "2", "3")
    status, said = make_test(root, "--deselect", f"{CHAPTER}::Cell 1")
    assert status == 0, said
    assert "2 passed, 1 deselected" in said
    assert executions(root) == 0


def test_a_notebook_that_skips_a_cell_is_refused(root):
    write_chapter(root, "1", "2", tags={1: ["nbval-skip"]})
    status, said = make_book(root)
    assert status != 0
    assert "not executed without error: book/chapter.ipynb" in said


def test_a_claim_that_does_not_hold_fails_the_build_every_time_and_is_named(root):
    write_chapter(root, CELLS[0], CELLS[3].replace("2, 1", "1, 2"))
    for _ in range(2):
        status, said = make_book(root)
        assert status != 0
        assert "claim 'toy-gain' of book/chapter does not hold: measured 1, claimed ≥ 2" in said


def test_a_claim_that_fails_by_this_machines_clock_alone_is_noted_and_the_book_is_built(root):
    write_chapter(root, CELLS[0], CELLS[3].replace("2, 1", "1, 2, seeds=[3], by_clock=True"))
    status, said = make_book(root)
    assert status == 0, said
    assert "note: claim 'toy-gain' of book/chapter does not hold by this machine's clock: measured 1" in said


def test_a_warning_and_a_broken_link_fail_the_build_every_time(root):
    write_chapter(root, "1", prose="# A toy\n\n{ref}`nowhere`")
    for _ in range(2):
        status, said = make_book(root)
        assert status != 0
        assert "nowhere" in said
    write_chapter(root, "1", prose='# A toy\n\n<a href="#not-here">gone</a>')
    status, said = make_book(root)
    assert status != 0
    assert "links lead nowhere" in said


def test_time_and_memory_far_over_the_budget_fail_and_a_little_over_does_not(capsys):
    def faults(seconds, mib):
        return build.check_budget([{"notebook": "a.ipynb", "seconds": seconds, "peak_mib": mib}])

    assert faults(80, 2000) == []
    assert capsys.readouterr().out == ""
    assert faults(100, 2000) == []
    assert "a.ipynb takes 100 s" in capsys.readouterr().out
    assert "a.ipynb takes 136 s" in faults(136, 100)[0]
    assert "3073 MiB" in faults(10, 3073)[0]
