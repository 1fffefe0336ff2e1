"""DCGAN: a round, one step of each network, beside PyTorch's own example, re-expressed."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.timing import interleaved
from lectures_lib.models.dcgan import DcganConfig, DcganDiscriminator, DcganGenerator, dcgan
from lectures_lib.training.gan import GanRules, Players, adam, discriminator_step, generator_step

BATCH, RUNS = 64, 9
CONFIG = DcganConfig.tiny()


def peer_networks(config: DcganConfig) -> tuple[nn.Sequential, nn.Sequential]:
    """The same layers for 28 × 28 as the example writes them: one `nn.Sequential` each, a sigmoid at the end."""
    w, d = config.width, config.d_latent
    generator = nn.Sequential(
        nn.ConvTranspose2d(d, 2 * w, 7, 1, 0, bias=False),
        nn.BatchNorm2d(2 * w),
        nn.ReLU(True),
        nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False),
        nn.BatchNorm2d(w),
        nn.ReLU(True),
        nn.ConvTranspose2d(w, config.channels, 4, 2, 1, bias=False),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        nn.Conv2d(config.channels, w, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(w, 2 * w, 4, 2, 1, bias=False),
        nn.BatchNorm2d(2 * w),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(2 * w, 1, 7, 1, 0, bias=False),
        nn.Sigmoid(),
    )
    return generator, discriminator


def with_our_weights(
    peers: tuple[nn.Sequential, nn.Sequential], ours: tuple[DcganGenerator, DcganDiscriminator]
) -> None:
    """Copy our weights into the peer's layers: both have convolutions and norms in the order of the data."""
    generator, discriminator = ours
    convolutions = ([*generator.ups], [*discriminator.downs, discriminator.to_logit])
    for peer, layers, network in zip(peers, convolutions, ours, strict=True):
        norms = iter(network.norms)
        layers_in_order = iter(layers)
        for module in peer:
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.load_state_dict(next(layers_in_order).state_dict())
            elif isinstance(module, nn.BatchNorm2d):
                module.load_state_dict(next(norms).state_dict())


def peer_round(
    generator: nn.Module, discriminator: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> Callable[[Tensor, Tensor], tuple[float, float]]:
    """A round as the example does it: the discriminator on real, then on fake samples; then the generator on the same
    fakes, with gradients for the discriminator's weights computed along the way. Losses are read after every round.
    """
    criterion = nn.BCELoss()

    def one_round(real: Tensor, latent: Tensor) -> tuple[float, float]:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        discriminator.zero_grad()
        on_real = criterion(discriminator(real).view(-1), ones)
        on_real.backward()
        fake = generator(latent[:, :, None, None])
        on_fake = criterion(discriminator(fake.detach()).view(-1), zeros)
        on_fake.backward()
        optimizers[1].step()
        generator.zero_grad()
        wish = criterion(discriminator(fake).view(-1), ones)
        wish.backward()
        optimizers[0].step()
        return on_real.item() + on_fake.item(), wish.item()

    return one_round


def round_time(precision: str) -> dict:
    """Milliseconds a round, ours in `precision` beside the example in float32; a ratio above 1 means ours is faster."""
    ours = dcgan(CONFIG, seed=0)
    players = Players(*ours, *(adam(network.parameters(), lr=2e-4) for network in ours), precision)
    peers = peer_networks(CONFIG)
    with_our_weights(peers, ours)
    peer = peer_round(
        *peers, [torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999)) for network in peers]
    )
    real, latent = 2 * torch.rand(BATCH, 1, 28, 28) - 1, torch.randn(BATCH, CONFIG.d_latent)

    def our_round() -> None:
        discriminator_step(players, real, latent, GanRules())
        generator_step(players, latent, GanRules())

    times = interleaved([our_round, lambda: peer(real, latent)], runs=RUNS)
    middle = [1000 * statistics.median(part) for part in times]
    return {
        "ours": middle[0],
        "peer": middle[1],
        "ratio": middle[1] / middle[0],
        "unit": "ms",
        "spread": 1000 * (max(times[0]) - min(times[0])),
        "precision": {"ours": "float32" if precision == "no" else precision, "peer": "float32"},
        "batch": BATCH,
    }


def equal_precision() -> dict:
    """Both in float32."""
    return round_time("no")


def best_precision() -> dict:
    """Ours in bfloat16."""
    return round_time("bf16")
