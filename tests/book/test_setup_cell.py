"""The set-up cell, in a real virtual environment that looks like Colab: other, older versions of nearly everything."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile

import pytest

from tools import address, colab

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLAB = {"torch": "2.6.0+cu124", "numpy": "1.26.4", "ipython": "7.34.0", "ipywidgets": "7.7.1"}


def dependencies():
    """Every dependency of the library with the lowest version it accepts."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = tomllib.loads(text)["project"]["dependencies"]
    return dict(line.split(">=") for line in lines)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A git repository with what belongs to the package."""
    folder = tmp_path_factory.mktemp("clone") / "course"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("lectures_lib", "results", "book/checkpoints"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "All"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """The interpreter of a virtual environment with pip, where setuptools can be imported to build metadata."""
    setuptools = pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    tools = folder / "tools"
    tools.mkdir()
    (tools / "setuptools").symlink_to(pathlib.Path(setuptools.__file__).parent)
    # First on the path: before Python 3.12 a new environment brings an old setuptools.
    (packages(python) / "build-tools.pth").write_text(f"import sys; sys.path.insert(0, {str(tools)!r})\n")
    return python


@pytest.fixture
def colab_python(bare_python):
    """The same with Colab's versions in it: metadata is all that pip looks at."""
    made = []
    for name, version in {**dependencies(), **COLAB}.items():
        info = packages(bare_python) / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "INSTALLER").write_text("pip\n")
        made.append(info)
    yield bare_python
    for info in made:
        shutil.rmtree(info, ignore_errors=True)


def packages(python):
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return pathlib.Path(subprocess.check_output([python, "-c", where], text=True).strip())


def run_cell(python, folder, source, **environment):
    cell = folder / "cell.py"
    cell.write_text(source)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    report = folder / "report.json"
    done = subprocess.run(
        [python, cell],
        cwd=folder,
        env={**clean, "PIP_DRY_RUN": "1", "PIP_REPORT": str(report), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    install = json.loads(report.read_text())["install"] if report.is_file() else []
    return done, {entry["metadata"]["name"]: entry["metadata"]["version"] for entry in install}


def filled(clone):
    return colab.fill(colab.SETUP_CELL, clone.as_uri(), address.commit(clone))


NO_INDEX = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",
}  # pip reads this 0 as "no isolation"


def test_the_cell_installs_the_library_and_touches_nothing_that_is_there(clone, colab_python, tmp_path):
    done, install = run_cell(colab_python, tmp_path, filled(clone), **NO_INDEX)
    assert done.returncode == 0, done.stdout
    assert install == {"lectures-lib": "0.1.0"}


def test_the_cell_asks_pip_only_for_what_is_missing(clone, colab_python, tmp_path):
    (info,) = packages(colab_python).glob("pooch-*.dist-info")
    shutil.rmtree(info)
    done, install = run_cell(colab_python, tmp_path, filled(clone), **NO_INDEX)
    assert done.returncode != 0
    assert install == {}
    assert "pooch" in done.stdout
    assert "torch" not in done.stdout.split("ERROR", 1)[1]


def test_a_version_too_old_is_kept_and_pip_says_so(clone, colab_python, tmp_path):
    (info,) = packages(colab_python).glob("numpy-*.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.20.0\n")
    done, install = run_cell(colab_python, tmp_path, filled(clone), **NO_INDEX)
    assert done.returncode != 0
    assert install == {}
    assert "conflicting dependencies" in done.stdout


def test_where_the_library_is_the_cell_does_nothing(tmp_path):
    (tmp_path / "lectures_lib").mkdir()
    (tmp_path / "lectures_lib" / "__init__.py").touch()
    source = colab.fill(colab.SETUP_CELL, "https://nowhere.invalid/a/b", "HEAD")
    done, install = run_cell(sys.executable, tmp_path, source)
    assert (done.returncode, done.stdout, install) == (0, "", {})


def test_with_no_address_the_cell_says_what_to_do(colab_python, tmp_path):
    done, install = run_cell(colab_python, tmp_path, colab.SETUP_CELL)
    assert done.returncode != 0
    assert "On your machine: `pip install -e .` in the book's folder. On Colab: " in done.stdout
    assert install == {}


def test_the_cell_is_short():
    lines = colab.SETUP_CELL.splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 82


def test_filling_changes_one_line_and_needs_exactly_one_place():
    source = colab.fill(colab.SETUP_CELL, "https://github.com/owner/name", "abc")
    changed = [new for old, new in zip(colab.SETUP_CELL.splitlines(), source.splitlines(), strict=True) if old != new]
    assert changed == ['REPOSITORY, COMMIT = "https://github.com/owner/name", "abc"']
    with pytest.raises(ValueError, match="exactly once"):
        colab.fill(source, "https://github.com/owner/name", "abc")


def test_the_wheel_holds_every_room_the_results_and_the_checkpoints(clone, tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, clone]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {p.relative_to(ROOT).as_posix() for p in (ROOT / "lectures_lib").rglob("*.py")}
    wanted |= {f"lectures_lib/results/{p.name}" for p in (ROOT / "results").glob("*.json")}
    wanted |= {f"lectures_lib/checkpoints/{p.name}" for p in (ROOT / "book" / "checkpoints").glob("*.safetensors")}
    assert wanted <= held


@pytest.fixture
def no_address(monkeypatch, tmp_path):
    for name in ("LECTURES_REPOSITORY", "GITHUB_REPOSITORY", "GITHUB_SERVER_URL", "GITHUB_SHA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_address_comes_from_the_environment_else_the_fork_else_pyproject_else_nowhere(no_address, monkeypatch):
    assert address.repository(no_address) == ""
    (no_address / "pyproject.toml").write_text('[tool.lectures]\nrepository = "https://a.org/b/c.git"\n')
    assert address.repository(no_address) == "https://a.org/b/c"
    monkeypatch.setenv("GITHUB_REPOSITORY", "fork/course")
    assert address.repository(no_address) == "https://github.com/fork/course"
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://git.example.org")
    assert address.repository(no_address) == "https://git.example.org/fork/course"
    assert address.colab_page(address.repository(no_address), "book/a.ipynb") == ""
    monkeypatch.setenv("LECTURES_REPOSITORY", "https://github.com/owner/name/")
    assert address.repository(no_address) == "https://github.com/owner/name"
    monkeypatch.setenv("LECTURES_REPOSITORY", "git@github.com:owner/name")
    with pytest.raises(ValueError, match="repository must be https"):
        address.repository(no_address)


def test_the_commit_is_the_one_that_is_built(no_address, clone, monkeypatch):
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=clone, text=True).strip()
    assert address.commit(clone) == head
    monkeypatch.setenv("GITHUB_SHA", "f" * 40)
    assert address.commit(clone) == "f" * 40
