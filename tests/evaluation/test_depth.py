"""The longest chain of dependent operations, on graphs one can count by hand."""

import pytest
import torch

from lectures_lib.evaluation.depth import sequential_depth


def leaf():
    return torch.ones(3, requires_grad=True)


def test_a_chain_is_as_deep_as_it_is_long():
    x = leaf()
    shallow = sequential_depth(x.sin())
    assert sequential_depth(x.sin().sin().sin()) == shallow + 2


def test_side_by_side_is_no_deeper_than_one():
    x = leaf()
    assert sequential_depth(x.sin() + x.cos()) == sequential_depth(x.sin()) + 1


def test_a_recurrence_of_thousands_of_steps_is_counted():
    x = h = leaf()
    for _ in range(5_000):
        h = h * x
    assert sequential_depth(h) > 5_000


def test_a_result_without_history_is_refused():
    with pytest.raises(ValueError, match="without a history"):
        sequential_depth(torch.ones(2))
