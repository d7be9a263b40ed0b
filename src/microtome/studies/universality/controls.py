"""The controls of a run: are planted neurons found, and none where nothing is shared?"""

import numpy as np
from scipy.stats import binom

from microtome.lab.verdict import ControlResult
from microtome.measure.discovery import benjamini_hochberg, pooled_p
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.data import Data, Matched

MATCHED_COPIES = 0.99
UNIVERSAL_COPIES = 0.5


def control_results(config: UniversalityConfig, data: Data) -> dict[str, ControlResult]:
    """Return the result of every control, by name."""
    results = (_planted(data), _untrained(config, data), _exchanged(config, data), _no_op(data))
    return {result.name: result for result in results}


def found_copies(matched: Matched) -> float:
    """Return the share of A's neurons, those that are constant left out, whose best match is their own copy."""
    planted = matched.selected.planted
    assert planted is not None
    alive = ~matched.frame["dead"].to_numpy()
    return float((matched.selected.index[:, 0] == planted)[alive].mean()) if alive.any() else float("nan")


def _planted(data: Data) -> ControlResult:
    matched = data.matched["planted"]
    found, universal = found_copies(matched), _share(matched)
    return ControlResult(
        name="planted copy",
        passed=found >= MATCHED_COPIES and universal >= UNIVERSAL_COPIES,
        detail=f"{found:.2%} of the neurons matched with their copies, {universal:.1%} universal",
    )


def _untrained(config: UniversalityConfig, data: Data) -> ControlResult:
    matched = data.matched["untrained"]
    universal, n = int(matched.frame["universal"].sum()), len(matched.frame)
    significant = int(matched.frame["matched"].sum())
    return ControlResult(
        name="untrained twin",
        passed=universal <= config.fdr * significant,
        detail=f"{universal} of {n:,} neurons universal, among {significant:,} that are significant",
    )


def false_alarms(config: UniversalityConfig, matched: Matched) -> np.ndarray:
    """Return how many neurons each shift of B's documents would call universal, judged by all other shifts."""
    null, baseline = matched.scores.null, matched.scores.baseline
    counts = []
    for i, observed in enumerate(null):
        p = pooled_p(observed, np.delete(null, i, 0))
        with np.errstate(invalid="ignore"):
            counts.append(
                int(
                    (
                        benjamini_hochberg(p, config.fdr) & (observed - baseline > config.threshold_excess)
                    ).sum()
                )
            )
    return np.array(counts)


def _exchanged(config: UniversalityConfig, data: Data) -> ControlResult:
    matched = data.matched.get("pair", data.matched["planted"])
    alarms = false_alarms(config, matched) > 0
    allowed = binom.isf(0.01, len(alarms), config.fdr)
    return ControlResult(
        name="exchanged documents",
        passed=bool(alarms.sum() <= allowed),
        detail=f"{alarms.sum()} of {len(alarms)} shifts find any universal neuron",
    )


def _no_op(data: Data) -> ControlResult:
    if data.effects is None or data.effects.is_empty():
        return ControlResult(name="no-op edit", passed=True, detail="nothing was edited")
    rows = data.effects.filter(edit="no-op")
    largest = float(np.abs(rows.select("nats", "kl").to_numpy()).max())
    return ControlResult(
        name="no-op edit", passed=largest == 0, detail=f"largest change over {len(rows)} rows: {largest:g}"
    )


def _share(matched: Matched) -> float:
    return float(matched.frame["universal"].to_numpy().mean())
