"""Residuals of groups and regressors, against least squares with a column for each group."""

import numpy as np
import torch

from microtome.measure.residuals import partial_out


def test_equals_least_squares_on_dummies() -> None:
    rng = np.random.default_rng(0)
    n, m, p = 60, 5, 4
    groups = rng.integers(0, 12, n)
    design = np.eye(p)[rng.integers(0, p, n)]  # one column is the sum of the groups' less the others
    x = rng.standard_normal((n, m)) + groups[:, None] + 3 * design[:, :1]
    dummies = np.hstack([np.eye(12)[groups], design])
    expected = x - dummies @ np.linalg.lstsq(dummies, x, rcond=None)[0]
    found = partial_out(torch.from_numpy(x), torch.from_numpy(groups), torch.from_numpy(design))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


def test_a_row_alone_in_its_group_has_nothing_left() -> None:
    x = torch.tensor([[1.0], [2.0], [5.0]], dtype=torch.float64)
    found = partial_out(x, torch.tensor([0, 0, 1]), torch.zeros(3, 2, dtype=torch.float64))
    assert found.flatten().tolist() == [-0.5, 0.5, 0.0]
