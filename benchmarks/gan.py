"""DCGAN: a round, one step of each network, beside PyTorch's own example, re-expressed.

How good the digits are after a minute, ours beside the example's, is an experiment with a result file of its own:
`python -m lectures_lib.experiments gan_quality`.
"""

from __future__ import annotations

import statistics

import torch
from torch import nn

from benchmarks.timing import interleaved
from lectures_lib.experiments.gan_quality import peer_networks, peer_round
from lectures_lib.models.dcgan import DcganConfig, DcganDiscriminator, DcganGenerator, dcgan
from lectures_lib.training.gan import GanRules, Players, adam, discriminator_step, generator_step

BATCH, RUNS = 64, 9
CONFIG = DcganConfig.tiny()


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

    def our_round() -> None:  # on the same samples twice, as the example does it
        fake = players.make(latent)
        discriminator_step(players, real, latent, GanRules(), fake=fake)
        generator_step(players, latent, GanRules(), fake=fake)

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
    """Ours in bfloat16 where the processor has it; without, it is many times slower, and float32 is the best."""
    return round_time("bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "no")
