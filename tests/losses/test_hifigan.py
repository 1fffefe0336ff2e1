"""HiFi-GAN's losses: numbers worked out by hand, where gradients may go, and inputs that do not belong together."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.losses.hifigan import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    generator_loss,
    mel_loss,
)


def test_the_discriminators_loss_by_hand():
    real = [torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0]])]
    generated = [torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0]])]
    assert_close(discriminator_loss(real, generated), torch.tensor(0.5 + 2.0 + 1.0 + 1.0))


def test_the_generators_adversarial_loss_by_hand():
    assert_close(adversarial_loss([torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([[3.0]])]), torch.tensor(2 / 3 + 4.0))


def test_each_side_is_content_where_the_paper_says():
    ones, zeros = [torch.ones(2, 3)], [torch.zeros(2, 3)]
    assert discriminator_loss(ones, zeros) == 0
    assert adversarial_loss(ones) == 0


def test_features_are_averaged_in_a_layer_and_summed_over_layers_and_discriminators():
    real = [[torch.zeros(1, 2, 3), torch.ones(1, 4)], [torch.zeros(1)]]
    generated = [[torch.full((1, 2, 3), 2.0), torch.full((1, 4), 0.5)], [torch.tensor([-3.0])]]
    assert_close(feature_matching_loss(real, generated), torch.tensor(2.0 + 0.5 + 3.0))


def test_features_of_the_real_sound_get_no_gradient():
    real, generated = torch.zeros(3, requires_grad=True), torch.ones(3, requires_grad=True)
    feature_matching_loss([[real]], [[generated]]).backward()
    assert real.grad is None
    assert_close(generated.grad, torch.full((3,), 1 / 3))


def test_the_mel_loss_is_a_mean_of_absolute_differences():
    assert_close(mel_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])), torch.tensor(1.5))


def test_the_whole_has_the_papers_weights():
    parts = [torch.tensor(value) for value in (1.0, 10.0, 100.0)]
    assert_close(generator_loss(*parts), torch.tensor(1 + 2 * 10 + 45 * 100.0))
    assert_close(generator_loss(*parts, feature_weight=0, mel_weight=1), torch.tensor(101.0))


def test_what_does_not_belong_together_is_refused():
    one, two = [torch.zeros(1, 2)], [torch.zeros(1, 2)] * 2
    with pytest.raises(ValueError, match="generated must hold as many.* got 2 for 1"):
        discriminator_loss(one, two)
    with pytest.raises(ValueError, match="got 0 for 0"):
        adversarial_loss([])
    with pytest.raises(ValueError, match=r"generated\[0\] must hold as many.* got 1 for 2"):
        feature_matching_loss([two], [one])
    with pytest.raises(ValueError, match=r"must have shape \(1, 2\), got \(1, 3\)"):
        feature_matching_loss([one], [[torch.zeros(1, 3)]])
    with pytest.raises(ValueError, match=r"must have shape \(80, 4\), got \(80, 5\)"):
        mel_loss(torch.zeros(80, 4), torch.zeros(80, 5))
