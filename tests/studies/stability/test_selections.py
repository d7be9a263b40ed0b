import numpy as np
import pytest
import torch

from microtome.measure.rank import usual_rows
from microtome.studies.stability.selections import SELECTIONS, LayerRows

rng = np.random.default_rng(0)


def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of 8 sequences of 10 tokens in 4 groups; first tokens are large, and row 33 is massive."""
    rows = rng.standard_normal((80, 5))
    first = np.arange(80) % 10 == 0
    rows[first] *= 50
    rows[33] *= 300
    return rows, first, np.arange(80) // 20


def streamed(rows, first, group, **options) -> LayerRows:
    stream = LayerRows(rows.shape[1], **options)
    stream.update(torch.tensor(rows), torch.tensor(first), torch.tensor(group))
    return stream


@pytest.mark.parametrize("groups", [1, 4])
def test_selections_are_those_of_a_dense_matrix(groups):
    rows, first, group = planted()
    usual = usual_rows(np.linalg.norm(rows[~first], axis=1))
    assert 0 < (~usual).sum() < 3
    expected: dict[str, np.ndarray] = dict(
        zip(SELECTIONS, (rows, rows[~first], rows[~first][usual]), strict=True)
    )
    for name, moment in streamed(rows, first, group, groups=groups).moments().items():
        assert moment.n == len(expected[name])
        np.testing.assert_allclose(moment.product, expected[name].T @ expected[name], rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(moment.total, expected[name].sum(0), rtol=1e-6, atol=1e-4)


def test_kept_rows_are_added_up_by_group():
    rows, first, group = planted()
    usual = ~first
    usual[33] = False
    for number, moment in enumerate(streamed(rows, first, group, groups=4, limit=40.0).by_group()):
        its = rows[usual & (group == number)]
        assert moment.n == len(its)
        np.testing.assert_allclose(moment.product, its.T @ its, rtol=1e-6, atol=1e-6)


def test_a_massive_row_changes_all_but_not_kept():
    rows, first, group = planted()
    changed = rows.copy()
    changed[33] *= 7
    before, after = (streamed(each, first, group).moments() for each in (rows, changed))
    np.testing.assert_array_equal(before["kept"].product, after["kept"].product)
    for name in ("all", "without first"):
        assert after[name].spectrum(True)[0] > 5 * before[name].spectrum(True)[0]


def test_a_given_limit_is_the_rule_whatever_the_rows_are():
    rows, first, group = planted()
    limit = streamed(rows, first, group).limit
    assert limit is not None
    damaged = streamed(rows * 100, first, group, limit=limit)
    assert damaged.limit == limit
    assert damaged.moments()["kept"].n == 0
    assert damaged.moments()["without first"].n == 72


def test_the_limit_is_of_the_rows_that_come_first():
    rows, first, group = planted()
    stream = streamed(rows, first, group)
    limit = stream.limit
    stream.update(torch.tensor(rows * 100), torch.tensor(first), torch.tensor(group))
    assert stream.limit == limit
    assert stream.moments()["kept"].n == 71


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_makes_every_selection_undefined(value):
    rows, first, group = planted()
    rows[41, 2] = value
    for limit in (None, 40.0):
        for moment in streamed(rows, first, group, limit=limit).moments().values():
            assert np.isnan(moment.spectrum(centred=True)).all()
