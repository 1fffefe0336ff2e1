"""The conditional GAN beside the same in PyTorch's own layers, with labels as columns of zeros and one 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lectures_lib.models.cgan import CganConfig, cgan
from lectures_lib.models.dcgan import DcganConfig
from parity.compare import Parity, compared, paired, shaken, weighed_sum
from parity.gan import _in_our_names, torch_discriminator, torch_generator

CLASSES, D_LATENT, D_LABEL, WIDTH, SIZE, CHANNELS = 5, 6, 3, 4, 64, 3
LABELS = torch.tensor([4, 0, 2, 2, 1])


class PlainGenerator(nn.Module):
    """A table times a row with one 1, beside the random numbers, into PyTorch's DCGAN example."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(CLASSES, D_LABEL))
        self.network = torch_generator(D_LATENT + D_LABEL, WIDTH, CHANNELS)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        """Images."""
        rows = F.one_hot(labels, CLASSES).to(latent) @ self.table
        return self.network(torch.cat([latent, rows], dim=1)[:, :, None, None])


class PlainDiscriminator(nn.Module):
    """The label as one more channel, or as an inner product with the features of each image, one image at a time."""

    def __init__(self, condition: str) -> None:
        super().__init__()
        self.condition = condition
        channels, columns = (CHANNELS + 1, SIZE * SIZE) if condition == "channel" else (CHANNELS, 8 * WIDTH)
        self.table = nn.Parameter(torch.zeros(CLASSES, columns))
        self.network = torch_discriminator(WIDTH, channels)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Logits."""
        rows = F.one_hot(labels, CLASSES).to(images) @ self.table
        if self.condition == "channel":
            return self.network(torch.cat([images, rows.unflatten(1, (1, SIZE, SIZE))], dim=1)).flatten()
        *stages, last = self.network
        features = nn.Sequential(*stages)(images)  # (batch, 8 · width, 4, 4)
        pooled = torch.einsum("bchw->bc", features)
        return last(features).flatten() + torch.stack([row @ pool for row, pool in zip(rows, pooled, strict=True)])


def networks(role: str) -> Parity:
    """The generator, or the discriminator told by "channel" or "projection", while training."""
    config = CganConfig(
        DcganConfig(SIZE, CHANNELS, d_latent=D_LATENT, width=WIDTH),
        CLASSES,
        D_LABEL,
        "channel" if role == "generator" else role,
    )
    ours = cgan(config, seed=0)[role != "generator"]
    torch.manual_seed(1)
    theirs = shaken(PlainGenerator() if role == "generator" else PlainDiscriminator(role))
    ours.load_state_dict(_ours(theirs, theirs.state_dict(), ours, ours.state_dict()))
    generator = torch.Generator().manual_seed(9)
    if role == "generator":
        x = torch.randn(len(LABELS), D_LATENT, generator=generator)
    else:
        x = 2 * torch.rand(len(LABELS), CHANNELS, SIZE, SIZE, generator=generator) - 1
    output, expected = ours(x, LABELS), theirs(x, LABELS)
    for side in (output, expected):
        weighed_sum(side).backward()
    slopes = {name: parameter.grad for name, parameter in ours.named_parameters()}
    expected_slopes = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    gradients = paired(slopes, _ours(theirs, expected_slopes, ours, dict(ours.named_parameters())))
    name = type(ours).__name__
    what = "output" if role == "generator" else f"output, label by {role}"
    return compared(name, "one-hot labels into PyTorch's DCGAN example", what, [(output, expected)], gradients)


def _ours(
    theirs: nn.Module, tensors: dict[str, Tensor], ours: nn.Module, names: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Their tensors by our names: the table is the embedding, the rest is a DCGAN."""
    part, role = ("draw", "generator") if isinstance(theirs, PlainGenerator) else ("judge", "discriminator")
    inner = {name.removeprefix(f"{part}."): tensor for name, tensor in names.items() if name.startswith(part)}
    rest = {name: tensor for name, tensor in tensors.items() if name != "table"}
    found = {f"{part}.{name}": tensor for name, tensor in _in_our_names(rest, inner, role).items()}
    return {"embed.weight": tensors["table"], **found}
