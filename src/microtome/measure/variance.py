"""Shares of variance: between and within labels, and label, pair and interaction."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from microtome.measure.layout import centre, group_codes, paired


@dataclass(frozen=True)
class TwoWay:
    """Sums of squares of ``pairs`` x ``labels`` vectors, one for each layer: they add up to ``total``."""

    label: Float[np.ndarray, "*layers"]
    """Between labels (tasks): pairs times the squared norms of the centred label centroids."""
    pair: Float[np.ndarray, "*layers"]
    """Between pairs (operands): labels times the squared norms of the centred pair centroids."""
    interaction: Float[np.ndarray, "*layers"]
    """What neither explains; without replication, interaction and noise are one."""
    pairs: int
    labels: int

    @property
    def total(self) -> Float[np.ndarray, "*layers"]:
        """The sum of squares about the grand mean."""
        return np.asarray(self.label + self.pair + self.interaction)

    @property
    def label_share(self) -> Float[np.ndarray, "*layers"]:
        """``label / total``; nan where all vectors are equal."""
        return share(self.label, self.total)

    @property
    def pair_share(self) -> Float[np.ndarray, "*layers"]:
        """``pair / total``; nan where all vectors are equal."""
        return share(self.pair, self.total)

    @property
    def interaction_share(self) -> Float[np.ndarray, "*layers"]:
        """``interaction / total``; nan where all vectors are equal."""
        return share(self.interaction, self.total)

    @property
    def label_share_by_chance(self) -> float:
        """The label share that exchangeable vectors have on average: its degrees of freedom over all of them.

        ``(labels - 1) / (pairs labels - 1)``. A share is a quotient of squares and never averages 0.
        """
        return (self.labels - 1) / (self.pairs * self.labels - 1)


def two_way(x: Float[np.ndarray, "*layers pairs labels d"]) -> TwoWay:
    """Decompose paired vectors by label, pair and interaction (two-way analysis of variance)."""
    x = paired(x, pairs=2)
    pairs, labels = x.shape[-3:-1]
    x = centre(x, (-3, -2))
    by_label, by_pair = x.mean(-3, keepdims=True), x.mean(-2, keepdims=True)
    return TwoWay(
        label=np.asarray(pairs * _square(by_label)),
        pair=np.asarray(labels * _square(by_pair)),
        interaction=_square(x - by_label - by_pair),
        pairs=pairs,
        labels=labels,
    )


@dataclass(frozen=True)
class OneWay:
    """Sums of squares of labelled vectors, one for each layer: ``between + within`` is the total."""

    between: Float[np.ndarray, "*layers"]
    within: Float[np.ndarray, "*layers"]

    @property
    def total(self) -> Float[np.ndarray, "*layers"]:
        """The sum of squares about the grand mean."""
        return np.asarray(self.between + self.within)

    @property
    def between_share(self) -> Float[np.ndarray, "*layers"]:
        """``between / total``; nan where all vectors are equal."""
        return share(self.between, self.total)


def one_way(x: Float[np.ndarray, "*layers n d"], labels: Int[np.ndarray, "names"]) -> OneWay:
    """Decompose vectors into the variation between labels and within them; groups may differ in size.

    Raises:
        ValueError: ``labels`` does not name one label for each vector.
    """
    codes = group_codes(labels, x.shape[-2])
    x = np.asarray(x, np.float64)
    x = centre(x, -2)
    member = np.equal.outer(np.arange(codes.max() + 1), codes).astype(np.float64)
    means = (member / member.sum(1, keepdims=True)) @ x
    explained = means[..., codes, :]
    return OneWay(
        between=np.asarray(np.square(explained).sum((-2, -1))),
        within=np.asarray(np.square(x - explained).sum((-2, -1))),
    )


def share(
    part: Float[np.ndarray, "*layers"], total: Float[np.ndarray, "*layers"]
) -> Float[np.ndarray, "*layers"]:
    """Return ``part / total``, nan where the total is zero."""
    return np.asarray(np.divide(part, total, out=np.full(np.shape(total), np.nan), where=total > 0))


def _square(x: Float[np.ndarray, "*layers pairs labels d"]) -> Float[np.ndarray, "*layers"]:
    return np.asarray(np.einsum("...ijk,...ijk->...", x, x))
