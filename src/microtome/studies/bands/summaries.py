"""What each model comes to: one number for each question, arm and seed, at the arm's chosen rates."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.data import Data, best_scale

LOW = 3 / 7
"""Share of the bands, the slow ones first, that are the original's bands 0-2."""
NEAR = 0.2
"""A band's worth is settled from the evaluation on after which it stays this near its last value, relative to that."""
WORTH = 0.005
"""Nats per token that a band must be worth at the end for its timing to be read."""


def low_bands(count: int) -> int:
    """Return how many bands count as slow."""
    return max(1, round(LOW * count))


def by_seed(config: BandsConfig, data: Data) -> pl.DataFrame:
    """Return ``arm``, ``seed``, ``name``, ``value``; numbers that are undefined are missing."""
    rows = [*_losses(data), *_training(config, data), *_features(config, data), *_reference(config, data)]
    frame = pl.DataFrame(
        rows,
        schema={"arm": pl.String, "seed": pl.Int64, "name": pl.String, "value": pl.Float64},
        orient="row",
    )
    return frame.with_columns(pl.col("value").fill_nan(None))


Row = tuple[str, int, str, float]


def _losses(data: Data) -> Iterator[Row]:
    """Yield each model's held-out loss at the scale that the other seeds choose, so that no loss chooses itself."""
    for (arm,), its in data.losses.group_by("arm", maintain_order=True):
        for seed in its["seed"].unique(maintain_order=True):
            others = its.filter(pl.col("seed") != seed)
            scale = best_scale(others if len(others) else its)
            own = its.filter((pl.col("seed") == seed) & (pl.col("scale") == scale)) if scale else its.clear()
            held_out, train = (own[name][0] if len(own) else None for name in ("held_out", "train"))
            if held_out is not None and train is not None:
                yield str(arm), seed, "loss", held_out
                yield str(arm), seed, "gap", held_out - train


def _training(config: BandsConfig, data: Data) -> Iterator[Row]:
    curves = data.at_chosen(data.curves)
    for (arm, seed), its in curves.group_by("arm", "seed", maintain_order=True):
        loss = (
            its.filter((pl.col("table") == "metrics") & (pl.col("name") == "loss"))
            .sort("step")["value"]
            .to_numpy()
        )
        key = str(arm), int(str(seed))
        yield *key, "roughness", roughness(loss)
        worth = {side: worths(its, side) for side in ("held_out", "train")}
        yield *key, "early", _rank(settled(worth["held_out"]))
        yield *key, "grokked", _share(grokked(worth["train"], worth["held_out"]))


def roughness(loss: np.ndarray) -> float:
    """Return the standard deviation of the training loss from row to row, over the last half of training.

    ``sd(l[t+1] - l[t]) / sqrt(2)``: of independent noise around a line it is the noise's, whatever the slope.
    """
    late = loss[len(loss) // 2 :]
    return float(np.diff(late).std(ddof=1) / np.sqrt(2)) if len(late) > 2 else float("nan")


def worths(curves: pl.DataFrame, side: str) -> np.ndarray:
    """Return what each band is worth at each evaluation, nats per token, ``[bands, evaluations]``."""
    rows = curves.filter((pl.col("table") == "observations") & (pl.col("name") == f"rise {side}"))
    wide = rows.sort("step").pivot("step", index="band", values="value").sort("band")
    return wide.drop("band").to_numpy()


def settled(worth: np.ndarray) -> np.ndarray:
    """Return from which evaluation on each band's worth stays near its last value; nan where it is worth nothing."""
    last = worth[:, -1:]
    far = np.abs(worth - last) > NEAR * np.abs(last)
    first = np.where(far.any(1), far.shape[1] - far[:, ::-1].argmax(1), 0).astype(float)
    return np.where(last[:, 0] > WORTH, first, np.nan)


def grokked(train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Return whether each band grokked: 1 or 0, nan where it is worth nothing.

    The rule, written down before any run: a band groks if its worth on held-out text settles only after at least twice
    as many evaluations as its worth on training text took.
    """
    first, later = settled(train), settled(held_out)
    known = np.isfinite(first) & np.isfinite(later)
    return np.where(known, (later >= 2 * np.maximum(first, 1)).astype(float), np.nan)


def _features(config: BandsConfig, data: Data) -> Iterator[Row]:
    if data.features.is_empty():
        return
    chosen = data.at_chosen(data.features.filter(pl.col("final")))
    low = low_bands(len(config.band_dims))
    for (arm, seed), its in chosen.group_by("arm", "seed", maintain_order=True):
        key = str(arm), int(str(seed))
        text, random = (its.filter(condition=name).sort("layer", "neuron") for name in ("text", "random"))
        sets = [one["excess"].fill_null(-1.0).to_numpy() > config.threshold_excess for one in (text, random)]
        aligned = [one["aligned"].fill_null(-1.0).to_numpy() > config.aq_threshold for one in (text, random)]
        band = text["band"].to_numpy()
        for prefix, (on_text, on_random) in (("", sets), ("published ", aligned)):
            yield *key, f"{prefix}universal", float(on_text.mean())
            yield *key, f"{prefix}overlap", _jaccard(on_text, on_random)
            yield *key, f"{prefix}low", float(on_text[band < low].mean() - on_text[band >= low].mean())
        for prefix, column in (("", "centroid"), ("published ", "centroid_published")):
            yield *key, f"{prefix}order", order(band, text[column].to_numpy())


def order(band: np.ndarray, centroid: np.ndarray) -> float:
    """Return Spearman's correlation over neurons between the number of their band and their spectral centroid."""
    centroid = np.asarray(centroid, float)
    known = np.isfinite(centroid)
    if known.sum() < 3 or len(np.unique(band[known])) < 2 or np.ptp(centroid[known]) == 0:
        return float("nan")
    return _spearman(band[known], centroid[known])


def _reference(config: BandsConfig, data: Data) -> Iterator[Row]:
    if data.reference.is_empty():
        return
    for (arm, seed), its in data.at_chosen(data.reference).group_by("arm", "seed", maintain_order=True):
        key = str(arm), int(str(seed))
        excess, band = its["excess"].to_numpy(), its["band"].to_numpy()
        yield *key, "reference", float((np.nan_to_num(excess, nan=-1.0) > config.threshold_excess).mean())
        yield *key, "reference band 0", float(np.nanmean(excess[band == 0]) - np.nanmean(excess[band > 0]))


def _jaccard(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else float("nan")


def _rank(x: np.ndarray) -> float:
    known = np.isfinite(x)
    if known.sum() < 3 or np.ptp(x[known]) == 0:
        return float("nan")
    return _spearman(np.flatnonzero(known), x[known])


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    found: Any = spearmanr(x, y)
    return float(found.statistic)


def _share(x: Sequence[float] | np.ndarray) -> float:
    known = np.asarray(x, float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else float("nan")
