import numpy as np
import pytest
import torch

from microtome.studies.stability.moments import RowSums, combined

rng = np.random.default_rng(0)


def streamed(rows: np.ndarray, exact: bool = False, dtype=torch.float32, parts: int = 3) -> RowSums:
    sums = RowSums(rows.shape[1], exact)
    for part in np.array_split(rows, parts):
        sums.update(torch.tensor(part, dtype=dtype))
    return sums


def singular_values(rows: np.ndarray, centred: bool) -> np.ndarray:
    return np.linalg.svd(rows - centred * rows.mean(0), compute_uv=False)


@pytest.mark.parametrize("centred", [True, False])
def test_spectra_are_those_of_the_matrix_of_all_rows(centred):
    rows = rng.standard_normal((40, 6)) * [9, 5, 3, 2, 1, 0.5] + 4
    found = streamed(rows, dtype=torch.float64).moment().spectrum(centred)
    np.testing.assert_allclose(found, singular_values(rows, centred), rtol=1e-12)


def test_a_float32_product_loses_nothing_to_a_large_mean():
    rows = rng.standard_normal((200, 6)) + 1000
    found = streamed(rows).moment().spectrum(centred=True)
    np.testing.assert_allclose(found, singular_values(rows, centred=True), rtol=1e-4)


def test_exact_sums_keep_small_values_beside_a_large_one():
    rows = rng.standard_normal((200, 6)).astype(np.float32)
    rows[7] *= 1e5
    expected = singular_values(rows.astype(np.float64), centred=True)
    np.testing.assert_allclose(streamed(rows, exact=True).moment().spectrum(True), expected, rtol=1e-6)


def test_weights_count_parts_as_often_as_they_say():
    parts = [rng.standard_normal((n, 4)) + n for n in (5, 1, 8)]
    moments = [streamed(part, dtype=torch.float64, parts=1).moment() for part in parts]
    repeated = np.concatenate([parts[0], parts[0], parts[2]])
    found = combined(moments, [2, 0, 1])
    assert found.n == len(repeated)
    np.testing.assert_allclose(found.spectrum(True), singular_values(repeated, True), rtol=1e-12)


def test_fewer_rows_than_dimensions_leave_zeros():
    rows = rng.standard_normal((3, 6))
    found = streamed(rows, dtype=torch.float64).moment().spectrum(centred=True)
    np.testing.assert_allclose(found[:2], singular_values(rows, True)[:2], rtol=1e-12)
    np.testing.assert_allclose(found[2:], 0, atol=1e-6)


def test_equal_rows_have_no_spread():
    assert not streamed(np.full((5, 3), 7.1)).moment().spectrum(centred=True).any()
    assert not streamed(rng.standard_normal((1, 3)), parts=1).moment().spectrum(centred=True).any()


@pytest.mark.parametrize("centred", [True, False])
def test_no_rows_and_rows_that_are_not_finite_have_no_spectrum(centred):
    assert np.isnan(RowSums(3).moment().spectrum(centred)).all()
    assert np.isnan(streamed(np.array([[1.0, np.inf], [2.0, 3.0]])).moment().spectrum(centred)).all()


def test_a_part_without_weight_does_not_spoil_the_others():
    broken = streamed(np.full((2, 3), np.nan)).moment()
    whole = streamed(rng.standard_normal((9, 3))).moment()
    assert np.isfinite(combined([broken, whole], [0, 1]).spectrum(True)).all()
    assert np.isnan(combined([broken, whole]).spectrum(True)).all()
