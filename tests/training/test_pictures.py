"""Batches of pictures are the same whenever asked for; the losses are the parts they say, and can be learned from."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.losses.self_supervised import uncertainty_weighted
from lectures_lib.models.sit import SiT, SiTConfig, two_views
from lectures_lib.models.vit import ViT, ViTConfig
from lectures_lib.training import fit
from lectures_lib.training.pictures import (
    LabelledBatches,
    PictureBatch,
    ViewBatches,
    accuracy,
    naming_loss,
    self_supervised_loss,
    self_supervised_losses,
)

SIZES = dict(
    image_size=8, patch_size=4, n_channels=1, d_model=16, n_heads=2, d_feed_forward=32, n_layers=1, n_classes=2
)


def halves(count=64, seed=0):
    """Noise whose upper or lower half is bright: the label says which."""
    torch.manual_seed(seed)
    labels = torch.arange(count) % 2
    images = 0.3 * torch.randn(count, 1, 8, 8)
    for image, label in zip(images, labels, strict=True):
        image[:, 4 * label : 4 * label + 4] += 1
    return images, labels


def sit():
    torch.manual_seed(0)
    return SiT(SiTConfig(ViTConfig(**SIZES, n_tokens=2, position_std=1.0), d_hidden=16, d_contrast=8))


def test_an_epoch_has_every_picture_once_with_its_own_label_and_is_the_same_again():
    images = torch.arange(10.0).view(10, 1, 1, 1).expand(10, 1, 4, 4).contiguous()
    batches = LabelledBatches(images, torch.arange(10), batch_size=5, seed=2)
    assert len(batches) == 2
    first = [batch.labels for batch in batches(0)]
    assert sorted(torch.cat(first).tolist()) == list(range(10))
    for epoch in (1, 0):  # asked for in any order
        got = list(batches(epoch))
        assert all(torch.equal(batch.images[:, 0, 0, 0], batch.labels.float()) for batch in got)
    assert all(torch.equal(a, b.labels) for a, b in zip(first, batches(0), strict=True))
    assert not torch.equal(torch.cat(first), torch.cat([batch.labels for batch in batches(1)]))


def test_shifted_pictures_differ_between_epochs_and_few_pictures_make_a_whole_batch():
    images, labels = halves(6)
    batches = LabelledBatches(images, labels, batch_size=32, shift=2)
    assert len(batches) == 1
    (one,), (other,) = batches(0), batches(1)
    assert len(one) == len(other) == 6
    assert not torch.equal(one.images[one.labels.argsort()], other.images[other.labels.argsort()])
    (again,) = batches(0)
    assert torch.equal(one.images, again.images)


def test_batches_can_be_shared_out():
    images, labels = halves(6)
    batch = PictureBatch(images, labels)
    assert torch.equal(batch.shard(1, 3).images, images[[1, 4]])
    assert batch.to(torch.device("meta")).images.device.type == "meta"
    views = two_views(images, generator=torch.Generator().manual_seed(0))
    share = views.shard(1, 3)
    assert len(share) == 4
    assert torch.equal(share.damaged, views.damaged[[1, 4, 7, 10]])  # both views of pictures 1 and 4
    assert torch.equal(share.turns, views.turns[[1, 4, 7, 10]])


def test_views_are_the_same_whenever_asked_and_new_in_every_epoch():
    images, _ = halves(12)
    batches = ViewBatches(images, batch_size=4, seed=1, shift=1)
    assert len(batches) == 3
    first, again, other = (torch.cat([batch.damaged for batch in batches(epoch)]) for epoch in (0, 0, 1))
    assert first.shape == (24, 1, 8, 8)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("labels", "size", "message"),
    [(torch.zeros(3, dtype=torch.long), 2, "labels must be 4"), (torch.zeros(4, dtype=torch.long), 0, "batch_size")],
)
def test_bad_batches_are_refused(labels, size, message):
    with pytest.raises(ValueError, match=message):
        LabelledBatches(torch.zeros(4, 1, 4, 4), labels, batch_size=size)


def test_the_losses_are_the_parts_they_say():
    model, views = sit(), two_views(halves(4)[0], generator=torch.Generator().manual_seed(0))
    output = model(views.damaged)
    repaired, turned, contrasted = self_supervised_losses(model, views)
    assert_close(turned, F.cross_entropy(output.turns, views.turns))
    numbers = views.changed.expand_as(output.pictures)
    assert_close(repaired, (output.pictures - views.clean).abs()[numbers].mean())
    vectors = F.normalize(output.contrast, dim=1)
    scores = (vectors @ vectors.T / 0.5).fill_diagonal_(float("-inf"))
    assert_close(contrasted, F.cross_entropy(scores, torch.arange(8).roll(4)))
    total, count = self_supervised_loss(model, views)
    assert int(count) == 8
    parts = torch.stack([repaired, turned, contrasted])
    assert_close(total / count, uncertainty_weighted(parts, model.scales))


def test_a_classifier_learns_from_its_labels():
    images, labels = halves()
    torch.manual_seed(0)
    model = ViT(ViTConfig(**SIZES, position_std=1.0))
    before = accuracy(model, *halves(40, seed=1))
    fit(model, naming_loss, LabelledBatches(images, labels, batch_size=16), steps=40, progress=False)
    assert before < 0.8
    assert accuracy(model, *halves(40, seed=1)) > 0.95
    assert not model.training


def test_sit_learns_without_labels():
    images, _ = halves()
    model, options = sit(), dict(noise=0.3, foreign=0.1)
    views = two_views(halves(40, seed=1)[0], generator=torch.Generator().manual_seed(5), **options)
    before = self_supervised_losses(model, views).detach()
    batches = ViewBatches(images, batch_size=16, **options)
    fit(model, self_supervised_loss, batches, steps=60, learning_rate=3e-3, progress=False)
    after = self_supervised_losses(model, views).detach()
    assert (after[:2] < 0.9 * before[:2]).all()
