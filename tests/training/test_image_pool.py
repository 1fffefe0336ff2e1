"""The image pool: who is kept, who is shown, and a run that goes on as if it had never stopped."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lectures_lib.training.checkpoint import read_tensors, write_tensors
from lectures_lib.training.image_pool import ImagePool


def numbered(*numbers):
    """Pictures that say their number in every pixel."""
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()


def numbers(images):
    return images[:, 0, 0, 0].int().tolist()


def test_while_it_fills_every_image_is_shown_and_kept():
    pool = ImagePool(3)
    assert numbers(pool.exchange(numbered(1, 2))) == [1, 2]
    assert numbers(pool.exchange(numbered(3))) == [3]
    assert len(pool) == 3


def test_then_half_are_older_ones_and_no_image_is_shown_again_after_it_left():
    pool = ImagePool(50)
    pool.exchange(numbered(*range(50)))
    shown = [numbers(pool.exchange(numbered(n)))[0] for n in range(50, 4050)]
    own = sum(number == n for n, number in enumerate(shown, start=50))
    assert 0.47 < own / 4000 < 0.53
    assert len(set(shown)) == 4000  # swapped out means gone
    ages = [n - number for n, number in enumerate(shown, start=50) if number != n]
    assert 80 < sum(ages) / len(ages) < 120  # on average 50 swaps, and every second image swaps


def test_a_pool_of_nothing_changes_nothing():
    pool = ImagePool(0)
    images = numbered(1, 2)
    assert torch.equal(pool.exchange(images), images)
    assert len(pool) == 0


def test_what_is_shown_has_no_gradient_and_what_is_kept_is_a_copy():
    pool = ImagePool(1)
    images = numbered(1).requires_grad_()
    assert not pool.exchange(images).requires_grad
    with torch.no_grad():
        images.fill_(9)
    assert [number for number in shown_until(pool, 5) if number != 5] == [1]
    later = numbered(7)
    while numbers(pool.exchange(later)) == [7]:  # until it takes the place of the 5
        pass
    later.fill_(9)
    assert [number for number in shown_until(pool, 5) if number != 5] == [7]


def shown_until(pool, number):
    """What a pool of one shows when it is given a number again and again, up to the first other one."""
    shown = [number]
    while shown[-1] == number:
        shown += numbers(pool.exchange(numbered(number)))
    return shown


@settings(deadline=None, max_examples=15)
@given(size=st.integers(0, 5), before=st.integers(0, 8), seed=st.integers(0, 100))
def test_a_run_that_goes_on_shows_what_one_that_never_stopped_shows(size, before, seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "pool.safetensors"
    straight = ImagePool(size, seed=seed)
    for n in range(before):
        straight.exchange(numbered(n, n + 100))
    write_tensors(path, straight.state(), {})
    resumed = ImagePool(size, seed=seed + 1)
    resumed.load_state(read_tensors(path)[0])
    for n in range(20):
        images = numbered(n + 200, n + 300)
        assert_close(resumed.exchange(images), straight.exchange(images))


def test_the_global_random_numbers_are_left_alone():
    pool = ImagePool(1)
    torch.manual_seed(0)
    pool.exchange(numbered(1, 2, 3))
    first = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(first, torch.rand(1))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="size must be at least 0, got -1"):
        ImagePool(-1)
    pool = ImagePool(2)
    pool.exchange(numbered(1, 2))
    with pytest.raises(ValueError, match=r"as those in the pool, got \(1, 3, 4, 4\)"):
        pool.exchange(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"state must have random, got \['images'\]"):
        ImagePool(2).load_state({"images": torch.zeros(1, 3, 2, 2)})
    with pytest.raises(ValueError, match="at most 1 images, got 2"):
        ImagePool(1).load_state(pool.state())
