"""The course's Sphinx extension: pages from tested executions, ledgers as tables, the Colab badge, no other host."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

# Sphinx loads this file by its path (sphinx.local_extensions in _config.yml).
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from tools import address
from tools.cache_key import cache_folder, cache_key

# Before the theme's FontAwesome: it would otherwise replace the icons inside widgets, which then fail without a kernel.
FONT_AWESOME = "window.FontAwesomeConfig = {autoReplaceSvg: 'nest'};"


class _Table(SphinxDirective):
    """A table made from a file that the build left; an empty or missing file gives a sentence."""

    headings: tuple[str, ...]
    nothing: str

    def run(self) -> list[nodes.Node]:
        root = pathlib.Path(self.env.srcdir)
        rows = self.rows(root)
        if not rows:
            return [nodes.paragraph("", self.nothing)]
        group = nodes.tgroup("", cols=len(self.headings))
        group += [nodes.colspec(colwidth=1) for _ in self.headings]
        group += nodes.thead("", self._row([nodes.Text(heading) for heading in self.headings]))
        group += nodes.tbody("", *rows)
        table = nodes.table("", group, classes=["course-table"])
        return [nodes.container("", table, classes=["course-table-frame"])]

    def rows(self, root: pathlib.Path) -> list[nodes.row]:
        raise NotImplementedError

    def _row(self, cells: list[nodes.Node], identifier: str = "") -> nodes.row:
        row = nodes.row("", *[nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells])
        if identifier:
            row["ids"].append(identifier)
        return row


class ClaimsTable(_Table):
    """`{claims-table}`: the ledger of claims, `_build/claims.json`."""

    headings = (
        "Claim",
        "What is claimed",
        "Measured",
        "Threshold",
        "Holds",
        "What it does not show",
    )
    nothing = "No chapter has recorded a claim yet."

    def rows(self, root: pathlib.Path) -> list[nodes.row]:  # noqa: D102
        path = root / "_build" / "claims.json"
        self.env.note_dependency(str(path))
        claims = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return [self._claim(claim) for claim in claims]

    def _claim(self, claim: dict[str, Any]) -> nodes.row:
        unit = f" {claim['unit']}" if claim["unit"] else ""
        spread = " [{:.4g}, {:.4g}]".format(*claim["interval"]) if claim["interval"] else ""
        sign = "≥" if claim["better"] == "above" else "≤"
        link = addnodes.pending_xref(
            "", nodes.literal("", claim["id"]), refdomain="std", reftype="doc", refexplicit=True,
            reftarget="/" + claim["chapter"], refdoc=self.env.docname, refwarn=True,
        )  # fmt: skip
        texts = (
            claim["statement"],
            f"{claim['measured']:.4g}{spread}{unit}{_over_seeds(claim)}",
            f"{sign} {claim['threshold']:.4g}{unit}",
            "yes" if claim["holds"] else "not by this build's clock" if claim.get("by_clock") else "NO",
            claim["caveat"] or "–",
        )
        return self._row([link, *map(nodes.Text, texts)], identifier=f"claim-{claim['id']}")


class ResultsTable(_Table):
    """`{results-table}`: what the experiments measured, `results/*.json`."""

    headings = ("Experiment", "Measured", "How to measure it again")
    nothing = "No experiment has left a result yet."

    def rows(self, root: pathlib.Path) -> list[nodes.row]:  # noqa: D102
        self.env.note_dependency(str(root / "results"))
        rows = []
        for path in sorted((root / "results").glob("*.json")):
            if path.name == SpeedTable.source:
                continue
            self.env.note_dependency(str(path))
            result = json.loads(path.read_text(encoding="utf-8"))
            measured = "; ".join(f"{name} {text}" for name, text in _measured(result["measured"]))
            how = nodes.inline("", "", nodes.literal("", result["command"]))
            seed = _short(result["seed"])
            how += nodes.Text(f" at commit {str(result['commit'])[:12]}; seed {seed}; {result['hardware']}; ")
            how += nodes.Text(str(result["date"]))
            rows.append(self._row([nodes.Text(result["name"]), nodes.Text(measured), how]))
        return rows


class SpeedTable(_Table):
    """`{speed-table}`: our times beside a peer's, `results/benchmarks.json`."""

    headings = ("Task", "Ours", "Peer", "Ratio, above 1 where ours is faster", "Goal", "What stops us")
    nothing = "No times have been recorded yet: `python -m benchmarks --record` does it."
    source = "benchmarks.json"

    def rows(self, root: pathlib.Path) -> list[nodes.row]:  # noqa: D102
        path = root / "results" / self.source
        self.env.note_dependency(str(path))
        if not path.is_file():
            return []
        return [self._speed(*item) for item in json.loads(path.read_text(encoding="utf-8"))["measured"].items()]

    def _speed(self, task: str, row: dict[str, Any]) -> nodes.row:
        beside = row["peer"] is not None
        goal = f"{row['goal']:.3g}, {'reached' if row['reached'] else 'missed'}" if "goal" in row else "–"
        texts = (
            f"{row['ours']:.4g} {row['unit']}, spread {row['spread']:.2g}",
            f"{row['peer']:.4g} {row['unit']}" if beside else "–",
            f"{row['ratio']:.2f}" if beside else "–",
            goal,
            row.get("reason") or "–",
        )
        return self._row([nodes.literal("", task), *map(nodes.Text, texts)], identifier=f"speed-{task}")


class ParityTable(_Table):
    """`{parity-table}`: how far the library is from independent implementations, `_build/parity.json`."""

    headings = ("Ours", "Beside", "What is compared", "Largest difference", "In the gradients", "Precision")
    nothing = "Nothing has been compared yet."

    def rows(self, root: pathlib.Path) -> list[nodes.row]:  # noqa: D102
        path = root / "_build" / "parity.json"
        self.env.note_dependency(str(path))
        checks = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        return [self._check(check) for check in checks]

    def _check(self, check: dict[str, Any]) -> nodes.row:
        texts = (
            check["reference"],
            check["compared"],
            _difference(check["forward"], check["scale"]),
            _difference(check["gradient"], check["gradient_scale"]),
            check["dtype"],
        )
        cells = [nodes.literal("", check["model"]), *map(nodes.Text, texts)]
        return self._row(cells, identifier=f"parity-{check['id']}")


def _difference(value: float | None, scale: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1e} of {scale:.3g}" if value else f"0 of {scale:.3g}"


LONGEST_CELL = 100  # characters; a model's sample is longer


def _measured(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and texts of what fits into a table: numbers, words, numbers over seeds. The file has the rest."""
    for name, value in values.items():
        if isinstance(value, int | float | str):
            if len(str(value)) <= LONGEST_CELL:
                yield name.replace("_", " "), _short(value)
        elif isinstance(value, dict):
            inside = "" if name == "claims" else name.replace("_", " ") + " "
            yield from ((inside + inner, text) for inner, text in _measured(value))
        elif value and all(isinstance(part, int | float) for part in value):
            yield name, f"{min(value):.4g} to {max(value):.4g}"


def _over_seeds(claim: dict[str, Any]) -> str:
    seeds = claim.get("seeds")
    if not seeds:
        return ""
    spread = f"; {min(seeds):.4g} to {max(seeds):.4g} over {len(seeds)} seeds"
    if claim.get("seeds_mean") is None:
        return spread
    return spread + ", mean {:.4g} [{:.4g}, {:.4g}]".format(*claim["seeds_mean"])


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def configure(app: Sphinx, config: Any) -> None:
    """Point myst-nb at the executions of the present key; a new key makes Sphinx read every page again."""
    root = pathlib.Path(app.srcdir)
    config.lectures_cache_key = cache_key(root)
    config.lectures_repository = address.repository(root)
    config.nb_execution_mode = "cache"
    config.nb_execution_cache_path = str(cache_folder(root, config.lectures_cache_key))


def refuse_to_execute() -> None:
    """A notebook without a cached execution is an error here: what is published is what was tested."""
    from myst_nb.core.execute import cache

    def refuse(notebook: Any, **_: Any) -> None:
        raise RuntimeError(
            "a notebook has no tested execution for this library, data and device: run `make book`, which executes it"
        )

    cache.single_nb_execution = refuse


def drop_thebe(app: Sphinx) -> None:
    """sphinx-thebe declares a constant twice, an error on every page, and names another host: unhook what it adds."""
    for listeners in app.events.listeners.values():
        listeners[:] = [
            listener for listener in listeners if not listener.handler.__module__.startswith("sphinx_thebe")
        ]


def add_badge(app: Sphinx, document: nodes.document) -> None:
    """Under the title of a chapter, the link that opens its filled copy on Colab, if its address is known."""
    path = pathlib.Path(app.env.doc2path(app.env.docname))
    notebook = path.relative_to(app.srcdir).as_posix()
    target = address.colab_page(app.config.lectures_repository, notebook)
    title = next(iter(document.findall(nodes.title)), None)
    if path.suffix != ".ipynb" or not target or title is None:
        return
    image = nodes.image(uri="/book/_static/colab.svg", alt="Open this chapter in Colab", classes=["colab-badge"])
    badge = nodes.paragraph("", "", nodes.reference("", "", image, refuri=target))
    title.parent.insert(title.parent.index(title) + 1, badge)


def mend_page(app: Sphinx, page: str, template: str, context: dict[str, Any], document: Any) -> None:
    """What the theme leaves for screen readers and keyboards to stumble over."""
    if "body" in context:
        # A box that scrolls must be reachable by keyboard.
        context["body"] = re.sub(
            r'<div class="course-table-frame docutils container">',
            '<div class="course-table-frame docutils container" tabindex="0" role="region" aria-label="Table">',
            context["body"],
        )
        # sphinxcontrib-bibtex's entries are no list items, so the list around them is none either.
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def finish_static(app: Sphinx, error: Exception | None) -> None:
    """The scripts of tools/web_assets.py beside the other static files, and one stylesheet made whole."""
    if error is not None or app.builder.format != "html":
        return
    source, target = (
        pathlib.Path(app.srcdir) / "_build" / "web",
        pathlib.Path(app.outdir) / "_static",
    )
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    # The theme imports Sphinx's basic.css by a relative path, which accessibility checkers resolve against the page.
    theme, basic = target / "styles" / "theme.css", target / "basic.css"
    if theme.is_file() and basic.is_file():
        whole = re.sub(r"url\((?!data:)", "url(../", basic.read_text(encoding="utf-8"))
        text = theme.read_text(encoding="utf-8")
        theme.write_text(text.replace('@import "../basic.css";', whole), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("lectures_cache_key", "", "env")
    app.add_config_value("lectures_repository", "", "env")
    app.add_directive("claims-table", ClaimsTable)
    app.add_directive("results-table", ResultsTable)
    app.add_directive("speed-table", SpeedTable)
    app.add_directive("parity-table", ParityTable)
    app.connect("config-inited", configure)
    app.connect("builder-inited", drop_thebe, priority=0)
    app.connect("doctree-read", add_badge, priority=100)  # before Sphinx collects the pictures
    app.connect("html-page-context", mend_page, priority=900)
    app.connect("build-finished", finish_static)
    app.add_js_file(None, body=FONT_AWESOME, priority=1)
    refuse_to_execute()
    return {"parallel_read_safe": True, "parallel_write_safe": True}
