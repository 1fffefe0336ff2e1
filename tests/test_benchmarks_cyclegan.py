"""The benchmark of CycleGAN compares like with like: the peer's round is ours, before either is fast."""

import pytest
import torch
from torch.testing import assert_close

from benchmarks import cyclegan as bench
from benchmarks.__main__ import BENCHMARKS
from lectures_lib.models.cyclegan import CycleGanConfig, cyclegan
from lectures_lib.training.cyclegan import cycle_players, discriminator_step, generator_step

SMALL = CycleGanConfig(width=2, n_blocks=1, upsampling="resize", discriminator_width=2, n_layers=1)


def pictures(seed, count=2):
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("upsampling", ["resize", "transposed"])
def test_the_peers_networks_have_our_sizes_and_with_our_weights_give_our_numbers(upsampling):
    config = CycleGanConfig(width=2, n_blocks=1, upsampling=upsampling, discriminator_width=2, n_layers=2)
    ours, peer = cyclegan(config, seed=0), bench.PeerNetworks(config)
    peer.load(ours)
    pairs = (
        (ours.to_y, peer.G_A),
        (ours.to_x, peer.G_B),
        (ours.discriminator_y, peer.D_A),
        (ours.discriminator_x, peer.D_B),
    )
    for mine, theirs in pairs:
        assert sum(p.numel() for p in mine.parameters()) == sum(p.numel() for p in theirs.parameters())
        output = theirs(pictures(0))
        assert_close(mine(pictures(0)).view_as(output), output, atol=1e-6, rtol=1e-5)


def test_rounds_of_the_peer_move_all_networks_as_ours_do():
    model, peer = cyclegan(SMALL, seed=0), bench.PeerNetworks(SMALL)
    for parameter in model.parameters():
        parameter.data.mul_(10)
    peer.load(model)
    sgd = lambda parameters, lr: torch.optim.SGD(parameters, lr=lr)  # noqa: E731
    players = cycle_players(model, bench.RULES, learning_rate=0.02, optimizer=sgd)
    peer.on_G = sgd([*peer.G_A.parameters(), *peer.G_B.parameters()], 0.02)
    peer.on_D = sgd([*peer.D_A.parameters(), *peer.D_B.parameters()], 0.02)
    for number in range(2):
        x, y = pictures(number), pictures(number + 10)
        move = generator_step(players, x, y, bench.RULES)
        judged = discriminator_step(players, x, y, move.fake_x, move.fake_y)
        loss_g, loss_d = peer.step(x, y)
        assert_close(loss_g, float(move.adversarial + 10 * move.cycle + 5 * move.identity), atol=1e-4, rtol=1e-4)
        assert_close(loss_d, float(judged.loss), atol=1e-5, rtol=1e-4)
    assert_close(model.to_y.conv_in.weight, peer.G_A[1].weight, atol=1e-5, rtol=1e-3)
    assert_close(model.to_x.conv_out.weight, peer.G_B[-2].weight, atol=1e-5, rtol=1e-3)
    assert_close(model.discriminator_x.convs[0].weight, peer.D_B[0].weight, atol=1e-5, rtol=1e-3)
    assert_close(model.discriminator_y.to_logits.weight, peer.D_A[-1].weight, atol=1e-5, rtol=1e-3)


def test_the_task_is_registered_and_leaves_its_numbers(monkeypatch):
    monkeypatch.setattr(bench, "CONFIG", SMALL)
    monkeypatch.setattr(bench, "RUNS", 2)
    row = BENCHMARKS["cyclegan-round"]()
    assert row["ratio"] == row["peer"] / row["ours"]
    assert row["precision"] == {"ours": "float32", "peer": "float32"}
