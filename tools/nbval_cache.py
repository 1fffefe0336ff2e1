"""A pytest plugin: nbval's run of a notebook feeds the book's cache, so that what is published is what was tested.

When the last cell of a notebook of `book/` is done, every cell has run and none has failed, the executed notebook
goes into the jupyter-cache folder of the present key (`tools/cache_key.py`), with the seconds it took and the
kernel's peak memory. A notebook with a failing cell is never stored, and an older execution of the same cells is
thrown away.

Leans on these parts of nbval 0.11, which pyproject.toml pins: `IPyNbFile.nb`, `.kernel.kc`, `.get_kernel_message`;
`IPyNbCell.cell_num`, `.parent`. The outputs are assembled from the kernel's own messages rather than from nbval's
list, which drops what `clear_output` and `update_display_data` say.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import pathlib
import re
import time
from typing import Any

import nbformat
import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbval.plugin import IPyNbCell, IPyNbFile

from tools.cache_key import cache_folder, cache_key, prune

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
LANGUAGE = {
    "name": "python",
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "pygments_lexer": "ipython3",
}
# Tells a kernel that its outputs will be read on a static page: what needs a running notebook shows a sentence instead.
os.environ["LECTURES_STATIC"] = "1"
RECORDING = pytest.StashKey["Recording"]()

# Runs in the kernel, in a namespace of its own. ru_maxrss would do, but on Linux it starts from the size of the
# process that started the kernel; VmHWM counts this process alone.
REPORT = """
import json, sys
def peak_bytes():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    except ImportError:
        import psutil
        memory = psutil.Process().memory_info()
        return getattr(memory, "peak_wset", memory.rss)
widgets = sys.modules.get("ipywidgets")
state = widgets.Widget.get_manager_state() if widgets else None
report = json.dumps({"peak_bytes": peak_bytes(), "widgets": state})
"""


class Recording:
    """What one notebook's kernel said, cell by cell."""

    def __init__(self, notebook: nbformat.NotebookNode) -> None:
        self.started = time.perf_counter()
        self.notebook = notebook
        self.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.outputs: list[list[Any]] = [[] for _ in self.cells]
        self.passed: set[int] = set()
        self.failed = False
        self.current: int | None = None
        self._owner: dict[str, int] = {}  # message id of an execution -> cell
        self._displays: dict[str, list[Any]] = {}  # display id -> the outputs that show it
        self._to_clear: set[int] = set()  # lists of outputs that the next output clears (clear_output(wait=True))
        self._captured: dict[str, str] = {}  # message id -> the Output widget that takes its outputs
        self.widget_outputs: dict[str, list[Any]] = {}  # Output widget -> what it has taken

    def hear(self, message: dict[str, Any]) -> None:
        """Take in one message of the iopub channel."""
        kind, content = message["msg_type"], message["content"]
        parent = message["parent_header"].get("msg_id", "")
        if kind == "execute_input" and self.current is not None:
            self._owner[parent] = self.current
        if kind in ("comm_open", "comm_msg"):
            self._hear_comm(content)
        if parent not in self._owner:
            return
        outputs = self.outputs[self._owner[parent]]
        if parent in self._captured:
            outputs = self.widget_outputs[self._captured[parent]]
        if kind == "clear_output":
            if content.get("wait"):
                self._to_clear.add(id(outputs))
            else:
                outputs.clear()
        elif kind == "update_display_data":
            for output in self._displays.get(content.get("transient", {}).get("display_id"), []):
                output["data"], output["metadata"] = content["data"], content["metadata"]
        elif kind in ("display_data", "execute_result", "stream", "error"):
            if id(outputs) in self._to_clear:
                outputs.clear()
                self._to_clear.discard(id(outputs))
            self._append(outputs, message)

    def _hear_comm(self, content: dict[str, Any]) -> None:
        # An ipywidgets.Output takes what is printed inside `with output:`: a front end would do this; here nobody
        # else does.
        comm, state = content["comm_id"], content.get("data", {}).get("state", {})
        if state.get("_model_name") == "OutputModel":
            self.widget_outputs[comm] = []
        if comm in self.widget_outputs and "msg_id" in state:
            self._captured = {parent: taker for parent, taker in self._captured.items() if taker != comm}
            if state["msg_id"]:
                self._captured[state["msg_id"]] = comm

    def _append(self, outputs: list[Any], message: dict[str, Any]) -> None:
        output = nbformat.v4.output_from_msg(message)
        last = outputs[-1] if outputs else None
        if output.output_type == "stream" and last and last.output_type == "stream" and last.name == output.name:
            last.text = _overprint(last.text + output.text)
            return
        if output.output_type == "stream":
            output.text = _overprint(output.text)
        outputs.append(output)
        shown = message["content"].get("transient", {}).get("display_id")
        if shown:
            self._displays.setdefault(shown, []).append(output)

    @property
    def complete(self) -> bool:
        """Whether every code cell ran, and none failed."""
        return not self.failed and len(self.passed) == len(self.cells)

    def executed(self, widgets: dict[str, Any] | None) -> nbformat.NotebookNode:
        """The notebook with its outputs and execution counts, and the widgets' state where an output shows a widget."""
        notebook = copy.deepcopy(self.notebook)
        cells = (cell for cell in notebook.cells if cell.cell_type == "code")
        for count, (cell, outputs) in enumerate(zip(cells, self.outputs, strict=True), start=1):
            cell.execution_count, cell.outputs = count, outputs
            for output in outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
        notebook.metadata.setdefault("language_info", nbformat.from_dict(LANGUAGE))
        if widgets and any(WIDGET_VIEW in output.get("data", {}) for outputs in self.outputs for output in outputs):
            for comm, outputs in self.widget_outputs.items():
                if comm in widgets["state"]:
                    widgets["state"][comm]["state"].update(outputs=outputs, msg_id="")
            notebook.metadata.widgets = nbformat.from_dict({WIDGET_STATE: widgets})
        return notebook


def _overprint(text: str) -> str:
    """What a terminal shows of text with carriage returns: the last state of every line."""
    return re.sub(r"^[^\n]*\r(?=[^\n])", "", text, flags=re.MULTILINE)


def _ask_kernel(file: IPyNbFile) -> dict[str, Any]:
    expression = f"(lambda scope: (exec({REPORT!r}, scope), scope['report'])[1])({{}})"
    client = file.kernel.kc
    asked = client.execute("", silent=True, store_history=False, user_expressions={"report": expression})
    while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != asked:
        pass
    answer = reply["content"]["user_expressions"]["report"]
    if answer["status"] != "ok":
        raise RuntimeError(f"the kernel of {file.path.name} could not report its memory: {answer}")
    return json.loads(ast.literal_eval(answer["data"]["text/plain"]))


def _in_book(file: IPyNbFile) -> bool:
    return file.path.is_relative_to(file.config.rootpath / "book")


def _forget(file: IPyNbFile, recording: Recording) -> None:
    cache = get_cache(cache_folder(file.config.rootpath))
    try:
        cache.remove_cache(cache.match_cache_notebook(recording.notebook).pk)
    except KeyError:
        pass  # there was none


def _store(file: IPyNbFile, recording: Recording) -> None:
    root, report = file.config.rootpath, _ask_kernel(file)
    seconds = time.perf_counter() - recording.started
    key = cache_key(root)
    prune(root, key)
    bundle = CacheBundleIn(
        recording.executed(report["widgets"]),
        uri=pathlib.Path(file.path).as_posix(),
        data={"execution_seconds": round(seconds, 2), "peak_bytes": report["peak_bytes"]},
    )
    get_cache(cache_folder(root, key)).cache_notebook_bundle(bundle, overwrite=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item):
    """Before a notebook's first cell: listen to what its kernel says."""
    if isinstance(item, IPyNbCell) and _in_book(item.parent):
        file = item.parent
        if RECORDING not in file.stash:
            recording = file.stash[RECORDING] = Recording(copy.deepcopy(file.nb))
            receive = file.get_kernel_message

            def hear(timeout=None, stream="iopub"):
                message = receive(timeout=timeout, stream=stream)
                recording.hear(message)
                return message

            file.get_kernel_message = hear
        file.stash[RECORDING].current = item.cell_num
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """After a cell: note whether it passed; at the first failure forget an older execution."""
    report = yield
    recording = item.parent.stash.get(RECORDING, None) if isinstance(item, IPyNbCell) else None
    if recording is not None:
        if report.failed:
            if not recording.failed:
                _forget(item.parent, recording)
            recording.failed = True
        elif report.when == "call" and report.passed:
            recording.passed.add(item.cell_num)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None):
    """After the last cell, and before the kernel is stopped: store the execution."""
    recording = item.parent.stash.get(RECORDING, None) if isinstance(item, IPyNbCell) else None
    last = nextitem is None or nextitem.parent is not item.parent
    if recording is not None and last and recording.complete:
        _store(item.parent, recording)
    return (yield)
