"""The full-size runs, outside the notebooks: `python -m lectures_lib.experiments NAME --help`.

Each writes a small JSON file into `results/` that says what was measured, by which command, at which commit, with which
seed and on which hardware.
"""
