"""A conditional GAN: the label reaches both networks, in every way it can, and must be a label."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.models.cgan import (
    CONDITIONS,
    CganConfig,
    CganDiscriminator,
    CganGenerator,
    UntoldDiscriminator,
    cgan,
)
from lectures_lib.models.dcgan import DcganConfig

SMALL = DcganConfig(28, 1, d_latent=6, width=4)


def build(condition="channel", seed=0):
    generator, discriminator = cgan(CganConfig(SMALL, n_classes=4, d_label=3, condition=condition), seed=seed)
    return generator.eval(), discriminator.eval()


def test_images_have_the_size_asked_for_and_lie_in_their_range():
    images = build()[0](torch.randn(5, 6), torch.arange(5) % 4)
    assert images.shape == (5, 1, 28, 28)
    assert images.abs().max() <= 1


def test_the_same_random_numbers_with_another_label_are_another_image():
    generator, _ = build()
    latent = torch.randn(1, 6).expand(4, 6)
    images = generator(latent, torch.arange(4))
    assert all((images[0] - image).abs().max() > 1e-4 for image in images[1:])


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_same_image_under_another_label_is_judged_otherwise(condition):
    _, discriminator = build(condition)
    logits = discriminator(torch.rand(1, 1, 28, 28).expand(4, 1, 28, 28), torch.arange(4))
    assert logits.shape == (4,)
    assert len(set(logits.tolist())) == 4


def test_the_channel_is_the_labels_row_laid_out_as_a_picture():
    _, discriminator = build("channel")
    images, labels = torch.rand(2, 1, 28, 28), torch.tensor([3, 1])
    plane = discriminator.embed.weight[labels].reshape(2, 1, 28, 28)
    assert_close(discriminator(images, labels), discriminator.judge(torch.cat([images, plane], dim=1)))


def test_the_projection_adds_an_inner_product_to_the_logit():
    """Miyato and Koyama 2018, equation 8."""
    _, discriminator = build("projection")
    images, labels = torch.rand(3, 1, 28, 28), torch.tensor([0, 2, 2])
    features = discriminator.judge.stages(images)[-1]
    expected = [
        logit + torch.dot(discriminator.embed.weight[label], row.sum(dim=(1, 2)))
        for logit, label, row in zip(discriminator.judge(images), labels, features, strict=True)
    ]
    assert_close(discriminator(images, labels), torch.stack(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_gradients_reach_every_weight_of_both(condition):
    generator, discriminator = build(condition)
    labels = torch.arange(4)
    discriminator(generator(torch.randn(4, 6), labels), labels).square().sum().backward()
    for model in (generator, discriminator):
        assert all(p.grad is not None and p.grad.count_nonzero() > 0 for p in model.parameters())


def test_a_generator_learns_which_label_is_dark():
    generator, _ = cgan(CganConfig(DcganConfig(28, 1, d_latent=6, width=16), n_classes=2), seed=0)
    labels = torch.arange(8) % 2
    target = (2.0 * labels - 1).view(-1, 1, 1, 1).expand(-1, 1, 28, 28) * 0.8
    optimizer = torch.optim.Adam(generator.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        F.mse_loss(generator(torch.randn(8, 6), labels), target).backward()
        optimizer.step()
    dark, light = generator(torch.randn(8, 6), labels).mean(dim=(1, 2, 3)).view(4, 2).unbind(1)
    assert dark.max() < 0 < light.min()


def test_an_untold_discriminator_judges_an_image_the_same_under_every_label():
    torch.manual_seed(0)
    untold = UntoldDiscriminator(CganConfig(SMALL, n_classes=4)).eval()
    image = torch.rand(1, 1, 28, 28)
    logits = untold(image.expand(4, 1, 28, 28), torch.arange(4))
    assert_close(logits, untold.judge(image).expand(4))
    with pytest.raises(ValueError, match="labels must lie between 0 and 3, got 4"):
        untold(image, torch.tensor([4]))


def test_a_config_says_what_its_images_are():
    config = CganConfig(SMALL)
    assert (config.d_latent, config.sample_shape, config.bounded) == (6, (1, 28, 28), True)


def test_presets_are_built_and_run_on_the_meta_device():
    for config in (CganConfig.tiny(), CganConfig.tiny("projection"), CganConfig.paper()):
        with torch.device("meta"):
            generator, discriminator = CganGenerator(config), CganDiscriminator(config)
            labels = torch.empty(3, dtype=torch.long)
            logits = discriminator(generator(torch.empty(3, config.images.d_latent), labels), labels)
        assert logits.shape == (3,)


def test_the_same_seed_gives_the_same_weights():
    first, second = (build(seed=5)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(n_classes=1), "n_classes must be at least 2, got 1"),
        (dict(d_label=0), "d_label must be at least 1, got 0"),
        (dict(condition="hope"), "must be one of .* got 'hope'"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CganConfig(**options)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.tensor([0, 4]), "labels must lie between 0 and 3, got 4"),
        (torch.tensor([-1, 0]), "labels must lie between 0 and 3, got -1"),
        (torch.tensor([0]), r"labels must have shape \(2,\), got \(1,\)"),
        (torch.zeros(2, 4, dtype=torch.long), r"labels must have shape \(2,\), got \(2, 4\)"),
    ],
)
def test_what_is_no_label_is_refused_by_both(labels, message):
    generator, discriminator = build()
    with pytest.raises(ValueError, match=message):
        generator(torch.randn(2, 6), labels)
    with pytest.raises(ValueError, match=message):
        discriminator(torch.zeros(2, 1, 28, 28), labels)


def test_latents_of_another_width_are_refused():
    generator, _ = build()
    with pytest.raises(ValueError, match=r"latent must have shape \(batch, 6\), got \(2, 3\)"):
        generator(torch.randn(2, 3), torch.tensor([0, 1]))


def test_images_of_another_size_are_refused_with_their_own_shape():
    with pytest.raises(ValueError, match=r"\(batch, 1, 28, 28\), got \(2, 1, 32, 32\)"):
        build()[1](torch.zeros(2, 1, 32, 32), torch.tensor([0, 1]))
