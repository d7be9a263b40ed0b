"""Flat vectors in parameter space, and sums over their many entries that do not lose digits or memory."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Vector = Float[Tensor, "P"]
Rows = Float[Tensor, "k P"]
Loss = Callable[[], Tensor]
"""Computes a loss, a scalar, from the parameters' present values."""

PIECE = 2**16
"""Entries that are taken at once: the pieces of 50 rows stay in a processor's cache."""


def flat(tensors: Sequence[Tensor], out: Vector | None = None) -> Vector:
    """Return all entries as one vector ``[P]``, in ``out`` if it is given."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors], out=out)


def parts(vector: Vector, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return views of a vector ``[P]`` in the shapes of the parameters: the inverse of :func:`flat`.

    Raises:
        ValueError: the vector has not one entry for each of the parameters'.
    """
    sizes = [parameter.numel() for parameter in parameters]
    if len(vector) != sum(sizes):
        raise ValueError(
            f"expected a vector of {sum(sizes)} entries, one for each parameter, got {len(vector)}"
        )
    return [piece.view(p.shape) for piece, p in zip(vector.split(sizes), parameters, strict=True)]


def gradient(loss: Loss, parameters: Sequence[Tensor], out: Vector | None = None) -> Vector:
    """Return the gradient of a loss, ``[P]``; 0 for parameters on which it does not depend."""
    return flat(torch.autograd.grad(loss(), parameters, materialize_grads=True), out)


def dot(a: Vector, b: Vector) -> float:
    """Return ``a'b``, multiplied and summed in float64 without a copy of the whole in it."""
    total = a.new_zeros((), dtype=torch.float64)
    for x, y in zip(a.split(PIECE), b.split(PIECE), strict=True):
        total += torch.dot(x.double(), y.double())
    return float(total)


def norm(v: Vector) -> float:
    """Return ``|v|``, summed in float64."""
    return dot(v, v) ** 0.5


def coefficients(rows: Rows, v: Vector) -> Float[Tensor, "k"]:
    """Return ``Q v`` in float64; products of a piece are in the vector's precision, whatever that of the rows."""
    total = v.new_zeros(len(rows), dtype=torch.float64)
    for q, piece in _pieces(rows, v):
        total += q @ piece
    return total


def subtract(v: Vector, rows: Rows, c: Float[Tensor, "k"]) -> None:
    """Replace ``v`` by ``v - Q'c``."""
    for q, piece in _pieces(rows, v):
        piece.addmv_(q.mT, c.to(v.dtype), alpha=-1)


def combine(rows: Rows, c: Float[Tensor, "k m"]) -> Float[Tensor, "m P"]:
    """Return ``c'Q``, in the precision of the rows."""
    out = rows.new_empty(c.shape[1], rows.shape[1])
    c = c.mT.to(torch.promote_types(rows.dtype, torch.float32))
    for target, q in zip(out.split(PIECE, 1), rows.split(PIECE, 1), strict=True):
        target.copy_(c @ q.to(c.dtype))
    return out


def _pieces(rows: Rows, v: Vector) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield columns of the rows, in the vector's precision, with the entries of the vector."""
    for q, piece in zip(rows.split(PIECE, 1), v.split(PIECE), strict=True):
        yield q.to(v.dtype), piece
