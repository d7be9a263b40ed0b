"""The original's procedures on one layer of each model, and beside each number what it becomes on held-out rows.

The basic version compares neurons of equal index, less their mean correlation with rotated neurons; the aligned version
takes CKA, optimal transport between the most variable neurons, and Procrustes' rotation, fitted and scored on the same
rows. The held-out numbers fit on the first half of the sequences and score on the second.
"""

from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from jaxtyping import Float
from torch import Tensor

from microtome.lab.seeds import stream
from microtome.measure.cka import debiased_cka, linear_cka, standardised
from microtome.measure.frequency import power_spectrum, spectral_centroid
from microtome.measure.linear_maps import HeldOut, held_out_procrustes, held_out_ridge, in_sample_procrustes
from microtome.measure.matching import one_to_one, partial_match, transported
from microtome.measure.pearson import paired_pearson, pearson
from microtome.measure.rotations import mean_rotated_same_index, random_rotation

CKA_ROWS = 5000
"""Rows that the original's CKA takes."""
TOP = 100
"""Neurons of largest variance that its transport takes."""
STRONG = 0.5
"""|r| above which a transported pair counts."""
SHARE = 0.5
"""Of the neurons that partial transport moves."""

Activations = Float[Tensor, "samples positions m"]


@dataclass(frozen=True)
class Numbers:
    """What one pair of layers comes to, beside the table of its neurons."""

    cka: float
    cka_debiased: float
    cka_standardised: float
    """Debiased, of neurons scaled to variance 1."""
    transport_cost: float
    transport_mean: float
    transport_above: float
    procrustes_error: float
    procrustes_mean: float
    """Mean correlation on the rows of the fit."""
    held_out_mean: float
    """Mean correlation of the rectangular map between components, on other rows."""
    held_out_r2: float
    ridge_mean: float
    ridge_r2: float
    one_to_one_fit: float
    """Mean |r| of the best one-to-one matching, on the rows that chose it."""
    one_to_one_held_out: float
    partial_held_out: float
    """The same for the better half of the pairs, by partial transport."""


def numbers_of(x: Activations, y: Activations, held_out: bool) -> tuple[Numbers, np.ndarray]:
    """Return a pair of layers' numbers, and for each neuron that both have its correlation after Procrustes.

    Args:
        x: A's activations.
        y: B's.
        held_out: Whether to fit maps on one half and score them on the other; else their numbers are nan.
    """
    rows_x, rows_y = (side.flatten(0, 1).double().numpy() for side in (x, y))
    half = len(x) // 2 * x.shape[1]
    fit, test = slice(None, half), slice(half, None)
    first = [side.flatten(0, 1)[:CKA_ROWS].double() for side in (x, y)]
    transport = transported(rows_x, rows_y, TOP)
    aligned = in_sample_procrustes(rows_x, rows_y, standardise=False)
    parts = rows_x[fit], rows_y[fit], rows_x[test], rows_y[test]
    maps = [_held_out(each(*parts)) if held_out else {} for each in (held_out_procrustes, held_out_ridge)]
    procrustes, ridge = maps
    r_fit, r_test = pearson(rows_x[fit], rows_y[fit]), pearson(rows_x[test], rows_y[test])
    whole, part = one_to_one(r_fit), partial_match(r_fit, SHARE)
    found = Numbers(
        cka=linear_cka(*first),
        cka_debiased=debiased_cka(*first),
        cka_standardised=debiased_cka(*(standardised(side) for side in first)),
        transport_cost=transport.cost,
        transport_mean=_mean(transport.correlations),
        transport_above=transport.count_above(STRONG),
        procrustes_error=aligned.error,
        procrustes_mean=_mean(aligned.correlations),
        held_out_mean=procrustes.get("mean", np.nan),
        held_out_r2=procrustes.get("r2", np.nan),
        ridge_mean=ridge.get("mean", np.nan),
        ridge_r2=ridge.get("r2", np.nan),
        one_to_one_fit=_mean_of_pairs(r_fit, whole),
        one_to_one_held_out=_mean_of_pairs(r_test, whole),
        partial_held_out=_mean_of_pairs(r_test, part),
    )
    return found, aligned.correlations


def neurons_of(
    x: Activations, y: Activations, aligned: np.ndarray, rotations: int, seed: int, layer: int
) -> pl.DataFrame:
    """Return a row for each index that both layers have: the basic and the aligned version's correlations."""
    same = min(x.shape[-1], y.shape[-1])
    rows_x, rows_y = (side.flatten(0, 1)[:, :same].double() for side in (x, y))
    turned = (random_rotation(same, stream(seed, "same index", layer, i)) for i in range(rotations))
    centred_x, centred_y = (rows - rows.mean(0) for rows in (rows_x, rows_y))
    n = len(rows_x)
    baseline = mean_rotated_same_index(
        centred_x.T @ centred_y / n, rows_x.std(0, correction=0), centred_y.T @ centred_y / n, turned
    )
    r = paired_pearson(rows_x.numpy(), rows_y.numpy())
    spectra = {
        f"centroid_{name}": spectral_centroid(power_spectrum(side), without_dc=False)[:same]
        for name, side in (("a", x), ("b", y))
    }
    columns = {
        "layer": np.full(same, layer),
        "neuron": np.arange(same),
        "r": r,
        "baseline": baseline.numpy(),
        "excess": r - baseline.numpy(),
        "aligned": aligned[:same],
        "variance_a": rows_x.var(0).numpy(),
        "variance_b": rows_y.var(0).numpy(),
        **spectra,
    }
    return pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))


def as_arrays(numbers: dict[int, Numbers]) -> dict[str, np.ndarray]:
    """Return the numbers of several layers as arrays over layers."""
    return {
        name: np.array([asdict(one)[name] for one in numbers.values()], float)
        for name in Numbers.__annotations__
    }


def _held_out(found: HeldOut) -> dict[str, float]:
    return {"mean": _mean(found.correlations), "r2": found.r2}


def _mean_of_pairs(r: np.ndarray, match: np.ndarray) -> float:
    kept = np.flatnonzero(match >= 0)
    return _mean(np.abs(r[kept, match[kept]]))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
