"""The figures of the page: what the original's rules come to on each comparison, then those of the controls."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl

from microtome.lab.claims import Tables
from microtome.lab.study import Figure
from microtome.report.words import number
from microtome.studies.universality import drawings
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.listings import noise_expected
from microtome.studies.universality.protocol import TRANSFER
from microtome.studies.universality.tables import RESIDUAL

UNITS = {"auto": "word or token", "word": "word", "token": "token"}


def figures(config: UniversalityConfig, tables: Tables) -> Iterator[Figure]:
    """Yield the figures; those of residuals and of ablations only where there is something to draw.

    The first comparison is that of the two models or, without a second model, that with the planted copy.
    """
    main = tables["comparisons"].row(0, named=True)
    yield from _published(config, tables)
    yield from _matches(config, tables, main)
    yield from _neurons(config, tables, main)
    if not tables["effects"].is_empty():
        yield _ablations(config, tables["effects"])


def _published(config: UniversalityConfig, tables: Tables) -> Iterator[Figure]:
    layers = tables["published_layers"]
    share = 100 * pl.col("aq_statistical") / pl.col("neurons")
    shares, untrained = layers.select(share), layers.filter(role="untrained")
    twin = (
        ""
        if untrained.is_empty()
        else f" Of the untrained twin, which shares nothing that was learned, they take "
        f"{number(untrained.select(share.mean()).item())} % and "
        f"{number(untrained.select((100 * pl.col('aq_percentile') / pl.col('neurons')).mean()).item())} %."
    )
    rules = {
        "aq_basic": f"basic:\nexcess > {config.aq_threshold:g}",
        "aq_statistical": "aligned:\nmean + 2 sd",
        "aq_percentile": f"aligned:\npercentile {config.percentile:g}",
        "aq_fixed": f"aligned:\nr > {config.fixed:g}",
    }
    yield Figure(
        "published_quanta",
        "As published: how many neurons each rule takes for Action Quanta",
        f"A dot is a layer ({', '.join(map(str, config.layers))}, from left to right). Mean + 2 sd takes "
        f"{number(shares.min().item())} to {number(shares.max().item())} % of the neurons whatever is compared, the "
        f"percentile {100 - config.percentile:g} % by construction.{twin}",
        partial(drawings.quanta, layers, rules),
    )
    noise = "".join(
        f" Independent noise of the same size gives {number(row['in_sample'])} on the rows of the fit, near "
        f"(8 / 3π) √(neurons / rows) = {noise_expected(row['rows'], row['neurons']):.2f}, and "
        f"{row['held_out']:.2f} on others.".replace("-0.00", "0.00")
        for row in tables["noise"].to_dicts()
    )
    yield Figure(
        "published_alignment",
        "As published: correlation after Procrustes, and on rows that the fit has not seen",
        "Solid: fitted and scored on the same rows, as published. Dashed: a rotation between principal components, "
        f"scored on other rows (of text only).{noise} What a dashed line keeps is not the fit's own doing.",
        partial(drawings.alignment, layers, tables["noise"]),
    )


def _matches(config: UniversalityConfig, tables: Tables, main: dict[str, Any]) -> Iterator[Figure]:
    neurons = tables["neurons"]
    yield Figure(
        "best_matches",
        "Controlled: each neuron's best match, beside two nulls",
        f"Partners were chosen on one half of the documents, correlations are of the other. {main['label']}: mean "
        f"{number(main['mean_r'])}, after rotation {number(main['mean_rotated'])}. A neuron is matched if exchanged "
        f"documents give less (false discovery rate {config.fdr:g}), and universal if it is also more than "
        f"{config.threshold_excess:g} above its own mean over rotations.",
        partial(drawings.best_matches, tables["histograms"]),
    )
    by_layer = neurons.filter(role=main["role"]).group_by("layer").agg(pl.col("universal").sum())
    layer, most = by_layer.sort("universal", "layer", descending=[True, False]).row(0)
    where = f", {most:,} of them in layer {layer}, more than in any other" if most else ""
    yield Figure(
        "excess_by_layer",
        "Controlled: excess over rotations, by layer",
        f"{main['label']}: {main['universal']:,} of {main['neurons']:,} neurons are universal{where}. A planted copy "
        "shows what there is to find, an untrained twin what chance finds.",
        partial(drawings.excess, neurons, 100 * TRANSFER),
    )
    if any(drawings.measured(tables["layer_map"], column) for column in drawings.MAPS):
        yield _layer_map(tables["layer_map"], main)


def _layer_map(pairs: pl.DataFrame, main: dict[str, Any]) -> Figure:
    best = pairs.drop_nulls("excess").sort("excess", descending=True).head(1).to_dicts()
    words = "".join(
        f" The largest excess, {number(row['excess'])}, is between A's layer {row['layer_a']} and B's "
        f"{row['layer_b']}."
        for row in best
    )
    words += (
        " It was measured at equal relative depth only."
        if pairs["excess"].null_count()
        else " Dashed: equal relative depth."
    )
    if drawings.measured(pairs, "standardised"):
        words += (
            " Right: similarity of whole layers, each neuron scaled to variance 1; mean over all pairs "
            f"{number(pairs.select(pl.col('standardised').mean()).item())}."
        )
    return Figure(
        "layer_map",
        f"Controlled: all layers with all ({main['label']})",
        "Mean over A's neurons of the best correlation in one layer of B, less that after rotation, on the half that "
        f"selects.{words}",
        partial(drawings.layer_maps, pairs),
    )


def _neurons(config: UniversalityConfig, tables: Tables, main: dict[str, Any]) -> Iterator[Figure]:
    neurons = tables["neurons"].filter(role=main["role"])
    if not neurons.drop_nulls(["r", "r_residual"]).is_empty():
        yield Figure(
            "residuals",
            f"Controlled: what is left without word and position ({main['label']})",
            f"Of {main['neurons']:,} neurons {main['above_half']:,} have r above {RESIDUAL:g}; once each word's mean "
            f"and each position's are taken out of both, {main['residual_above_half']:,} do. What lies far below the "
            "line says that both models read the same word, and no more.",
            partial(drawings.residuals, neurons, RESIDUAL, config.seed),
        )
    if drawings.measured(tables["spectra"], "centroid"):
        yield Figure(
            "spectra_by_class",
            f"Controlled: how fast neurons change along the text ({main['label']})",
            f"Spectral centroid without the mean, in Hann's window: lower is slower. {_slower(tables['spectra'])}",
            partial(drawings.spectra, tables["spectra"], UNITS[config.unit]),
        )


def _slower(spectra: pl.DataFrame) -> str:
    known = spectra.drop_nulls("centroid")
    both = known.filter(kind="universal").join(known.filter(kind="control"), on="layer")
    if both.is_empty():
        return "There are no universal neurons with controls here."
    slower = int((both["centroid"] < both["centroid_right"]).sum())
    return (
        f"In {slower} of {len(both)} layers that have universal neurons these are slower than their controls, "
        "which are alike in mean, deviation and firing rate."
    )


def _ablations(config: UniversalityConfig, effects: pl.DataFrame) -> Figure:
    own = effects.filter(group="universal", task="text").group_by("edit").agg(pl.col("kl").mean())
    kl = dict(own.iter_rows())
    share = kl["replacement"] / kl["ablation"] if kl.get("ablation") else None
    return Figure(
        "ablations",
        "Controlled: what the loss of a neuron costs",
        f"{effects['pair'].n_unique()} matched neurons of largest excess, set to their mean, beside controls of the "
        "same layer, norm and firing rate. Diamonds: means with 95 % intervals (Student's t over pairs). Last: with "
        f"the {config.atoms} best neurons of the layer in its place a universal neuron's divergence is {number(share)} "
        "of that after ablation.",
        partial(drawings.ablations, effects),
    )
