"""What the study claims, when a claim counts as supported or falsified, and how the original reads its numbers."""

from microtome.lab.claims import Control, PublishedRule, Reading, Tables
from microtome.lab.prediction import Prediction, above, below
from microtome.lab.study import Original

ORIGINAL = Original(
    title="SA-schedule: derive earlier layers from the last",
    project="consciousness, a public repository (script sa-schedule-derive-from-last.py)",
    summary=(
        "The script takes the singular values of every head's attention metric W_Q' W_K and the heads' mean attention "
        "entropies, fits each head's spectrum at every layer by a multiple T of the same head's spectrum at an anchor "
        "layer, and reads a small residual as one shared operator at layer-dependent temperatures."
    ),
)

SUPPORTED_BELOW, PARTIAL_BELOW = 0.1, 0.3
"""The original's thresholds on the mean residual."""
VERY_STABLE, STABLE = 0.98, 0.9
"""The original's thresholds on the mean cosine of shapes."""

MIN_LAYERS = 8
"""Layers beside the anchor with which a claim is decided at all."""

SPECTRAL = ("spectral-copy", "shared-shape")
OPERATORS = ("operator-copy", "aligned-copy", "low-rank")
COPIES = (*SPECTRAL, *OPERATORS)
"""The predictions that say in what sense layers are copies; planted copies must support them all."""

PREDICTIONS = (
    Prediction(
        id="spectral-copy",
        claim="A head's spectra at other layers are multiples of its spectrum at the anchor, closer than chance.",
        estimand=(
            "Mean residual |sigma - T sigma_anchor| / |sigma| of the best multiple, less its mean for random "
            "models whose factors are Gaussian, with the same shapes and anchor rule; over heads and layers "
            "without the anchor."
        ),
        scale="difference of residuals",
        supported_if=below(0.0),
        falsified_if=above(0.05),
        controls=("untrained twin", "planted copies", "certified values"),
        min_units=MIN_LAYERS,
        source="original: experiment 2, summary",
    ),
    Prediction(
        id="shared-shape",
        claim="The anchor's spectra tell more about the other layers' than the shape that all random products have.",
        estimand=(
            "Logarithm of the residual of the best multiple of the anchor's spectrum over that of the best multiple of "
            "the mean spectrum of Gaussian products; mean over heads and layers without the anchor."
        ),
        scale="log ratio",
        supported_if=below(0.0),
        falsified_if=above(0.0),
        controls=("untrained twin", "planted copies", "certified values"),
        min_units=MIN_LAYERS,
        source="original: experiment 1",
    ),
    Prediction(
        id="operator-copy",
        claim="The operators themselves, not only their singular values, are multiples of the anchor's.",
        estimand=(
            "Mean residual |W - T V| / |W| (Frobenius, T >= 0) of each head's metric W fitted by the head V of the "
            "anchor layer that fits it best, one to one; over heads and layers without the anchor."
        ),
        scale="residual",
        supported_if=below(SUPPORTED_BELOW),
        falsified_if=above(PARTIAL_BELOW),
        controls=("untrained twin", "planted copies"),
        min_units=MIN_LAYERS,
        source="original: summary (“a shared operator ... to within 10% Frobenius residual”)",
    ),
    Prediction(
        id="aligned-copy",
        claim="After a change of basis of the residual stream, operators are multiples of the anchor's.",
        estimand=(
            "Mean residual after the best rotation found, one for each head and the same for queries and "
            "keys, over the mean residual of operators with the same singular values in random bases, rotated "
            "by the same search; over heads and layers without the anchor."
        ),
        scale="share of the residual of random bases",
        supported_if=below(0.3),
        falsified_if=above(0.9),
        controls=("untrained twin", "planted copies"),
        min_units=MIN_LAYERS,
        source="added",
    ),
    Prediction(
        id="low-rank",
        claim="A low-rank correction on top of the rescaled anchor is enough.",
        estimand=(
            "Rank of the correction D at which |W - T V - D| / |W| falls below the tolerance, over the rank that W "
            "itself takes without any anchor; mean over heads, over layers without the anchor."
        ),
        scale="share of directions still needed",
        supported_if=below(0.5),
        falsified_if=above(0.9),
        controls=("untrained twin", "planted copies"),
        min_units=MIN_LAYERS,
        source="original: summary (“a low-rank correction on top is likely enough”)",
    ),
    Prediction(
        id="temperature",
        claim="Heads with a larger T attend more sharply.",
        estimand=(
            "Correlation of T with the attention entropy, each row's over the logarithm of its visible keys, over all "
            "heads of all layers without the anchor."
        ),
        scale="correlation",
        supported_if=below(0.0),
        falsified_if=above(0.0),
        min_units=MIN_LAYERS,
        source="original: experiment 2b (“negative expected”)",
    ),
    Prediction(
        id="beyond-norm",
        claim="T foretells sharpness better than the operator norm alone.",
        estimand=(
            "Correlation of the operator norm with normalised attention entropy, less that of T: above 0 "
            "where T is the more negative; over all heads of all layers without the anchor, resampled "
            "together."
        ),
        scale="difference of correlations",
        supported_if=above(0.0),
        falsified_if=below(0.0),
        min_units=MIN_LAYERS,
        source="original: experiment 2b (“for comparison”)",
    ),
)

CONTROLS = (
    Control(
        name="untrained twin",
        description="The same architecture with fresh weights must not support what is said of the trained one.",
    ),
    Control(
        name="planted copies",
        description="Layers that are multiples of the anchor, with 2 % noise, must support every claim to be copies.",
    ),
    Control(
        name="certified values",
        description="Every singular value has an error bound, against exact arithmetic, below 1e-6 of the largest.",
    ),
)


def summary_of(tables: Tables, role: str = "model") -> dict[str, float | None]:
    """Return what the original prints, by its name in the table ``summary``."""
    rows = tables["summary"].filter(role=role)
    return dict(zip(rows["quantity"], rows["value"], strict=True))


def verdict_words(residual: float) -> str:
    """Return the original's verdict on a mean residual."""
    if residual < SUPPORTED_BELOW:
        return "HYPOTHESIS SUPPORTED"
    return "PARTIALLY SUPPORTED" if residual < PARTIAL_BELOW else "HYPOTHESIS REJECTED"


def stability_words(cosine: float) -> str:
    """Return the original's words on a mean cosine of shapes."""
    if cosine > VERY_STABLE:
        return "very stable"
    return "approximately stable" if cosine > STABLE else "not stable"


def _verdict(tables: Tables) -> Reading:
    numbers = summary_of(tables)
    residual = numbers["mean residual"]
    if residual is None:
        return Reading(outcome="undefined", claims=None)
    words = verdict_words(residual)
    return Reading(
        outcome=words,
        claims=words != "HYPOTHESIS REJECTED",
        numbers={name: numbers[name] for name in ("mean residual", "share below .10", "share below .20")},
    )


def _shape(tables: Tables) -> Reading:
    cosine = summary_of(tables)["mean cosine of shapes over layers"]
    if cosine is None:
        return Reading(outcome="undefined", claims=None)
    words = stability_words(cosine)
    return Reading(
        outcome=f"spectral shape is {words}", claims=words != "not stable", numbers={"cosine": cosine}
    )


def _correction(tables: Tables) -> Reading:
    residual = summary_of(tables)["mean residual"]
    if residual is None:
        return Reading(outcome="undefined", claims=None)
    if SUPPORTED_BELOW <= residual < PARTIAL_BELOW:
        return Reading(outcome="likely enough", claims=True, numbers={"mean residual": residual})
    words = "not needed" if residual < SUPPORTED_BELOW else "full operators or rank-k deltas needed"
    return Reading(
        outcome=words, claims=residual < SUPPORTED_BELOW or None, numbers={"mean residual": residual}
    )


def _temperature(tables: Tables) -> Reading:
    found = summary_of(tables)["correlation of T with entropy"]
    if found is None:
        return Reading(outcome="undefined", claims=None)
    words = "negative, as expected" if found < 0 else "not negative"
    return Reading(outcome=words, claims=found < 0, numbers={"correlation": found})


def _norm(tables: Tables) -> Reading:
    numbers = summary_of(tables)
    temperature = numbers["correlation of T with entropy"]
    norm = numbers["correlation of operator norm with entropy"]
    if temperature is None or norm is None:
        return Reading(outcome="undefined", claims=None)
    words = "T is the more negative" if temperature < norm else "the operator norm is the more negative"
    return Reading(
        outcome=words, claims=temperature < norm, numbers={"T": temperature, "operator norm": norm}
    )


_THRESHOLDS = (
    f"Mean residual over all heads and layers, the anchor's zeros included: below {SUPPORTED_BELOW:g} HYPOTHESIS "
    f"SUPPORTED, below {PARTIAL_BELOW:g} PARTIALLY SUPPORTED, else HYPOTHESIS REJECTED."
)

PUBLISHED = (
    PublishedRule("residual of spectra", "spectral-copy", _THRESHOLDS, _verdict),
    PublishedRule(
        "shape of spectra",
        "shared-shape",
        f"Mean cosine of a head's spectra over pairs of layers: above {VERY_STABLE:g} very stable, above {STABLE:g} "
        "approximately stable, else not stable.",
        _shape,
    ),
    PublishedRule(
        "verdict",
        "operator-copy",
        f"{_THRESHOLDS} The original says this of “a shared operator”, from the singular values.",
        _verdict,
    ),
    PublishedRule(
        "low-rank correction",
        "low-rank",
        f"When the mean residual lies between {SUPPORTED_BELOW:g} and {PARTIAL_BELOW:g}, a low-rank correction on top "
        "is likely enough; nothing is computed for it.",
        _correction,
    ),
    PublishedRule(
        "T and entropy",
        "temperature",
        "The correlation of T with mean attention entropy over all heads and layers should be negative.",
        _temperature,
    ),
    PublishedRule(
        "operator norm and entropy",
        "beyond-norm",
        "The same correlation of the operator norm, “for comparison”: read here as T doing better if its "
        "correlation is the more negative; the original leaves it to the reader.",
        _norm,
    ),
)
