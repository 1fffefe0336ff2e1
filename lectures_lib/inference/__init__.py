"""Inference: what a trained model says."""

from lectures_lib.inference.beam import Hypotheses as Hypotheses
from lectures_lib.inference.beam import beam_search as beam_search
from lectures_lib.inference.beam import length_penalty as length_penalty
from lectures_lib.inference.greedy import greedy as greedy
from lectures_lib.inference.lean import LeanTransformer as LeanTransformer
from lectures_lib.inference.lean_gpt import LeanGPT as LeanGPT
from lectures_lib.inference.sample import continue_text as continue_text
from lectures_lib.inference.sample import filtered_probabilities as filtered_probabilities
from lectures_lib.inference.sample import sample as sample
from lectures_lib.inference.sample import stream as stream
from lectures_lib.inference.translate import translate as translate
