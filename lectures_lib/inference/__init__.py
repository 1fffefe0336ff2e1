"""Inference: what a trained model says."""

from lectures_lib.inference.greedy import greedy as greedy
from lectures_lib.inference.translate import translate as translate
