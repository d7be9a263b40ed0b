"""Steps of a given norm: of the right size and direction, though every weight can only move by whole units."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.train.finetune.rounding import stepped, wide

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def step(before: torch.Tensor, direction: torch.Tensor, norm: float, seed: int = 0) -> torch.Tensor:
    """What is added, in float64."""
    after = stepped(before, direction, norm, torch.Generator().manual_seed(seed))
    assert after.dtype == before.dtype
    assert after.shape == before.shape
    return wide(after).double() - wide(before).double()


@settings(deadline=None)
@given(st.sampled_from(DTYPES), st.floats(-4, 1), st.integers(0, 10**6))
def test_the_norm_comes_out_and_no_weight_moves_the_other_way(
    dtype: torch.dtype, decades: float, seed: int
) -> None:
    before, direction = normal(64, 48, seed=seed).to(dtype), normal(64, 48, seed=seed + 1)
    direction[::3] = 0.0
    norm = 10**decades * float(before.double().norm())
    got = step(before, direction, norm)
    assert float(got.norm()) == pytest.approx(norm, rel=1e-3)
    assert (got * direction >= 0).all()


def test_of_many_draws_the_mean_has_the_direction() -> None:
    """Steps of a tenth of a unit, of which rounding to nearest leaves nothing."""
    before, direction = torch.ones(4096, dtype=torch.bfloat16), normal(4096, seed=1).abs() + 0.2
    norm = 0.1 * 2**-7 * 4096**0.5
    assert torch.equal((before.float() + direction * norm / direction.norm()).bfloat16(), before)
    drawn = [step(before, direction, norm, seed) for seed in range(200)]
    assert all(set(one.unique().tolist()) == {0.0, 2.0**-7} for one in drawn)
    mean = torch.stack(drawn).mean(0)
    large = direction > direction.median()
    ratios = [float(x[large].mean() / x[~large].mean()) for x in (mean, direction)]
    assert ratios[0] == pytest.approx(ratios[1], rel=0.1)


def test_one_unit_of_one_weight_is_reached_by_another() -> None:
    before = torch.full((576,), 0.3, dtype=torch.bfloat16)
    unit = 2.0**-9
    got = step(before, normal(576, seed=2), unit)
    assert got.count_nonzero() == 1
    assert float(got.norm()) == unit


def test_weights_of_small_units_make_up_for_large_ones() -> None:
    """One unit of most of these is four times too long."""
    before = torch.ones(576, dtype=torch.bfloat16)
    before[:8] = 1e-3
    norm = 2.0**-10
    assert float(step(before, torch.ones(576), norm).norm()) == pytest.approx(norm, rel=0.01)


def test_weights_may_cross_zero() -> None:
    before = torch.tensor([1.0, 1e-30, -1e-4, 0.0], dtype=torch.bfloat16)
    got = step(before, torch.tensor([-2.0, -2.0, 2.0, -2.0]), 4.0)
    assert float(got.norm()) == pytest.approx(4.0, rel=1e-3)


def test_the_largest_number_stays_where_it_is() -> None:
    before = torch.tensor([65504.0, *[1.0] * 63], dtype=torch.float16)
    got = step(before, torch.ones(64), 1e-3)
    assert got[0] == 0
    assert float(got.norm()) == pytest.approx(1e-3, rel=0.05)


def test_no_norm_is_no_step() -> None:
    assert not step(torch.ones(3, dtype=torch.bfloat16), torch.ones(3), 0.0).any()


def test_a_step_too_short_for_any_weight_is_none() -> None:
    assert not step(torch.ones(3, dtype=torch.bfloat16), torch.ones(3), 1e-6).any()
