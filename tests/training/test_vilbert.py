"""Batches for ViLBERT: the true caption first, what is hidden; the loss is the three parts it says; and it learns."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.data.captioned import CONTENT_PLACES, VERB, Captioned, caption_vocabulary, captioned_pictures
from lectures_lib.experiments.vision_language_claims import Recipe, config
from lectures_lib.losses.pretraining import NO_TARGET
from lectures_lib.models.vilbert import ViLBertForPretraining, with_whole_picture
from lectures_lib.training import fit
from lectures_lib.training.vilbert import CaptionBatches, vilbert_loss, vilbert_losses

PICTURES, VOCABULARY = captioned_pictures(24), caption_vocabulary()


def batches(**options):
    return CaptionBatches(PICTURES, VOCABULARY, **dict(batch_size=8, seed=1) | options)


def model():
    torch.manual_seed(0)
    return ViLBertForPretraining(config(Recipe()))


def test_an_epoch_has_every_picture_once_and_is_the_same_again_and_new_in_the_next():
    every = batches()
    assert len(every) == 3
    first, again, other = (list(every(epoch)) for epoch in (0, 0, 1))
    true = torch.cat([batch.captions[:, 0] for batch in first])
    said = sorted(VOCABULARY.decode(row) for row in true.tolist())
    assert said == sorted(caption.lower() for caption in PICTURES.captions)
    for name in ("captions", "hidden", "targets", "covered", "features"):
        assert all(torch.equal(getattr(a, name), getattr(b, name)) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.captions, b.captions) for a, b in zip(first, other, strict=True))


def test_words_that_say_something_are_hidden_and_of_the_true_caption_only():
    batch = next(iter(batches(words=0.5)(0)))
    asked = batch.targets != NO_TARGET
    assert (asked.sum(dim=1) == 2).all()  # half of three, rounded
    assert not asked[:, [p for p in range(8) if p not in CONTENT_PLACES]].any()
    true = batch.captions[:, 0]
    assert torch.equal(batch.targets[asked], true[asked])
    assert torch.equal(batch.hidden[~asked], true[~asked])
    assert not torch.equal(batch.hidden, true)


def test_a_batch_has_one_wrong_caption_of_each_kind_asked_for():
    assert next(iter(batches()(0))).captions.shape == (8, 4, 8)
    batch = next(iter(batches(kinds=("verb",))(0)))
    assert batch.captions.shape == (8, 2, 8)
    differs = batch.captions[:, 0] != batch.captions[:, 1]
    assert differs.nonzero()[:, 1].tolist() == [VERB] * 8


def test_batches_can_be_shared_out_picture_by_picture():
    batch = next(iter(batches()(0)))
    share = batch.shard(1, 3)
    assert len(share) == 3
    assert torch.equal(share.captions, batch.captions[[1, 4, 7]])
    assert torch.equal(share.covered, batch.covered[[1, 4, 7]])
    assert batch.to(torch.device("meta")).features.device.type == "meta"
    with pytest.raises(ValueError, match="index must lie between 0 and count - 1 = 2, got 3"):
        batch.shard(3, 3)


def test_the_loss_is_the_three_parts_it_says():
    trained, batch = model().eval(), next(iter(batches(regions=0.5)(0)))
    word, region, choice = vilbert_losses(trained, batch)
    gaps = torch.where(batch.covered[..., None], 0.0, batch.features)
    more, where, _ = with_whole_picture(gaps, batch.locations, ~batch.covered)
    output = trained(batch.hidden, more, where)
    asked = batch.targets != NO_TARGET
    assert_close(word, F.cross_entropy(output.words[asked], batch.targets[asked]))
    target, said = batch.colours[batch.covered], output.regions[:, 1:][batch.covered].log_softmax(dim=-1)
    assert_close(region, F.kl_div(said, target, reduction="batchmean"))
    more, where, _ = with_whole_picture(batch.features, batch.locations)
    scores = torch.stack([trained(batch.captions[:, n], more, where).match for n in range(4)], dim=1)
    assert_close(choice, -scores.log_softmax(dim=1)[:, 0].mean())
    total, count = vilbert_loss(trained, batch)
    assert int(count) == 8
    assert_close(total / count, word + region + choice)


def test_what_is_hidden_is_not_read():
    """Neither the hidden regions' pixels nor the true word at a [MASK] may change what is said of them."""
    trained, batch = model().eval(), next(iter(batches(regions=0.5)(0)))
    painted = dataclasses.replace(batch, features=batch.features.where(~batch.covered[..., None], 0.77))
    assert_close(vilbert_losses(trained, batch)[:2], vilbert_losses(trained, painted)[:2])


def test_every_weight_gets_a_gradient():
    trained = model()
    total, count = vilbert_loss(trained, next(iter(batches()(0))))
    (total / count).backward()
    without = [n for n, p in trained.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_it_runs_on_the_meta_device():
    with torch.device("meta"):
        trained = ViLBertForPretraining(config(Recipe()))
    batch = next(iter(batches()(0))).to(torch.device("meta"))
    features, where, _ = with_whole_picture(batch.features, batch.locations)
    output = trained(batch.hidden, features, where)
    assert output.match.device.type == "meta"


@pytest.mark.slow
def test_a_few_pictures_can_be_learned():
    few = Captioned(PICTURES.images[:4], PICTURES.scenes[:4], PICTURES.regions[:4], PICTURES.nouns[:4])
    every = CaptionBatches(few, VOCABULARY, batch_size=4, seed=0)
    trained = model()
    batch = next(iter(every(1000)))
    before = vilbert_losses(trained, batch).detach()
    fit(trained, vilbert_loss, every, steps=60, learning_rate=3e-3, progress=False)
    after = vilbert_losses(trained, batch).detach()
    assert after[0] < 0.5 * before[0]
    assert after[1] < 0.7 * before[1]
    assert after[2] < 0.7 * before[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [(dict(batch_size=0), "batch_size"), (dict(batch_size=25), "batch_size"), (dict(regions=1.5), "regions must lie")],
)
def test_bad_batches_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        batches(**options)
