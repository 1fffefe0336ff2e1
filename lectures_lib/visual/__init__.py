"""Figures, widgets, and the numbers that the prose quotes."""

from lectures_lib.visual.diagrams import encoder_decoder
from lectures_lib.visual.glue import glue
from lectures_lib.visual.plots import bars_by_group, curves, heat_strips, lines
from lectures_lib.visual.style import show
from lectures_lib.visual.translation import decoding_widget, translation_box

__all__ = [
    "bars_by_group",
    "curves",
    "decoding_widget",
    "encoder_decoder",
    "glue",
    "heat_strips",
    "lines",
    "show",
    "translation_box",
]
