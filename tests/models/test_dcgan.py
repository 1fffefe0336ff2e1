"""DCGAN: the paper's geometry, counts and first weights; what holds for any image; bad input."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lectures_lib.models import dcgan as dcgan_room
from lectures_lib.models.dcgan import DcganConfig, DcganDiscriminator, DcganGenerator, dcgan

SMALL = DcganConfig(28, 1, d_latent=6, width=4)
CONFIGS = {
    "28": SMALL,
    "64": DcganConfig(64, 3, d_latent=5, width=2),
    "begun at 4": DcganConfig(28, 1, d_latent=6, width=4, start=4),
    "no norm": DcganConfig(28, 1, 6, 4, discriminator_norm=False),
    "spectral": DcganConfig(28, 1, 6, 4, spectral_norm=True),
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_the_papers_size_has_the_counts_of_the_well_known_implementations():
    with torch.device("meta"):
        assert parameters(DcganGenerator(DcganConfig.paper())) == 3_576_704
        assert parameters(DcganDiscriminator(DcganConfig.paper())) == 2_765_568


def test_the_tiny_size_has_the_counts_of_its_layers():
    generator, discriminator = dcgan(DcganConfig.tiny(), seed=0)
    assert parameters(generator) == 64 * 64 * 49 + 2 * 64 + 64 * 32 * 16 + 2 * 32 + 32 * 16
    assert parameters(discriminator) == 32 * 16 + 32 * 64 * 16 + 2 * 64 + 64 * 49


@each_config
def test_images_lie_in_the_open_range_and_each_gets_a_logit(config):
    generator, discriminator = dcgan(config, seed=0)
    images = generator(torch.randn(3, config.d_latent))
    assert images.shape == (3, *config.sample_shape)
    assert float(images.detach().abs().max()) < 1
    assert discriminator(images).shape == (3,)


@each_config
def test_both_run_on_the_meta_device(config):
    with torch.device("meta"):
        generator, discriminator = DcganGenerator(config), DcganDiscriminator(config)
        logits = discriminator(generator(torch.randn(2, config.d_latent)))
    assert logits.device.type == "meta"


def test_no_bias_stands_before_a_norm_and_the_ends_have_none():
    generator, discriminator = dcgan(DcganConfig.tiny(), seed=0)
    convolutions = [
        m for n in (generator, discriminator) for m in n.modules() if isinstance(m, nn.modules.conv._ConvNd)
    ]
    assert all(m.bias is None for m in convolutions)
    assert len(generator.norms) == len(generator.ups) - 1  # none at the generator's output
    assert len(discriminator.norms) == len(discriminator.downs) - 1  # none at the discriminator's input
    assert [m.kernel_size for m in generator.ups] == [(7, 7), (4, 4), (4, 4)]
    assert [m.kernel_size for m in DcganGenerator(CONFIGS["64"]).ups] == [(4, 4)] * 5


def test_digits_may_begin_at_four_by_four_as_the_papers_images_do():
    generator, discriminator = dcgan(CONFIGS["begun at 4"], seed=0)
    assert [m.kernel_size for m in generator.ups] == [(4, 4), (3, 3), (4, 4), (4, 4)]
    assert [m.kernel_size for m in discriminator.downs] == [(4, 4), (4, 4), (3, 3)]
    stages = discriminator.stages(generator(torch.randn(2, 6)))
    assert [tuple(x.shape[1:]) for x in stages] == [(4, 14, 14), (8, 7, 7), (16, 4, 4)]
    weights = [6 * 16 * 16, 16 * 8 * 9, 8 * 4 * 16, 4 * 16]
    assert parameters(generator) == sum(weights) + 2 * (16 + 8 + 4)


def test_the_first_weights_are_drawn_as_the_paper_says():
    generator, discriminator = dcgan(DcganConfig(64, 3, d_latent=50, width=16), seed=0)
    for network in (generator, discriminator):
        for module in network.modules():
            if isinstance(module, nn.modules.conv._ConvNd) and module.weight.numel() > 5_000:
                assert abs(float(module.weight.mean())) < 1e-3
                assert_close(float(module.weight.std()), 0.02, rtol=0.05, atol=0)
            if isinstance(module, nn.BatchNorm2d):
                assert abs(float(module.weight.mean()) - 1) < 0.02
                assert 0.005 < float(module.weight.std()) < 0.04
                assert module.bias.count_nonzero() == 0


def test_the_same_seed_gives_the_same_networks():
    for one, other in zip(dcgan(SMALL, seed=3), dcgan(SMALL, seed=3), strict=True):
        assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


def test_every_weight_gets_a_gradient():
    generator, discriminator = dcgan(SMALL, seed=0)
    discriminator(generator(torch.randn(4, 6))).square().sum().backward()
    for network in (generator, discriminator):
        assert all(p.grad is not None and p.grad.count_nonzero() > 0 for p in network.parameters())


def test_spectral_norm_holds_every_layers_matrix_at_norm_one():
    _, discriminator = dcgan(CONFIGS["spectral"], seed=0)
    for _ in range(30):  # the power iteration settles
        discriminator(torch.randn(2, 1, 28, 28))
    for layer in (*discriminator.downs, discriminator.to_logit):
        assert_close(torch.linalg.matrix_norm(layer.weight.flatten(1), 2), torch.tensor(1.0), rtol=0.02, atol=0)


def test_without_norm_samples_of_a_batch_do_not_see_each_other():
    images = torch.rand(4, 1, 28, 28) * 2 - 1
    _, alone = dcgan(CONFIGS["no norm"], seed=0)
    assert_close(alone(images)[:2], alone(images[:2]), atol=1e-6, rtol=1e-5)
    _, together = dcgan(SMALL, seed=0)
    assert not torch.allclose(together(images)[:2], together(images[:2]), atol=1e-6)


def test_features_are_all_stages_pooled_to_a_grid():
    _, discriminator = dcgan(SMALL, seed=0)
    images = torch.rand(2, 1, 28, 28) * 2 - 1
    features = discriminator.eval().features(images)
    assert features.shape == (2, (4 + 8) * 16)
    first, _ = discriminator.stages(images)
    assert_close(features[:, 0], first[:, 0, :4, :4].amax((1, 2)))  # 14 rows to 4: the first window has 4


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 4)])
def test_the_ends_in_another_order_of_work_are_pytorchs_convolutions(before, after):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, before, 6, 10, generator=generator, requires_grad=True)
    down = torch.randn(after, before, 4, 4, generator=generator, requires_grad=True)
    up = torch.randn(before, after, 4, 4, generator=generator, requires_grad=True)
    pairs = [
        (dcgan_room._halved(x, down), F.conv2d(x, down, stride=2, padding=1)),
        (dcgan_room._doubled(x, up), F.conv_transpose2d(x, up, stride=2, padding=1)),
    ]
    for (ours, theirs), weight in zip(pairs, (down, up), strict=True):
        assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        slopes = [torch.autograd.grad(y.sin().sum(), (x, weight)) for y in (ours, theirs)]
        assert_close(*slopes, atol=1e-4, rtol=1e-4)
    latent, point = x.flatten(1), torch.randn(before * 60, after, 3, 3, generator=generator)
    theirs = F.conv_transpose2d(latent[:, :, None, None], point)
    assert_close(dcgan_room._from_point(latent, point), theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 3, 28, 28), (28, 28)])
def test_images_of_another_size_are_named(shape):
    _, discriminator = dcgan(SMALL, seed=0)
    with pytest.raises(ValueError, match=r"must have shape \(batch, 1, 28, 28\), got \(" + str(shape[0])):
        discriminator(torch.zeros(shape))


def test_latents_of_another_width_are_refused():
    generator, _ = dcgan(SMALL, seed=0)
    with pytest.raises(ValueError, match=r"latent must have shape \(batch, 6\), got \(4, 3\)"):
        generator(torch.zeros(4, 3))


def test_a_batch_of_one_is_refused_while_training_and_fine_after():
    generator, discriminator = dcgan(SMALL, seed=0)
    with pytest.raises(ValueError, match="at least 2 samples a batch while training, got 1"):
        generator(torch.randn(1, 6))
    with pytest.raises(ValueError, match="at least 2 samples a batch while training, got 1"):
        discriminator(torch.zeros(1, 1, 28, 28))
    assert discriminator.eval()(generator.eval()(torch.randn(1, 6))).shape == (1,)
    assert dcgan(CONFIGS["no norm"], seed=0)[1](torch.zeros(1, 1, 28, 28)).shape == (1,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 32}, "28, 64], got 32"),
        ({"width": 0}, "width"),
        ({"start": 5}, r"start must be one of \[4\] for images of 64, got 5"),
        ({"image_size": 28, "start": 8}, r"one of \[4, 7\] for images of 28, got 8"),
    ],
)
def test_sizes_that_make_no_sense_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        DcganConfig(**options)
