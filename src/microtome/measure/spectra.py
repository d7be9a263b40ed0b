"""Singular values of products ``Q'K`` from the factors: no d x d matrix is formed.

Two routes, in float64. With ``K K' = M M'`` (Cholesky), the squares of the values are the eigenvalues of
``M' (Q Q') M``: fast, but squaring may drown small values in rounding. So each head's rounding is bounded from what was
computed, and heads without a sufficient bound take the other route: ``Q' = U R`` and ``K' = V S`` (QR), then the values
of ``R S'``.

Measured on two cores: for heads of 576 x 64, three to a key, a third of the time is the Gram products, at the
machine's rate, and a half is LAPACK's eigenvalues; for 4096 x 128 nearly all is Gram products. One Cholesky factor and
eigenvalues take .8 of the time of two factors and singular values, and .3 to .6 of QR's. Float32 products take half the
time, but leave nothing to certify. Threads over heads gain at most 15 %.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

TOLERANCE = 1e-7
"""Largest bound with which the Gram route's values are taken."""
ROUNDOFF = 1.01 * torch.finfo(torch.float64).eps / 2
"""Of one operation; the 1 % covers products of roundings."""
SMALLEST = 1e-280
"""Squared norms below this may have lost digits to underflow."""
COLUMNS = 128
"""Taken to float64 together: few enough for the copy to stay in cache, which saves a third at ``d`` = 4096."""
ROWS = 64
"""Of a block of the Gram matrix; with two blocks a quarter of the products is saved, with smaller ones nothing."""


class ProductSpectra(NamedTuple):
    """Singular values of a batch of products."""

    values: Float[Tensor, "*batch heads k"]
    """Descending, float64; zeros after the first d."""
    bound: Float[Tensor, "*batch heads"]
    """No value is farther than this from exact arithmetic's, relative to the head's largest; 0 for a zero factor."""
    certified: Bool[Tensor, "*batch heads"]
    """Whether the Gram route was taken, its bound being at most ``TOLERANCE``; the others came from QR."""


def product_singular_values(
    q: Float[Tensor, "*batch heads k d"], k: Float[Tensor, "*batch groups k d"]
) -> ProductSpectra:
    """Return the singular values of ``W = q[h]' k[h // (heads / groups)]``.

    The bounds count roundings (Higham 2002, §3.1, 10.1 and 19.3) in any order of summation, and take LAPACK's
    iterations to be as many as they are in practice. They hold barring overflow and underflow.

    Args:
        q: Left factors of any floating type.
        k: Right factors, each shared by ``heads / groups`` heads in a row.

    Raises:
        ValueError: If the groups do not divide the heads.
    """
    heads, groups = q.shape[-3], k.shape[-3]
    if not groups or heads % groups:
        raise ValueError(f"expected groups that divide the heads; got {heads=}, {groups=}")
    values, bound = _by_gram(q, k)
    certified = bound <= TOLERANCE
    if not certified.all():
        rest = ~certified
        values[rest], bound[rest] = _by_qr(q[rest], k.repeat_interleave(heads // groups, -3)[rest])
    return ProductSpectra(values, bound, certified)


def _by_gram(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and bounds; a bound is large, inf or nan where the values are not to be used.

    With ``A = Q Q'`` and ``B = K K'``, roundings move A by at most ``u d tr(A)``; B and its factor by
    ``u (d + k + 1) tr(B)``; the product by ``2 u k tr(B) |A|``, and its eigenvalues by ``u p(k) |M' A M|``. These add
    up (Weyl) to ``delta`` for each squared value s^2, hence ``delta / (s + sqrt(s^2 - delta))`` for s: most for the
    smallest.
    """
    rows, d = q.shape[-2:]
    axis = q.ndim - 3
    a, b = _gram(q), _gram(k)
    m, failed = torch.linalg.cholesky_ex(b)
    b, m, failed = (x.repeat_interleave(q.shape[axis] // k.shape[axis], axis) for x in (b, m, failed))
    # eigvalsh refuses what an overflow or a failed factor may leave.
    squares = torch.linalg.eigvalsh((m.mT @ a @ m).nan_to_num(0, 0, 0)).flip(-1).clamp(min=0)
    trace_a, trace_b = (x.diagonal(dim1=-2, dim2=-1).sum(-1) for x in (a, b))
    norm_a, norm_b = (torch.linalg.matrix_norm(x) for x in (a, b))
    delta = ROUNDOFF * (
        (d + 3 * rows + 1) * trace_b * norm_a + d * trace_a * norm_b + _solver(rows) * squares.norm(dim=-1)
    )
    largest, smallest = squares[..., 0], squares[..., -1]
    bound = delta / (smallest.sqrt() + (smallest - delta).clamp(min=0).sqrt()) / largest.sqrt()
    sound = torch.stack([trace_a, trace_b, trace_a * trace_b]).amin(0) > SMALLEST
    return squares.sqrt(), bound.where(sound & (failed == 0), torch.inf)


def _gram(x: Tensor) -> Tensor:
    """Return ``x x'`` in float64: of blocks of rows, only the pairs on and below the diagonal are multiplied."""
    blocks = max(1, x.shape[-2] // ROWS)
    sums: dict[tuple[int, int], Tensor] = {}
    for columns in x.flatten(0, -3).split(COLUMNS, -1):
        rows = [part.double() for part in columns.tensor_split(blocks, -2)]
        for i in range(blocks):
            for j in range(i + 1):
                factors = rows[i], rows[j].mT
                sums[i, j] = sums[i, j].baddbmm_(*factors) if (i, j) in sums else torch.bmm(*factors)
    whole = [[sums[i, j] if j <= i else sums[j, i].mT for j in range(blocks)] for i in range(blocks)]
    gram = sums[0, 0] if blocks == 1 else torch.cat([torch.cat(row, -1) for row in whole], -2)
    return gram.unflatten(0, x.shape[:-2])


def _by_qr(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and bounds: Householder's reflections move a factor by at most ``5 u k (d + 12)`` of its norm."""
    rows, d = q.shape[-2:]
    r, s = (torch.linalg.qr(x.double().mT, mode="r").R for x in (q, k))
    values = torch.linalg.svdvals(r @ s.mT)
    norms = torch.linalg.matrix_norm(r) * torch.linalg.matrix_norm(s)
    bound = ROUNDOFF * (10 * rows * (d + 12) + rows + _solver(rows)) * norms / values[..., 0]
    return pad(values, (0, rows - values.shape[-1])), bound.where(norms > 0, 0)


def _solver(rows: int) -> int:
    """Return how many roundings of the matrix's norm move its eigenvalues or singular values.

    Reflections from both sides, ``2 (5 m + 59)`` for each trailing size m, and about ``rows ** 2`` rotations of 9.
    """
    return 16 * rows * (rows + 8)
