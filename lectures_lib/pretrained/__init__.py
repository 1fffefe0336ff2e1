"""Public checkpoints in the course's own modules.

A checkpoint's tensors are renamed, joined and permuted until they fit; every name and every shape is checked on the
way, so that a checkpoint either means here what it meant where it was trained, or is refused.
"""

from lectures_lib.pretrained.marian import marian as marian
