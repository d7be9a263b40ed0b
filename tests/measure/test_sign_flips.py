"""The sign-flip test against all sign patterns, its axioms, and its p values under a null."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from microtome.measure.sign_flips import sign_flip_test


def exact_p(differences: np.ndarray) -> float:
    """Return the share of all 2^n sign patterns whose mean reaches the observed one."""
    means = [np.mean(np.array(signs) * differences) for signs in product((-1, 1), repeat=len(differences))]
    return float(np.mean(np.array(means) >= differences.mean() - 1e-12))


def test_p_converges_to_that_of_all_patterns() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(0.5, 1, 15)
    test = sign_flip_test(differences[None], rng, draws=20_000)
    assert test.max_p == pytest.approx(exact_p(differences), abs=0.01)


@pytest.mark.parametrize("units", [1, 2, 5, 8])
def test_with_few_units_every_pattern_is_taken_once(units: int) -> None:
    rng = np.random.default_rng(units)
    differences = rng.normal(0.3, 1, units)
    test = sign_flip_test(differences[None], rng, draws=255)
    assert test.max_p == pytest.approx(exact_p(differences), abs=1e-12)
    assert test.smallest_p == 2.0**-units
    assert len(test.null) == 2**units - 1


def test_a_clear_effect_reaches_the_smallest_p_and_its_opposite_the_largest() -> None:
    rng = np.random.default_rng(1)
    differences = rng.uniform(1, 2, (1, 16))
    assert sign_flip_test(differences, rng, 199).max_p == 1 / 200
    assert sign_flip_test(-differences, rng, 199).max_p > 0.99


@given(st.integers(0, 2**32), st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_scale_changes_nothing(seed: int, scale: float) -> None:
    differences = np.random.default_rng(seed).standard_normal((3, 7))
    one, other = (
        sign_flip_test(x, np.random.default_rng(0), 49).adjusted_p for x in (differences, scale * differences)
    )
    assert one == pytest.approx(other)


def test_p_is_uniform_or_larger_under_the_null_even_with_many_layers() -> None:
    rng = np.random.default_rng(2)
    found = [sign_flip_test(rng.standard_normal((6, 10)), rng, 99).max_p for _ in range(300)]
    assert kstest(found, "uniform", alternative="greater").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_nothing_to_flip_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected differences|violates|did not conform|type"):
        sign_flip_test(
            np.zeros(shape).reshape(shape if len(shape) == 2 else (1, 0)), np.random.default_rng(0)
        )
