"""Figures, widgets, and the numbers that the prose quotes."""

from lectures_lib.visual.attention import attention_diagram, attention_map, attention_maps, attention_widget
from lectures_lib.visual.bert import (
    context_frames,
    context_widget,
    gap_box,
    gap_frames,
    gap_widget,
    masked_rows,
    sense_map,
    show_html,
    two_views,
)
from lectures_lib.visual.clinic import Case, clinic_widget, effect_table, two_number_paths
from lectures_lib.visual.conditional_gan import asked_and_seen, cgan_diagram, hands_grid, obedience
from lectures_lib.visual.cyclegan import before_after_widget, cycle_diagram, doubling_figure, reach_figure
from lectures_lib.visual.dcgan import dcgan_diagram, stamp_figure
from lectures_lib.visual.diagrams import encoder_decoder, transformer_diagram
from lectures_lib.visual.gan import (
    game_widget,
    gan_curves,
    gan_diagram,
    image_grid,
    landscape,
    latent_walk,
    line_densities,
    log_lines,
    named_rows,
    push_widget,
    samples_over_training,
    scatter_panels,
)
from lectures_lib.visual.glue import glue
from lectures_lib.visual.language import (
    bits_by_order,
    gpt_diagram,
    next_token_map,
    probability_bars,
    sampler,
    sampling_widget,
)
from lectures_lib.visual.live import live_translator
from lectures_lib.visual.live_digits import live_digits
from lectures_lib.visual.live_numbers import live_numbers
from lectures_lib.visual.live_sampler import live_sampler
from lectures_lib.visual.plots import bars_by_group, curves, heat_strips, lines
from lectures_lib.visual.self_attention import (
    formula_box,
    formula_frames,
    formula_widget,
    look_ahead_tables,
    looks,
    saturation_curves,
    silence_map,
)
from lectures_lib.visual.style import show
from lectures_lib.visual.translation import decoding_widget, translation_box
from lectures_lib.visual.vision import (
    label_lines,
    looking_panels,
    looking_widget,
    patch_figure,
    repair_rows,
    vit_diagram,
)
from lectures_lib.visual.vision_language import (
    caption_table,
    captioned_grid,
    look_panels,
    region_boxes,
    two_streams,
    word_picture,
    word_sayings,
)
from lectures_lib.visual.words import position_heat_map, position_widget, window_diagram, word_map

__all__ = [
    "Case",
    "asked_and_seen",
    "attention_diagram",
    "attention_map",
    "attention_maps",
    "attention_widget",
    "bars_by_group",
    "before_after_widget",
    "bits_by_order",
    "caption_table",
    "captioned_grid",
    "cgan_diagram",
    "clinic_widget",
    "context_frames",
    "context_widget",
    "curves",
    "cycle_diagram",
    "dcgan_diagram",
    "decoding_widget",
    "doubling_figure",
    "effect_table",
    "encoder_decoder",
    "formula_box",
    "formula_frames",
    "formula_widget",
    "game_widget",
    "gan_curves",
    "gan_diagram",
    "gap_box",
    "gap_frames",
    "gap_widget",
    "glue",
    "gpt_diagram",
    "hands_grid",
    "heat_strips",
    "image_grid",
    "label_lines",
    "landscape",
    "latent_walk",
    "line_densities",
    "lines",
    "live_digits",
    "live_numbers",
    "live_sampler",
    "live_translator",
    "log_lines",
    "look_ahead_tables",
    "look_panels",
    "looking_panels",
    "looking_widget",
    "looks",
    "masked_rows",
    "named_rows",
    "next_token_map",
    "obedience",
    "patch_figure",
    "position_heat_map",
    "position_widget",
    "probability_bars",
    "push_widget",
    "reach_figure",
    "region_boxes",
    "repair_rows",
    "sampler",
    "samples_over_training",
    "sampling_widget",
    "saturation_curves",
    "scatter_panels",
    "sense_map",
    "show",
    "show_html",
    "silence_map",
    "stamp_figure",
    "transformer_diagram",
    "translation_box",
    "two_number_paths",
    "two_streams",
    "two_views",
    "vit_diagram",
    "window_diagram",
    "word_map",
    "word_picture",
    "word_sayings",
]
