"""Result files: what was measured, and everything needed to measure it again."""

from __future__ import annotations

import datetime
import functools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from lectures_lib.device import choose_device


def write_result(
    path: str | Path, *, name: str, seed: int | list[int], settings: dict[str, Any], measured: dict[str, Any]
) -> None:
    """Write a result file, whole or not at all."""
    record = {
        "name": name,
        "command": command(),
        "commit": commit(),
        "seed": seed,
        "hardware": hardware(),
        "date": datetime.date.today().isoformat(),
        "settings": settings,
        "measured": measured,
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def load_result(name: str, folder: str | Path | None = None) -> dict[str, Any]:
    """A committed result by its name, for a chapter to quote.

    Looks in `folder`, else where the library has them: in `results/` of the repository, or in the installed package.

    Raises:
        FileNotFoundError: there is no such result; the message says how to make one.
        ValueError: the file is damaged.
    """
    folders = [Path(folder)] if folder else [Path(__file__).parents[n] / "results" for n in (2, 1)]
    path = next((f / f"{name}.json" for f in folders if (f / f"{name}.json").is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"there is no result {name!r} in {folders[0]}: "
            "run the experiment that writes it (python -m lectures_lib.experiments)"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def command() -> str:
    """The command line as somebody else would type it."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    program = f"-m {module.name.removesuffix('.__main__')}" if module else Path(sys.argv[0]).name
    return " ".join(["python", program, *sys.argv[1:]])


@functools.cache
def commit() -> str:
    """The commit of the code at the first call, marked where tracked files of the library differed from it."""
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "lectures_lib")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + (" with uncommitted changes" if changed else "")


def hardware() -> str:
    """Processor or GPU, cores, and the version of PyTorch."""
    device = choose_device()
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        where = (
            f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores, {_cpu()}"
        )
    return f"{where}, torch {torch.__version__.split('+')[0]}, Python {platform.python_version()}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    return subprocess.run(
        ["git", *arguments], cwd=here.parents[1], capture_output=True, text=True, check=True
    ).stdout.strip()
