"""The distribution of all eigenvalues of a symmetric operator, by stochastic Lanczos quadrature."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from microtome.measure.curvature.lanczos import krylov
from microtome.measure.curvature.products import Operator, random_signs

Nodes = Float[np.ndarray, "probes steps"]


class Density(NamedTuple):
    """Nodes and weights whose sums stand for means over the eigenvalues: ``sum w f(node) ~ tr f(A) / P``."""

    nodes: Nodes
    weights: Nodes
    """Each probe's sum to 1; nodes that a probe lacks, since its space was exhausted, weigh 0."""
    size: int
    """``P``."""

    def at(self, grid: Float[np.ndarray, "g"], width: float) -> Float[np.ndarray, "g"]:
        """Return the density on a grid of eigenvalues, each node spread to a Gaussian of a standard deviation.

        Raises:
            ValueError: the width is not above 0.
        """
        if not width > 0:
            raise ValueError(f"expected a width above 0, got {width}")
        distance = (grid[:, None] - self.nodes.reshape(-1)) / width
        heights = np.exp(-np.square(distance) / 2) / (width * np.sqrt(2 * np.pi))
        return heights @ self.weights.reshape(-1) / len(self.nodes)

    def power_sums(self, power: int = 1) -> Float[np.ndarray, "probes"]:
        """Return each probe's estimate of ``tr A^power``: the trace, or for 2 the squared Frobenius norm.

        Their mean is the estimate, and their spread its error (Hutchinson 1989).
        """
        return self.size * (self.weights * self.nodes**power).sum(-1)


def spectral_density(
    operator: Operator,
    probes: int,
    steps: int,
    rng: np.random.Generator,
    basis_dtype: torch.dtype = torch.float32,
    basis_device: torch.device | str | None = None,
) -> Density:
    """Return the spectrum of an operator seen by random probes (Ubaru, Chen & Saad 2017; Ghorbani et al. 2019).

    A probe's Lanczos matrix T has eigenvalues ``theta`` and eigenvectors with first entries ``tau``; the quadrature
    ``sum tau^2 f(theta)`` equals ``q'f(A)q`` for its normalised start q and any polynomial f of a degree below
    ``2 steps``, and the mean of that over random signs is ``tr f(A) / P``.

    Args:
        operator: Such as a :class:`~microtome.measure.curvature.products.Hessian`.
        probes: How many random starts.
        steps: Products for each.
        rng: Draws the signs.
        basis_dtype: As in :func:`~microtome.measure.curvature.lanczos.lanczos`, whose memory each probe takes in turn.
        basis_device: Likewise.

    Raises:
        ValueError: no probes or no steps.
    """
    if probes < 1:
        raise ValueError(f"expected at least 1 probe, got {probes}")
    nodes, weights = np.zeros((2, probes, min(steps, operator.size)))
    for node, weight in zip(nodes, weights, strict=True):
        values, vectors = krylov(
            operator, random_signs(operator, rng), steps, basis_dtype, basis_device
        ).pairs
        node[: len(values)], weight[: len(values)] = values, np.square(vectors[0])
    return Density(nodes, weights, operator.size)
