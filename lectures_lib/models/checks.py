"""Questions that several models ask of what they are given."""

from __future__ import annotations

from torch import Tensor


def check_latent(latent: Tensor, width: int) -> None:
    """Whether random numbers are as many a sample as a generator takes.

    Raises:
        ValueError: they are not.
    """
    if latent.ndim != 2 or latent.shape[1] != width:
        raise ValueError(f"latent must have shape (batch, {width}), got {tuple(latent.shape)}")
