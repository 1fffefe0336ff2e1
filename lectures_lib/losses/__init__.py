"""Losses: pure functions of tensors.

A loss over sequences returns a pair, the sum and the number of tokens it sums. Only with both can a batch that is
spread over several processes, or gathered over several steps, be averaged as if it were one.
"""

from lectures_lib.losses.sequence import next_token_loss as next_token_loss
from lectures_lib.losses.sequence import smoothed_cross_entropy as smoothed_cross_entropy
