"""The digit classifier: shapes, the meta device, bad input; what it can do is tested with its stored weights."""

import pytest
import torch
from torch.testing import assert_close

from lectures_lib.models.digit_classifier import DigitClassifier, DigitClassifierConfig


def test_logits_come_from_few_features():
    model = DigitClassifier(DigitClassifierConfig(width=4, num_features=6)).eval()
    images = torch.randn(3, 1, 28, 28)
    assert model.features(images).shape == (3, 6)
    assert model.num_features == 6
    assert_close(model(images), model.to_logits(model.features(images)))
    assert model(images).shape == (3, 10)


def test_it_runs_on_the_meta_device():
    with torch.device("meta"):
        assert DigitClassifier(DigitClassifierConfig.tiny())(torch.zeros(2, 1, 28, 28)).device.type == "meta"


def test_images_of_another_size_are_named():
    with pytest.raises(ValueError, match=r"shape \(batch, 1, 28, 28\), got \(2, 3, 28, 28\)"):
        DigitClassifier(DigitClassifierConfig(4, 6))(torch.zeros(2, 3, 28, 28))
