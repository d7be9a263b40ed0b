"""The tables of the page: the arms side by side, the original's predictions, and what a run this small can decide."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.special import stdtrit

from microtome.lab.claims import Tables
from microtome.lab.study import Listing
from microtome.report.words import joined, number, percent
from microtome.studies.bands.arms import DESCRIPTIONS
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.estimates import CONTRASTS, values_of
from microtome.studies.bands.protocol import PREDICTIONS, PUBLISHED, SEEDS

ALPHA = 0.05
PLANNED = {
    "Total AQ %": ("3-4 %", "8-12 %", "published universal", "universal", "%"),
    "Universal AQ overlap": ("25 %", "50 %", "published overlap", "overlap", "%"),
    "Low-freq AQ concentration": ("layer 5 only", "bands 0-2", "published low", "low", "points"),
    "Grokking": ("global", "per band", "grokked", "grokked", "%"),
    "Interpretability": ("low", "high", "published order", "order", ""),
}
"""The original's predictions: for the baseline, for its model; what answers, published and controlled; its unit."""
CRITERIA = {
    "AQ count": "no more AQ than the baseline",
    "low-frequency AQ": "no concentration of AQ in the slow bands",
    "universal overlap": "an overlap no larger than the baseline's",
    "stable rates": "instability from a rate for each band",
}
"""What the original says would count against it, by the rule that reads it."""


def listings(config: BandsConfig, tables: Tables) -> Iterator[Listing]:
    """Yield the tables; that of diverged models only if there are any."""
    yield _arms(config, tables["chosen"])
    yield _planned(tables)
    yield _criteria(tables)
    yield _decidable(config, tables["by_seed"])
    lost = tables["losses"].filter(pl.col("diverged"))
    if not lost.is_empty():
        yield _diverged(lost, len(tables["losses"]))


def _arms(config: BandsConfig, chosen: pl.DataFrame) -> Listing:
    at_end = at_an_end(chosen)
    if len(config.lr_scales) < 2:
        sweep = "One scale of the rates was trained, so no arm is known to be at its best: a weak comparison."
    elif at_end:
        sweep = (
            f"The best scale of {at_end} lies at an end of the sweep. The sweep is open there: better rates "
            "may lie beyond it, and comparisons of these losses are weak. Widen it with --lr-scales."
        )
    else:
        sweep = "Every best scale lies inside the sweep."
    rows = [
        {
            "arm": row["arm"],
            "what it is": DESCRIPTIONS[row["arm"]],
            "parameters": f"{row['parameters']:,}" if row["parameters"] is not None else None,
            "scale of the rates": number(row["scale"]),
            "at an end": {True: "yes", False: "no", None: None}[row["at_end"]],
            "held-out loss": row["loss"],
            "95 %, from": row["low"],
            "to": row["high"],
        }
        for row in chosen.to_dicts()
    ]
    return Listing(
        "The arms side by side",
        f"Loss in nats per token on the whole held-out text after {config.steps:,} steps, mean of {config.seeds} "
        f"seed(s), matched by {config.match}. {sweep}",
        pl.DataFrame(rows, infer_schema_length=None),
        decimals=4,
    )


def at_an_end(chosen: pl.DataFrame) -> str:
    """Name the arms whose best scale lies at an end of the sweep; empty if there are none."""
    arms = chosen.filter(pl.col("at_end"))["arm"].to_list()
    return joined(arms) if len(arms) < len(chosen) else "every arm"


def _planned(tables: Tables) -> Listing:
    rows = []
    for metric, (baseline, full, published, controlled, unit) in PLANNED.items():
        row = {"metric": metric, "planned: baseline": baseline, "planned: band model": full}
        for part, name in (("as published", published), ("controlled", controlled)):
            for arm in ("baseline", "full"):
                row[f"{part}: {arm}"] = _with_unit(_mean(tables["by_seed"], name, arm), unit)
        rows.append(row)
    return Listing(
        "The original's predictions, and what came of them",
        "AQ: universal neurons. Concentration: share in the slow bands less share in the others, in percentage points. "
        "Grokking: share of bands that grok, twice by the lab's rule, as the plan has none. Interpretability: "
        "Spearman's correlation of bands and centroids; a standard transformer's bands are slices of its MLPs. As "
        "published: Procrustes on the rows of the fit, which finds AQ in noise too.",
        pl.DataFrame(rows),
    )


def _mean(table: pl.DataFrame, name: str, arm: str) -> float | None:
    values = table.filter(pl.col("name") == name, pl.col("arm") == arm)["value"].drop_nulls().to_numpy()
    return float(values.mean()) if len(values) else None


def _with_unit(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{number(100 * value if unit else value)} {unit}".rstrip()


def _criteria(tables: Tables) -> Listing:
    rules = {rule.id: rule for rule in PUBLISHED}
    readings = {id: rules[id].read(tables) for id in CRITERIA}
    words = {True: "no", False: "yes", None: "not measured"}
    met = [reading.claims is False for reading in readings.values()]
    unknown = sum(reading.claims is None for reading in readings.values())
    unread = f"; {unknown} could not be read" if unknown else ""
    return Listing(
        "As published: the original's four falsification criteria",
        f"The experiment fails to support AKIRA if any of them is met; {sum(met)} of {len(met)} are{unread}. They "
        "compare means, whatever their noise; the verdicts of this page compare intervals.",
        pl.DataFrame(
            {
                "criterion": list(CRITERIA.values()),
                "came out as": [reading.outcome for reading in readings.values()],
                "met": [words[reading.claims] for reading in readings.values()],
            }
        ),
    )


def _decidable(config: BandsConfig, by_seed: pl.DataFrame) -> Listing:
    rows = []
    for prediction in PREDICTIONS:
        values = values_of(by_seed, CONTRASTS[prediction.id])
        n = len(values)
        spread = float(values.std(ddof=1)) if n > 1 else None
        rows.append(
            {
                "prediction": prediction.id,
                "in": prediction.scale,
                "seeds here": n,
                "seeds needed": prediction.min_units,
                "half-width here": _reach(spread, n, ALPHA),
                f"with {SEEDS} seeds": _reach(spread, SEEDS, ALPHA),
                f"with {SEEDS}, corrected": _reach(spread, SEEDS, ALPHA / len(PREDICTIONS)),
            }
        )
    short = sum(row["seeds here"] < row["seeds needed"] for row in rows)
    verdict = (
        f"{short} of {len(rows)} predictions have fewer seeds than they need and can only come out INSUFFICIENT: "
        f"figures show what these models do, not what such models do. Train more with --seeds {SEEDS}."
        if short
        else "Every prediction has the seeds that it needs."
    )
    return Listing(
        "What a run of this size can decide",
        f"{verdict} A mean is decided once it lies further from the edge of its region than the interval's half-width "
        f"(95 %). The last two columns say what {SEEDS} seeds would resolve if seeds differed as they do here: of one "
        f"prediction, and of the strictest after correction for {len(rows)}. The spread of few seeds is itself rough. "
        f"All of it holds for models of this size, after {config.steps:,} steps of {config.batch_size} × "
        f"{config.sequence_length} tokens.",
        pl.DataFrame(rows, infer_schema_length=None),
        decimals=4,
    )


def _reach(spread: float | None, n: int, alpha: float) -> float | None:
    """Return half of Student's interval of a mean of ``n`` with that standard deviation; None of fewer than two."""
    return None if spread is None else float(stdtrit(n - 1, 1 - alpha / 2) * spread / np.sqrt(n))


def _diverged(lost: pl.DataFrame, models: int) -> Listing:
    return Listing(
        "Models that diverged",
        f"{len(lost)} of {models} models ({percent(len(lost) / models)}) were stopped when their loss was no longer a "
        "number. An arm is compared at a scale at which none of its models was.",
        lost.select("arm", "seed", pl.col("scale").alias("scale of the rates"), pl.col("^step$")),
        decimals=2,
    )
