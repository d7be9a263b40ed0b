"""Products with the Hessian and the Gauss-Newton matrix, beside the whole matrices in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.measure.curvature.conftest import PROBLEMS, Problem, close, dense, dense_hessian, gpt2, mlp
from torch import Tensor

from microtome.measure.curvature import (
    ROUTES,
    GaussNewton,
    Hessian,
    Route,
    flat,
    gradient,
    parts,
    random_signs,
)

EXACT: tuple[Route, ...] = ("kept graph", "double backward", "forward over reverse")
TIGHT = {"mlp": 1e-12, "gpt2": 1e-12, "llama": 1e-6}
"""RMSNorm in float32 leaves the oracle itself no more digits."""
AGREE = {
    "kept graph": 1e-12,
    "double backward": 1e-12,
    "forward over reverse": 1e-12,
    "central difference": 1e-4,
}


@pytest.fixture(scope="module", params=PROBLEMS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def problem(name: str) -> Problem:
    return PROBLEMS[name]()


@pytest.fixture(scope="module")
def matrix(problem: Problem) -> Tensor:
    return dense_hessian(problem)


@pytest.mark.parametrize("route", EXACT)
def test_products_are_those_of_the_dense_hessian(name, problem, matrix, route):
    with problem.hessian(route) as hessian:
        for seed in range(3):
            v = problem.draw(seed)
            assert close(hessian(v), matrix @ v) < TIGHT[name]


def test_a_difference_is_within_a_thousandth(problem, matrix):
    v = problem.draw()
    assert close(problem.hessian("central difference")(v), matrix @ v) < 1e-3


def test_the_error_of_a_difference_falls_with_the_square_of_its_step():
    """And so the oracle, whose second derivatives are torch's too, stands against first derivatives alone."""
    problem = gpt2()
    v = problem.draw()
    expected = dense_hessian(problem) @ v
    errors = [
        close(problem.hessian("central difference", step=step)(v), expected) for step in (1e-3, 1e-4, 1e-5)
    ]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)
    assert errors[2] < 1e-8


@pytest.mark.parametrize("route", ROUTES)
@given(seed=st.integers(0, 2**16), scale=st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-3))
def test_products_are_linear_and_symmetric(route, seed, scale):
    problem = mlp()
    u, v = problem.draw(seed), problem.draw(seed + 1)
    for operator in (problem.hessian(route), GaussNewton(problem.logits, problem.parameters)):
        hu, hv = operator(u), operator(v)
        # the step is relative to the direction, so that a difference is homogeneous, but adds only roughly
        torch.testing.assert_close(operator(scale * u), scale * hu, rtol=1e-8, atol=1e-8 * abs(scale))
        assert close(operator(u + v), hu + hv) < AGREE[route]
        assert float(u @ hv - v @ hu) == pytest.approx(0, abs=AGREE[route] * float(u.norm() * hv.norm()))


def test_gauss_newton_is_the_dense_matrix_and_never_negative(name, problem):
    z = problem.logits().flatten(0, -2)
    jacobian, p = dense([z], problem.parameters), z.detach().softmax(-1)
    inner = torch.block_diag(*(row.diag() - row.outer(row) for row in p))
    expected = jacobian.mT @ inner @ jacobian / len(z)
    with GaussNewton(problem.logits, problem.parameters) as operator:
        for seed in range(3):
            v = problem.draw(seed)
            assert close(operator(v), expected @ v) < TIGHT[name]
        columns = torch.stack([operator(e) for e in torch.eye(operator.size, dtype=z.dtype)])
    values = torch.linalg.eigvalsh(columns)
    assert values[0] > -1e-6 * values[-1]


def test_gauss_newton_is_the_hessian_of_a_model_without_curvature():
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    hessian = Hessian(lambda: torch.nn.functional.cross_entropy(x @ w, torch.arange(9) % 5), [w])
    v = torch.randn(20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(GaussNewton(lambda: x @ w, [w])(v), hessian(v))


@pytest.mark.parametrize("route", ROUTES)
def test_a_tied_weight_has_the_curvature_of_all_its_uses(route):
    w = torch.tensor([0.7, -1.2], dtype=torch.float64, requires_grad=True)
    v = torch.tensor([1.0, 2.0], dtype=torch.float64)
    hessian = Hessian(lambda: (w * w.exp()).sum() / 2 + (w**2).prod(), [w], route)
    a, b = w.tolist()
    expected = torch.tensor(
        [
            [(a + 2) * np.exp(a) / 2 + 2 * b * b, 4 * a * b],
            [4 * a * b, (b + 2) * np.exp(b) / 2 + 2 * a * a],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(hessian(v), expected @ v, rtol=1e-5, atol=0)


@pytest.mark.parametrize("route", ROUTES)
def test_what_the_loss_does_not_depend_on_has_no_curvature(route):
    used, linear, idle = (
        torch.full((2,), x, dtype=torch.float64, requires_grad=True) for x in (1.0, 2.0, 3.0)
    )
    hessian = Hessian(lambda: (used**3).sum() + linear.sum(), [used, linear, idle], route)
    found = hessian(torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(
        found, torch.tensor([6.0, 6, 0, 0, 0, 0], dtype=torch.float64), rtol=1e-5, atol=1e-9
    )
    assert gradient(lambda: (used**3).sum(), [used, idle]).tolist() == [3, 3, 0, 0]
    fisher = GaussNewton(lambda: used[None] ** 3, [used, idle])
    assert fisher(torch.tensor([0.0, 0, 1, 1], dtype=torch.float64)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("route", ROUTES)
def test_a_linear_loss_and_a_zero_direction_give_zeros(route):
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert Hessian(lambda: 2 * w.sum(), [w], route)(torch.ones(3, dtype=torch.float64)).tolist() == [0, 0, 0]
    assert Hessian(lambda: (w**3).sum(), [w], route)(torch.zeros(3, dtype=torch.float64)).tolist() == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize("route", ROUTES)
def test_products_leave_the_weights_as_they_were(route):
    problem = mlp()
    before = [p.detach().clone() for p in problem.parameters]
    problem.hessian(route)(problem.draw())
    assert all(torch.equal(p, q) for p, q in zip(problem.parameters, before, strict=True))
    assert all(p.grad is None for p in problem.parameters)


def test_a_difference_that_fails_leaves_the_weights_as_they_were():
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)

    def loss() -> Tensor:
        raise RuntimeError("no loss")

    with pytest.raises(RuntimeError, match="no loss"):
        Hessian(loss, [w], "central difference")(torch.ones(3, dtype=torch.float64))
    assert w.tolist() == [1, 1, 1]


def test_a_difference_at_the_origin_takes_a_step_all_the_same():
    w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    v = torch.tensor([3.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(Hessian(lambda: (w**2).sum(), [w], "central difference")(v), 2 * v)


def test_a_kept_graph_computes_the_loss_once_until_it_is_released():
    problem, calls = mlp(), []

    def loss() -> Tensor:
        calls.append(1)
        return problem.loss()

    v = problem.draw()
    with Hessian(loss, problem.parameters) as hessian:
        first = hessian(v)
        assert torch.equal(hessian(v), first)
        assert len(calls) == 1
    assert torch.equal(hessian(v), first)
    assert len(calls) == 2


@pytest.mark.parametrize("route", ROUTES)
def test_products_need_no_gradients_to_be_on(route):
    problem, v = mlp(), mlp().draw()
    with torch.no_grad():
        found = problem.hessian(route)(v)
    assert torch.equal(found, problem.hessian(route)(v))
    assert not found.requires_grad


def test_products_are_written_where_they_are_wanted():
    problem = mlp()
    hessian = problem.hessian()
    out = torch.empty(hessian.size, dtype=torch.float64)
    found = hessian(problem.draw(), out)
    assert found.data_ptr() == out.data_ptr()
    assert torch.equal(out, hessian(problem.draw()))


def test_signs_are_fair_and_reproducible():
    hessian = mlp().hessian()
    signs = torch.stack([random_signs(hessian, np.random.default_rng(seed)) for seed in range(200)])
    assert signs.dtype == hessian.dtype
    assert set(signs.unique().tolist()) == {-1, 1}
    assert abs(float(signs.mean())) < 4 / signs.numel() ** 0.5
    assert torch.equal(signs[3], random_signs(hessian, np.random.default_rng(3)))


def test_parts_are_the_inverse_of_flat():
    parameters = mlp().parameters
    for part, parameter in zip(parts(flat(parameters), parameters), parameters, strict=True):
        assert torch.equal(part, parameter)


@pytest.mark.usefixtures("unchecked")
def test_errors_say_what_was_expected():
    w, frozen = torch.ones(2, requires_grad=True), torch.ones(2)
    unknown: Any = "reverse"
    with pytest.raises(ValueError, match=r"expected a route of kept graph, .*; got reverse, 0.001"):
        Hessian(w.sum, [w], unknown)
    with pytest.raises(ValueError, match="a step above 0; got central difference, 0"):
        Hessian(w.sum, [w], "central difference", step=0)
    with pytest.raises(ValueError, match="got 0 parameters in 0 such kinds"):
        Hessian(w.sum, [])
    with pytest.raises(ValueError, match="got 2 parameters in 1 such kinds, 1 of which require one"):
        Hessian(w.sum, [w, frozen])
    with pytest.raises(ValueError, match="got 2 parameters in 2 such kinds"):
        GaussNewton(w.sum, [w, w.detach().double().requires_grad_()])
    with pytest.raises(ValueError, match="expected a vector of 2 entries, one for each parameter, got 3"):
        Hessian(w.sum, [w])(torch.ones(3))
