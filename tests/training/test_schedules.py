"""Learning-rate schedules at the points everybody can work out."""

import pytest

from lectures_lib.training import warmup_cosine, warmup_inverse_square_root
from lectures_lib.training.schedules import constant_then_linear


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


def test_the_papers_schedule_at_the_papers_numbers():
    factor = warmup_inverse_square_root(512, warmup=4000)
    assert factor(0) == pytest.approx(512**-0.5 * 4000**-1.5)
    assert factor(3999) == pytest.approx(1 / (512 * 4000) ** 0.5)  # the two branches meet at the peak
    assert factor(15_999) == pytest.approx(factor(3999) / 2)
    assert max(range(0, 20_000, 50), key=factor) in (3950, 4000)


@pytest.mark.parametrize(("d_model", "warmup"), [(0, 10), (8, 0)])
def test_the_papers_schedule_needs_a_width_and_a_warm_up(d_model, warmup):
    with pytest.raises(ValueError, match=f"got {d_model} and {warmup}"):
        warmup_inverse_square_root(d_model, warmup=warmup)


def test_the_rate_stays_and_then_falls_on_a_line_to_zero():
    factor = constant_then_linear(200, constant=0.5)
    assert [factor(s) for s in (0, 99, 100, 150, 199, 200, 300)] == pytest.approx([1, 1, 1, 0.5, 0.01, 0, 0])
    assert [constant_then_linear(10, constant=c)(5) for c in (0, 1)] == [0.5, 1]


@pytest.mark.parametrize(("steps", "constant"), [(0, 0.5), (10, 1.1), (10, -0.1)])
def test_a_line_that_makes_no_sense_is_refused(steps, constant):
    with pytest.raises(ValueError, match=f"got {steps if steps < 1 else constant}"):
        constant_then_linear(steps, constant=constant)
