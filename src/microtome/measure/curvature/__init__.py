"""Curvature of a loss: products with its Hessian, the largest eigenpairs, the spectrum, and what lies outside them.

Directions in parameter space are flat vectors ``[P]``, in the order of the parameters. No ``P x P`` matrix is formed:
all is asked of products with vectors.

Attention must be the plain kernel (``load_model(..., attention="eager")``): fused kernels have no second derivative.
"""

from microtome.measure.curvature.density import Density, spectral_density
from microtome.measure.curvature.lanczos import Ritz, lanczos, residual
from microtome.measure.curvature.null_space import NullSpace
from microtome.measure.curvature.products import ROUTES, GaussNewton, Hessian, Operator, Route, random_signs
from microtome.measure.curvature.vectors import flat, gradient, parts

__all__ = [
    "ROUTES",
    "Density",
    "GaussNewton",
    "Hessian",
    "NullSpace",
    "Operator",
    "Ritz",
    "Route",
    "flat",
    "gradient",
    "lanczos",
    "parts",
    "random_signs",
    "residual",
    "spectral_density",
]
