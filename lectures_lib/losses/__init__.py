"""Losses: pure functions of tensors.

A loss over sequences returns a pair, the sum and the number of tokens it sums. Only with both can a batch that is
spread over several processes, or gathered over several steps, be averaged as if it were one.
"""

from lectures_lib.losses.pretraining import classification_loss as classification_loss
from lectures_lib.losses.pretraining import masked_language_loss as masked_language_loss
from lectures_lib.losses.pretraining import next_sentence_loss as next_sentence_loss
from lectures_lib.losses.pretraining import pretraining_loss as pretraining_loss
from lectures_lib.losses.pretraining import target_places as target_places
from lectures_lib.losses.sequence import next_token_loss as next_token_loss
from lectures_lib.losses.sequence import smoothed_cross_entropy as smoothed_cross_entropy
