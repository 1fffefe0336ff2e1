"""nbval's run of the notebooks feeds the book's cache: see tools/nbval_cache.py."""

pytest_plugins = ["tools.nbval_cache"]
