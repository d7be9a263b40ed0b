"""What selection found, joined over the stripes of B's layers, and which of A's neurons are matched and universal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from microtome.lab.study import Measurement
from microtome.measure.bootstrap import Statistic
from microtome.measure.discovery import benjamini_hochberg, pooled_p

TOP = 5
"""Candidates kept for each neuron."""
SUMS = ("xy", "x", "y", "xx", "yy")
"""What is summed over the rows of a group of documents, of values less mean and over deviation of the other half."""
DRAWS_AT_ONCE = 64
"""Resamples whose sums are held at a time."""
POWERS = ("dc", "total", "moment", "low")
"""Sums of a neuron's power over positions: at frequency 0 before the mean is removed; then at all others, at all
others times frequency, and at the lowest."""


@dataclass(frozen=True)
class Selected:
    """The half of the documents that selects, for all of A's neurons."""

    index: Int[np.ndarray, "n top"]
    """The neurons of B that correlate most, layer after layer, -1 where there are fewer."""
    r: Float[np.ndarray, "n top"]
    rotated: Float[np.ndarray, "rotations n"]
    """The largest correlation with any neuron of B after its layers were rotated."""
    turned: Int[np.ndarray, "rotations n"]
    """That rotated neuron."""
    turned_sd: Float[np.ndarray, "rotations n"]
    """Its standard deviation."""
    assigned: Int[np.ndarray, "n"]
    """The partner in the best one-to-one matching with the layer at the same depth, -1 where there is none."""
    mutual: np.ndarray
    """Whether the best match's own best match is the neuron."""
    mean_a: Float[np.ndarray, "n"]
    sd_a: Float[np.ndarray, "n"]
    mean_b: Float[np.ndarray, "k"]
    sd_b: Float[np.ndarray, "k"]
    planted: Int[np.ndarray, "n"] | None
    """The copy of each neuron, where copies were planted."""


def selected(stripes: Sequence[Measurement]) -> Selected:
    """Join the stripes: the best candidates of all, and the largest rotated correlations of all."""
    arrays = [stripe.arrays for stripe in stripes]

    def side_by_side(name: str) -> np.ndarray:
        return np.concatenate([each[name] for each in arrays], -1)

    r, index = side_by_side("top_r"), side_by_side("top_index")
    order = np.argsort(-r, axis=1, kind="stable")[:, :TOP]
    r, index = (np.take_along_axis(each, order, 1) for each in (r, index))
    rotated = np.stack([each["rotated"] for each in arrays])
    stripe = rotated.argmax(0)[None]
    rotated, turned, turned_sd = (
        np.take_along_axis(np.stack([each[name] for each in arrays]), stripe, 0)[0]
        for name in ("rotated", "turned", "turned_sd")
    )
    back = side_by_side("back_index")
    best = index[:, 0]
    return Selected(
        index=index,
        r=np.where(index >= 0, r, np.nan),
        rotated=rotated,
        turned=turned,
        turned_sd=turned_sd,
        assigned=np.max([each["assigned"] for each in arrays], 0),
        mutual=(best >= 0) & (back[np.maximum(best, 0)] == np.arange(len(best))),
        mean_a=arrays[0]["mean_a"],
        sd_a=arrays[0]["sd_a"],
        mean_b=side_by_side("mean_b"),
        sd_b=side_by_side("sd_b"),
        planted=arrays[0].get("planted"),
    )


@dataclass(frozen=True)
class Scores:
    """The half that scores, for the best matches of the other half."""

    sums: Float[np.ndarray, "sums groups n"]
    """``SUMS`` of each group of documents."""
    rows: Int[np.ndarray, "groups"]
    shifted: Float[np.ndarray, "blocks shifts n"]
    """Products after B's documents were shifted within a block, by 1, 2 and so on."""
    totals: Float[np.ndarray, "sums n"]
    """``SUMS`` of all documents."""
    r: Float[np.ndarray, "n"]
    rotated: Float[np.ndarray, "rotations n"]
    """That with the rotated neuron that correlated most on the other half."""
    rotated_groups: Float[np.ndarray, "groups n"]
    """Products with it, of each group of documents, mean over rotations."""
    residual: Float[np.ndarray, "n"]
    """The correlation after word and position were regressed out of both."""
    assigned: Float[np.ndarray, "n"]
    """That with the partner of the one-to-one matching."""
    power: Float[np.ndarray, "powers n"]
    firing: Float[np.ndarray, "n"]
    """Share of rows on which a neuron exceeds its root mean square."""

    @property
    def baseline(self) -> Float[np.ndarray, "n"]:
        """What the best match gives when B's neurons are no privileged basis: the mean over rotations."""
        return self.rotated.mean(0)

    @property
    def excess(self) -> Float[np.ndarray, "n"]:
        """The held-out correlation less the baseline."""
        return self.r - self.baseline

    @property
    def null(self) -> Float[np.ndarray, "shifts n"]:
        """Correlations after B's documents were shifted, in all blocks alike."""
        xy = self.shifted.sum(0, dtype=np.float64)
        return correlations(_crossed(xy, self.totals), self.rows.sum())

    def over(self, statistic: Callable[[Float[np.ndarray, "n"]], float]) -> Statistic:
        """Return a statistic of all neurons' excess as one of drawn groups, for ``measure.bootstrap``.

        Sums of the drawn groups are products of their counts with the groups' sums. The baseline follows its products
        and keeps the variances of all documents.
        """
        whole = self.rotated_groups.sum(0, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = np.where(whole != 0, self.baseline / whole * self.rows.sum(), np.nan)
        flat = np.asarray(self.sums, np.float64).swapaxes(0, 1).reshape(len(self.rows), -1)

        def of_groups(units: Int[np.ndarray, "draws m"]) -> Float[np.ndarray, "draws"]:
            counts = np.stack([np.bincount(one, minlength=len(self.rows)) for one in units]).astype(
                np.float64
            )
            values = []
            for some in np.array_split(counts, -(-len(counts) // DRAWS_AT_ONCE)):
                sums = (some @ flat).reshape(len(some), len(SUMS), -1).swapaxes(0, 1)
                rows = (some @ self.rows)[:, None]
                excess = correlations(sums, rows) - some @ self.rotated_groups * factor / rows
                values += [statistic(one) for one in excess]
            return np.array(values)

        return of_groups

    def exchanged(self, rng: np.random.Generator, draws: int) -> Float[np.ndarray, "draws n"]:
        """Return correlations after B's documents were exchanged: each block shifted by a random number of them.

        With one block there are no more draws than shifts, and all are returned.
        """
        blocks, shifts, _ = self.shifted.shape
        if blocks == 1:
            return self.null
        chosen = rng.integers(shifts, size=(draws, blocks))
        xy = np.stack([self.shifted[np.arange(blocks), one].sum(0, dtype=np.float64) for one in chosen])
        return correlations(_crossed(xy, self.totals), self.rows.sum())


def _crossed(
    xy: Float[np.ndarray, "draws n"], totals: Float[np.ndarray, "sums n"]
) -> Float[np.ndarray, "sums draws n"]:
    """Return ``SUMS`` of which only the products differ from draw to draw: a shift leaves all others as they are."""
    return np.stack([xy, *(np.broadcast_to(one, xy.shape) for one in totals[1:])])


def correlations(sums: Float[np.ndarray, "sums *n"], rows: np.ndarray) -> Float[np.ndarray, "*n"]:
    """Return Pearson's correlations from ``SUMS``; nan where a variance is zero."""
    xy, x, y, xx, yy = np.asarray(sums, np.float64) / np.asarray(rows)
    variance = np.asarray((xx - x * x) * (yy - y * y))
    variance[variance <= 1e-12] = np.nan
    return np.asarray((xy - x * y) / np.sqrt(variance))


def scores(blocks: Sequence[Measurement]) -> Scores:
    """Join the blocks of documents."""
    arrays = [block.arrays for block in blocks]

    def total(name: str) -> np.ndarray:
        return np.asarray(np.sum([each[name] for each in arrays], 0, dtype=np.float64))

    sums = np.concatenate([each["sums"] for each in arrays], 1)
    rows = np.concatenate([each["rows"] for each in arrays])
    n, whole = rows.sum(), total("totals")
    shifts = min(len(each["null"]) for each in arrays)
    return Scores(
        sums=sums,
        rows=rows,
        shifted=np.stack([each["null"][:shifts] for each in arrays]),
        totals=whole,
        r=correlations(whole, n),
        rotated=np.stack([correlations(one, n) for one in total("rotated")]),
        rotated_groups=np.concatenate([each["rotated_groups"] for each in arrays]),
        residual=correlations(total("residual"), n),
        assigned=correlations(total("assigned"), n),
        power=total("power"),
        firing=total("firing") / n,
    )


def table(selected: Selected, scores: Scores, spec: Mapping, threshold: float, fdr: float) -> pl.DataFrame:
    """Return a row for each of A's neurons: its match, correlations on both halves, and whether it is universal.

    Matched: the held-out correlation is more than exchanging documents gives, at the false discovery rate ``fdr``
    (Benjamini and Hochberg 1995). Universal: matched, with a held-out excess over rotations above ``threshold``.
    """
    a, b = spec["a"], spec["b"]
    neurons = np.arange(len(scores.r))
    best = selected.index[:, 0]
    layers_a, layers_b = np.array(a["layers"]), np.array(b["layers"])
    p = pooled_p(scores.r, scores.null)
    excess = scores.excess
    matched = benjamini_hochberg(p, fdr)
    dc, total, moment, low = scores.power
    with np.errstate(invalid="ignore", divide="ignore"):
        spectrum = {
            "centroid": np.where(total > 0, moment / total, np.nan),
            "low_share": np.where(total > 0, low / total, np.nan),
            "dc_share": np.where(dc + total > 0, dc / (dc + total), np.nan),
        }
    columns = {
        "layer": layers_a[neurons // a["neurons"]],
        "neuron": neurons % a["neurons"],
        "layer_b": np.where(best >= 0, layers_b[np.maximum(best, 0) // b["neurons"]], -1),
        "neuron_b": np.where(best >= 0, best % b["neurons"], -1),
        "r_select": selected.r[:, 0],
        "rotated": scores.baseline,
        "r": scores.r,
        "excess": excess,
        "p": p,
        "matched": matched,
        "universal": matched & (np.nan_to_num(excess, nan=-1.0) > threshold),
        "mutual": selected.mutual,
        "r_residual": scores.residual,
        "r_one_to_one": scores.assigned,
        "dead": ~(selected.sd_a > 0),
        "mean": selected.mean_a,
        "sd": selected.sd_a,
        "firing": scores.firing,
        **spectrum,
    }
    frame = pl.DataFrame(columns).with_columns(pl.col(pl.Float64, pl.Float32).cast(pl.Float64).fill_nan(None))
    known = pl.col("layer_b") >= 0
    return frame.with_columns(
        *(pl.when(known).then(pl.col(name)).alias(name) for name in ("layer_b", "neuron_b"))
    )
