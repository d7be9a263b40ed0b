"""Matches of neurons: planted ones are found, and the best is that of other solvers and of trying everything."""

from itertools import combinations, permutations

import numpy as np
import ot
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog

from microtome.measure.matching import one_to_one, partial_match, transported
from microtome.measure.pearson import pearson

SHAPES = [(4, 4), (3, 5), (5, 3), (1, 4), (4, 1), (1, 1)]


def similarities(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def total(r: np.ndarray, match: np.ndarray) -> float:
    """The sum of ``|r|`` over matched pairs, after checking that no column is matched twice."""
    rows = np.flatnonzero(match >= 0)
    assert len(set(match[rows])) == len(rows)
    return float(np.abs(r[rows, match[rows]]).sum())


def most(r: np.ndarray, pairs: int) -> float:
    """The largest sum of ``|r|`` over so many pairs, by trying all of them."""
    m, k = r.shape
    return max(
        float(np.abs(r[list(rows), list(columns)]).sum())
        for rows in combinations(range(m), pairs)
        for columns in permutations(range(k), pairs)
    )


def partial_assignment(r: np.ndarray, pairs: int) -> np.ndarray:
    """The best match of so many pairs, by assignment with neurons that stand for "unmatched"."""
    m, k = r.shape
    cost = np.full((m + k - pairs, k + m - pairs), 0.0)
    cost[:m, :k] = 1 - np.abs(r)
    cost[m:, k:] = 1e3
    columns = linear_sum_assignment(cost)[1][:m]
    return np.where(columns < k, columns, -1)


def planted(n: int = 400, shared: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two models of 10 and 12 neurons, some of them shared up to noise and sign, and where each went."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, 10)), rng.standard_normal((n, 12))
    match = np.full(10, -1)
    match[:shared] = rng.permutation(12)[:shared]
    y[:, match[:shared]] = -x[:, :shared] + 0.5 * rng.standard_normal((n, shared))
    return x, y, match


@pytest.mark.parametrize("n", [1, 5, 40])
def test_one_to_one_is_the_plan_of_exact_transport(n: int) -> None:
    r = similarities((n, n))
    masses = np.full(n, 1 / n)
    plan = ot.emd(masses, masses, 1 - np.abs(r))
    match = one_to_one(r)
    np.testing.assert_array_equal(match, plan.argmax(1))
    assert total(r, match) / n == pytest.approx(1 - (plan * (1 - np.abs(r))).sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_no_other_match_is_better(shape: tuple[int, int]) -> None:
    r = similarities(shape)
    match = one_to_one(r)
    assert (match >= 0).sum() == min(shape)
    assert total(r, match) == pytest.approx(most(r, min(shape)))


@given(st.integers(0, 2**32))
def test_order_and_signs_of_neurons_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    r = similarities((6, 8), seed)
    order, signs = rng.permutation(8), rng.choice([-1, 1], 8)
    for match in (one_to_one, lambda r: partial_match(r, 0.5)):
        moved = match(r[:, order] * signs)
        np.testing.assert_array_equal(np.where(moved >= 0, order[moved], -1), match(r))


def test_a_planted_permutation_is_found() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 20))
    order = rng.permutation(20)
    r = pearson(x[:, order] * rng.choice([-1, 1], 20) + rng.standard_normal((500, 20)), x)
    np.testing.assert_array_equal(one_to_one(r), order)
    np.testing.assert_array_equal(partial_match(r, 1.0), order)
    np.testing.assert_array_equal(partial_match(r.astype(np.float32), 1.0), order)


def test_constant_neurons_stay_unmatched() -> None:
    x, y, match = planted()
    x[:, 2], y[:, match[3]] = 7, 0
    r = pearson(x, y)
    for found in (one_to_one(r), partial_match(r, 1.0)):
        assert found[2] == -1
        assert match[3] not in found
        np.testing.assert_array_equal(found[[0, 1, 4, 5]], match[[0, 1, 4, 5]])
        assert (found[6:] >= 0).all()
    nothing = np.full((3, 4), np.nan)
    assert one_to_one(nothing).tolist() == partial_match(nothing, 1.0).tolist() == [-1, -1, -1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 1.0])
def test_no_other_match_of_a_share_is_better(shape: tuple[int, int], share: float) -> None:
    r = similarities(shape, 1)
    match = partial_match(r, share)
    pairs = round(share * min(shape))
    assert (match >= 0).sum() == pairs
    assert total(r, match) == pytest.approx(most(r, pairs))


@pytest.mark.parametrize("shape", [(40, 40), (30, 50), (50, 30)])
@pytest.mark.parametrize("share", [0.25, 0.6, 0.95])
def test_a_share_is_matched_as_by_assignment(shape: tuple[int, int], share: float) -> None:
    r = similarities(shape, 2)
    np.testing.assert_array_equal(partial_match(r, share), partial_assignment(r, round(share * min(shape))))


def test_a_planted_share_is_found_and_the_rest_left_out() -> None:
    x, y, match = planted()
    r = pearson(x, y)
    np.testing.assert_array_equal(partial_match(r, 0.6), match)
    np.testing.assert_array_equal(partial_match(r.T, 0.6)[match[:6]], np.arange(6))


def test_perfect_copies_do_not_let_more_than_the_share_move() -> None:
    match = partial_match(np.ones((4, 4)), 0.5)
    assert (match >= 0).sum() == 2
    assert total(np.ones((4, 4)), match) == 2


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, np.nan])
def test_a_share_beyond_its_bounds_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"expected a share above 0 and at most 1, got {share}"):
        partial_match(np.ones((2, 2)), share)


def test_transported_is_what_a_loop_finds() -> None:
    rng = np.random.default_rng(3)
    x, y = (rng.standard_normal((60, m)) * rng.uniform(0.1, 3, m) for m in (9, 8))
    found = transported(x, y, 5)
    a, b = (sorted(range(z.shape[1]), key=lambda j: -z[:, j].var())[:5] for z in (x, y))
    r = [[abs(np.corrcoef(x[:, i], y[:, j])[0, 1]) for j in b] for i in a]
    best = max(permutations(range(5)), key=lambda p: sum(r[i][p[i]] for i in range(5)))
    assert found.neurons_a.tolist() == a
    assert found.neurons_b.tolist() == [b[j] for j in best]
    np.testing.assert_allclose(found.correlations, [r[i][best[i]] for i in range(5)])
    assert found.cost == pytest.approx(1 - found.correlations.mean())
    threshold = sorted(found.correlations)[2]
    assert found.count_above(threshold) == 2


def test_sides_of_different_size_split_masses() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((50, 4)), rng.standard_normal((50, 6))
    found = transported(x, y)
    r = np.abs(np.corrcoef(x, y, rowvar=False)[:4, 4:])
    marginals = np.concatenate([np.kron(np.eye(4), np.ones(6)), np.kron(np.ones(4), np.eye(6))])
    best = linprog(1 - r.ravel(), A_eq=marginals, b_eq=np.repeat([1 / 4, 1 / 6], [4, 6]))
    assert found.cost == pytest.approx(best.fun)
    assert sorted(found.neurons_a) == [0, 1, 2, 3]
    np.testing.assert_allclose(found.correlations, r[found.neurons_a, found.neurons_b])


def test_a_permuted_copy_costs_nothing() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((100, 30)).astype(np.float32) * np.arange(1, 31, dtype=np.float32)
    order = rng.permutation(30)
    found = transported(x[:, order], -x, 10)
    np.testing.assert_array_equal(found.neurons_b, order[found.neurons_a])
    assert found.cost == pytest.approx(0, abs=1e-6)
    assert found.count_above(0.5) == 10


def test_constant_neurons_are_not_transported() -> None:
    x = np.random.default_rng(6).standard_normal((50, 4))
    x[:, 1] = 0.1
    assert 1 not in transported(x, x).neurons_a
    with pytest.raises(ValueError, match="expected a neuron that varies, got 3 constant ones over 50 rows"):
        transported(x, np.ones((50, 3)))


def test_transport_of_no_neurons_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 neuron of each side, got 0"):
        transported(np.eye(3), np.eye(3), 0)
