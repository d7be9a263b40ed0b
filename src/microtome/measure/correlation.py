"""Pearson's correlation over units that hold several values each, such as layers with their heads."""

import numpy as np
from jaxtyping import Float, Int

from microtome.measure.bootstrap import Statistic

Blocks = Float[np.ndarray, "n m"]
"""``m`` values of each of ``n`` units."""


def correlation_of(x: Blocks, y: Blocks) -> Statistic:
    """Return the statistic "correlation of all values of the drawn units", for ``measure.bootstrap``.

    Values of a unit stay together, so that their dependence on each other widens the interval as it should. The units'
    sums ``n, sum x, sum y, sum xx, sum yy, sum xy`` are taken once, so a draw costs no more than adding up those of its
    units. nan where x or y is constant.
    """
    x, y = (z - z.mean() for z in (x, y))  # so that no sum of squares drowns in the mean
    sums = np.stack([x.sum(1), y.sum(1), (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)], 1) / x.shape[1]
    rounding = 1e-12 * sums[:, 2:4].mean(0)

    def statistic(units: Int[np.ndarray, "draws m"]) -> Float[np.ndarray, "draws"]:
        mean_x, mean_y, xx, yy, xy = np.moveaxis(sums[units].mean(1), 1, 0)
        variance_x, variance_y = xx - mean_x**2, yy - mean_y**2
        defined = (variance_x > rounding[0]) & (variance_y > rounding[1])
        spread = np.sqrt(np.where(defined, variance_x * variance_y, np.nan))
        return (xy - mean_x * mean_y) / spread

    return statistic


def permuted_correlations(
    x: Blocks, y: Blocks, rng: np.random.Generator, draws: int
) -> Float[np.ndarray, "draws"]:
    """Return correlations after x was permuted: units as wholes, and values within each unit.

    This is what there is when x knows nothing of y, whatever each has in common within its own units.

    Raises:
        ValueError: x and y have different shapes.
    """
    if x.shape != y.shape:
        raise ValueError(f"expected values of the same shape, got {x.shape} and {y.shape}")
    n, m = x.shape
    units = rng.permuted(np.broadcast_to(np.arange(n), (draws, n)), axis=1)
    within = rng.permuted(np.broadcast_to(np.arange(m), (draws, n, m)), axis=2)
    permuted = x[units[..., None], within].reshape(draws, -1)
    centred_y = y.ravel() - y.mean()
    norm = x.std() * y.std() * x.size
    with np.errstate(invalid="ignore", divide="ignore"):
        return (permuted - x.mean()) @ centred_y / norm
