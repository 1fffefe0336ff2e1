"""The losses of generative adversarial networks: what discriminator and generator each want of the logits.

All take logits, the discriminator's output before any sigmoid, of any shape: one number an image, or a map of them.
The discriminator is to give real samples high logits and generated ones low logits. Every loss is a mean, to be
minimised. `GAN_LOSSES` has them by name; what a Wasserstein critic needs besides, clipped weights or the
`gradient_penalty`, is the training's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def _check_smoothing(label_smoothing: int | float) -> None:
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")


def _no_labels(label_smoothing: int | float, loss: str) -> None:
    if label_smoothing != 0:
        raise ValueError(f"the {loss} loss has no labels to smooth: label_smoothing must be 0, got {label_smoothing}")


def log_loss_real(logits: Float[Tensor, "*logits"], label_smoothing: int | float = 0.0) -> Float[Tensor, ""]:
    """The discriminator's cross-entropy on real samples, -log D(x) with D = σ(logit), in nats.

    With one-sided label smoothing s it is asked for 1 - s instead of 1: -(1 - s) log D(x) - s log(1 - D(x)).

    Raises:
        ValueError: `label_smoothing` is outside [0, 1).

    Source: Goodfellow et al. 2014, equation 1; one-sided label smoothing: Salimans et al. 2016, section 3.4.
    """
    _check_smoothing(label_smoothing)
    return F.softplus(-logits).mean() + label_smoothing * logits.mean()


def log_loss_fake(logits: Float[Tensor, "*logits"]) -> Float[Tensor, ""]:
    """The discriminator's cross-entropy on generated samples, -log(1 - D(G(z))), in nats.

    Source: Goodfellow et al. 2014, equation 1.
    """
    return F.softplus(logits).mean()


def minimax_generator_loss(logits: Float[Tensor, "*logits"]) -> Float[Tensor, ""]:
    """log(1 - D(G(z))): exactly what the discriminator gains, the generator loses. Its slope vanishes as D → 0.

    Source: Goodfellow et al. 2014, equation 1 and algorithm 1; also called the *saturating* loss.
    """
    return -F.softplus(logits).mean()


def non_saturating_generator_loss(logits: Float[Tensor, "*logits"]) -> Float[Tensor, ""]:
    """-log D(G(z)): the same aim, with a slope that is largest where the discriminator is sure.

    Source: Goodfellow et al. 2014, section 3.
    """
    return F.softplus(-logits).mean()


def wasserstein_loss_real(logits: Float[Tensor, "*logits"], label_smoothing: int | float = 0.0) -> Float[Tensor, ""]:
    """-f(x): the critic wants high values on real samples. Unbounded, so its slope must be held by other means.

    Raises:
        ValueError: `label_smoothing` is not 0: a critic has no labels.

    Source: Arjovsky et al. 2017, algorithm 1.
    """
    _no_labels(label_smoothing, "wasserstein")
    return -logits.mean()


def wasserstein_loss_fake(logits: Float[Tensor, "*logits"]) -> Float[Tensor, ""]:
    """f(G(z)): the critic wants low values on generated samples.

    Source: Arjovsky et al. 2017, algorithm 1.
    """
    return logits.mean()


def wasserstein_generator_loss(logits: Float[Tensor, "*logits"]) -> Float[Tensor, ""]:
    """-f(G(z)): the generator wants the critic's values of its samples high.

    Source: Arjovsky et al. 2017, algorithm 1.
    """
    return -logits.mean()


def least_squares_loss_real(logits: Float[Tensor, "*logits"], label_smoothing: int | float = 0.0) -> Float[Tensor, ""]:
    """½ (D(x) - b)² with b = 1, or 1 - `label_smoothing`; D is the logit itself.

    Raises:
        ValueError: `label_smoothing` is outside [0, 1).

    Source: Mao et al. 2017, equations 2 and 9 (a = 0, b = c = 1).
    """
    _check_smoothing(label_smoothing)
    return 0.5 * (logits - (1 - label_smoothing)).square().mean()


def least_squares_loss_fake(logits: Float[Tensor, "*logits"]) -> Float[Tensor, ""]:
    """½ (D(G(z)) - a)² with a = 0.

    Source: Mao et al. 2017, equations 2 and 9.
    """
    return 0.5 * logits.square().mean()


def least_squares_generator_loss(logits: Float[Tensor, "*logits"]) -> Float[Tensor, ""]:
    """½ (D(G(z)) - c)² with c = 1.

    Source: Mao et al. 2017, equations 2 and 9.
    """
    return 0.5 * (logits - 1).square().mean()


def hinge_loss_real(logits: Float[Tensor, "*logits"], label_smoothing: int | float = 0.0) -> Float[Tensor, ""]:
    """max(0, 1 - f(x)): satisfied as soon as a real sample has a logit of 1.

    Raises:
        ValueError: `label_smoothing` is not 0: a margin has no labels.

    Source: Miyato et al. 2018, section 4 (equation 16); Lim and Ye 2017.
    """
    _no_labels(label_smoothing, "hinge")
    return F.relu(1 - logits).mean()


def hinge_loss_fake(logits: Float[Tensor, "*logits"]) -> Float[Tensor, ""]:
    """max(0, 1 + f(G(z))): satisfied as soon as a generated sample has a logit of -1.

    Source: as `hinge_loss_real`.
    """
    return F.relu(1 + logits).mean()


def hinge_generator_loss(logits: Float[Tensor, "*logits"]) -> Float[Tensor, ""]:
    """-f(G(z)), as for a critic.

    Source: as `hinge_loss_real`.
    """
    return -logits.mean()


class GanLoss(NamedTuple):
    """A loss as three functions of logits: on real and on generated samples, and what the generator wants.

    `real` takes a second argument, the one-sided label smoothing, which some losses refuse. `middle` is the logit at
    which the discriminator is undecided; a Wasserstein critic has none.
    """

    name: str
    real: Callable[[Tensor, int | float], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    middle: float | None = 0.0

    def discriminator(
        self,
        real_logits: Float[Tensor, "*real"],
        fake_logits: Float[Tensor, "*fake"],
        *,
        label_smoothing: int | float = 0.0,
        real_weight: int | float = 1.0,
        fake_weight: int | float = 1.0,
    ) -> Float[Tensor, ""]:
        """What the discriminator minimises: both parts, each with its weight."""
        return real_weight * self.real(real_logits, label_smoothing) + fake_weight * self.fake(fake_logits)

    def accuracy(
        self, real_logits: Float[Tensor, "*real"], fake_logits: Float[Tensor, "*fake"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The shares of real and of generated samples on their own side of `middle`; undecided ones count half.

        Where there is no middle, the one between the two mean values is taken.
        """
        middle = (real_logits.mean() + fake_logits.mean()) / 2 if self.middle is None else self.middle
        return ((real_logits - middle).sign().mean() + 1) / 2, ((middle - fake_logits).sign().mean() + 1) / 2


GAN_LOSSES: dict[str, GanLoss] = {
    loss.name: loss
    for loss in (
        GanLoss("minimax", log_loss_real, log_loss_fake, minimax_generator_loss),
        GanLoss("non-saturating", log_loss_real, log_loss_fake, non_saturating_generator_loss),
        GanLoss("wasserstein", wasserstein_loss_real, wasserstein_loss_fake, wasserstein_generator_loss, None),
        GanLoss("least-squares", least_squares_loss_real, least_squares_loss_fake, least_squares_generator_loss, 0.5),
        GanLoss("hinge", hinge_loss_real, hinge_loss_fake, hinge_generator_loss),
    )
}


def gan_loss(name: str) -> GanLoss:
    """The loss of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in GAN_LOSSES:
        raise ValueError(f"loss must be one of {', '.join(GAN_LOSSES)}, got {name!r}")
    return GAN_LOSSES[name]


def gan_value(real_logits: Float[Tensor, "*real"], fake_logits: Float[Tensor, "*fake"]) -> Float[Tensor, ""]:
    """The value of the game, V = E log D(x) + E log(1 - D(G(z))), in nats; -log 4 where no one can tell them apart.

    Source: Goodfellow et al. 2014, equation 1 and theorem 1.
    """
    return -(log_loss_real(real_logits) + log_loss_fake(fake_logits))


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Float[Tensor, "batch ..."],
    fake: Float[Tensor, "*fake"],
    *,
    target: int | float = 1.0,
    one_sided: bool = False,
) -> Float[Tensor, ""]:
    """The mean of (‖slope‖ - target)², where the slope is the critic's gradient at a point between two samples.

    `one_sided` leaves slopes below the target alone, as the theory does. On a line that matters: there a slope that
    starts with the wrong sign can only turn round through zero, where the two-sided penalty is a hill.

    Each real sample is mixed with a generated one by a share of its own, uniform in [0, 1). The norm goes over all
    axes of one sample, never over the batch. Gradients flow to the critic's weights, not to `real` or `fake`.

    Raises:
        ValueError: `real` and `fake` do not have the same shape.

    Source: Gulrajani et al. 2017, equation 3 and algorithm 1; one-sided: their section 4, and Petzka et al. 2018.
    """
    if real.shape != fake.shape:
        raise ValueError(f"fake must have the shape of real, {tuple(real.shape)}, got {tuple(fake.shape)}")
    # Drawn on the CPU, so that a seed means the same everywhere.
    share = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype)
    between = torch.lerp(fake.detach(), real.detach(), share.to(real.device)).requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    beyond = slope.flatten(1).norm(dim=1) - target
    return (beyond.relu() if one_sided else beyond).square().mean()
