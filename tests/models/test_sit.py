"""SiT: how pictures are damaged, turned and moved; its three answers; and that pretraining reaches the classifier."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.losses.contrastive import nt_xent_loss
from lectures_lib.losses.self_supervised import repair_loss, uncertainty_weighted
from lectures_lib.models.sit import SiT, SiTConfig, damage, random_blocks, random_shift, turned, two_views
from lectures_lib.models.vit import ViTConfig

PROPERTY = settings(deadline=None, max_examples=15)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def build(**options):
    torch.manual_seed(0)
    sizes = dict(image_size=8, patch_size=4, n_channels=1, d_model=16, n_heads=2, d_feed_forward=32, n_layers=1)
    vit = ViTConfig(**sizes | dict(n_classes=3, n_tokens=2) | options)
    return SiT(SiTConfig(vit, d_hidden=16, d_contrast=8))


# Damage


@PROPERTY
@given(share=st.floats(0, 0.95), side=st.integers(4, 12), seed=st.integers(0, 99))
def test_blocks_cover_their_share_and_not_much_more(share, side, seed):
    blocks = random_blocks(3, side, share, smallest=1, largest=3, generator=seeded(seed))
    covered = blocks.float().mean(dim=(1, 2, 3))
    assert blocks.shape == (3, 1, side, side)
    assert (covered >= share).all()
    assert (covered < share + 9 / side**2 + 1e-6).all()  # the last block goes over by no more than itself


def test_every_pixel_is_about_as_likely_to_be_damaged_also_at_the_rim():
    blocks = random_blocks(4000, 8, 0.3, smallest=2, largest=4, generator=seeded())
    chance = blocks.float().mean(0)[0]
    assert chance.min() > 0.75 * chance.mean()
    assert chance.max() < 1.25 * chance.mean()


def test_what_was_not_damaged_stays_and_what_was_comes_from_noise_or_another_picture():
    images = torch.arange(1.0, 5).view(4, 1, 1, 1).expand(4, 1, 12, 12)
    damaged, changed = damage(images, generator=seeded())
    assert torch.equal(damaged[~changed], images[~changed])
    borrowed = torch.isin(damaged, images) & (damaged != images)
    noise = ~torch.isin(damaged, images)
    assert changed.float().mean() > 0.7
    assert 0.25 < borrowed.float().mean() < 0.6
    assert torch.equal(borrowed | noise, changed)
    lone, where = damage(images, noise=0, foreign=0.5, generator=seeded())
    assert torch.isin(lone, images).all()
    assert (lone[where] != images[where]).all()  # never a picture's own pieces


def test_the_same_generator_gives_the_same_batch_and_another_one_another():
    images = torch.randn(3, 1, 8, 8)
    first, again, other = (two_views(images, generator=seeded(s), flip=True, shift=1) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.damaged, other.damaged)


# Turns and shifts


def test_a_quarter_turn_brings_the_right_side_to_the_top():
    images = torch.arange(4.0).view(1, 1, 2, 2).expand(5, 1, 2, 2)
    rows = turned(images, torch.tensor([0, 1, 2, 3, 4])).flatten(1).tolist()
    assert rows == [[0, 1, 2, 3], [1, 3, 0, 2], [3, 2, 1, 0], [2, 0, 3, 1], [0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, [1.0, 0, 0, 0]), (0.75, [0.25] * 4), (1.0, [0, 1 / 3, 1 / 3, 1 / 3])]
)
def test_as_many_views_are_turned_as_asked_for(share, expected):
    views = two_views(torch.zeros(1500, 1, 4, 4), generator=seeded(), turn=share, noise=0, foreign=0)
    assert_close(views.turns.bincount(minlength=4) / 3000, torch.tensor(expected), atol=0.03, rtol=0)


def test_a_share_of_turns_is_a_share():
    with pytest.raises(ValueError, match=r"turn must lie in \[0, 1\], got 1.5"):
        two_views(torch.zeros(2, 1, 4, 4), generator=seeded(), turn=1.5)


def test_a_shift_moves_every_picture_by_itself_and_repeats_the_rim():
    images = torch.arange(16.0).view(1, 1, 4, 4).repeat(200, 1, 1, 1)
    moved = random_shift(images, 1, generator=seeded())
    assert len({tuple(picture.flatten().tolist()) for picture in moved}) == 9
    assert torch.equal(random_shift(images, 0, generator=seeded()), images)
    down = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11.0]])
    assert any(torch.equal(picture[0], down) for picture in moved)


def test_the_mirror_comes_before_the_turn():
    """SiT#9: afterwards, a mirrored turn to the left is a turn to the right of a mirrored picture."""
    image = torch.arange(16.0).view(1, 1, 4, 4)
    batch = two_views(image.repeat(64, 1, 1, 1), generator=seeded(), flip=True, noise=0, foreign=0)
    back = turned(batch.clean, -batch.turns)
    assert {tuple(p.flatten().tolist()) for p in back} == {
        tuple(image.flatten().tolist()),
        tuple(image.flip(-1).flatten().tolist()),
    }
    assert set(batch.turns.tolist()) == {0, 1, 2, 3}
    assert torch.equal(batch.damaged, batch.clean)
    assert not batch.changed.any()
    assert len(batch) == len(batch.damaged) == 128


# The model


def test_each_head_reads_its_own_place():
    model, images = build(), torch.randn(2, 1, 8, 8)
    states = model.encoder(images)
    output = model(images)
    assert_close(output.turns, model.turns(states[:, 0]))
    assert_close(output.contrast, model.contrast(states[:, 1]))
    corner = model.repair(states[:, 2])  # the first patch: 4 × 4 pixels
    assert_close(output.pictures[:, :, :4, :4].flatten(1), corner)
    assert [tuple(part.shape) for part in output] == [(2, 1, 8, 8), (2, 4), (2, 8)]


def test_fresh_heads_have_no_bias_that_would_make_all_views_look_alike():
    heads = [module for name, module in build().named_modules() if isinstance(module, torch.nn.Linear)]
    assert all(head.bias.count_nonzero() == 0 for head in heads[-7:])
    contrast = build().contrast(torch.randn(50, 16))
    alike = F.cosine_similarity(contrast[:25], contrast[25:])
    assert alike.abs().mean() < 0.5


def test_a_classifier_begins_with_what_was_learned_and_does_not_share_it():
    model, images = build(), torch.randn(2, 1, 8, 8)
    classifier = model.classifier()
    assert_close(classifier.features(images), model.encoder(images))
    with torch.no_grad():
        classifier.encoder.norm.weight.add_(1)
    assert not torch.allclose(classifier.features(images), model.encoder(images))
    assert classifier(images).shape == (2, 3)


def test_all_three_tasks_reach_the_encoder_and_their_scales():
    model, images = build(), torch.randn(4, 1, 8, 8)
    for weights in ([1, 0, 0], [0, 1, 0], [0, 0, 1]):
        model.zero_grad()
        losses = tasks(model, two_views(images, generator=seeded()))
        uncertainty_weighted(losses * torch.tensor(weights), model.scales).backward()
        assert model.encoder.embed_patch.weight.grad.abs().sum() > 0
        assert model.scales.grad.count_nonzero() > 0


def tasks(model, batch):
    output = model(batch.damaged)
    repaired, pixels = repair_loss(output.pictures, batch.clean, batch.changed)
    found, views = nt_xent_loss(*output.contrast.chunk(2))
    return torch.stack([repaired / pixels, F.cross_entropy(output.turns, batch.turns), found / views])


def test_it_learns_all_three_tasks_at_once():
    torch.manual_seed(0)
    model = build(d_model=32, d_feed_forward=64)
    images = torch.linspace(-1.5, 1.5, 8).view(8, 1, 1, 1).repeat(1, 1, 8, 8)  # pictures are told by their brightness
    images[:, :, :2] = 3  # and turns by the side that is lit
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    generator, history = seeded(1), []
    for _ in range(100):
        losses = tasks(model, two_views(images, generator=generator, noise=0.2, foreign=0))
        optimizer.zero_grad()
        uncertainty_weighted(losses, model.scales).backward()
        optimizer.step()
        history.append(losses.detach())
    before, after = torch.stack(history[:5]).mean(0), torch.stack(history[-10:]).mean(0)
    assert (after < 0.9 * before).all()
    assert not torch.allclose(model.scales, torch.ones(3), atol=1e-3)


def test_sizes_add_up():
    def count(module):
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):
        paper, tiny = SiT(SiTConfig.paper()), SiT(SiTConfig.tiny(10))
    d, hidden, out = 768, 2048, 256
    repair = 2 * (d * d + d) + d * d + d  # 768 is also the number of numbers in a patch of 16 × 16 × 3
    contrast = d * hidden + hidden + hidden * hidden + hidden + hidden * out + out
    assert count(paper) == count(paper.encoder) + repair + contrast + 4 * d + 4 + 3
    assert count(paper.encoder) == 86_567_656 - (1000 * d + 1000) + 2 * d  # ViT-B/16, one token and position more
    assert count(tiny) < 250_000


def test_runs_where_no_tensor_may_be_made_on_the_cpu():
    with torch.device("meta"):
        model = SiT(SiTConfig.tiny(10))
    output = model(torch.zeros(2, 1, 28, 28, device="meta"))
    assert {part.device.type for part in output} == {"meta"}


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: damage(torch.zeros(1, 1, 8, 8), generator=g), "images must be at least 2 where foreign is above 0"),
        (lambda g: damage(torch.zeros(2, 1, 8, 9), generator=g), r"side, side\), got \(2, 1, 8, 9\)"),
        (lambda g: damage(torch.zeros(2, 1, 8, 8), noise=1, generator=g), r"share must lie in \[0, 1\), got 1"),
        (lambda g: damage(torch.zeros(2, 1, 8, 8), largest=9, generator=g), "from 1 to 8, got .* 2 and largest 9"),
        (lambda g: turned(torch.zeros(2, 1, 8, 8), torch.zeros(3).long()), r"turns must have shape \(2,\), got \(3,\)"),
        (lambda g: random_shift(torch.zeros(2, 1, 8, 8), -1, generator=g), "largest must not be negative, got -1"),
        (lambda g: two_views(torch.zeros(2, 8, 8), generator=g), r"side, side\), got \(2, 8, 8\)"),
        (lambda g: build(n_tokens=1), r"n_tokens must be 2 \(rotation and contrast\), got 1"),
        (lambda g: SiTConfig(ViTConfig.tiny(3, n_tokens=2), d_hidden=0), "d_hidden must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(seeded())
