"""Nearest-centroid transfer: are the labels of one template recognised by the centroids of another?"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from microtome.measure.centroids import centred_vectors, leave_one_out_centroids
from microtome.measure.choice import correctness, votes
from microtome.measure.layout import centre, difference, paired, same_design

Metric = Literal["cosine", "euclidean"]
Centring = Literal["pair", "training"]


def transfer_votes(
    x_a: Float[np.ndarray, "*#layers pairs_a labels_a d_a"],
    x_b: Float[np.ndarray, "*#layers pairs_b labels_b d_b"],
    metric: Metric = "cosine",
    centring: Centring = "pair",
) -> Float[np.ndarray, "... pairs_b labels_b labels_b"]:
    """Classify each vector of ``x_b`` with the label centroids of ``x_a`` over the *other* pairs.

    The tested pair is left out of training, so shared operands cannot help. Each template loses its own mean
    first, else their distance would outweigh the labels':

    - ``centring="pair"``: vectors of both templates less the mean over labels of their own pair. This
      compares the labels of one pair with each other, whatever the operands; the tested pair's other labels
      are used, not their names. Chance is exactly 1 / labels.
    - ``centring="training"``: vectors of ``x_b`` less the mean of ``x_b``'s training pairs, and the centroids
      less their mean. A single new prompt could be classified like this; the operands' variation stays in.

    With ``x_b = x_a`` this is leave-one-pair-out classification within one template. A vector or centroid
    that is zero has the cosine 0 with all here (a rule of choice, not a measurement), so that templates
    without any information end at chance.

    Args:
        x_a: training data ``[*layers, pairs, labels, d]``.
        x_b: tested data of the same pairs, labels and d, in the same order; the layers broadcast.
        metric: nearest by the angle between vectors, or by their distance.
        centring: what is subtracted, see above.

    Returns:
        Votes ``[*layers, pairs, labels, candidate labels]``, see :func:`microtome.measure.choice.votes`.

    Raises:
        ValueError: the designs differ, fewer than 2 pairs or labels, or an unknown metric or centring.
    """
    same_design(x_a, x_b)
    x_a, x_b = paired(x_a, pairs=2), paired(x_b, pairs=2)
    if centring == "pair":
        queries = centred_vectors(x_b)
    elif centring == "training":
        queries = difference(x_b, leave_one_out_centroids(x_b).mean(-2, keepdims=True))
    else:
        raise ValueError(f"expected the centring 'pair' or 'training', got '{centring}'")
    # The centred centroids are the same for both choices: centring is linear and the design is balanced.
    trained = centre(leave_one_out_centroids(centred_vectors(x_a)), -2)
    products = queries @ trained.swapaxes(-1, -2)
    squares = np.square(trained).sum(-1)[..., None, :]
    if metric == "cosine":
        lengths = np.sqrt(squares)
        return votes(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0))
    if metric == "euclidean":
        return votes(2 * products - squares)
    raise ValueError(f"expected the metric 'cosine' or 'euclidean', got '{metric}'")


def transfer(
    x_a: Float[np.ndarray, "*#layers pairs_a labels_a d_a"],
    x_b: Float[np.ndarray, "*#layers pairs_b labels_b d_b"],
    metric: Metric = "cosine",
    centring: Centring = "pair",
) -> Float[np.ndarray, "... pairs_b labels_b"]:
    """Return whether each vector is nearest its own label's centroid, see :func:`transfer_votes`."""
    return correctness(transfer_votes(x_a, x_b, metric, centring))
