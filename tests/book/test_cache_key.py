"""The cache's key: it knows the library and the data; jupyter-cache itself knows the cells."""

import os

import nbformat
import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn

from tools.build import executed
from tools.cache_key import cache_folder, cache_key, prune


@pytest.fixture
def root(tmp_path):
    for name in ("lectures_lib/models/gru.py", "lectures_lib/data/words.txt", "constraints.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one\n")
    (tmp_path / "book").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "lectures_lib/models/gru.py",
        "lectures_lib/models/new.py",
        "lectures_lib/data/words.txt",
        "constraints.txt",
        "book/checkpoints/gru.safetensors",
        "results/translation.json",
    ],
)
def test_touching_what_a_notebook_depends_on_changes_the_key(root, name):
    before = cache_key(root)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("two\n")
    assert cache_key(root) != before


def test_renaming_a_file_changes_the_key(root):
    before = cache_key(root)
    (root / "lectures_lib/models/gru.py").rename(root / "lectures_lib/models/lstm.py")
    assert cache_key(root) != before


@pytest.mark.parametrize("name", ["README.md", "book/chapter.ipynb", "lectures_lib/__pycache__/gru.pyc", "_build/x"])
def test_what_no_output_depends_on_leaves_the_key_alone(root, name):
    before = cache_key(root)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("two\n")
    assert cache_key(root) == before


def test_every_device_has_its_own_key(root, monkeypatch):
    monkeypatch.delenv("LECTURES_DEVICE", raising=False)
    default = cache_key(root)
    assert default == cache_key(root, device="")
    monkeypatch.setenv("LECTURES_DEVICE", "cuda")
    assert cache_key(root) == cache_key(root, device="cuda") != default


def test_prose_keeps_an_execution_and_a_changed_code_cell_loses_it(root):
    new = nbformat.v4
    code, prose = new.new_code_cell("1 + 1", execution_count=1), new.new_markdown_cell("Before.")
    notebook = new.new_notebook(cells=[prose, code])
    folder = cache_folder(root)
    get_cache(folder).cache_notebook_bundle(CacheBundleIn(notebook, uri="x", data={}))
    prose.source, code.execution_count = "After.", None
    nbformat.write(notebook, root / "book" / "chapter.ipynb")
    assert executed(root, cache_key(root), "book/chapter.ipynb") is not None
    code.source = "1 + 2"
    nbformat.write(notebook, root / "book" / "chapter.ipynb")
    assert executed(root, cache_key(root), "book/chapter.ipynb") is None


def test_only_the_two_newest_keys_keep_their_folders(root):
    for age, key in enumerate(["a", "b", "c", "d"]):
        cache_folder(root, key).mkdir(parents=True)
        os.utime(cache_folder(root, key), (1000 - age, 1000 - age))
    prune(root, "d")  # the oldest, but the one in use now
    assert sorted(p.name for p in (root / "_build" / "cache").iterdir()) == ["a", "d"]
