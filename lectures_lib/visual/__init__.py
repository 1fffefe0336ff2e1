"""Figures, widgets, and the numbers that the prose quotes."""

from lectures_lib.visual.glue import glue

__all__ = ["glue"]
