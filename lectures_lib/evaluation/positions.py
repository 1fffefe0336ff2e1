"""What a table of positions can do: is a step along the text the same linear map everywhere?"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def shift_map(
    positions: Float[Tensor, "length d_model"], shift: int, rows: Int[Tensor, " rows"]
) -> Float[Tensor, "d_model d_model"]:
    """The matrix M for which `positions[p] @ M` comes nearest to `positions[p + shift]`, over the rows p given.

    Least squares; where several matrices are equally near, the one of the smallest norm.
    """
    _check_shift(positions, shift, rows)
    table = positions.double()
    return torch.linalg.lstsq(table[rows], table[rows + shift], driver="gelsd").solution.to(positions.dtype)


def shift_residual(
    positions: Float[Tensor, "length d_model"],
    matrix: Float[Tensor, "d_model d_model"],
    shift: int,
    rows: Int[Tensor, " rows"],
) -> float:
    """How far `positions[p] @ matrix` lies from `positions[p + shift]`, as a share of the length of the latter."""
    _check_shift(positions, shift, rows)
    wanted = positions[rows + shift].double()
    return float((positions[rows].double() @ matrix.double() - wanted).norm() / wanted.norm())


def _check_shift(positions: Tensor, shift: int, rows: Tensor) -> None:
    if not len(rows):
        raise ValueError("rows must hold at least one position, got none")
    if int(rows.min()) < 0 or int(rows.min()) + shift < 0 or int((rows + max(shift, 0)).max()) >= len(positions):
        raise ValueError(
            f"rows and rows + {shift} must lie between 0 and {len(positions) - 1}, "
            f"got rows {int(rows.min())} to {int(rows.max())}"
        )
