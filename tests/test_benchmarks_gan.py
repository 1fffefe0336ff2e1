"""The benchmark of DCGAN compares like with like: the peer's round is ours, before either is fast."""

import torch
from torch.testing import assert_close

from benchmarks import gan
from benchmarks.__main__ import BENCHMARKS
from lectures_lib.models.dcgan import DcganConfig, dcgan
from lectures_lib.training.gan import GanRules, Players, discriminator_step, generator_step

SMALL = DcganConfig(28, 1, d_latent=4, width=2)


def test_the_peers_networks_have_our_sizes_and_with_our_weights_give_our_numbers():
    ours, peers = dcgan(SMALL, seed=0), gan.peer_networks(SMALL)
    gan.with_our_weights(peers, ours)
    for one, other in zip(ours, peers, strict=True):
        assert sum(p.numel() for p in one.parameters()) == sum(p.numel() for p in other.parameters())
    latent = torch.randn(3, 4)
    images = ours[0](latent)
    assert_close(images, peers[0](latent[:, :, None, None]), atol=1e-6, rtol=1e-5)
    assert_close(ours[1](images).sigmoid(), peers[1](images).flatten(), atol=1e-6, rtol=1e-5)


def test_a_round_of_the_peer_moves_the_discriminator_as_ours_does():
    ours, peers = dcgan(SMALL, seed=0), gan.peer_networks(SMALL)
    gan.with_our_weights(peers, ours)
    real, latent = 2 * torch.rand(6, 1, 28, 28) - 1, torch.randn(6, 4)
    sgd = [torch.optim.SGD(network.parameters(), lr=0.1) for network in (*ours, *peers)]
    players = Players(*ours, *sgd[:2])
    move = discriminator_step(players, real, latent, GanRules())
    answer = generator_step(players, latent, GanRules())
    d_loss, g_loss = gan.peer_round(*peers, sgd[2:])(real, latent)
    assert_close(d_loss, float(move.loss), atol=1e-5, rtol=1e-4)
    assert_close(g_loss, float(answer.loss), atol=1e-4, rtol=1e-3)
    assert_close(ours[1].to_logit.weight, peers[1][5].weight, atol=1e-5, rtol=1e-4)
    assert_close(ours[0].ups[0].weight, peers[0][0].weight, atol=1e-4, rtol=1e-3)


def test_both_tasks_are_registered_and_leave_their_numbers(monkeypatch):
    monkeypatch.setattr(gan, "CONFIG", SMALL)
    monkeypatch.setattr(gan, "RUNS", 2)
    best = "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"
    for name, precision in (("dcgan-round", "float32"), ("dcgan-round-best", best)):
        row = BENCHMARKS[name]()
        assert row["ratio"] == row["peer"] / row["ours"]
        assert row["precision"] == {"ours": precision, "peer": "float32"}
