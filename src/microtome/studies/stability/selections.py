"""Which rows of a layer a rank is of: all, those after the first token, and of these the ones of usual norm."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from microtome.studies.stability.moments import Moment, RowSums, combined

SELECTIONS = ("all", "without first", "kept")
"""All tokens; without each sequence's first; of these without rows beyond the layer's limit of the norm."""
MASSIVE = 10.0
"""Limit of a row's norm in medians, as of ``measure.rank.usual_rows``."""


class LayerRows:
    """Streams a layer's rows into parts that no row shares: first tokens, rows beyond the limit, and kept ones.

    A row that is not finite has no norm and is kept, so that ranks are undefined, not those of what is left.

    Args:
        d: Width of a row.
        groups: The kept rows are added up for each of these groups of text.
        limit: Of the norm of a kept row. ``None``: ten times the median norm, without first tokens, of the rows that
            come first; they have to be enough for a median, and are whatever text the first pass of a model holds.
    """

    def __init__(self, d: int, groups: int = 1, limit: float | None = None) -> None:
        self.limit = limit
        self.first, self.beyond = RowSums(d, exact=True), RowSums(d, exact=True)
        self.groups = [RowSums(d) for _ in range(groups)]

    def update(self, rows: Float[Tensor, "n d"], first: Bool[Tensor, "n"], group: Int[Tensor, "n"]) -> None:
        """Add rows.

        Args:
            rows: Without padding, on any device.
            first: Whether a row is of a sequence's first token.
            group: The group of text that a row belongs to.
        """
        norms = torch.linalg.vector_norm(rows.float(), dim=-1).cpu()
        if self.limit is None:
            self.limit = robust_limit(norms[~first].numpy())
        beyond = ~first & norms.isfinite() & (norms > self.limit)
        kept = ~first & ~beyond
        self.first.update(rows[first.to(rows.device)])
        self.beyond.update(rows[beyond.to(rows.device)])
        for number, sums in enumerate(self.groups):
            its = kept if len(self.groups) == 1 else kept & (group == number)
            sums.update(rows[its.to(rows.device)])

    def by_group(self) -> list[Moment]:
        """Return the moment of the kept rows of each group."""
        return [sums.moment() for sums in self.groups]

    def moments(self) -> dict[str, Moment]:
        """Return the moment of each selection, by its name."""
        kept = combined(self.by_group())
        after = combined([kept, self.beyond.moment()])
        return dict(zip(SELECTIONS, (combined([after, self.first.moment()]), after, kept), strict=True))


def robust_limit(norms: Float[np.ndarray, "n"]) -> float:
    """Return ten times the median of some rows' norms; nan, which no norm is beyond, without rows or if one is nan."""
    return MASSIVE * float(np.median(norms)) if len(norms) else np.nan
