"""What holds CycleGAN's generators to the picture they were given; their adversarial loss is `losses.gan`'s.

Source: Zhu, Park, Isola and Efros 2017, sections 3.2 and 5.2.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

CYCLE_WEIGHT = 10.0  # λ
IDENTITY_SHARE = 0.5  # of λ


def cycle_loss(images: Float[Tensor, "*images"], there_and_back: Float[Tensor, "*back"]) -> Float[Tensor, ""]:
    """The mean absolute difference of pictures and what comes back: ‖F(G(x)) - x‖₁, a pixel.

    Raises:
        ValueError: the shapes differ.

    Source: Zhu et al. 2017, equation 2 (one of its two halves).
    """
    return _distance("there_and_back", images, there_and_back)


def identity_loss(images: Float[Tensor, "*images"], mapped: Float[Tensor, "*mapped"]) -> Float[Tensor, ""]:
    """How much a generator changes pictures that are of its target kind already: ‖G(y) - y‖₁, a pixel.

    Raises:
        ValueError: the shapes differ.

    Source: Zhu et al. 2017, section 5.2 (photo generation from paintings).
    """
    return _distance("mapped", images, mapped)


def cyclegan_generator_loss(
    adversarial: Float[Tensor, ""],
    cycle: Float[Tensor, ""],
    identity: Float[Tensor, ""] | None = None,
    *,
    cycle_weight: int | float = CYCLE_WEIGHT,
    identity_share: int | float = IDENTITY_SHARE,
) -> Float[Tensor, ""]:
    """All that both generators minimise together: adversarial + λ · (cycle + share · identity).

    Each of the three is the sum over both directions. The paper has the identity loss for paintings only; the published
    code has it by default.

    Raises:
        ValueError: a weight is negative.

    Source: Zhu et al. 2017, equation 3.
    """
    for name, value in (("cycle_weight", cycle_weight), ("identity_share", identity_share)):
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")
    loss = adversarial + cycle_weight * cycle
    return loss if identity is None else loss + cycle_weight * identity_share * identity


def _distance(name: str, images: Tensor, others: Tensor) -> Tensor:
    if images.shape != others.shape:
        raise ValueError(f"{name} must have the shape of images, {tuple(images.shape)}, got {tuple(others.shape)}")
    return (images - others).abs().mean()
