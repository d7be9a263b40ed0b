"""The figures of the page: one for each of the original's research questions, and those of the controls."""

from collections.abc import Iterator
from functools import partial

import polars as pl

from microtome.lab.claims import Tables
from microtome.lab.study import Figure
from microtome.report.words import number
from microtome.studies.bands import drawings
from microtome.studies.bands.arms import DESCRIPTIONS
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.listings import at_an_end
from microtome.studies.bands.marks import arms_in

FOLLOWED = ("full", "baseline", "no-wormhole")
"""Arms whose bands are followed along training."""


def figures(config: BandsConfig, tables: Tables) -> Iterator[Figure]:
    """Yield the figures; one without anything to draw is left out."""
    yield from _training(config, tables)
    yield from _features(config, tables)
    if drawings.measured(tables["reference"], "excess"):
        yield _reference(config, tables["reference"])


def _training(config: BandsConfig, tables: Tables) -> Iterator[Figure]:
    chosen = tables["chosen"]
    over = (
        f"Shaded and lines: 95 % intervals over {config.seeds} seeds (Student's t)"
        if config.seeds > 1
        else "There is one seed, hence no interval"
    )
    choice = "; each seed at the scale that the others choose" if config.seeds > 1 else ""
    if not tables["curves"].is_empty():
        yield Figure(
            "losses",
            "Do the arms learn equally well?",
            f"Loss on the whole held-out text, a model of each arm and seed. {over}. Left: at each arm's best scale "
            f"of the rates, colours as on the right; broken lines: controls. Right: {_best(chosen)}{choice}.",
            partial(drawings.losses, tables["curves"], chosen),
        )
    if len(config.lr_scales) > 1 and drawings.measured(tables["losses"], "held_out"):
        yield Figure(
            "sweep",
            "Is each arm compared at its own best rates?",
            f"All rates times one factor, {number(min(config.lr_scales))} to {number(max(config.lr_scales))}: lines "
            f"are means, small dots models. {_open(at_an_end(chosen))}",
            partial(drawings.sweep, tables["losses"]),
        )
    bands = tables["dynamics"]
    arms = [arm for arm in FOLLOWED if arm in arms_in(bands)]
    if arms and drawings.measured(bands, "value"):
        yield Figure(
            "dynamics",
            "Do bands learn at different times and rates?",
            "Mean over seeds. Worth: the rise in loss when a band's neurons are held at their means. Dark: band 0, "
            "the slowest rate. The standard transformer has no bands; its are slices of its MLPs of the same shares. "
            "A worth on training text that comes before that on held-out text would be grokking.",
            partial(drawings.dynamics, bands, arms),
        )


def _best(chosen: pl.DataFrame) -> str:
    known = chosen.drop_nulls("loss").sort("loss")
    if known.is_empty():
        return "no arm has a loss"
    arm, loss = known.select("arm", "loss").row(0)
    return f"after the last step, lowest {number(loss)} ({arm}: {DESCRIPTIONS[arm]})"


def _open(at_end: str) -> str:
    if not at_end:
        return "No arm's best scale lies at an end."
    return (
        f"The best scale of {at_end} lies at an end of the sweep: better rates may lie beyond it, and the "
        "comparison of losses is weak there."
    )


def _features(config: BandsConfig, tables: Tables) -> Iterator[Figure]:
    shares, orders = tables["universal"], tables["by_seed"].filter(name="order")
    if drawings.measured(tables["spectra"], "centroid"):
        yield Figure(
            "spectra",
            "Is a band a range of frequencies?",
            "Mean spectral centroid of each band's neurons along the tokens of text, a dot for each seed. Nothing in "
            "the architecture makes band 0 slow (only filter-bank does); a line that rises would say that it is. "
            f"{_orders(orders, tables['order_null'])}",
            partial(drawings.spectra, tables["spectra"], orders, tables["order_null"]),
        )
    if drawings.measured(shares, "universal"):
        yield Figure(
            "universal",
            "Which bands hold the neurons that two seeds share?",
            "On text. Controlled: held-out correlation of the best match more than "
            f"{number(config.threshold_excess)} above rotations. As published: above {number(config.aq_threshold)} "
            "after Procrustes, on the rows of the fit. Dots: models of baseline and full; lines: means.",
            partial(drawings.universal, shares),
        )
        yield Figure(
            "overlap",
            "Are the same neurons shared on random tokens and on text?",
            "A dot is a model, a stroke the mean of its arm. Overlap: neurons universal on both over those universal "
            "on either; undefined where none is.",
            partial(drawings.overlap, shares, tables["by_seed"]),
        )
    if drawings.measured(tables["timeline"], "universal"):
        middle = config.lr_scales[len(config.lr_scales) // 2]
        yield Figure(
            "timeline",
            "When do shared neurons appear?",
            f"Controlled, on text, mean over seeds, at rates × {number(middle)}, the scale at which weights were "
            "kept. Thin: a band; thick: their mean.",
            partial(drawings.timeline, tables["timeline"]),
        )


def _orders(orders: pl.DataFrame, null: pl.DataFrame) -> str:
    full = orders.filter(arm="full")["value"].drop_nulls().to_list()
    shuffled = null.filter(what="shuffled")["order"].drop_nulls()
    if not full or shuffled.is_empty():
        return ""
    low, high = (shuffled.quantile(q, "linear") for q in (0.025, 0.975))
    return (
        f"Right: the full model's order is {number(sum(full) / len(full))}; 95 % of shuffled labels lie from "
        f"{number(low)} to {number(high)}."
    )


def _reference(config: BandsConfig, means: pl.DataFrame) -> Figure:
    return Figure(
        "reference",
        f"Which bands are like layer {config.reference_layer} of {config.reference_model}?",
        "Mean over a band's neurons of the held-out correlation with the best match in that layer, less that after "
        f"rotations, on the same words of {config.reference_documents} documents. Dots: models; dotted: chance. The "
        "original expects band 0 to be most alike.",
        partial(drawings.reference, means),
    )
