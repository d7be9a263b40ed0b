"""What lies outside given eigenvectors, beside explicit projectors."""

import numpy as np
import pytest
import torch
from tests.measure.curvature.conftest import with_spectrum
from torch import Tensor

from microtome.measure.curvature import NullSpace, lanczos, random_signs

SIZE, KEPT = 200, 20


def null_space(dtype: torch.dtype = torch.float64, k: int = KEPT) -> NullSpace:
    """Random orthonormal rows, stored in a precision."""
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(SIZE, k)))
    rows = torch.from_numpy(q.T).to(dtype)
    return NullSpace(rows, torch.arange(k, 0, -1, dtype=torch.float64), torch.zeros(k, dtype=torch.float64))


def normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(*shape, SIZE)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_projection_is_that_outside_the_rows_as_they_are_stored(dtype):
    space = null_space(dtype)
    rows = space.vectors.double()
    projector = torch.eye(SIZE, dtype=torch.float64) - torch.linalg.pinv(rows) @ rows
    found = torch.stack([space.project(e) for e in torch.eye(SIZE, dtype=torch.float64)])
    torch.testing.assert_close(found, projector, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_projection_is_idempotent_and_symmetric(dtype):
    space = null_space(dtype)
    u, v = normal(1, 2)
    once = space.project(v)
    torch.testing.assert_close(space.project(once), once, rtol=0, atol=1e-12)
    assert float(u @ once) == pytest.approx(float(space.project(u) @ v), rel=1e-10)
    assert float((space.vectors.double() @ once).abs().max()) < 1e-12


def test_the_share_of_random_directions_is_that_of_the_dimensions():
    """A share is ``Beta((P - k) / 2, k / 2)``: the mean of 400 lies within four standard errors of ``(P - k) / P``."""
    space = null_space()
    shares = [space.share(v) for v in normal(2, 400)]
    variance = 2 * KEPT * (SIZE - KEPT) / (SIZE**2 * (SIZE + 2))
    assert abs(np.mean(shares) - (SIZE - KEPT) / SIZE) < 4 * np.sqrt(variance / 400)
    assert np.var(shares) == pytest.approx(variance, rel=0.3)


def test_shares_of_known_directions():
    space = null_space()
    inside, outside = space.vectors[3], space.project(normal(3, 1)[0])
    assert space.share(inside) == pytest.approx(0, abs=1e-12)
    assert space.share(outside) == pytest.approx(1)
    assert space.share(3 * inside + 4 * outside / outside.norm()) == pytest.approx(16 / 25)
    assert np.isnan(space.share(torch.zeros(SIZE, dtype=torch.float64)))


def test_rows_in_bfloat16_change_shares_by_their_rounding():
    v = normal(4, 1)[0]
    exact, rounded = null_space().share(v), null_space(torch.bfloat16).share(v)
    assert rounded == pytest.approx(exact, abs=torch.finfo(torch.bfloat16).eps)
    assert null_space(torch.bfloat16).project(v.float()).dtype == torch.float32


def test_the_gradient_of_a_share_is_the_formula_of_its_docstring():
    space, v, w = null_space(), *normal(5, 2)
    slope = 2 * (space.project(v) - space.share(v) * v) / float(v @ v)
    ahead, behind = space.share(v + 1e-5 * w), space.share(v - 1e-5 * w)
    assert (ahead - behind) / 2e-5 == pytest.approx(float(slope @ w), rel=1e-5)


def test_the_vector_and_the_rows_are_left_as_they_were():
    space, v = null_space(), normal(6, 1)[0]
    rows, before = space.vectors.clone(), v.clone()
    space.project(v)
    assert torch.equal(v, before)
    assert torch.equal(space.vectors, rows)


def test_certified_keeps_what_is_known_well_enough():
    space = null_space(k=3)
    values, residuals = (torch.tensor(x, dtype=torch.float64) for x in ([4.0, -2, 1], [0.1, 0.02, 0.5]))
    space = NullSpace(space.vectors, values, residuals)
    assert space.certified(0.5) is space
    some = space.certified(0.02)
    assert some.values.tolist() == [-2]
    assert torch.equal(some.vectors, space.vectors[1:2])
    assert some.residuals.tolist() == [0.02]


def test_without_vectors_all_is_outside():
    none = NullSpace(null_space().vectors, torch.ones(KEPT), torch.ones(KEPT)).certified(0.1)
    v = normal(7, 1)[0]
    assert len(none.vectors) == 0
    assert torch.equal(none.project(v), v)
    assert none.share(v) == 1


def test_the_pairs_of_lanczos_make_one():
    operator = with_spectrum(np.concatenate([[50.0, -40, 30], np.linspace(-1, 1, SIZE - 3)]))
    pairs = lanczos(operator, random_signs(operator, np.random.default_rng(0)), 40, keep=5)
    space = NullSpace(pairs.vectors, pairs.values, pairs.residuals).certified(1e-4)
    assert len(space.values) == 3
    v = normal(8, 1)[0]
    values, vectors = torch.linalg.eigh(operator.matrix)
    top = vectors[:, values.abs() > 2].mT
    torch.testing.assert_close(space.project(v), v - top.mT @ (top @ v), rtol=0, atol=1e-5)


def test_rows_that_depend_on_each_other_are_refused():
    row = normal(9, 1)
    for rows in (torch.cat([row, row]), torch.cat([row, 0 * row])):
        space = NullSpace(rows, torch.ones(2), torch.zeros(2))
        with pytest.raises(ValueError, match="expected vectors of which none depends on the others"):
            space.share(row[0])
