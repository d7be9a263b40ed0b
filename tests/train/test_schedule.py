"""The schedule: its closed form, and that it is a function of the step alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.train.schedule import rate_share


def test_values_by_hand() -> None:
    rise = [rate_share(step, 12, 4, 0.1) for step in (1, 2, 3, 4)]
    fall = [rate_share(step, 12, 4, 0.1) for step in (6, 8, 10, 12)]
    assert rise == [0.25, 0.5, 0.75, 1.0]
    assert fall == pytest.approx([0.55 + 0.45 * math.sqrt(0.5), 0.55, 0.55 - 0.45 * math.sqrt(0.5), 0.1])


@given(st.integers(1, 500), st.integers(0, 600), st.floats(0, 1), st.randoms())
def test_it_rises_then_falls_and_never_depends_on_what_was_asked_before(
    steps: int, warmup: int, final: float, random
) -> None:
    shares = [rate_share(step, steps, warmup, final) for step in range(1, steps + 1)]
    assert all(0 <= share <= 1 for share in shares)
    peak = min(max(warmup, 1), steps)
    assert shares[:peak] == sorted(shares[:peak])
    assert shares[peak - 1 :] == sorted(shares[peak - 1 :], reverse=True)
    if warmup < steps:
        assert shares[-1] == pytest.approx(final)
    order = list(range(1, steps + 1))
    random.shuffle(order)
    assert {step: rate_share(step, steps, warmup, final) for step in order} == dict(enumerate(shares, 1))


def test_no_rate_vanishes_in_a_long_run() -> None:
    assert rate_share(100_000, 100_000, 1000, 0.1) == pytest.approx(0.1)
    assert rate_share(99_999, 100_000, 1000, 0.1) >= 0.1
