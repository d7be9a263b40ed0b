"""Linear maps from the neurons of one model to those of another, and how well they predict rows they never saw.

A map fitted and scored on the same n rows looks good on anything: for independent Gaussian noise of d neurons
orthogonal Procrustes has a mean correlation of about ``8 / (3 pi) sqrt(d / n)``, the mean singular value of a square
noise matrix (Marchenko and Pastur 1967): .26 at 32,000 x 3072, where the truth is 0. Held out, it is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

from microtome.measure.pearson import moments, paired_pearson, same_rows

PENALTIES = (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0)
"""In units of a standardised neuron's variance: at 1 a neuron that stands alone keeps half of its weight."""


@dataclass(frozen=True)
class InSample:
    """A map scored on the rows that it was fitted to: inflated, kept for comparison with published values."""

    correlations: Float[np.ndarray, "neurons"]
    """Of each fitted with the true neuron; nan where one is constant."""
    error: float
    """``|XR - Y| / |Y|`` in Frobenius' norm: above 1 it is worse than the mean; nan where all of Y is constant."""


@dataclass(frozen=True)
class HeldOut:
    """A map scored on rows that it was not fitted to; everything is standardised by the fit rows' moments."""

    correlations: Float[np.ndarray, "neurons"]
    """Of each predicted with the true neuron; nan where one is constant."""
    r2: float
    """``1 - SSE / SST`` over all standardised neurons, about the fit rows' means: below 0 it is worse than those."""
    r2_by_neuron: Float[np.ndarray, "neurons"]
    """The same of each neuron; nan where the neuron is constant."""
    components: int | None = None
    """Most principal components of a side that the map is between; None for ridge."""
    penalty: float | None = None
    """The penalty that was chosen, in units of a neuron's variance; None for Procrustes."""


def in_sample_procrustes(
    x: Float[np.ndarray, "n m"], y: Float[np.ndarray, "n k"], standardise: bool
) -> InSample:
    """Fit and score an orthogonal map on the same rows, as AKIRA does.

    Both sides lose their means (and are divided by their standard deviations), the wider one its columns beyond
    ``min(m, k)``. Then ``R = U V'`` with ``X'Y = U S V'`` minimises ``|XR - Y|`` (Schönemann 1966).

    Raises:
        ValueError: the numbers of rows differ.
    """
    same_rows(x, y)
    width = min(x.shape[1], y.shape[1])
    x, y = (_standardised(z[:, :width], scale=standardise)[0] for z in (x, y))
    rotation, _ = _polar(x.T @ y)
    fitted = x @ rotation
    size = np.linalg.norm(y)
    error = float(np.linalg.norm(fitted - y) / size) if size > 0 else np.nan
    return InSample(paired_pearson(fitted, y), error)


def held_out_procrustes(
    x_fit: Float[np.ndarray, "n m"],
    y_fit: Float[np.ndarray, "n k"],
    x_test: Float[np.ndarray, "t m"],
    y_test: Float[np.ndarray, "t k"],
    components: int | None = None,
) -> HeldOut:
    """Fit a rotation with one scale between the two sides' principal components; score it on other rows.

    With ``A = XP`` and ``B = YQ`` the scores on each side's first components, p and q of them, ``A'B = U S V'`` gives
    ``R = U V' [p, q]`` of orthonormal rows or columns, the scale ``s = tr S / |AR|^2``, and the prediction ``s X P R
    Q'`` of all neurons of ``y``. ``components`` is the most of either side (a narrower side has as many as neurons); by
    default ``min(n // 10, m, k)``, so that there are ten rows for each.

    Raises:
        ValueError: rows or neurons do not fit together, or the components are not at least 1 and fewer than the rows.
    """
    _same_neurons(x_fit, y_fit, x_test, y_test)
    rows = len(x_fit)
    if components is None:
        components = min(rows // 10, x_fit.shape[1], y_fit.shape[1])
    if not 1 <= components < rows:
        raise ValueError(
            f"expected at least 1 component and fewer than the {rows} fit rows, got {components}"
        )
    x_fit, x_test = _standardised(x_fit, x_test)
    y_fit, y_test = _standardised(y_fit, y_test)
    x_basis, y_basis = (_principal(z, components) for z in (x_fit, y_fit))
    a, b = x_fit @ x_basis, y_fit @ y_basis
    rotation, singular = _polar(a.T @ b)
    size = np.square(a).sum(0) @ np.square(rotation).sum(1)  # |AR|^2, as A'A is diagonal
    scale = singular.sum() / size if size > 0 else 0.0
    predicted = x_test @ (x_basis @ (scale * rotation)) @ y_basis.T
    return HeldOut(*_scores(predicted, y_test), components=components)


def held_out_ridge(
    x_fit: Float[np.ndarray, "n m"],
    y_fit: Float[np.ndarray, "n k"],
    x_test: Float[np.ndarray, "t m"],
    y_test: Float[np.ndarray, "t k"],
    penalties: Sequence[float] = PENALTIES,
) -> HeldOut:
    """Fit a ridge regression of standardised neurons and score it on other rows.

    ``B = (X'X / n + penalty)^-1 X'Y / n`` (scikit-learn's ``alpha`` is n times the penalty). The penalty is the one
    with the least squared error when each half of the fit rows predicts the other. The halves are the first rows and
    the last ones: give a document's rows in one block, and all but the one at the cut stay whole.

    Raises:
        ValueError: rows or neurons do not fit together, fewer than 2 fit rows, or no penalty, or one that is not
            positive.
    """
    _same_neurons(x_fit, y_fit, x_test, y_test)
    if len(x_fit) < 2:
        raise ValueError(f"expected at least 2 fit rows, got {len(x_fit)}")
    if not len(penalties) or min(penalties) <= 0:
        raise ValueError(f"expected positive penalties, got {tuple(penalties)}")
    x_fit, x_test = _standardised(x_fit, x_test)
    y_fit, y_test = _standardised(y_fit, y_test)
    cut = len(x_fit) // 2
    halves = [_Products.of(x_fit[rows], y_fit[rows]) for rows in (slice(cut), slice(cut, None))]
    first, last = halves
    losses = _losses(first, last, penalties) + _losses(last, first, penalties)
    penalty = float(penalties[int(losses.argmin())])
    xx, xy = (first.xx + last.xx) / len(x_fit), (first.xy + last.xy) / len(x_fit)
    weights = scipy.linalg.solve(xx + penalty * np.eye(len(xx)), xy, assume_a="pos")
    return HeldOut(*_scores(x_test @ weights, y_test), penalty=penalty)


@dataclass(frozen=True)
class _Products:
    """All that least squares needs to know of rows."""

    xx: Float[np.ndarray, "m m"]
    xy: Float[np.ndarray, "m k"]
    rows: int

    @classmethod
    def of(cls, x: Float[np.ndarray, "n m"], y: Float[np.ndarray, "n k"]) -> "_Products":
        return cls(x.T @ x, x.T @ y, len(x))


def _losses(fit: _Products, test: _Products, penalties: Sequence[float]) -> Float[np.ndarray, "penalties"]:
    """Return the squared error on ``test`` of each penalty's map, less ``|Y|^2``, which all have in common.

    ``tr(B'X'XB) - 2 tr(B'X'Y)``, in the basis where ``fit.xx`` is diagonal and a penalty only rescales rows of B.
    """
    values, basis = scipy.linalg.eigh(fit.xx / fit.rows)
    unscaled = basis.T @ fit.xy / fit.rows
    square = (basis.T @ test.xx @ basis) * (unscaled @ unscaled.T)
    cross = (unscaled * (basis.T @ test.xy)).sum(1)
    gains = 1 / (values.clip(0) + np.asarray(penalties, np.float64)[:, None])  # [penalties, m]
    return ((gains @ square) * gains).sum(1) - 2 * gains @ cross


def _standardised(
    fit: Float[np.ndarray, "n m"], *others: Float[np.ndarray, "_ m"], scale: bool = True
) -> list[Float[np.ndarray, "_ m"]]:
    """Return all in float64 less the mean of ``fit`` and in units of its deviation; 0 where that is constant."""
    mean, spread = moments(fit)
    factor = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0) if scale else spread > 0
    return [(x - mean) * factor for x in (fit, *others)]


def _polar(product: Float[np.ndarray, "p q"]) -> tuple[Float[np.ndarray, "p q"], Float[np.ndarray, "_"]]:
    """Return ``U V'`` and the singular values of ``U S V'``."""
    u, s, v = scipy.linalg.svd(product, full_matrices=False)
    return u @ v, s


def _principal(x: Float[np.ndarray, "n m"], components: int) -> Float[np.ndarray, "m p"]:
    """Return the first principal components of centred rows, at most as many as there are columns."""
    m = x.shape[1]
    return scipy.linalg.eigh(x.T @ x, subset_by_index=(max(0, m - components), m - 1))[1]


def _scores(
    predicted: Float[np.ndarray, "t k"], y: Float[np.ndarray, "t k"]
) -> tuple[Float[np.ndarray, "k"], float, Float[np.ndarray, "k"]]:
    """Return each neuron's correlation, and R^2 about 0, over all neurons and of each."""
    error, total = (np.einsum("tk,tk->k", z, z) for z in (y - predicted, y))
    by_neuron = 1 - np.divide(error, total, out=np.full_like(total, np.nan), where=total > 0)
    r2 = float(1 - error.sum() / total.sum()) if total.sum() > 0 else np.nan
    return paired_pearson(predicted, y), r2, by_neuron


def _same_neurons(
    x_fit: Float[np.ndarray, "n m"],
    y_fit: Float[np.ndarray, "n k"],
    x_test: Float[np.ndarray, "t m"],
    y_test: Float[np.ndarray, "t k"],
) -> None:
    same_rows(x_fit, y_fit)
    same_rows(x_test, y_test)
    for fit, test in ((x_fit, x_test), (y_fit, y_test)):
        if fit.shape[1] != test.shape[1]:
            raise ValueError(f"expected the {fit.shape[1]} neurons of the fit rows, got {test.shape[1]}")
