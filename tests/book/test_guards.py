"""Guards over the tree: notebooks as they should be stored, the rooms' order, the code's form, no machine's traces."""

import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys

import nbformat
import pytest
import yaml

from tools import build, colab

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "book").rglob("*.ipynb")
    if not any(part.startswith((".", "_")) for part in path.relative_to(ROOT).parts)
)
BIN = pathlib.Path(sys.executable).parent
each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def read(name):
    return nbformat.read(ROOT / name, as_version=4)


def code_cells(name):
    return [cell for cell in read(name).cells if cell.cell_type == "code"]


def words(name):
    return sum(len(cell.source.split()) for cell in read(name).cells if cell.cell_type == "markdown")


def tool(name, *arguments):
    done = subprocess.run(
        [BIN / name, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


@each_notebook
def test_notebooks_are_stored_without_outputs(name):
    for cell in code_cells(name):
        assert cell.outputs == []
        assert cell.execution_count is None
    status, said = tool("nbstripout", "--verify", name)
    assert status == 0, f"run `nbstripout {name}`: {said}"


@each_notebook
def test_the_first_code_cell_is_the_set_up_cell_that_all_share(name):
    assert code_cells(name)[0].source.strip() == colab.SETUP_CELL


@each_notebook
def test_code_comes_in_small_cells(name):
    lines = [len(cell.source.splitlines()) for cell in code_cells(name)]
    assert max(lines) <= 40
    assert statistics.median(lines) <= 10


@each_notebook
def test_a_chapter_has_prose(name):
    assert words(name) >= 500
    if not 900 <= words(name) <= 2000:
        print(f"note: {name} has {words(name)} words; a chapter has 900 to 2,000")


@each_notebook
def test_every_code_cell_can_run_under_test(name):
    for cell in code_cells(name):
        assert "nbval-skip" not in cell.metadata.get("tags", [])
        assert "NBVAL_SKIP" not in cell.source


def test_the_table_of_contents_lists_every_notebook_and_only_what_exists():
    assert sorted(build.notebooks_of_toc(ROOT)) == NOTEBOOKS
    text = yaml.safe_dump(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    for name in re.findall(r"(?:file|root): (\S+)", text):
        assert any((ROOT / f"{name}{ending}").is_file() for ending in (".md", ".ipynb")), name


def test_the_code_passes_ruff():
    status, said = tool("ruff", "check", "--no-cache", ".")
    assert status == 0, said
    status, said = tool("ruff", "format", "--no-cache", "--check", ".")
    assert status == 0, said


def test_every_room_uses_only_the_rooms_below_it():
    status, said = tool("lint-imports", "--no-cache")
    assert status == 0, said


def test_signatures_are_checked_while_testing(request):
    # What this option does to a wrong shape is jaxtyping's business; that it is on is ours.
    assert request.config.getoption("jaxtyping_packages") == "lectures_lib,beartype.beartype"


def test_no_tracked_file_names_a_package_registry_or_a_path_of_one_machine():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is no list of tracked files")
    files = subprocess.check_output(
        [git, "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    hosts = ["py" + "pi.org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian"]
    paths = ["/wo" + "rk/", "/fa" + "rm/", "/ro" + "ot/", "/ho" + "me/"]
    bad = re.compile("|".join(map(re.escape, hosts)) + r"|(?<![\w.])(?:" + "|".join(paths) + ")")
    for name in files.splitlines():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".yml", ".json", ".ipynb", ".cff", ""} and path.is_file():
            found = bad.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{name} contains {found.group(0)!r}"


def test_what_the_build_serves_is_locked_without_addresses():
    lock = json.loads((ROOT / "tools/web/package-lock.json").read_text(encoding="utf-8"))
    packages = [entry for path, entry in lock["packages"].items() if path]
    assert packages
    assert all("integrity" in entry and "resolved" not in entry for entry in packages)


def test_actions_are_pinned_by_commit_and_may_only_read_by_default():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        used = re.findall(r"uses: *(\S+)(.*)", text)
        assert used
        for action, comment in used:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
            assert re.search(r"# v\d", comment), action
        assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
