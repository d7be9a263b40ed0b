"""What the study claims, when a claim counts as supported or falsified, and how the original reads its figures."""

from microtome.lab.claims import Control, PublishedRule, Reading, Tables
from microtome.lab.prediction import Prediction, Region, above, below
from microtome.lab.study import Original

ORIGINAL = Original(
    title="Experiment 026: AKIRA Band Architecture vs Standard Transformer",
    project="AKIRA (Shogu Research Group)",
    summary=(
        "A plan to train a standard transformer and one whose MLPs are cut into seven bands, each with a learning rate "
        "of its own and attention between bands, and to count the neurons that two models of one kind share (Action "
        "Quanta). It predicts more of them, most in the slow bands, a larger overlap between random tokens and text, "
        "and bands that learn at different times; and it names four results that would count against it."
    ),
)
SEEDS = 5
"""Pairs of models that a claim about an architecture takes."""
TRAINED = ("causality",)
MATCHED = (*TRAINED, "matched sizes")


def _claim(
    id: str,
    claim: str,
    estimand: str,
    scale: str,
    supported: Region,
    falsified: Region,
    source: str,
    controls: tuple[str, ...] = TRAINED,
) -> Prediction:
    return Prediction(
        id=id,
        claim=claim,
        estimand=estimand,
        scale=scale,
        supported_if=supported,
        falsified_if=falsified,
        controls=controls,
        min_units=SEEDS,
        source=source,
    )


NATS = "nats per token"
HELD_OUT = (
    "loss on the whole held-out text after the last step, at the scale of rates that the other seeds choose"
)

PREDICTIONS = (
    _claim(
        "loss",
        "The full band model predicts text at least as well as the baseline.",
        f"Difference of full and baseline in {HELD_OUT}; mean over seeds.",
        NATS,
        below(0.02),
        above(0.02),
        "added",
        MATCHED,
    ),
    _claim(
        "bands-loss",
        "Bands alone cost nothing.",
        f"Difference of bands-only and baseline in {HELD_OUT}; mean over seeds.",
        NATS,
        below(0.02),
        above(0.02),
        "original: Ablations, 1",
        MATCHED,
    ),
    _claim(
        "rates-loss",
        "A rate for each band lowers the loss.",
        f"Difference of no-wormhole and bands-only in {HELD_OUT}; mean over seeds.",
        NATS,
        below(0.0),
        above(0.0),
        "original: Ablations, 1 and 4",
        MATCHED,
    ),
    _claim(
        "wormhole-loss",
        "Attention between bands lowers the loss.",
        f"Difference of full and no-wormhole in {HELD_OUT}; mean over seeds.",
        NATS,
        below(0.0),
        above(0.0),
        "original: Ablations, 3 and 4",
        MATCHED,
    ),
    _claim(
        "more-universal",
        "Two band models share more neurons than two baselines.",
        "Share of neurons whose best match in the next seed's model exceeds rotations on held-out text by the "
        "threshold, full less baseline; mean over seeds.",
        "difference of shares",
        above(0.0),
        below(0.0),
        "original: Predictions, Total AQ %; Falsification Criteria, 1",
        MATCHED,
    ),
    _claim(
        "low-bands",
        "The neurons that band models share lie in the slow bands.",
        "Share of universal neurons among those of the slow bands (0-2 of 7) less that among the others; mean over "
        "seeds of the full model.",
        "difference of shares",
        above(0.0),
        below(0.0),
        "original: Predictions, Low-freq AQ concentration; Falsification Criteria, 2",
    ),
    _claim(
        "overlap",
        "Band models share the same neurons on random tokens and on text.",
        "Jaccard overlap of the neurons universal on text and on random tokens, full less baseline; mean over seeds.",
        "difference of overlaps",
        above(0.0),
        below(0.0),
        "original: Predictions, Universal AQ overlap; Falsification Criteria, 3",
        MATCHED,
    ),
    _claim(
        "order",
        "A band is a frequency scale: higher bands hold faster neurons.",
        "Spearman's correlation over neurons between the number of their band and the centroid of their spectrum "
        "along tokens (without DC); mean over seeds of the full model.",
        "correlation",
        above(0.2),
        below(0.2),
        "original: Measurements, Phase 2, 2; Predictions, Interpretability",
        (*TRAINED, "planted bands"),
    ),
    _claim(
        "early-low-bands",
        "Slow bands settle earlier.",
        "Spearman's correlation over bands between their number and the evaluation from which on what the band is "
        "worth stays within a fifth of its last value; mean over seeds of the full model.",
        "correlation",
        above(0.0),
        below(0.0),
        "original: Research Questions, 4",
    ),
    _claim(
        "grokking",
        "Bands grok one by one.",
        "Share of bands whose worth on held-out text settles only after at least twice as many evaluations as its "
        "worth on training text; mean over seeds of the full model.",
        "share",
        above(0.25),
        below(0.1),
        "original: Predictions, Grokking",
    ),
    _claim(
        "stability",
        "A rate for each band does not make training unstable.",
        "Logarithm of the ratio of the roughness of the training loss in the last half of training, no-wormhole to "
        "bands-only; mean over seeds.",
        "log ratio",
        below(0.2),
        above(0.2),
        "original: Falsification Criteria, 4",
    ),
    _claim(
        "reference",
        "Band models share more neurons with a public model than baselines do.",
        "Share of neurons whose best match in the reference's layer exceeds rotations on held-out words by the "
        "threshold, full less baseline; mean over seeds.",
        "difference of shares",
        above(0.0),
        below(0.0),
        "original: Phase 3, AKIRA vs GPT-2",
        MATCHED,
    ),
    _claim(
        "band-0",
        "Band 0 is the band that is most like the reference's layer.",
        "Mean excess over rotations of band 0's neurons in the reference's layer less that of the other bands'; mean "
        "over seeds of the full model.",
        "difference of correlations",
        above(0.0),
        below(0.0),
        "original: Phase 3, AKIRA Band 0 vs GPT-2 Layer 5",
    ),
)

CONTROLS = (
    Control(
        name="causality",
        description="In every trained model the gradient of a logit with respect to later tokens is exactly 0.",
    ),
    Control(
        name="matched sizes",
        description="Where parameters are matched, every arm has the baseline's number within half a per cent.",
    ),
    Control(
        name="planted bands",
        description="Neurons of planted frequencies are found in order; with shuffled labels of bands they are not.",
    ),
)


def _mean(tables: Tables, name: str, arm: str) -> float | None:
    import polars as pl

    rows = tables["by_seed"].filter((pl.col("name") == name) & (pl.col("arm") == arm))["value"].drop_nulls()
    return float(rows.mean()) if len(rows) else None  # pyright: ignore[reportArgumentType]


def _both(tables: Tables, name: str) -> tuple[float | None, float | None, dict[str, float | None]]:
    full, base = (_mean(tables, name, arm) for arm in ("full", "baseline"))
    return full, base, {"full": full, "baseline": base}


def _read_more(tables: Tables, name: str, words: str, fails: str = "") -> Reading:
    """Read whether the full model has more of something than the baseline."""
    full, base, numbers = _both(tables, name)
    if full is None or base is None:
        return Reading(outcome="not measured", claims=None, numbers=numbers)
    outcome = words.format(full=full, base=base) + ("" if full > base else fails)
    return Reading(outcome=outcome, claims=full > base, numbers=numbers)


AQ = "{full:.1%} AQ against {base:.1%}"
FAILS = ": fails to support AKIRA"


def _read_count(tables: Tables) -> Reading:
    return _read_more(tables, "published universal", AQ, FAILS)


def _read_low(tables: Tables) -> Reading:
    low = _mean(tables, "published low", "full")
    if low is None:
        return Reading(outcome="not measured", claims=None, numbers={"difference": None})
    word = "AQ concentrated in bands 0-2" if low > 0 else "no concentration: fails to support AKIRA"
    return Reading(outcome=word, claims=low > 0, numbers={"difference": low})


def _read_overlap(tables: Tables) -> Reading:
    return _read_more(tables, "published overlap", "overlap {full:.0%} against {base:.0%}", FAILS)


def _read_order(tables: Tables) -> Reading:
    order = _mean(tables, "published order", "full")
    if order is None:
        return Reading(outcome="not measured", claims=None, numbers={"correlation": None})
    word = "low bands have lower centroids" if order > 0 else "low bands do not have lower centroids"
    return Reading(outcome=word, claims=order > 0, numbers={"correlation": order})


def _read_grokking(tables: Tables) -> Reading:
    full, _, numbers = _both(tables, "grokked")
    if full is None:
        return Reading(outcome="not measured", claims=None, numbers=numbers)
    per_band = 0 < full < 1
    return Reading(outcome="per band" if per_band else "global or none", claims=per_band, numbers=numbers)


def _read_stability(tables: Tables) -> Reading:
    import polars as pl

    losses = tables["losses"].filter(pl.col("arm").is_in(["full", "no-wormhole", "rates-only"]))
    lost = float(losses["diverged"].sum())
    word = "unstable: fails to support AKIRA" if lost else "stable"
    return Reading(outcome=word, claims=not lost, numbers={"diverged": lost, "models": float(len(losses))})


def _read_reference(tables: Tables) -> Reading:
    return _read_more(tables, "reference", AQ)


PUBLISHED = (
    PublishedRule(
        id="AQ count",
        prediction="more-universal",
        rule="More AQ than the baseline, after Procrustes on the rows of the fit; planned: 8-12 % against 3-4 %.",
        read=_read_count,
    ),
    PublishedRule(
        id="low-frequency AQ",
        prediction="low-bands",
        rule="A larger share of AQ in bands 0-2 than in the others.",
        read=_read_low,
    ),
    PublishedRule(
        id="universal overlap",
        prediction="overlap",
        rule="A larger overlap of AQ on random tokens and on text than the baseline; planned: 50 % against 25 %.",
        read=_read_overlap,
    ),
    PublishedRule(
        id="centroids by design",
        prediction="order",
        rule="Low bands have lower spectral centroids, with DC, as in Experiment 000.",
        read=_read_order,
    ),
    PublishedRule(
        id="grokking",
        prediction="grokking",
        rule="Grokking happens band by band; the plan gives no rule, so the lab's is used.",
        read=_read_grokking,
    ),
    PublishedRule(
        id="stable rates",
        prediction="stability",
        rule="No model with a rate for each band diverges.",
        read=_read_stability,
    ),
    PublishedRule(
        id="AQ with a public model",
        prediction="reference",
        rule="More AQ with the reference's layer than the baseline.",
        read=_read_reference,
    ),
)
