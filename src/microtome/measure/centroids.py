"""Centroids of labels over pairs, on all data and on folds, and their norm without the bias of noise.

Vectors are centred over the labels within each pair before anything is compared: what all labels share (the
template, the operands of that pair) is gone, and what is left of a label is its difference from the others.
The mean of these centred vectors over the pairs is the label's centred centroid.
"""

import numpy as np
from jaxtyping import Float

from microtome.measure.layout import centre, paired
from microtome.measure.similarity import cosine, inner


def centroids(x: Float[np.ndarray, "*layers pairs labels d"]) -> Float[np.ndarray, "*layers labels d"]:
    """Return the mean vector of each label over the pairs."""
    return paired(x, labels=1).mean(-3)


def centred_vectors(
    x: Float[np.ndarray, "*layers pairs labels d"],
) -> Float[np.ndarray, "*layers pairs labels d"]:
    """Return each vector less the mean over the labels of its own pair."""
    return centre(paired(x), -2)


def centred_centroids(
    x: Float[np.ndarray, "*layers pairs labels d"],
) -> Float[np.ndarray, "*layers labels d"]:
    """Return each label's centroid less the mean over all labels; these vectors sum to zero."""
    return centre(centroids(paired(x)), -2)


def leave_one_out_centroids(
    x: Float[np.ndarray, "*layers pairs labels d"],
) -> Float[np.ndarray, "*layers pairs labels d"]:
    r"""Return, for each pair p, the labels' centroids over the other pairs, ``(sum_q x_q - x_p) / (P - 1)``.

    Raises:
        ValueError: fewer than 2 pairs, so nothing is left when one is out.
    """
    x = paired(x, pairs=2, labels=1)
    return (x.sum(-3, keepdims=True) - x) / (x.shape[-3] - 1)


def held_out_cosine(
    x: Float[np.ndarray, "*layers pairs labels d"],
) -> Float[np.ndarray, "*layers pairs labels"]:
    """Return the cosine between each centred vector and its label's centred centroid over the other pairs.

    1: the label's direction is the same for every pair. 0 in expectation: knowing the other pairs says
    nothing of this one. A vector that centring leaves at zero gives nan.
    """
    y = centred_vectors(paired(x, pairs=2))
    return cosine(y, leave_one_out_centroids(y))


def squared_norm(x: Float[np.ndarray, "*layers pairs labels d"]) -> Float[np.ndarray, "*layers labels"]:
    r"""Estimate the squared norm of each label's centred centroid without the bias of noise.

    The squared norm of a mean over P pairs is too large by (variance / P), at every layer by another amount.
    The mean over distinct pairs of inner products is not:

        1 / (P (P - 1))  sum_{p != q} <y_tp, y_tq>  =  (|sum_p y_tp|^2 - sum_p |y_tp|^2) / (P (P - 1)),

    with y centred over labels within each pair (the cross-validated distance of Walther et al. 2016, taken to
    the mean of labels). It is unbiased for independent pairs, and therefore negative about half of the time
    when the truth is zero. For the norms of operands instead of tasks, swap the two axes: ``x.swapaxes(-2,
    -3)``.

    Raises:
        ValueError: fewer than 2 pairs.
    """
    y = centred_vectors(paired(x, pairs=2))
    pairs, total = y.shape[-3], y.sum(-3)
    return (inner(total, total) - inner(y, y).sum(-2)) / (pairs * (pairs - 1))


def norm(x: Float[np.ndarray, "*layers pairs labels d"]) -> Float[np.ndarray, "*layers labels"]:
    """Return the root of :func:`squared_norm`; nan where that is negative: the norm is lost in the noise."""
    squares = squared_norm(x)
    return np.sqrt(np.where(squares < 0, np.nan, squares))


def squared_norm_pseudovalues(
    x: Float[np.ndarray, "*layers pairs labels d"],
) -> Float[np.ndarray, "*layers pairs labels"]:
    r"""Return the jackknife pseudo-values of :func:`squared_norm`, one for each pair.

    ``P theta - (P - 1) theta_{-p}``, where ``theta_{-p}`` leaves pair p out. Their mean over the pairs is
    ``theta`` itself, and they behave like independent observations of it, so an interval over pairs comes
    from them. (Resampling the pairs of :func:`squared_norm` directly would multiply copies of a pair with
    each other and bring the bias back.) With r_p = sum_{q != p} <y_tp, y_tq>, ``theta_{-p} = (P (P - 1) theta
    - 2 r_p) / ((P - 1) (P - 2))``.

    Raises:
        ValueError: fewer than 3 pairs.
    """
    y = centred_vectors(paired(x, pairs=3))
    pairs = y.shape[-3]
    products = inner(y, y.sum(-3, keepdims=True) - y)
    total = products.sum(-2, keepdims=True)
    return total / (pairs - 1) - (total - 2 * products) / (pairs - 2)
