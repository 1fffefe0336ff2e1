"""CycleGAN's losses by hand, and pictures of different sizes."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.losses.cyclegan import cycle_loss, cyclegan_generator_loss, identity_loss


def test_both_distances_are_means_over_pixels():
    images, others = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.5, -1.0]]]])
    assert_close(cycle_loss(images, others), torch.tensor(1.25))
    assert_close(identity_loss(images, others), torch.tensor(1.25))
    assert cycle_loss(images, images) == 0


def test_the_whole_has_the_papers_weights():
    adversarial, cycle, identity = (torch.tensor(value) for value in (1.0, 2.0, 4.0))
    assert_close(cyclegan_generator_loss(adversarial, cycle), torch.tensor(1 + 10 * 2.0))
    assert_close(cyclegan_generator_loss(adversarial, cycle, identity), torch.tensor(1 + 10 * 2 + 5 * 4.0))
    alone = cyclegan_generator_loss(adversarial, cycle, identity, cycle_weight=0)
    assert_close(alone, adversarial)


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(
        ValueError, match=r"there_and_back must have the shape of images, \(1, 3, 8, 8\), got \(1, 3, 4"
    ):
        cycle_loss(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="mapped must have the shape"):
        identity_loss(torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="cycle_weight must not be negative, got -1"):
        cyclegan_generator_loss(torch.tensor(0.0), torch.tensor(0.0), cycle_weight=-1)
