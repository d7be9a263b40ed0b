"""Shapes and scalar fits of spectra, beside the loops of the original's script."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from microtome.measure.rescale import (
    anchor_layer,
    correlation,
    cosines_over_heads,
    cosines_over_layers,
    fit_to_layer,
    mean_of_pairs,
    pad,
    scalar_fit,
)

ANCHORS = ("last", "middle", "best")
shapes = st.tuples(st.integers(2, 6), st.integers(1, 4), st.integers(1, 7))
spectra = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.floats(1e-3, 1e3)))
vectors = arrays(np.float64, (4, 5), elements=st.floats(-1e3, 1e3).map(lambda x: x if abs(x) > 1e-3 else 0.0))


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return -np.sort(-np.random.default_rng(seed).lognormal(size=shape), axis=-1)


def original_cosine(x: np.ndarray, y: np.ndarray) -> float:
    norms = float(np.linalg.norm(x)), float(np.linalg.norm(y))
    return 0.0 if min(norms) < 1e-20 else float((x * y).sum() / (norms[0] * norms[1]))


def original_shape(sigma: np.ndarray) -> np.ndarray:
    shape = np.zeros_like(sigma)
    for layer, head in np.ndindex(*sigma.shape[:2]):
        largest = sigma[layer, head].max()
        shape[layer, head] = sigma[layer, head] / largest if largest > 1e-20 else sigma[layer, head]
    return shape


def original_anchor(sigma: np.ndarray, choice: str) -> int:
    layers, heads, _ = sigma.shape
    if choice != "best":
        return layers - 1 if choice == "last" else layers // 2
    shape, best_score, best = original_shape(sigma), -1.0, layers - 1
    for candidate in range(layers):
        score = 0.0
        for head in range(heads):
            for layer in range(layers):
                if layer != candidate:
                    score += original_cosine(shape[candidate, head], shape[layer, head])
        if score > best_score:
            best_score, best = score, candidate
    return best


def original_fit(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    scale = float((x * y).sum() / (y * y).sum())
    return scale, float(np.linalg.norm(x - scale * y) / np.linalg.norm(x))


@given(spectra)
def test_mean_cosines_are_those_of_the_original(sigma):
    layers, heads, _ = sigma.shape
    shape = original_shape(sigma)
    over_layers = mean_of_pairs(cosines_over_layers(sigma))
    for head in range(heads):
        pairs = [original_cosine(shape[i, head], shape[j, head]) for i in range(layers) for j in range(i)]
        assert over_layers[head] == pytest.approx(np.mean(pairs), abs=1e-6)
    over_heads = mean_of_pairs(cosines_over_heads(sigma))
    for layer in range(layers):
        pairs = [original_cosine(shape[layer, i], shape[layer, j]) for i in range(heads) for j in range(i)]
        wanted = np.mean(pairs) if pairs else np.nan
        assert over_heads[layer] == pytest.approx(wanted, abs=1e-6, nan_ok=True)


@given(spectra, st.sampled_from(ANCHORS))
def test_fits_to_the_anchor_are_those_of_the_original(sigma, choice):
    anchor = anchor_layer(sigma, choice)
    fit = fit_to_layer(sigma, anchor)
    for layer, head in np.ndindex(*sigma.shape[:2]):
        scale, residual = original_fit(sigma[layer, head], sigma[anchor, head])
        assert fit.scale[layer, head] == pytest.approx(scale, rel=1e-6)
        assert fit.residual[layer, head] == pytest.approx(residual, abs=1e-6)
    np.testing.assert_allclose(fit.residual[anchor], 0, atol=1e-12)


@pytest.mark.parametrize("choice", ANCHORS)
@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 1, 4), (12, 9, 16), (7, 4, 1)])
def test_the_anchor_is_that_of_the_original(choice, shape):
    for seed in range(20):
        sigma = drawn(*shape, seed=seed)
        assert anchor_layer(sigma, choice) == original_anchor(sigma, choice)


@pytest.mark.parametrize(
    ("order", "best"),
    [
        ("ab", 0),  # with two layers each is as typical as the other
        ("aab", 0),
        ("baa", 1),
        ("bccaac", 3),
        ("abab", 0),
        ("aaaa", 0),
    ],
)
def test_the_best_anchor_is_the_first_of_equals(order, best):
    shape = {"a": [4.0, 2, 1], "b": [4.0, 0, 0], "c": [4.0, 4, 0]}
    sigma = np.array([[shape[name], [1.0, 1, 1]] for name in order])
    assert anchor_layer(sigma, "best") == original_anchor(sigma, "best") == best


def test_rounding_breaks_no_tie():
    for seed in range(20):
        scales = np.random.default_rng(seed).lognormal(size=(9, 3, 1))
        assert anchor_layer(drawn(1, 3, 7, seed=seed) * scales, "best") == 0


def test_a_zero_spectrum_counts_for_no_anchor_as_in_the_original():
    for seed in range(20):
        sigma = drawn(5, 3, 4, seed=seed)
        sigma[seed % 5, seed % 3] = 0
        assert anchor_layer(sigma, "best") == original_anchor(sigma, "best")
    assert anchor_layer(np.zeros((3, 2, 4)), "best") == 0


def test_what_a_zero_spectrum_would_say_is_undefined():
    sigma = drawn(4, 2, 3)
    sigma[1, 0] = 0
    assert np.isnan(mean_of_pairs(cosines_over_layers(sigma))).tolist() == [True, False]
    assert np.isnan(mean_of_pairs(cosines_over_heads(sigma))).tolist() == [False, True, False, False]
    fit = fit_to_layer(sigma, 3)
    assert fit.scale[1, 0] == 0
    assert np.argwhere(np.isnan(fit.residual)).tolist() == [[1, 0]]
    fit = fit_to_layer(sigma, 1)
    assert np.isnan(fit.scale[:, 0]).all()
    assert np.isnan(fit.residual[:, 0]).all()
    assert not np.isnan(fit.residual[:, 1]).any()


def test_the_mean_over_pairs_of_one_member_is_undefined():
    assert np.isnan(mean_of_pairs(cosines_over_heads(drawn(3, 1, 4)))).all()
    assert mean_of_pairs(cosines_over_heads(drawn(3, 1, 4))).shape == (3,)


@given(vectors, vectors)
def test_fits_are_the_least_squares_and_residuals_lie_between_0_and_1(x, y):
    fit = scalar_fit(x, y)
    for i in range(len(x)):
        if not (x[i].any() and y[i].any()):
            assert np.isnan(fit.residual[i])
            continue
        solved = np.linalg.lstsq(y[i][:, None], x[i], rcond=None)[0].item()
        assert fit.scale[i] == pytest.approx(solved, rel=1e-9, abs=1e-9)
        assert 0 <= fit.residual[i] <= 1 + 1e-12


@given(spectra, st.floats(-6, 6))
def test_rescaled_copies_have_one_shape_and_no_residual(sigma, exponent):
    copies = sigma[:1] * 10.0 ** (exponent * np.linspace(-1, 1, 4))[:, None, None]
    np.testing.assert_allclose(cosines_over_layers(copies), 1, atol=1e-12)
    for anchor in range(4):
        fit = fit_to_layer(copies, anchor)
        np.testing.assert_allclose(fit.residual, 0, atol=1e-12)
        np.testing.assert_allclose(fit.scale * copies[anchor][..., 0], copies[..., 0])


@given(spectra, st.integers(0, 2**32))
def test_cosines_and_residuals_do_not_depend_on_scales(sigma, seed):
    scales = 10 ** np.random.default_rng(seed).uniform(-4, 4, (*sigma.shape[:2], 1))
    np.testing.assert_allclose(cosines_over_layers(sigma * scales), cosines_over_layers(sigma), atol=1e-12)
    np.testing.assert_allclose(
        fit_to_layer(sigma * scales, 0).residual, fit_to_layer(sigma, 0).residual, atol=1e-12
    )


@given(arrays(np.float64, (2, 3, 4), elements=st.floats(-1e3, 1e3).map(lambda x: round(x, 3))))
def test_correlations_are_numpys(maps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        wanted = np.corrcoef(*(x.ravel() for x in maps))[0, 1]
    constant = any(np.ptp(x) == 0 for x in maps)
    assert correlation(*maps) == pytest.approx(np.nan if constant else wanted, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-30, 1e12])
def test_a_constant_has_no_correlation(value):
    assert np.isnan(correlation(np.full((3, 7), value), drawn(3, 7)))
    assert np.isnan(correlation(drawn(3, 7), np.full((3, 7), value)))
    assert np.isnan(correlation(np.ones((1, 1)), np.ones((1, 1))))


def test_a_map_correlates_with_itself_and_not_with_what_is_undefined():
    x = drawn(6, 5)
    assert 1 - 1e-12 < correlation(x, 3 * x + 2) <= 1
    assert -1 <= correlation(x, -x) < -1 + 1e-12
    x[2, 2] = np.nan
    assert np.isnan(correlation(x, drawn(6, 5, seed=1)))


def test_spectra_of_unequal_length_are_filled_with_zeros():
    padded = pad([[[3.0, 2.0], [1.0]], [[5.0, 4.0, 1.0], [2.0, 2.0]]])
    np.testing.assert_array_equal(padded, [[[3, 2, 0], [1, 0, 0]], [[5, 4, 1], [2, 2, 0]]])
    assert padded.dtype == np.float64
