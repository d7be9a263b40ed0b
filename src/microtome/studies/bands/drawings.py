"""How the figures of bands are drawn, each from the run's tables."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from microtome.base.style import BLACK, GREY
from microtome.report.words import number
from microtome.studies.bands.marks import (
    LOOKS,
    MAIN,
    along_training,
    arms_in,
    band_legend,
    by_arm,
    by_band,
    dots,
    filling_legend,
    legend,
    line_of,
    undefined,
)

DOTTED: dict[str, Any] = {"color": BLACK, "linewidth": 1, "linestyle": ":"}
QUANTITIES = {
    "rise held_out": "worth on held-out text\n(nats per token)",
    "gap": "worth on training text\nless held-out\n(nats per token)",
    "update_ratio": "weight rate |Δw| / |w|\n(per step, log scale)",
    "grad_norm": "gradient norm\n(log scale)",
}
"""What is drawn of each band along training, and its axis."""
COLUMNS = 3
"""Panels side by side."""


def measured(table: pl.DataFrame, column: str) -> bool:
    """Tell whether a column is there and holds anything."""
    return column in table.columns and table[column].null_count() < len(table)


def losses(curves: pl.DataFrame, chosen: pl.DataFrame) -> Picture:
    """Draw held-out loss along training, and after the last step by arm, both with their intervals."""
    held_out, arms = curves.filter(name="held_out"), arms_in(chosen)
    picture = Picture(figsize=(9.6, 4.6), layout="constrained")
    left, right = picture.subplots(1, 2, width_ratios=(1.25, 1))
    for arm in sorted(arms_in(held_out), key=MAIN.__contains__):
        own, (colour, *_) = held_out.filter(arm=arm).sort("step"), LOOKS[arm]
        left.plot(own["step"], own["value"], **line_of(arm))
        known = own.drop_nulls(["low", "high"])
        left.fill_between(known["step"], known["low"], known["high"], color=colour, alpha=0.15, linewidth=0)
    left.set(xlabel="step", ylabel="held-out loss (nats per token)")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    for place, arm in enumerate(arms):
        row, (colour, marker, _) = chosen.row(by_predicate=pl.col("arm") == arm, named=True), LOOKS[arm]
        if row["loss"] is None:
            undefined(right, place, "diverged")
            continue
        if row["low"] is not None:
            right.plot([row["low"], row["high"]], [place, place], color=colour)
        right.plot(row["loss"], place, marker, color=colour, markersize=7)
    by_arm(right, arms)
    right.set_xlabel("held-out loss after the last step\n(nats per token)")
    return picture


def sweep(models: pl.DataFrame) -> Picture:
    """Draw the last held-out loss against the scale of the rates; scales at which a model diverged are marked."""
    picture = Picture(figsize=(8.2, 4.4), layout="constrained")
    axes = picture.subplots()
    mean, lost = pl.col("held_out").mean(), pl.col("diverged").any()
    means = models.group_by("arm", "scale").agg(mean, lost).sort("scale")
    arms = arms_in(models)
    for arm in sorted(arms, key=MAIN.__contains__):
        own = means.filter(arm=arm)
        whole = own.filter(~pl.col("diverged"))
        axes.plot(whole["scale"], whole["held_out"], **line_of(arm))
        seeds = models.filter(~pl.col("diverged"), pl.col("arm") == arm)
        axes.plot(seeds["scale"], seeds["held_out"], ".", color=LOOKS[arm][0], markersize=3, alpha=0.6)
    for place, arm in enumerate(arms):  # beside each other at the top: a diverged model has no loss
        gone = means.filter(pl.col("arm") == arm, pl.col("diverged"))["scale"].to_numpy()
        at = gone * 2 ** (0.16 * (place - (len(arms) - 1) / 2) / len(arms))
        axes.plot(at, np.full(len(at), 0.97), "x", color=LOOKS[arm][0], transform=axes.get_xaxis_transform())
    scales = models["scale"].unique().sort().to_list()
    axes.set_xscale("log", base=2)
    axes.set_xlim(scales[0] / 1.2, scales[-1] * 1.2)
    axes.xaxis.set_major_locator(FixedLocator(scales))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="scale of all learning rates", ylabel="last held-out loss (nats per token)")
    axes.margins(y=0.1)
    extra = [Line2D([], [], color=BLACK, marker="x", linestyle="", label="a model diverged")]
    legend(picture, arms, extra if models["diverged"].any() else [])
    return picture


def with_gap(bands: pl.DataFrame) -> pl.DataFrame:
    """Add to ``dynamics`` each band's worth on training text less that on held-out text, by the name ``gap``."""
    keys = ["arm", "band", "step"]
    sides = [bands.filter(name=f"rise {side}").select(*keys, "value") for side in ("train", "held_out")]
    gap = sides[0].join(sides[1], on=keys, suffix=" less")
    rows = gap.select(*keys, pl.lit("gap").alias("name"), pl.col("value") - pl.col("value less"))
    return pl.concat([bands.select(*keys, "name", "value"), rows])


def dynamics(bands: pl.DataFrame, arms: Sequence[str]) -> Picture:
    """Draw each band along training, a column for each arm and a row for each quantity that was measured."""
    table = with_gap(bands)
    rows = [name for name in QUANTITIES if measured(table.filter(name=name), "value")]
    numbers = table["band"].unique().sort().to_list()
    picture = Picture(figsize=(0.9 + 3 * len(arms), 0.8 + 2.3 * len(rows)), layout="constrained")
    panels = picture.subplots(len(rows), len(arms), sharex=True, sharey="row", squeeze=False)
    for line, name in zip(panels, rows, strict=True):
        log = name in ("update_ratio", "grad_norm")
        for axes, arm in zip(line, arms, strict=True):
            own = table.filter(pl.col("arm") == arm, pl.col("name") == name).drop_nulls("value").sort("step")
            own = own.filter(pl.col("value") > 0) if log else own
            along_training(axes, own, numbers, "value", "-" if log else ".-")
            if log:
                axes.set_yscale("log")
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
                axes.yaxis.set_minor_locator(NullLocator())
                axes.yaxis.set_major_formatter(lambda value, _: number(value))
            elif not own.is_empty():
                axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
        line[0].set_ylabel(QUANTITIES[name])
    for axes, arm in zip(panels[0], arms, strict=True):
        axes.set_title(arm)
    for axes in panels[-1]:
        axes.set_xlabel("step")
    band_legend(picture, numbers)
    return picture


def spectra(means: pl.DataFrame, orders: pl.DataFrame, null: pl.DataFrame) -> Picture:
    """Draw centroids by band, a panel for each arm, and beside them their order against shuffled labels."""
    text, arms = means.filter(condition="text"), arms_in(means)
    rows = -(-len(arms) // COLUMNS)
    picture = Picture(figsize=(10.2, 0.9 + max(2.1 * rows, 2.6)), layout="constrained")
    sides: Any = picture.subfigures(1, 2, width_ratios=(1.8, 1))
    left, right = sides
    panels = left.subplots(rows, min(COLUMNS, len(arms)), sharex=True, sharey=True, squeeze=False)
    for axes, arm in zip(panels.flat, arms, strict=False):
        own, colour = text.filter(arm=arm), LOOKS[arm][0]
        by_band(axes, own, "centroid_published", colour, filled=False)
        by_band(axes, own, "centroid", colour)
        axes.set_title(arm, fontsize=10)
    for place in range(len(arms), panels.size):
        panels.flat[place].set_axis_off()
        panels.flat[place - panels.shape[1]].tick_params(labelbottom=True)
    left.supxlabel("band", fontsize=10.5)
    left.supylabel("centroid (cycles per token)", fontsize=10.5)
    _order(right.subplots(), orders, null)
    filling_legend(picture, "controlled: Hann's window, without DC", "as published: with DC")
    return picture


def _order(axes: Axes, orders: pl.DataFrame, null: pl.DataFrame) -> None:
    shuffled = null.filter(what="shuffled")["order"].drop_nulls().to_numpy()
    arms = arms_in(orders)
    if len(shuffled):
        axes.axvspan(*np.quantile(shuffled, [0.025, 0.975]), color=GREY, alpha=0.3, linewidth=0)
    axes.axvline(0, color=GREY, linewidth=0.8)
    dots(axes, arms, lambda arm: orders.filter(arm=arm)["value"])
    axes.set_xlim(-1.05, 1.05)
    axes.set_xlabel("order of bands and centroids\n(Spearman's ρ; grey: shuffled labels)")


def universal(shares: pl.DataFrame) -> Picture:
    """Draw the share of universal neurons by band: of the two main arms each seed, of the others the mean."""
    text, arms = shares.filter(condition="text"), arms_in(shares)
    picture = Picture(figsize=(9.6, 4.4), layout="constrained")
    panels = picture.subplots(1, 2)
    for axes, (column, title) in zip(panels, _titles("universal").items(), strict=True):
        for arm in sorted(arms, key=MAIN.__contains__):
            own = text.filter(arm=arm).with_columns(pl.col(column) * 100)
            by_band(axes, own, column, LOOKS[arm][0], line=line_of(arm), dots=arm in MAIN)
        axes.set(title=title, xlabel="band", ylabel="universal neurons (% of the band's)")
        axes.set_ylim(bottom=0.0, top=max(5.0, axes.get_ylim()[1]))
    legend(picture, arms)
    return picture


def _titles(column: str) -> dict[str, str]:
    return {column: "Controlled", "published": "As published"}


def overlap(shares: pl.DataFrame, numbers: pl.DataFrame) -> Picture:
    """Draw the shares of universal neurons on text and on random tokens and their overlap: a dot for each model."""
    arms = arms_in(shares)
    picture = Picture(figsize=(9.6, 1.7 + 0.36 * len(arms)), layout="constrained")
    panels = picture.subplots(1, 3)
    for column, prefix, filled in (("published", "published ", False), ("universal", "", True)):
        weighted = (pl.col(column) * pl.col("neurons")).sum() / pl.col("neurons").sum()
        models = shares.group_by("arm", "condition", "seed").agg((100 * weighted).alias("share"))
        jaccard = numbers.filter(name=f"{prefix}overlap")
        sources: Sequence[Callable[[str], pl.Series]] = (
            lambda arm, its=models: its.filter(arm=arm, condition="text")["share"],
            lambda arm, its=models: its.filter(arm=arm, condition="random")["share"],
            lambda arm, its=jaccard: its.filter(arm=arm)["value"],
        )
        for axes, source in zip(panels, sources, strict=True):
            dots(axes, arms, source, filled, -0.17 if filled else 0.17)
    for axes, title, words in zip(
        panels,
        ("Text", "Random tokens", "On both"),
        ("universal neurons (%)", "universal neurons (%)", "Jaccard overlap"),
        strict=True,
    ):
        axes.set(title=title, xlabel=words)
        if axes is not panels[0]:
            axes.tick_params(labelleft=False)
        axes.axvline(0, color=GREY, linewidth=0.8)
    panels[1].sharex(panels[0])
    panels[2].set_xlim(-0.04, 1.04)
    filling_legend(picture, "controlled", "as published")
    return picture


def timeline(shares: pl.DataFrame) -> Picture:
    """Draw the share of universal neurons along training, each band thin, their mean thick."""
    arms, numbers = arms_in(shares), shares["band"].unique().sort().to_list()
    picture = Picture(figsize=(0.9 + 4.2 * len(arms), 4.4), layout="constrained")
    panels = picture.subplots(1, len(arms), sharey=True, squeeze=False)[0]
    for axes, arm in zip(panels, arms, strict=True):
        own = shares.filter(arm=arm).group_by("band", "step").agg(pl.col("universal").mean() * 100)
        along_training(axes, own.sort("step"), numbers, "universal")
        mean = own.group_by("step").agg(pl.col("universal").mean()).sort("step")
        axes.plot(mean["step"], mean["universal"], "o-", color=BLACK, linewidth=2.6)
        axes.set(title=arm, xlabel="step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("universal neurons (% of the band's)")
    band_legend(picture, numbers, [Line2D([], [], color=BLACK, marker="o", linewidth=2.6, label="mean")])
    return picture


def reference(means: pl.DataFrame) -> Picture:
    """Draw the mean excess in the reference's layer by band: a dot for each model."""
    picture = Picture(figsize=(7.6, 4.2), layout="constrained")
    axes, arms = picture.subplots(), arms_in(means)
    axes.axhline(0, **DOTTED)
    for arm in arms:
        by_band(axes, means.filter(arm=arm), "excess", LOOKS[arm][0], line=line_of(arm))
    axes.set(xlabel="band", ylabel="mean excess over rotations\n(difference of correlations)")
    legend(picture, arms)
    return picture
