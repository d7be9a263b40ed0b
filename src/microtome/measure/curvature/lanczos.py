"""The largest eigenpairs of a symmetric operator by Lanczos' method, each with a certificate."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from microtome.measure.curvature.vectors import Rows, Vector, coefficients, combine, dot, norm, subtract

Product = Callable[[Vector], Vector]


class Ritz(NamedTuple):
    """Approximate eigenpairs, by falling magnitude of the value."""

    values: Float[Tensor, "k"]
    """In float64."""
    vectors: Rows
    """Of length 1, in the precision and on the device of the basis."""
    residuals: Float[Tensor, "k"]
    """What ``|A u - value u|`` is at most: an eigenvalue lies at most as far from the value."""
    exhausted: bool
    """Whether the start lies in the span of the eigenvectors found, so that no others can be found from it."""


class Krylov(NamedTuple):
    """``A Q' = Q' T + beta_m q_{m+1} e_m'``: what m steps make of a start."""

    basis: Rows
    """``Q [m, P]``: orthonormal rows."""
    diagonal: Float[np.ndarray, "m"]
    """``alpha``, of T."""
    beside: Float[np.ndarray, "m"]
    """``beta_1 ... beta_m``, of which T has all but the last."""
    exhausted: bool
    """Whether the last is 0 up to rounding."""

    @property
    def pairs(self) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m m"]]:
        """The eigenvalues of T, and its eigenvectors as columns."""
        values, vectors = eigh_tridiagonal(self.diagonal, self.beside[:-1])
        return values, vectors


def lanczos(
    product: Product,
    start: Vector,
    steps: int,
    keep: int | None = None,
    basis_dtype: torch.dtype = torch.float32,
    basis_device: torch.device | str | None = None,
) -> Ritz:
    """Return the Ritz pairs of a symmetric operator in the Krylov space of a start (Lanczos 1950).

    Every new vector is made orthogonal to all before it. Without this, rounding brings found directions back, and each
    is found again and again as a further eigenvalue (Paige 1971). A pair's residual ``|A u - value u|`` is
    ``beta_m |s_m|``, of the last entry of its eigenvector of T, up to rounding, which is added; a basis of less than
    float32 is itself rounded by more, so there the residuals are computed, by one more product for each pair.

    Of equal eigenvalues one is found, with the direction that the start has in their space.

    The basis takes ``steps x P`` entries, and the vectors ``keep x P``: ``bfloat16`` halves them, and a
    ``basis_device`` of ``cpu`` leaves the accelerator's memory to the products. The last two vectors are always in
    float32 at least.

    Args:
        product: Returns ``A v [P]`` for ``v [P]``; it may write all its results to one place.
        start: A vector ``[P]`` that is not 0, of the precision and on the device of the products.
        steps: How many products, at least 1; more than P are not made.
        keep: How many pairs to return, by largest magnitude; all when not given.
        basis_dtype: In which the basis and the vectors are stored.
        basis_device: Where they are; the start's device when not given.

    Raises:
        ValueError: no steps, nothing to keep, or a start or a product that is 0 or not finite.
    """
    if keep is not None and keep < 1:
        raise ValueError(f"expected to keep at least 1 pair, got {keep}")
    space = krylov(product, start, steps, basis_dtype, basis_device)
    values, vectors = space.pairs
    chosen = np.argsort(-np.abs(values), kind="stable")[:keep]
    values, vectors = values[chosen], vectors[:, chosen]
    found = combine(space.basis, torch.from_numpy(vectors).to(space.basis.device))
    if torch.finfo(basis_dtype).eps > torch.finfo(torch.float32).eps:
        residuals = [
            residual(product, value, u.to(start)) for value, u in zip(values.tolist(), found, strict=True)
        ]
    else:
        worst = max(torch.finfo(dtype).eps for dtype in (basis_dtype, start.dtype))
        rounding = worst * len(space.basis) * np.abs(space.pairs[0]).max()
        residuals = space.beside[-1] * np.abs(vectors[-1]) + rounding
    return Ritz(
        torch.from_numpy(values), found, torch.tensor(residuals, dtype=torch.float64), space.exhausted
    )


def residual(product: Product, value: float, vector: Vector) -> float:
    """Return ``|A u - value u| / |u|``: some eigenvalue lies at most as far from the value; nan for ``u = 0``."""
    length = norm(vector)
    return norm(product(vector) - value * vector) / length if length else np.nan


def krylov(
    product: Product,
    start: Vector,
    steps: int,
    basis_dtype: torch.dtype = torch.float32,
    basis_device: torch.device | str | None = None,
) -> Krylov:
    """Return the orthonormal basis that ``steps`` products make of a start, and T; see :func:`lanczos`.

    Raises:
        ValueError: no steps, or a start or a product that is 0 or not finite.
    """
    if steps < 1:
        raise ValueError(f"expected at least 1 step, got {steps}")
    place = torch.device(basis_device or start.device)
    precision = torch.promote_types(start.dtype, torch.float32)
    basis = torch.empty(min(steps, len(start)), len(start), dtype=basis_dtype, device=place)
    new = start.detach().to(place, precision, copy=True)
    last, scale = torch.zeros_like(new), 0.0
    alphas, betas = [], [norm(new)]
    if not 0 < betas[0] < np.inf:
        raise ValueError(f"expected a start that is finite and not 0, got one of length {betas[0]}")
    exhausted = False
    for step, row in enumerate(basis):
        row.copy_(new.div_(betas[-1]))
        last.mul_(-betas[-1] if step else 0).add_(product(new.to(start)).detach().to(place, precision))
        alphas.append(dot(new, last))
        last.sub_(new, alpha=alphas[-1])
        new, last = last, new
        betas.append(_orthogonalise(new, basis[: step + 1]))
        if not np.isfinite(betas[-1]):
            raise ValueError(f"expected finite products, got one that is not at step {step + 1}")
        scale = max(scale, abs(alphas[-1]) + betas[-1])
        exhausted = step + 1 == len(start) or betas[-1] <= 10 * torch.finfo(precision).eps * scale
        if exhausted:
            break
    return Krylov(basis[: len(alphas)], np.array(alphas), np.array(betas[1:]), exhausted)


def _orthogonalise(v: Vector, basis: Rows) -> float:
    """Take from ``v`` its part in the span of orthonormal rows, and return the length of what is left.

    Where most of it was in the span, what is left is mostly rounding, and is taken through once more: twice is enough
    (Daniel, Gragg, Kaufman & Stewart 1976).
    """
    left = norm(v)
    for _ in range(2):
        before = left
        subtract(v, basis, coefficients(basis, v))
        left = norm(v)
        if left > before / np.sqrt(2):
            break
    return left
