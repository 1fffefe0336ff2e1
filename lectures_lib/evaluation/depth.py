"""How much of a computation has to wait for itself: the longest chain of operations that depend on each other."""

from __future__ import annotations

from torch import Tensor


def sequential_depth(result: Tensor) -> int:
    """The number of recorded operations on the longest path from `result` back to its inputs.

    However many cores there are, this many operations must run one after the other. It counts what autograd has
    recorded, so it is the same on every machine.

    Raises:
        ValueError: `result` was computed without gradients, so nothing was recorded.
    """
    if result.grad_fn is None:
        raise ValueError("result must have been computed with gradients on, got a tensor without a history")
    depth = {}
    stack = [result.grad_fn]
    while stack:  # a loop with its own stack: the graph of a long sentence is deeper than Python's recursion limit
        node = stack[-1]
        before = [parent for parent, _ in node.next_functions if parent is not None]
        waiting = [parent for parent in before if parent not in depth]
        if waiting:
            stack.extend(waiting)
        else:
            depth[node] = 1 + max((depth[parent] for parent in before), default=0)
            stack.pop()
    return depth[result.grad_fn]
