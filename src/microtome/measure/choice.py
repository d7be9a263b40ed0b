"""Choosing among options by the best score, with ties shared, and how often the choice is right.

A tie is worth what a fair draw among the tied options would earn on average. Scores without any information
(all tied) therefore earn exactly chance, 1 / options, and not the accuracy of whichever option happens to
come first.
"""

import numpy as np
from jaxtyping import Float, Int

TIE = 1e-9
"""Scores closer than this share of the largest score's magnitude are tied: they differ by rounding."""


def votes(scores: Float[np.ndarray, "*shape options"]) -> Float[np.ndarray, "*shape options"]:
    """Return one vote for the option with the highest score, shared equally by tied options.

    An option whose score is nan is not offered, and its vote is nan. With fewer than two options offered
    there is no choice and all votes are nan.
    """
    offered = ~np.isnan(scores)
    known = np.where(offered, scores, -np.inf)
    best = known.max(-1, keepdims=True)
    scale = np.where(np.isfinite(scores), np.abs(scores), 0).max(-1, keepdims=True)
    chosen = known >= np.where(np.isfinite(best), best - TIE * scale, best)
    shared = (chosen & offered) / np.maximum((chosen & offered).sum(-1, keepdims=True), 1)
    return np.where(offered & (offered.sum(-1, keepdims=True) >= 2), shared, np.nan)


def correctness(
    votes: Float[np.ndarray, "*layers pairs labels labels"],
) -> Float[np.ndarray, "*layers pairs labels"]:
    """Return each item's vote for its own label: 1 right, 0 wrong, between for ties, nan undefined."""
    return np.diagonal(votes, axis1=-2, axis2=-1)


def confusion(
    votes: Float[np.ndarray, "*layers pairs labels labels"],
) -> Float[np.ndarray, "*layers labels labels"]:
    """Return the mean votes over pairs, ``[label asked, label chosen]``; nan where a pair is undefined."""
    return votes.mean(-3)


def permuted_accuracy(
    votes: Float[np.ndarray, "*layers pairs labels labels"],
    permutations: Int[np.ndarray, "draws pairs labels"],
) -> Float[np.ndarray, "draws *layers"]:
    """Return the accuracy under permutations of the true labels within pairs, the same in all layers.

    The votes do not depend on the true labels, so nothing is classified again. Undefined items leave the
    mean, as they leave the observed accuracy ``nanmean(correctness(votes))``; items are undefined as a whole
    row.

    Raises:
        ValueError: permutations for another number of pairs or labels.
    """
    if permutations.shape[1:] != votes.shape[-3:-1]:
        raise ValueError(
            f"expected permutations of {votes.shape[-3:-1]} [pairs, labels], got {permutations.shape[1:]}"
        )
    pairs, labels = permutations.shape[1:]
    permuted = votes[..., np.arange(pairs)[:, None], np.arange(labels), permutations]
    defined = ~np.isnan(permuted)
    count = defined.sum((-2, -1))
    earned = np.where(defined, permuted, 0).sum((-2, -1))
    accuracy = np.divide(earned, count, out=np.full(count.shape, np.nan), where=count > 0)
    return np.asarray(np.moveaxis(accuracy, -1, 0))
