"""Linear maps: against scipy, scikit-learn and loops; planted maps are found, and noise is not predicted."""

from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from microtome.measure.linear_maps import (
    PENALTIES,
    HeldOut,
    held_out_procrustes,
    held_out_ridge,
    in_sample_procrustes,
)

Sides = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
METHODS = [held_out_procrustes, held_out_ridge]
WIDTHS = [(6, 6), (5, 9), (9, 5), (1, 3)]


def noise(n: int, m: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, m)), rng.standard_normal((n, k))


def related(m: int, k: int, n: int = 300, seed: int = 0) -> Sides:
    """Fit and test rows of neurons with means, scales and a linear relation."""
    x, y = noise(2 * n, m, k, seed)
    mixing = np.random.default_rng(seed + 1).standard_normal((m, k))
    x, y = 3 * x * np.geomspace(1, 9, m) + 5, x @ mixing + y - 2
    return x[:n], y[:n], x[n:], y[n:]


def scaled(fit: np.ndarray, test: np.ndarray) -> list[np.ndarray]:
    """Both in units of the fit rows' deviation about their mean."""
    scaler = StandardScaler().fit(fit)
    return [np.asarray(scaler.transform(x)) for x in (fit, test)]


def check_scores(found: HeldOut, predicted: np.ndarray, y: np.ndarray) -> None:
    """Compare scores with those of a prediction of standardised ``y``."""
    r = [np.corrcoef(p, t)[0, 1] for p, t in zip(predicted.T, y.T, strict=True)]
    np.testing.assert_allclose(found.correlations, r, atol=1e-9)
    by_neuron = [1 - ((t - p) ** 2).sum() / (t**2).sum() for p, t in zip(predicted.T, y.T, strict=True)]
    np.testing.assert_allclose(found.r2_by_neuron, by_neuron, atol=1e-9)
    assert found.r2 == pytest.approx(1 - ((y - predicted) ** 2).sum() / (y**2).sum())


@pytest.mark.parametrize(("m", "k"), WIDTHS)
@pytest.mark.parametrize("standardise", [False, True])
def test_in_sample_agrees_with_scipy(m: int, k: int, standardise: bool) -> None:
    x, y, _, _ = related(m, k)
    found = in_sample_procrustes(x, y, standardise)
    a, b = (StandardScaler(with_std=standardise).fit_transform(z[:, : min(m, k)]) for z in (x, y))
    fitted = a @ orthogonal_procrustes(a, b)[0]
    assert found.error == pytest.approx(np.linalg.norm(fitted - b) / np.linalg.norm(b))
    r = [np.corrcoef(p, t)[0, 1] for p, t in zip(fitted.T, b.T, strict=True)]
    np.testing.assert_allclose(found.correlations, r)


@pytest.mark.parametrize("d", [40, 100])
def test_a_map_of_noise_looks_good_on_its_own_rows_only(d: int) -> None:
    n = 4000
    x, y = noise(2 * n, d, d)
    inside = in_sample_procrustes(x[:n], y[:n], standardise=True)
    assert inside.correlations.mean() == pytest.approx(8 / (3 * np.pi) * np.sqrt(d / n), rel=0.05)
    for method in METHODS:
        held_out = method(x[:n], y[:n], x[n:], y[n:])
        assert abs(held_out.correlations.mean()) < 0.02
        assert -0.05 < held_out.r2 < 0.002


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_rotation_is_found(method) -> None:
    x, _ = noise(1000, 12, 12)
    y = 4 * (x @ ortho_group.rvs(12, random_state=0)) + 3
    found = method(x[:500], y[:500], x[500:], y[500:])
    assert found.correlations.min() > 0.99
    assert found.r2 > 0.99
    assert in_sample_procrustes(x, y / 4, standardise=False).error == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(("m", "k"), [(8, 12), (12, 8)])
def test_a_planted_rotation_into_another_number_of_neurons_is_found(m: int, k: int) -> None:
    """All that is shared lies in a few strong directions, which the first components are."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((1000, 4)) * [4, 3, 2, 1]
    x, y = (shared @ ortho_group.rvs(w, random_state=w)[:4] for w in (m, k))
    found = held_out_procrustes(x[:500], y[:500], x[500:], y[500:], 4)
    assert found.components == 4
    assert found.correlations.min() > 0.8
    ridge = held_out_ridge(x[:500], y[:500], x[500:], y[500:])
    assert ridge.r2 == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("m", "k"), WIDTHS)
@pytest.mark.parametrize("components", [None, 1, 3, 20])
def test_held_out_procrustes_agrees_with_scikit_learns_components(m: int, k: int, components) -> None:
    data = related(m, k)
    found = held_out_procrustes(*data, components)
    most = components or min(30, m, k)
    assert found.components == most
    x_fit, x_test = scaled(data[0], data[2])
    y_fit, y_test = scaled(data[1], data[3])
    of_x, of_y = PCA(min(most, m)).fit(x_fit), PCA(min(most, k)).fit(y_fit)
    a, b = of_x.transform(x_fit), of_y.transform(y_fit)
    u, _, v = np.linalg.svd(a.T @ b, full_matrices=False)
    turned = a @ u @ v
    scale = (turned * b).sum() / (turned**2).sum()
    predicted = of_y.inverse_transform(scale * of_x.transform(x_test) @ u @ v)
    check_scores(found, predicted, y_test)
    assert found.penalty is None


@pytest.mark.parametrize(("m", "k"), WIDTHS)
def test_ridge_agrees_with_scikit_learn(m: int, k: int) -> None:
    data = related(m, k, n=41)  # halves of different size
    found = held_out_ridge(*data)
    x_fit, x_test = scaled(data[0], data[2])
    y_fit, y_test = scaled(data[1], data[3])

    def fitted(rows: slice, penalty: float) -> Ridge:
        a, b = x_fit[rows], y_fit[rows]
        return Ridge(penalty * len(a), fit_intercept=False).fit(a, b)

    def loss(penalty: float) -> float:
        first, last = slice(20), slice(20, None)
        errors = (
            fitted(fit, penalty).predict(x_fit[test]).reshape(-1, k) - y_fit[test]
            for fit, test in ((first, last), (last, first))
        )
        return sum(float((e**2).sum()) for e in errors)

    best = min(PENALTIES, key=loss)
    assert found.penalty == best
    predicted = fitted(slice(None), best).predict(x_test).reshape(-1, k)
    check_scores(found, predicted, y_test)
    assert found.components is None


def test_the_more_noise_the_larger_the_penalty() -> None:
    x, y = noise(200, 30, 5)
    clean, dirty = x[:, :5], x[:, :5] + 10 * y
    chosen = [held_out_ridge(x[:100], z[:100], x[100:], z[100:]).penalty for z in (clean, dirty)]
    assert chosen[0] == PENALTIES[0]
    assert chosen[1] is not None
    assert chosen[1] > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_rows_about_another_mean_are_predicted_worse_than_by_the_fit_rows_mean(method) -> None:
    x_fit, y_fit, x_test, y_test = related(4, 3)
    assert method(x_fit, y_fit, x_test, y_test).r2 > 0
    moved = method(x_fit, y_fit, x_test - 100, y_test)
    assert moved.r2 < 0
    assert moved.correlations.mean() > 0.2


@given(st.integers(0, 2**16), st.floats(-3, 3), st.floats(-100, 100))
def test_units_of_neurons_do_not_matter(seed: int, exponent: float, shift: float) -> None:
    data = related(3, 4, n=60, seed=seed)
    scale = 10.0 ** (exponent * np.linspace(-1, 1, 4))
    moved = tuple(z * scale[: z.shape[1]] + shift for z in data)
    for method in METHODS:
        found, again = method(*data), method(*moved)
        np.testing.assert_allclose(again.correlations, found.correlations, atol=1e-6)
        assert again.r2 == pytest.approx(found.r2, abs=1e-6)


@pytest.mark.parametrize("method", [partial(held_out_procrustes, components=4), held_out_ridge])
def test_constant_neurons_have_no_score_and_change_no_other(method) -> None:
    data = related(4, 5)
    found = method(*data)
    wider = method(*(np.insert(z, 2, 0.1, axis=1) for z in data))
    assert np.isnan(wider.correlations[2])
    assert np.isnan(wider.r2_by_neuron[2])
    np.testing.assert_allclose(np.delete(wider.correlations, 2), found.correlations)
    assert wider.r2 == pytest.approx(found.r2)


def test_constant_neurons_have_no_correlation_in_sample() -> None:
    x, y, _, _ = related(4, 4)
    y[:, 1] = 0.1
    for standardise in (False, True):
        found = in_sample_procrustes(x, y, standardise)
        assert np.isnan(found.correlations).tolist() == [False, True, False, False]
        assert np.isfinite(found.error)
        nothing = in_sample_procrustes(x, np.full_like(y, 0.1), standardise)
        assert np.isnan(nothing.error)
        assert np.isnan(nothing.correlations).all()


@pytest.mark.parametrize("method", METHODS)
def test_nothing_can_be_said_of_constants_alone(method) -> None:
    x, y, x_test, y_test = related(3, 3)
    found = method(x, np.ones_like(y), x_test, y_test)
    assert np.isnan(found.r2)
    assert np.isnan(found.correlations).all()
    blind = method(np.ones_like(x), y, x_test, y_test)
    assert blind.r2 == pytest.approx(0, abs=1e-12)
    assert np.isnan(blind.correlations).all()


@pytest.mark.parametrize("method", METHODS)
def test_float32_is_computed_in_float64(method) -> None:
    data = tuple(z.astype(np.float32) for z in related(5, 6))
    found, wide = method(*data), method(*(z.astype(np.float64) for z in data))
    assert found.r2 == wide.r2
    np.testing.assert_array_equal(found.correlations, wide.correlations)


@pytest.mark.parametrize("components", [0, 30])
def test_more_components_than_rows_can_tell_are_refused(components: int) -> None:
    data = related(4, 5, n=30)
    wanted = f"at least 1 component and fewer than the 30 fit rows, got {components}"
    with pytest.raises(ValueError, match=wanted):
        held_out_procrustes(*data, components)


@pytest.mark.parametrize("penalties", [(), (1.0, 0.0)])
def test_penalties_that_are_not_positive_are_refused(penalties: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected positive penalties, got"):
        held_out_ridge(*related(2, 2), penalties)


@pytest.mark.usefixtures("unchecked")
def test_sides_that_do_not_fit_together_are_refused() -> None:
    x_fit, y_fit, x_test, y_test = related(3, 4)
    with pytest.raises(ValueError, match="expected the same rows on both sides, got 299 and 300"):
        in_sample_procrustes(x_fit[1:], y_fit, standardise=True)
    for method, (x, y, more) in product(
        METHODS,
        [
            (x_test[1:], y_test, "expected the same rows on both sides, got 299 and 300"),
            (x_test[:, 1:], y_test, "expected the 3 neurons of the fit rows, got 2"),
            (x_test, y_test[:, 1:], "expected the 4 neurons of the fit rows, got 3"),
        ],
    ):
        with pytest.raises(ValueError, match=more):
            method(x_fit, y_fit, x, y)
    with pytest.raises(ValueError, match="expected at least 2 fit rows, got 1"):
        held_out_ridge(x_fit[:1], y_fit[:1], x_test, y_test)
