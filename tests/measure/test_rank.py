import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from microtome.measure.rank import (
    energy_rank,
    entropy_rank,
    participation_ratio,
    published_rank,
    spectral_gap,
    stable_rank,
    usual_rows,
)

RANKS = [entropy_rank, energy_rank, participation_ratio, stable_rank]
spectra = arrays(np.float64, st.integers(1, 12), elements=st.floats(1e-3, 1e3))
each = pytest.mark.parametrize("rank", RANKS, ids=lambda rank: rank.__name__)


@each
@given(s=spectra)
def test_lies_between_1_and_the_number_of_values(rank, s):
    assert 1 - 1e-9 <= rank(s) <= len(s) + 1e-9


@each
@given(s=spectra, scale=st.floats(1e-150, 1e150))
def test_neither_scale_nor_order_nor_zeros_matter(rank, s, scale):
    other = np.append(s[::-1] * scale, 0.0)
    assert rank(other) == pytest.approx(rank(s), rel=1e-9)


@each
@pytest.mark.parametrize("k", [1, 2, 7])
def test_equal_values_count_one_each(rank, k):
    assert rank(np.repeat([3.0, 0.0], [k, 4])) == pytest.approx(k)


@each
def test_a_batch_is_read_row_by_row(rank):
    s = np.random.default_rng(0).exponential(size=(2, 3, 5))
    np.testing.assert_allclose(rank(s)[1, 2], rank(s[1, 2]))


@each
def test_a_spectrum_of_zeros_has_no_rank(rank):
    found = rank(np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(2)


@each
@given(s=spectra)
def test_the_ranks_are_those_of_their_renyi_order(rank, s):
    """Ranks are exp of Renyi entropies: of s at order 1, and of s^2 at orders 1, 2 and infinity, in falling order."""
    p = s**2 / (s**2).sum()
    expected = {
        entropy_rank: np.exp(-sum(x * np.log(x) for x in s / s.sum())),
        energy_rank: np.exp(-sum(x * np.log(x) for x in p)),
        participation_ratio: 1 / sum(x * x for x in p),
        stable_rank: 1 / max(p),
    }
    assert rank(s) == pytest.approx(expected[rank])
    assert np.all(np.diff([of(s) for of in RANKS]) <= 1e-9)


def test_the_published_rank_drops_small_shares_without_making_up_for_them():
    s = np.array([90.0, 9.5, 0.5])
    assert published_rank(s) == pytest.approx(np.exp(-0.9 * np.log(0.9) - 0.095 * np.log(0.095)))
    assert published_rank(s, floor=0.0) == pytest.approx(entropy_rank(s))


def test_the_published_rank_of_a_flat_spectrum_is_no_rank_at_all():
    """With 100 equal values every share is .01 and is left out: the rank of the flattest spectrum is 1."""
    assert published_rank(np.ones(128)) == 1
    assert entropy_rank(np.ones(128)) == pytest.approx(128)
    assert np.isnan(published_rank(np.zeros(3)))


def test_the_gap_is_that_of_the_covariance():
    x = np.random.default_rng(1).normal(size=(50, 4)) * [5, 2, 1, 0.5]
    x -= x.mean(0)
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    assert spectral_gap(np.linalg.svd(x, compute_uv=False)) == pytest.approx(eigenvalues[0] / eigenvalues[1])
    assert np.isnan(spectral_gap(np.array([2.0, 0.0])))


def test_one_massive_row_decides_a_rank_and_is_named():
    x = np.random.default_rng(2).normal(size=(400, 20))
    x[7] *= 1000
    usual = usual_rows(np.linalg.norm(x, axis=1))
    assert np.flatnonzero(~usual).tolist() == [7]
    assert energy_rank(np.linalg.svd(x, compute_uv=False)) < 1.1
    assert energy_rank(np.linalg.svd(x[usual], compute_uv=False)) > 19


@pytest.mark.parametrize("s", [[1.0, -1.0], [np.nan, 1.0], [np.inf, 1.0]])
@pytest.mark.parametrize("rank", [*RANKS, published_rank, spectral_gap], ids=lambda rank: rank.__name__)
def test_impossible_singular_values_are_refused(rank, s):
    with pytest.raises(ValueError, match="finite and not negative"):
        rank(np.array(s))


def test_a_gap_needs_two_values_and_a_limit_rows():
    with pytest.raises(ValueError, match="at least 2 singular values, got 1"):
        spectral_gap(np.ones(1))
    for norms, limit in (([], 10.0), ([1.0, np.nan], 10.0), ([1.0], 0.5)):
        with pytest.raises(ValueError, match="expected finite norms of at least one row"):
            usual_rows(np.array(norms), limit)
