"""CycleGAN: a round, one step of all four networks, beside the original recipe, re-expressed.

Both sides have the same layers, weights and losses, a batch of one picture of each domain as in the paper, pools of 50,
and the identity loss, which the published code has by default.
"""

from __future__ import annotations

import itertools
import statistics

import torch
from torch import Tensor, nn

from benchmarks.timing import interleaved
from lectures_lib.models.cyclegan import CycleGan, CycleGanConfig, cyclegan
from lectures_lib.training.cyclegan import CycleRules, cycle_players, discriminator_step, generator_step
from lectures_lib.training.image_pool import ImagePool

SIDE, BATCH, RUNS = 32, 1, 60
CONFIG = CycleGanConfig.tiny()
RULES = CycleRules.paintings()
LAMBDA, IDENTITY = 10.0, 0.5
LEARNING_RATE = 2e-4


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.row = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.row(x)


def peer_generator(config: CycleGanConfig) -> nn.Sequential:
    """The generator as one row of layers."""
    width = config.width
    row = [nn.ReflectionPad2d(3), nn.Conv2d(config.channels, width, 7, bias=False)]
    row += [nn.InstanceNorm2d(width), nn.ReLU(True)]
    for w in (width, 2 * width):
        row += [nn.Conv2d(w, 2 * w, 3, stride=2, padding=1, bias=False), nn.InstanceNorm2d(2 * w), nn.ReLU(True)]
    row += [_Block(4 * width) for _ in range(config.n_blocks)]
    for w in (4 * width, 2 * width):
        if config.upsampling == "transposed":
            row.append(nn.ConvTranspose2d(w, w // 2, 3, stride=2, padding=1, output_padding=1, bias=False))
        else:
            row += [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(w, w // 2, 3, bias=False)]
        row += [nn.InstanceNorm2d(w // 2), nn.ReLU(True)]
    return nn.Sequential(*row, nn.ReflectionPad2d(3), nn.Conv2d(width, config.channels, 7), nn.Tanh())


def peer_discriminator(config: CycleGanConfig) -> nn.Sequential:
    """The discriminator as one row of layers."""
    widths = [config.discriminator_width * min(2**n, 8) for n in range(config.n_layers + 1)]
    row = [nn.Conv2d(config.channels, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
    for n, (before, after) in enumerate(itertools.pairwise(widths), start=1):
        stride = 2 if n < config.n_layers else 1
        row += [nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False), nn.InstanceNorm2d(after)]
        row.append(nn.LeakyReLU(0.2, True))
    return nn.Sequential(*row, nn.Conv2d(widths[-1], 1, 4, padding=1))


class PeerNetworks:
    """The recipe's four networks and its training, with its own names: A is x, B is y, G_A paints B from A."""

    def __init__(self, config: CycleGanConfig, *, seed: int = 0) -> None:
        self.G_A, self.G_B = peer_generator(config), peer_generator(config)
        self.D_A, self.D_B = peer_discriminator(config), peer_discriminator(config)
        self.pool_A, self.pool_B = ImagePool(50, seed=2 * seed), ImagePool(50, seed=2 * seed + 1)
        self.l1, self.mse = nn.L1Loss(), nn.MSELoss()

    def load(self, model: CycleGan) -> None:
        """Take our weights over. (The published code calls the discriminator of B's pictures D_A.)"""
        order = ("conv_in", "downs", "blocks", "ups", "conv_out", "convs", "to_logits")
        pairs = (
            (self.G_A, model.to_y),
            (self.G_B, model.to_x),
            (self.D_A, model.discriminator_y),
            (self.D_B, model.discriminator_x),
        )
        for peer, ours in pairs:
            names = sorted(ours.state_dict(), key=lambda name: order.index(name.split(".")[0]))
            weights = (ours.state_dict()[name].clone() for name in names)
            peer.load_state_dict(dict(zip(peer.state_dict(), weights, strict=True)))

    def optimizers(self) -> None:
        """Adam as in the paper, one for both generators and one for both discriminators."""
        rates = {"lr": LEARNING_RATE, "betas": (0.5, 0.999)}
        self.on_G = torch.optim.Adam(itertools.chain(self.G_A.parameters(), self.G_B.parameters()), **rates)
        self.on_D = torch.optim.Adam(itertools.chain(self.D_A.parameters(), self.D_B.parameters()), **rates)

    def gan_loss(self, logits: Tensor, real: bool) -> Tensor:
        """The mean square of the distance from a map of ones or zeros."""
        return self.mse(logits, torch.tensor(1.0 if real else 0.0).expand_as(logits))

    def step(self, real_A: Tensor, real_B: Tensor) -> tuple[float, float]:
        """A round: losses of the generators and, as a mean, of the discriminators."""
        fake_B, fake_A = self.G_A(real_A), self.G_B(real_B)
        rec_A, rec_B = self.G_B(fake_B), self.G_A(fake_A)
        self._requires_grad(False)
        self.on_G.zero_grad()
        loss_idt_A = self.l1(self.G_A(real_B), real_B) * LAMBDA * IDENTITY
        loss_idt_B = self.l1(self.G_B(real_A), real_A) * LAMBDA * IDENTITY
        loss_G_A, loss_G_B = self.gan_loss(self.D_A(fake_B), True), self.gan_loss(self.D_B(fake_A), True)
        loss_cycle_A, loss_cycle_B = self.l1(rec_A, real_A) * LAMBDA, self.l1(rec_B, real_B) * LAMBDA
        loss_G = loss_G_A + loss_G_B + loss_cycle_A + loss_cycle_B + loss_idt_A + loss_idt_B
        loss_G.backward()
        self.on_G.step()
        self._requires_grad(True)
        self.on_D.zero_grad()
        loss_D_B = self._backward_D(self.D_B, real_A, self.pool_A.exchange(fake_A))
        loss_D_A = self._backward_D(self.D_A, real_B, self.pool_B.exchange(fake_B))
        self.on_D.step()
        return loss_G.item(), (loss_D_A.item() + loss_D_B.item()) / 2

    def _backward_D(self, network: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        loss = (self.gan_loss(network(real), True) + self.gan_loss(network(fake), False)) * 0.5
        loss.backward()
        return loss

    def _requires_grad(self, wanted: bool) -> None:
        for network in (self.D_A, self.D_B):
            for parameter in network.parameters():
                parameter.requires_grad = wanted


def round_time(precision: str) -> dict:
    """Milliseconds a round, ours in `precision` beside the recipe in float32; a ratio above 1 means ours is faster."""
    model, peer = cyclegan(CONFIG, seed=0), PeerNetworks(CONFIG)
    peer.load(model)
    peer.optimizers()
    players = cycle_players(model, RULES, learning_rate=LEARNING_RATE, precision=precision)
    generator = torch.Generator().manual_seed(0)
    x, y = (2 * torch.rand(BATCH, CONFIG.channels, SIDE, SIDE, generator=generator) - 1 for _ in range(2))

    def our_round() -> None:
        move = generator_step(players, x, y, RULES)
        discriminator_step(players, x, y, move.fake_x, move.fake_y)

    times = interleaved([our_round, lambda: peer.step(x, y)], runs=RUNS)
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
