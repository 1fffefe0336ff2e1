"""Learning-rate schedules at the points everybody can work out."""

import pytest

from lectures_lib.training import warmup_cosine


def test_rises_then_falls_along_half_a_cosine():
    factor = warmup_cosine(110, warmup=10, final=0.1)
    assert [factor(s) for s in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert factor(10) == pytest.approx(1.0)
    assert factor(60) == pytest.approx(0.55)
    assert factor(110) == pytest.approx(0.1)
    assert factor(500) == pytest.approx(0.1)


def test_a_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match="got 20"):
        warmup_cosine(20, warmup=20)
