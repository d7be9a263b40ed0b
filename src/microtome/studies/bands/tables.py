"""The numbers behind figures, listings and published rules."""

from collections.abc import Sequence

import polars as pl

from microtome.lab.claims import Tables
from microtome.measure.effects import half_width
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.data import Data
from microtome.studies.bands.estimates import shuffled_orders
from microtome.studies.bands.summaries import by_seed, order

LEVEL = 0.95


def tables(config: BandsConfig, data: Data) -> Tables:
    """Return the run's tables.

    - ``by_seed``: one number for each arm, seed and name;
    - ``losses``: every model's last losses, at every scale, and whether it diverged (at which step);
    - ``chosen``: each arm's scale, whether it lies at an end of the sweep, parameters, loss with its interval;
    - ``curves``: held-out and training loss along training, mean and interval over seeds, at the chosen scale;
    - ``dynamics``: of each band, along training: worth, its gap, gradient norm and weight rate, mean over seeds;
    - ``spectra``: of each arm, band and seed the mean centroid;
    - ``universal``: of each arm, band, condition and seed the share of universal neurons, controlled and published;
    - ``order_null``: the order of bands and centroids in the first full model, and under shuffled labels;
    - ``timeline``: share of universal neurons at each evaluation, where weights were kept;
    - ``reference``: of each arm, band and seed the mean excess in the reference's layer, and the universal share.
    """
    return {
        "by_seed": by_seed(config, data),
        "losses": data.losses,
        "chosen": _chosen(config, data),
        "curves": _curves(data),
        "dynamics": _dynamics(data),
        "spectra": _spectra(data),
        "universal": _universal(config, data),
        "order_null": _order_null(config, data),
        "timeline": _timeline(config, data),
        "reference": _by_reference(config, data),
    }


def _summary(frame: pl.DataFrame, keys: Sequence[str], column: str) -> pl.DataFrame:
    if frame.is_empty():
        return frame
    rows = []
    for key, its in frame.group_by(list(keys), maintain_order=True):
        values = its[column].drop_nulls().drop_nans().to_numpy()
        n = len(values)
        mean = float(values.mean()) if n else None
        reach = half_width(values, LEVEL) if n > 1 else None
        low, high = (None, None) if mean is None or reach is None else (mean - reach, mean + reach)
        rows.append((*key, mean, low, high, n))
    schema = {key: frame.schema[key] for key in keys} | dict.fromkeys((column, "low", "high"), pl.Float64)
    return pl.DataFrame(rows, schema={**schema, "n": pl.Int64}, orient="row")


def _chosen(config: BandsConfig, data: Data) -> pl.DataFrame:
    sizes = data.curves.filter((pl.col("table") == "check") & (pl.col("name") == "parameters"))
    by_arm = dict(sizes.group_by("arm").agg(pl.col("value").first().cast(pl.Int64)).iter_rows())
    losses = _summary(by_seed_of(config, data, "loss"), ["arm"], "value")
    ends = {min(config.lr_scales), max(config.lr_scales)}
    found = {row["arm"]: row for row in losses.to_dicts()}
    rows = []
    for arm in config.arms:
        scale, its = data.chosen.get(arm), found.get(arm, {})
        at_end = scale in ends and len(config.lr_scales) > 1 if scale is not None else None
        rows.append((arm, by_arm.get(arm), scale, at_end, its.get("value"), its.get("low"), its.get("high")))
    names = {"arm": pl.String, "parameters": pl.Int64, "scale": pl.Float64, "at_end": pl.Boolean}
    return pl.DataFrame(
        rows, schema={**names, **dict.fromkeys(("loss", "low", "high"), pl.Float64)}, orient="row"
    )


def by_seed_of(config: BandsConfig, data: Data, name: str) -> pl.DataFrame:
    """Return one of the numbers of ``by_seed``."""
    return by_seed(config, data).filter(pl.col("name") == name)


def _curves(data: Data) -> pl.DataFrame:
    rows = data.at_chosen(data.curves).filter(table="evaluations")
    return _summary(rows, ["arm", "name", "step"], "value").sort("arm", "name", "step")


def _dynamics(data: Data) -> pl.DataFrame:
    rows = data.at_chosen(data.curves).filter(pl.col("table").is_in(["bands", "observations"]))
    return _summary(rows, ["arm", "band", "name", "step"], "value").sort("arm", "name", "band", "step")


def _final(data: Data) -> pl.DataFrame:
    return (
        data.features if data.features.is_empty() else data.at_chosen(data.features.filter(pl.col("final")))
    )


def _spectra(data: Data) -> pl.DataFrame:
    final = _final(data)
    if final.is_empty():
        return final
    return (
        final.group_by("arm", "band", "condition", "seed", maintain_order=True)
        .agg(pl.col("centroid").mean(), pl.col("centroid_published").mean(), pl.len().alias("neurons"))
        .sort("arm", "condition", "band", "seed")
    )


def _universal(config: BandsConfig, data: Data) -> pl.DataFrame:
    final = _final(data)
    if final.is_empty():
        return final
    return (
        final.group_by("arm", "band", "condition", "seed", maintain_order=True)
        .agg(
            (pl.col("excess").fill_null(-1) > config.threshold_excess).mean().alias("universal"),
            (pl.col("aligned").fill_null(-1) > config.aq_threshold).mean().alias("published"),
            pl.col("excess").mean().alias("excess"),
            pl.len().alias("neurons"),
        )
        .sort("arm", "condition", "band", "seed")
    )


def _order_null(config: BandsConfig, data: Data) -> pl.DataFrame:
    final = _final(data)
    schema = {"arm": pl.String, "what": pl.String, "order": pl.Float64}
    rows: list[tuple[str, str, float]] = []
    for (arm,), its in (
        final.filter(condition="text").group_by("arm", maintain_order=True) if len(final) else ()
    ):
        one = its.filter(pl.col("seed") == its["seed"].min()).drop_nulls("centroid")
        band, centroid = one["band"].to_numpy(), one["centroid"].to_numpy()
        rows.append((str(arm), "measured", order(band, centroid)))
        if arm == "full":
            rows += [
                (str(arm), "shuffled", float(value)) for value in shuffled_orders(config, band, centroid)
            ]
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("order").fill_nan(None))


def _timeline(config: BandsConfig, data: Data) -> pl.DataFrame:
    if data.features.is_empty():
        return data.features
    middle = config.lr_scales[len(config.lr_scales) // 2]
    kept = data.features.filter(
        (pl.col("scale") == middle)
        & (pl.col("condition") == "text")
        & pl.col("arm").is_in(["baseline", "full"])
    )
    return (
        kept.group_by("arm", "band", "step", "seed", maintain_order=True)
        .agg(
            (pl.col("excess").fill_null(-1) > config.threshold_excess).mean().alias("universal"),
            pl.col("excess").mean().alias("excess"),
        )
        .sort("arm", "band", "step", "seed")
    )


def _by_reference(config: BandsConfig, data: Data) -> pl.DataFrame:
    if data.reference.is_empty():
        return data.reference
    return (
        data.at_chosen(data.reference)
        .group_by("arm", "band", "seed", maintain_order=True)
        .agg(
            (pl.col("excess").fill_null(-1) > config.threshold_excess).mean().alias("universal"),
            pl.col("excess").mean().alias("excess"),
        )
        .sort("arm", "band", "seed")
    )
