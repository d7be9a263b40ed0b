"""What of a direction lies outside the top eigenvectors."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from microtome.measure.curvature.vectors import PIECE, Rows, Vector, coefficients, dot, subtract


@dataclass(frozen=True)
class NullSpace:
    """The space orthogonal to k given eigenvectors of the largest magnitude.

    It is "null" only relative to these k: curvature outside is smaller than that of the k-th, not 0. A random direction
    has an expected share of ``(P - k) / P`` of its square in it, so with millions of parameters almost all of any
    direction is outside, and a share means something only beside other directions' shares.
    """

    vectors: Rows
    """``U [k, P]``, in any precision and on any device; rounded rows need not be orthonormal."""
    values: Float[Tensor, "k"]
    """Their eigenvalues."""
    residuals: Float[Tensor, "k"]
    """Their certificates, ``|A u - value u|``."""

    def certified(self, limit: float) -> "NullSpace":
        """Return the space of those vectors alone whose residual is at most ``limit`` times the value's magnitude."""
        good = self.residuals <= limit * self.values.abs()
        if good.all():
            return self  # a copy of the vectors may not fit into memory
        return NullSpace(self.vectors[good.to(self.vectors.device)], self.values[good], self.residuals[good])

    @torch.no_grad()
    def project(self, v: Vector) -> Vector:
        """Return ``v - U' (U U')^-1 U v``, which is ``v - U'U v`` for orthonormal rows, where ``v [P]`` is.

        The inverse of the k x k Gram matrix makes it a projection also when the rows are rounded.

        Raises:
            ValueError: vectors that depend on each other.
        """
        precision = torch.promote_types(v.dtype, torch.float32)
        left = v.detach().to(self.vectors.device, precision, copy=True)
        subtract(left, self.vectors, self._inverse @ coefficients(self.vectors, left))
        return left.to(v)

    def share(self, v: Vector) -> float:
        """Return ``|project(v)|^2 / |v|^2``, from 0 to 1; nan for ``v = 0``.

        Its gradient is ``2 (project(v) - share(v) v) / |v|^2``.

        Raises:
            ValueError: vectors that depend on each other.
        """
        whole = dot(v, v)
        left = self.project(v)
        return dot(left, left) / whole if whole else np.nan

    @cached_property
    def _inverse(self) -> Float[Tensor, "k k"]:
        """``(U U')^-1``, in float64."""
        gram = torch.zeros(2 * self.vectors.shape[:1], dtype=torch.float64, device=self.vectors.device)
        for piece in self.vectors.split(PIECE, 1):
            gram += piece.double() @ piece.double().mT
        if not len(gram):
            return gram
        sizes = torch.linalg.eigvalsh(gram)
        if not sizes[0] > 1e-6 * sizes[-1]:
            raise ValueError(
                "expected vectors of which none depends on the others, got some that do, or zeros"
            )
        return torch.linalg.inv(gram)
