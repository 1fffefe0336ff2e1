"""GANs beside independent implementations: the losses, the penalty sample by sample, DCGAN in PyTorch's own words."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.evaluation.distributions import earth_mover
from lectures_lib.evaluation.images import frechet_distance
from lectures_lib.losses.gan import gan_loss, gradient_penalty
from lectures_lib.models.dcgan import DcganConfig, dcgan
from parity.compare import Parity, compared, named_gradients, paired, shaken, weighed_sum

SMOOTHING = 0.1


def logit_pair() -> tuple[Tensor, Tensor]:
    """Logits of five real and seven generated samples; the same at every call."""
    generator = torch.Generator().manual_seed(4)
    return tuple((3 * torch.randn(count, generator=generator)).requires_grad_() for count in (5, 7))


def loss(name: str) -> Parity:
    """A loss of both players beside PyTorch's own functions of targets."""
    theirs = {
        "non-saturating": F.binary_cross_entropy_with_logits,
        "minimax": F.binary_cross_entropy_with_logits,
        "least-squares": lambda logits, targets: F.mse_loss(logits, targets) / 2,
    }[name]
    real, fake = logit_pair()
    ours = gan_loss(name)
    smooth = torch.full_like(real, 1 - SMOOTHING)
    pairs = {
        "discriminator": (
            ours.discriminator(real, fake, label_smoothing=SMOOTHING),
            theirs(real, smooth) + theirs(fake, torch.zeros_like(fake)),
        ),
        "generator": (
            ours.generator(fake),
            -theirs(fake, torch.zeros_like(fake)) if name == "minimax" else theirs(fake, torch.ones_like(fake)),
        ),
    }
    gradients = {}
    for player, both in pairs.items():
        slopes = [torch.autograd.grad(side, (real, fake), allow_unused=True, retain_graph=True) for side in both]
        for kind, ours_, theirs_ in zip(("real", "fake"), *slopes, strict=True):
            if ours_ is not None:
                gradients[f"{player}, {kind}"] = (ours_, theirs_)
    reference = "torch mse_loss / 2" if name == "least-squares" else "torch binary_cross_entropy_with_logits"
    return compared(f"{name} loss", reference, "both players, smoothed labels", list(pairs.values()), gradients)


def penalty() -> Parity:
    """The gradient penalty beside one Jacobian a sample."""
    generator = torch.Generator().manual_seed(5)
    real, fake = (torch.randn(4, 2, 3, generator=generator) for _ in range(2))
    critic = shaken(nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)))
    torch.manual_seed(6)
    output = gradient_penalty(lambda x: critic(x).squeeze(1), real, fake)
    torch.manual_seed(6)
    shares = torch.rand(4, 1, 1)
    each = []
    for share, x, y in zip(shares, real, fake, strict=True):
        point = share * x + (1 - share) * y
        slope = torch.autograd.functional.jacobian(lambda p: critic(p[None]).squeeze(), point, create_graph=True)
        each.append((slope.square().sum().sqrt() - 1) ** 2)
    expected = sum(each) / len(each)
    weights = dict(critic.named_parameters())
    # The last bias does not change the slope: autograd has nothing to say about it.
    sides = [torch.autograd.grad(side, list(weights.values()), allow_unused=True) for side in (output, expected)]
    gradients = {
        name: (ours, theirs)
        for name, ours, theirs in zip(weights, *sides, strict=True)
        if ours is not None and theirs is not None
    }
    return compared("gradient_penalty", "one Jacobian a sample", "penalty", [(output, expected)], gradients)


def wasserstein() -> Parity:
    """The earth mover's distance beside SciPy's, for sets of equal and of unequal sizes."""
    generator = torch.Generator().manual_seed(7)
    sets = [torch.randn(count, generator=generator) for count in (40, 40, 25)]
    pairs = []
    for one, other in ((sets[0], sets[1] + 1), (sets[0], sets[2] * 3)):
        ours, theirs = earth_mover(one, other), wasserstein_distance(one.numpy(), other.numpy())
        pairs.append((torch.tensor(ours), torch.tensor(theirs)))
    return compared("earth_mover", "scipy.stats.wasserstein_distance", "distance", pairs)


def frechet() -> Parity:
    """The Fréchet distance beside the formula with SciPy's matrix root."""
    generator = torch.Generator().manual_seed(8)
    one, other = (torch.randn(80, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    other = 1.5 * other + 0.3
    means, covariances = zip(*((x.mean(0).numpy(), np.cov(x.numpy().T)) for x in (one, other)), strict=True)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.square(means[0] - means[1]).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    ours = torch.tensor(frechet_distance(one, other))
    return compared("frechet_distance", "scipy.linalg.sqrtm", "distance", [(ours, torch.tensor(float(expected)))])


def torch_generator(d_latent: int, width: int, channels: int) -> nn.Sequential:
    """The 64 × 64 generator of PyTorch's DCGAN example, in its own layers."""
    layers: list[nn.Module] = []
    widths = [8 * width, 4 * width, 2 * width, width]
    before = d_latent
    for index, after in enumerate(widths):
        stride, padding = (1, 0) if index == 0 else (2, 1)
        layers += [nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        before = after
    return nn.Sequential(*layers, nn.ConvTranspose2d(before, channels, 4, 2, 1, bias=False), nn.Tanh())


def torch_discriminator(width: int, channels: int) -> nn.Sequential:
    """The 64 × 64 discriminator of PyTorch's DCGAN example, without its last sigmoid."""
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for before, after in ((width, 2 * width), (2 * width, 4 * width), (4 * width, 8 * width)):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False))


def _in_our_names(theirs: dict[str, Tensor], ours: dict[str, Tensor], role: str) -> dict[str, Tensor]:
    """Their tensors by our names: both have convolutions and norms in the order of the data."""
    convolutions = [t for t in theirs.values() if t.ndim == 4]
    norms = [t for t in theirs.values() if t.ndim < 4]
    if role == "generator":
        names = [n for n in ours if n.startswith("ups.")]
    else:
        names = [n for n in ours if n.startswith("downs.")] + ["to_logit.weight"]
    named = dict(zip(names, convolutions, strict=True))
    return named | dict(zip((n for n in ours if n.startswith("norms.")), norms, strict=True))


def networks(role: str) -> Parity:
    """A network of DCGAN at 64 × 64, training with batch normalisation, beside PyTorch's example."""
    config = DcganConfig(64, 3, d_latent=6, width=4)
    ours = dict(zip(("generator", "discriminator"), dcgan(config, seed=0), strict=True))[role]
    theirs = torch_generator(6, 4, 3) if role == "generator" else torch_discriminator(4, 3)
    torch.manual_seed(1)
    theirs = shaken(theirs)
    ours.load_state_dict(_in_our_names(theirs.state_dict(), ours.state_dict(), role))
    generator = torch.Generator().manual_seed(9)
    if role == "generator":
        latent = torch.randn(5, 6, generator=generator)
        output, expected = ours(latent), theirs(latent[:, :, None, None])
    else:
        images = 2 * torch.rand(5, 3, 64, 64, generator=generator) - 1
        output, expected = ours(images), theirs(images).flatten()
    for side in (output, expected):
        weighed_sum(side).backward()
    gradients = paired(
        named_gradients(ours), _in_our_names(named_gradients(theirs), dict(ours.named_parameters()), role)
    )
    name = f"Dcgan{role.capitalize()}"
    return compared(name, "PyTorch's DCGAN example, re-expressed", "output", [(output, expected)], gradients)
