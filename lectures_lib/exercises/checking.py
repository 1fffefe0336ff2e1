"""What all checkers share: how they praise, how they refuse, and how they wait for an answer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class WrongAnswer(Exception):
    """An answer that is not right yet; the message says what is wrong with it."""

    def _render_traceback_(self) -> list[str]:
        """In a notebook, show the message alone: the way through the checker is of no use to a student."""
        return [f"✗ Not yet: {self}"]


def right(message: str) -> None:
    """Tell the student that the answer is right, and why it matters."""
    print(f"✓ Right. {message}")


def unanswered(answer: Any) -> bool:
    """Whether the student has not answered yet (None or `...`); says so."""
    if answer is None or answer is ...:
        print("… Nothing to check yet: put your answer in place of the dots.")
        return True
    return False


def as_number(name: str, answer: Any) -> float:
    """The answer as a number; a tensor of one element counts as one."""
    try:
        return float(answer.detach() if isinstance(answer, Tensor) else answer)
    except (TypeError, ValueError, RuntimeError):
        raise WrongAnswer(f"{name} should be one number, and yours is {_describe(answer)}.") from None


def as_tensor(name: str, answer: Any, shape: tuple[int, ...]) -> Tensor:
    """The answer as a tensor of the right shape."""
    if not isinstance(answer, Tensor):
        raise WrongAnswer(f"{name} should be a tensor of shape {shape}, and yours is {_describe(answer)}.")
    if tuple(answer.shape) != shape:
        raise WrongAnswer(f"{name} should have shape {shape}, and yours has {tuple(answer.shape)}.")
    return answer


def close(one: Tensor | int | float, other: Tensor | int | float) -> bool:
    """Whether two results are the same up to rounding."""
    return torch.allclose(
        torch.as_tensor(one, dtype=torch.float64), torch.as_tensor(other, dtype=torch.float64), atol=1e-5
    )


def _describe(answer: Any) -> str:
    return f"a tensor of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"{type(answer).__name__}"
