"""The pictures of DCGAN show the networks' own sizes, and stamps where they fall."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.models.dcgan import DcganConfig, dcgan
from lectures_lib.visual import dcgan as pictures
from lectures_lib.visual.style import as_img


@pytest.mark.parametrize("config", [DcganConfig.tiny(), DcganConfig(64, 3, d_latent=5, width=2)])
def test_the_shapes_are_those_that_the_networks_make(config):
    generator, discriminator = dcgan(config, seed=0)
    up, down = pictures.generator_shapes(generator), pictures.discriminator_shapes(discriminator)
    assert up[0] == (config.d_latent, 1, 1)
    assert up[-1] == down[0] == config.sample_shape
    stages = discriminator.stages(generator(torch.randn(2, config.d_latent)))
    assert down[1:-1] == [tuple(x.shape[1:]) for x in stages]
    assert down[-1] == (1, 1, 1)
    assert next(generator.parameters()).device.type == "cpu"


def test_the_diagram_names_every_module_and_size():
    figure = pictures.dcgan_diagram(*dcgan(DcganConfig.tiny(), seed=0))
    said = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert {"ups.0", "ups.1", "ups.2", "64 × 7 × 7", "1 × 28 × 28"} <= set(said[0])
    assert {"downs.0", "downs.1", "to_logit", "32 × 14 × 14", "1"} <= set(said[1])
    as_img(figure, "two rows")


def test_stamps_overlap_evenly_only_where_the_stride_divides_the_kernel():
    uneven, even = (pictures.touches(kernel, stride=2, size=5) for kernel in (3, 4))
    assert uneven.shape == (11, 11)
    assert set(even[2:-2, 2:-2].flatten().tolist()) == {4.0}
    assert set(uneven[1:-1, 1:-1].flatten().tolist()) == {1.0, 2.0, 4.0}
    figure = pictures.stamp_figure([3, 4], size=5)
    assert_close(torch.tensor(figure.axes[0].images[0].get_array()), uneven)
    as_img(figure, "two sheets")
    with pytest.raises(ValueError, match="kernels must hold at least one"):
        pictures.stamp_figure([])
