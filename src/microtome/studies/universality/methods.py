"""The methods section of the page, with the run's own numbers."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from microtome.lab.claims import Tables
from microtome.measure.linear_maps import PENALTIES
from microtome.report.words import joined, number
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.estimates import DECILES
from microtome.studies.universality.examples import A_LAYER, CONTEXTS
from microtome.studies.universality.inputs import CONTROL_DOCUMENTS, documents
from microtome.studies.universality.published import CKA_ROWS, STRONG, TOP
from microtome.studies.universality.scoring import GROUPS, LOW
from microtome.studies.universality.similarity import GROUPS as PARTS
from microtome.studies.universality.similarity import ROWS
from microtome.studies.universality.tasks import TASKS

THRESHOLDS = {
    "statistical": "mean + 2 standard deviations",
    "percentile": "the percentile {0.percentile:g}",
    "fixed": "{0.fixed:g}",
}
UNITS = {
    "auto": "tokens where both tokenisers are the same, else words",
    "word": "words",
    "token": "tokens",
}


def methods(config: UniversalityConfig, tables: Tables) -> Iterator[str]:
    """Yield the paragraphs."""
    main = tables["comparisons"].row(0, named=True)
    pair = main["role"] == "pair"
    yield _published(config)
    yield _text(config, tables["comparisons"])
    yield _selection(config, main)
    yield _nulls(config, main)
    if pair:
        yield _similarity(config)
    yield _maps(config, tables["noise"])
    yield _spectra()
    if pair and config.neurons:
        yield _effects(config)
    if not tables["examples"].is_empty():
        yield (
            f"Examples. The {tables['examples']['example'].n_unique()} pairs of largest held-out excess, at most "
            f"{A_LAYER} of a layer of A; for either neuron the {CONTEXTS} documents in which it goes farthest from its "
            "mean on the side of its long tail, on the half that scores."
        )
    yield _statistics(config)


def _published(config: UniversalityConfig) -> str:
    return (
        f"As published. {config.num_samples} sequences of {config.sequence} tokens, drawn at random from the "
        f"vocabulary without its ends, or the beginnings of texts of “{config.corpus}”; every position counts, the "
        "first too. (Models of different tokenisers read the same words instead, of the text or of what the random "
        "tokens say.) Neurons are read after the MLP's activation (mlp_post), in layers "
        f"{joined([str(layer) for layer in config.layers])} of both models, the wider cut to the narrower's number. "
        f"Basic: Pearson's r of neurons of equal index less the mean over {config.rotations} rotations of B; Action "
        f"Quanta above {config.aq_threshold:g}. Aligned: linear CKA on {CKA_ROWS:,} rows, with its bias; optimal "
        f"transport between the {TOP} most variable neurons at cost 1 − |r|, counting pairs above {STRONG:g}; "
        "Procrustes' rotation, fitted and scored on the same rows, and Action Quanta above "
        f"{THRESHOLDS[config.threshold].format(config)} of a layer's correlations. Spectral phase: power along the "
        "sequence, the mean included, without a window; centroids of A's neurons at the indices found for B's."
    )


def _text(config: UniversalityConfig, comparisons: pl.DataFrame) -> str:
    counts = joined(
        [
            f"{documents(config, role)} ({label})"
            for role, label in comparisons.select("role", "label").iter_rows()
        ]
    )
    return (
        f"Text and alignment. Documents of “{config.corpus}”: {counts}, {config.rows} rows each. Rows are "
        f"{UNITS[config.unit]}; both models read the same text, each in its own tokens, and a word is read at the "
        "token that ends it. Even documents select, odd ones score. Planted copy and untrained twin are compared in "
        f"{config.control_layers} layers spread over the depth, on {CONTROL_DOCUMENTS} documents at most. The copy is "
        f"A with its neurons permuted and noise of {config.noise:g} of each neuron's weights in their inputs; the "
        f"twin is B's architecture (A's without a second model) with fresh weights, seed {config.seed}."
    )


def _selection(config: UniversalityConfig, main: dict[str, Any]) -> str:
    layers = "all of B's layers" if config.pairs == "all" else "B's layer at the same relative depth"
    return (
        f"Selection and scoring. For each of A's {main['neurons']:,} neurons the partner is the neuron in {layers} "
        f"with the largest Pearson's r on the half that selects (products in {config.precision}, sums in float64, one "
        f"pass for {config.layers_at_once} of B's layers); r is reported of the other half ({main['rows']:,} rows). "
        f"Excess is r less the mean over {config.rotations} random rotations of B's layers of the same, each rotation "
        "choosing its own best match on the one half and scoring it on the other: after Gurnee et al. 2024 (arXiv "
        "2401.12181), who choose and score on the same text. A neuron is universal if it is matched and its excess "
        f"is above {config.threshold_excess:g}. Reported beside it: r after each word's mean and each position's were "
        "regressed out of both neurons, and |r| of the best one-to-one matching between layers at equal depth."
    )


def _nulls(config: UniversalityConfig, main: dict[str, Any]) -> str:
    return (
        f"Nulls. B's documents are shifted against A's by 1 to {main['shifts']} documents, within blocks of the half "
        "that scores, so that words and order within documents stay as they are. Each neuron's null correlations, "
        "scaled by its own other shifts, are pooled over neurons to p values; matched are those that the procedure "
        f"of Benjamini and Hochberg (1995) finds at a false discovery rate of {config.fdr:g}. With few documents this "
        "null is wide, with many anything is significant: hence the second condition on the excess. As a control "
        "each shift is judged by all others; the untrained twin must have no more universal neurons than the rate "
        "allows."
    )


def _similarity(config: UniversalityConfig) -> str:
    return (
        f"Similarity. Linear CKA from unbiased estimates (Song et al. 2012), on {ROWS:,} rows at most, as many of "
        "each document, between all layers, of neurons as they are and scaled to variance 1: a single neuron can "
        "carry half of a layer's variance and decide the former. It can be below 0. The null exchanges whole "
        f"documents of B, {config.permutations} times, and keeps the largest value over all pairs of layers (Groeger "
        "et al. 2026, arXiv 2602.14486). Intervals are over pseudo-values of a jackknife that leaves out one of "
        f"{PARTS} groups of documents at a time."
    )


def _maps(config: UniversalityConfig, noise: pl.DataFrame) -> str:
    of_noise = "".join(
        f" The published rotation of two matrices of noise ({row['rows']:,} × {row['neurons']:,}) has a mean r of "
        f"{number(row['in_sample'])}; held out it is {number(row['held_out'])}."
        for row in noise.to_dicts()
    )
    return (
        "Linear maps. On the published part's text, maps are fitted on the first half of the sequences and scored on "
        "the second, everything standardised by the fit: a rotation with one scale between the first principal "
        "components of both sides, ten rows for each component, and ridge regression with a penalty from "
        f"{PENALTIES[0]:g} to {PENALTIES[-1]:g} that halves of the fit choose. One-to-one matchings, of all neurons "
        f"and of the better half by partial transport, are chosen and scored likewise.{of_noise}"
    )


def _spectra() -> str:
    return (
        "Spectra. Power of each neuron along the rows of a document, without its mean and in Hann's window, on the "
        "half that scores; the centroid is Σ f P / Σ P in cycles per row (.25 for a flat spectrum, .5 at most), a "
        f"frequency up to {LOW:g} counts as low, and the share of power in the mean is reported apart. Universal "
        "neurons are compared with others of their layer, matched one to one on mean, deviation and firing rate (the "
        "share of rows on which a neuron exceeds its root mean square)."
    )


def _effects(config: UniversalityConfig) -> str:
    items = joined([f"{task} ({len(items)} prompts)" for task, items in TASKS.items()])
    return (
        f"Ablation and replacement. The {config.neurons} matched neurons of largest excess at most, and for each a "
        "control of its layer that is not universal, matched one to one on firing rate and on the norm of what it "
        "adds to the residual stream. Ablation sets a neuron to its mean. Replacement hands what it adds above the "
        f"mean to the {config.atoms} neurons of its layer whose outputs span it best, with equal norm. Measured are "
        f"the loss in nats per token and the divergence KL from the unedited model, on {config.effect_documents} "
        f"further documents and on the tokens of right answers in four small tasks that are microtome's own: {items}. "
        "Each neuron's p, by a paired t test over documents or prompts against its control, is adjusted over neurons "
        "(Benjamini and Hochberg 1995), for each task apart. A neuron handed to itself must change nothing."
    )


def _statistics(config: UniversalityConfig) -> str:
    return (
        "Statistics. Neurons are not independent. Intervals of r, excess and shares are BCa bootstraps "
        f"({config.resamples} resamples) over {GROUPS} groups of documents at most, with partners as they were "
        "selected; those of spectra are over layers, those of ablations over pairs of a neuron and its control; all "
        "are widened for small numbers. Structural and semantic Action Quanta are compared by the common odds ratio "
        f"of Mantel and Haenszel over strata of layer and {DECILES} classes of variance. Permutation nulls have at "
        f"least {config.permutations} draws. All predictions of the run are corrected together by Holm's procedure on "
        "intervals."
    )
