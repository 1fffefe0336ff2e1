"""Public checkpoints in the course's own modules.

A checkpoint's tensors are renamed, joined and permuted until they fit; every name and every shape is checked on the
way, so that a checkpoint either means here what it meant where it was trained, or is refused.
"""

from lectures_lib.pretrained.bert import bert as bert
from lectures_lib.pretrained.bert import bert_for_pretraining as bert_for_pretraining
from lectures_lib.pretrained.bert import minilm as minilm
from lectures_lib.pretrained.gpt2 import gpt2 as gpt2
from lectures_lib.pretrained.marian import marian as marian
from lectures_lib.pretrained.vit import vit as vit
from lectures_lib.pretrained.wav2vec2 import wav2vec2_for_ctc as wav2vec2_for_ctc
from lectures_lib.pretrained.wav2vec2 import wav2vec2_for_pretraining as wav2vec2_for_pretraining
