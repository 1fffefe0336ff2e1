"""Numbers and figures that the prose of the book quotes."""

from __future__ import annotations

from typing import Any


def glue(name: str, value: Any, display: bool = False) -> None:
    """Keep `value` under `name`, for the prose of the same chapter to quote with the `glue` role.

    In the book this is `myst_nb.glue`. Where myst-nb is not installed, on Colab for one, there is no prose to fill in
    and the call does nothing. Format a number before you glue it: `glue("gain", f"{gain:.1f}")`.

    Errors: `ValueError` for a name that is empty or not a string.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name must be a string that is not empty; got {name!r}")
    try:
        from myst_nb import glue as book_glue
    except ImportError:
        return
    book_glue(name, value, display)
