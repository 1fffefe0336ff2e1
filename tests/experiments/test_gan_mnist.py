"""The committed comparison of losses on digits is of the present recipe."""

import dataclasses

from lectures_lib.experiments import gan_mnist
from lectures_lib.experiments.record import load_result


def test_the_committed_losses_are_of_the_present_recipe_with_samples_of_each():
    result = load_result("gan_mnist")
    assert set(result["measured"]["by_loss"]) == set(gan_mnist.CONTESTANTS)
    assert len(result["seed"]) >= 3
    assert {name: result["settings"][name] for name in dataclasses.asdict(gan_mnist.Recipe())} == dataclasses.asdict(
        gan_mnist.Recipe()
    )
    samples = gan_mnist.stored_samples(result)
    assert all(images.shape == (gan_mnist.SHOWN, 1, 28, 28) for images in samples.values())
