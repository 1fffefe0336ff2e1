"""How good is a translated picture where the right answer is known?"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def pixel_error(translated: Float[Tensor, "*translated"], truth: Float[Tensor, "*truth"]) -> Float[Tensor, " n"]:
    """The mean absolute difference of every picture (n, channels, rows, columns) from the right answer, a value of a
    pixel from 0 to 1; pictures lie in [-1, 1].

    Raises:
        ValueError: the shapes differ.
    """
    _check_alike(translated, truth)
    return (translated - truth).abs().flatten(1).mean(dim=1) / 2


def object_kept(
    translated: Float[Tensor, "*translated"], truth: Float[Tensor, "*truth"], boxes: Int[Tensor, "*boxes"]
) -> Float[Tensor, " n"]:
    """1 where the object can be found again, 0 where it cannot.

    We look only inside the box (first column and row, column and row after the last), and compare what is painted there
    with what all the right answers have at that place. The object is kept if its own right answer correlates best with
    it, over pixels and colours. Brightness and contrast do not count, so a picture in the wrong colours may keep it; a
    smear that would do for several animals does not.

    Raises:
        ValueError: shapes that differ, or boxes that are not (n, 4) of at least one pixel inside the picture.
    """
    _check_alike(translated, truth)
    n, _, rows, columns = truth.shape
    if tuple(boxes.shape) != (n, 4):
        raise ValueError(f"boxes must have shape ({n}, 4), got {tuple(boxes.shape)}")
    kept = torch.zeros(n)
    for number, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        if not (0 <= x0 < x1 <= columns and 0 <= y0 < y1 <= rows):
            raise ValueError(f"boxes must lie within {columns} × {rows} pixels, got {(x0, y0, x1, y1)}")
        painted = _standardised(translated[number : number + 1, :, y0:y1, x0:x1])
        alike = (_standardised(truth[:, :, y0:y1, x0:x1]) * painted).sum(dim=1)  # correlation with every answer
        kept[number] = float(alike[number] >= max(float(alike.max()) - 1e-6, 1e-6))
    return kept


def _standardised(images: Tensor) -> Tensor:
    """Every picture as a vector of mean 0 and length 1 (or 0, where nothing is to be seen)."""
    flat = images.double().flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _check_alike(translated: Tensor, truth: Tensor) -> None:
    if translated.shape != truth.shape or truth.ndim != 4:
        raise ValueError(
            f"translated and truth must be (n, channels, rows, columns) alike, got {tuple(translated.shape)} "
            f"and {tuple(truth.shape)}"
        )
