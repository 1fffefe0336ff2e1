"""Training: the loop, its history, its checkpoints and its schedules."""

from lectures_lib.training.checkpoint import average_weights as average_weights
from lectures_lib.training.checkpoint import load_weights as load_weights
from lectures_lib.training.checkpoint import save_weights as save_weights
from lectures_lib.training.history import History as History
from lectures_lib.training.loop import average_loss as average_loss
from lectures_lib.training.loop import fit as fit
from lectures_lib.training.optimizers import decayed_adamw as decayed_adamw
from lectures_lib.training.schedules import warmup_cosine as warmup_cosine
from lectures_lib.training.schedules import warmup_inverse_square_root as warmup_inverse_square_root
