"""Repeats are joined before blanks are dropped, so that a double letter can be said."""

import pytest
import torch
from torch.nn import functional as F

from lectures_lib.inference.ctc import spell


def test_repeats_are_one_letter_unless_a_blank_stands_between():
    paths = torch.tensor([[0, 1, 1, 0, 1, 2], [2, 2, 2, 0, 3, 3]])
    logits = F.one_hot(paths, 4).float()
    assert spell(logits, torch.tensor([6, 4])) == [[1, 1, 2], [2]]
    assert spell(logits, torch.tensor([0, 6]), blank=2) == [[], [0, 3]]


@pytest.mark.parametrize(
    ("frames", "blank", "message"),
    [
        ([6], 0, r"frames must have shape \(2,\), got \(1,\)"),
        ([6, 7], 0, "frames must lie between 0 and 6, got 6 to 7"),
        ([6, 6], 4, "blank must lie between 0 and 3, got 4"),
    ],
)
def test_what_does_not_fit_is_refused(frames, blank, message):
    with pytest.raises(ValueError, match=message):
        spell(torch.zeros(2, 6, 4), torch.tensor(frames), blank=blank)
