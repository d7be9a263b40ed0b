"""How the figures of universality are drawn, each from the run's tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, Locator, LogLocator, MaxNLocator, NullLocator

from microtome.base.style import BLACK, BLUE, DIVERGING, GREEN, GREY, ORANGE, SEQUENTIAL, SKY, VERMILION
from microtome.measure.effects import half_width

ROLES = {
    "pair": (BLUE, "the two models"),
    "planted": (GREEN, "planted copy"),
    "untrained": (ORANGE, "untrained twin"),
}
CONDITIONS = {"random": "Random tokens", "text": "Text"}
NORMAL = 2.28
"""Per cent of a normal distribution beyond two standard deviations above the mean."""
QUANTITIES = {
    "held out": (BLUE, "best match"),
    "rotated": (VERMILION, "best match after rotation of B's layers"),
    "exchanged": (BLACK, "best match, documents exchanged"),
}
MAPS = {"excess": "excess over rotations", "standardised": "debiased CKA"}
KINDS = {
    "others": (GREY, "s-", "neither matched nor universal"),
    "matched": (SKY, "D-", "matched only"),
    "control": (BLUE, "o", "controls of universal neurons"),
    "universal": (VERMILION, "o", "universal"),
}
GROUPS = {"universal": (VERMILION, "universal neuron"), "control": (BLUE, "its control")}
DOTTED: dict[str, Any] = {"color": BLACK, "linewidth": 1, "linestyle": ":"}
DOTS = 300
"""Universal neurons that are drawn one by one, at most."""


def quanta(layers: pl.DataFrame, rules: Mapping[str, str]) -> Picture:
    """Draw the percentage of Action Quanta by rule: a dot for each layer, a colour for each comparison."""
    roles = [role for role in ROLES if role in set(layers["role"])]
    picture = Picture(figsize=(9.6, 4.4), layout="constrained")
    panels = picture.subplots(1, 2, sharey=True)
    for axes, (condition, title) in zip(panels, CONDITIONS.items(), strict=True):
        axes.axhline(NORMAL, label=f"beyond 2 sd of a normal distribution: {NORMAL} %", **DOTTED)
        for i, role in enumerate(roles):
            own = layers.filter(role=role, condition=condition)
            colour, name = ROLES[role]
            middle = (i - (len(roles) - 1) / 2) * 0.27
            at = middle - 0.1 + 0.2 * (np.arange(len(own)) + 0.5) / max(len(own), 1)
            for place, rule in enumerate(rules):
                shares = 100 * own[rule] / own["neurons"]
                axes.plot(place + at, shares, "o", color=colour, label=name if place == 0 else None)
        axes.set_yscale("symlog", linthresh=10)
        _ticks(axes.yaxis, FixedLocator([0, 2, 4, 6, 8, 10, 20, 50, 100]))
        axes.set_xticks(range(len(rules)), list(rules.values()))
        axes.set(title=title, ylim=(-0.6, 125))
        axes.grid(visible=False, axis="x")
    panels[0].set_ylabel("Action Quanta (% of neurons;\nlogarithmic above 10 %)")
    _legend_below(picture, panels[0])
    return picture


def alignment(layers: pl.DataFrame, noise: pl.DataFrame) -> Picture:
    """Draw mean correlations after Procrustes by layer, on the rows of the fit and on others."""
    picture = Picture(figsize=(9.6, 4.4), layout="constrained")
    panels = picture.subplots(1, 2, sharey=True)
    roles = [role for role in ROLES if role in set(layers["role"])]
    for axes, (condition, title) in zip(panels, CONDITIONS.items(), strict=True):
        for role in roles:
            own = layers.filter(role=role, condition=condition).sort("layer")
            colour = ROLES[role][0]
            axes.plot(own["layer"], own["procrustes_mean"], "o-", color=colour)
            axes.plot(own["layer"], own["held_out_mean"], "o--", color=colour, markerfacecolor="white")
        for row in noise.to_dicts():
            axes.axhline(row["in_sample"], color=GREY, linewidth=1.4)
            axes.axhline(row["held_out"], color=GREY, linewidth=1.4, linestyle="--")
        axes.set_title(title)
        axes.set_ylim(min(-0.05, axes.get_ylim()[0]), 1.04)
        _by_layer(axes, "", "layer (of both models)")
    panels[0].set_ylabel("mean correlation after Procrustes")
    handles = [Line2D([], [], color=ROLES[role][0], label=ROLES[role][1]) for role in roles]
    handles += [Line2D([], [], color=GREY, label="independent noise")] if len(noise) else []
    handles += [
        Line2D([], [], color=BLACK, marker="o", label="rows of the fit"),
        Line2D([], [], color=BLACK, marker="o", markerfacecolor="white", linestyle="--", label="other rows"),
    ]
    picture.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.4)
    return picture


def best_matches(histograms: pl.DataFrame) -> Picture:
    """Draw the distribution of the best matches' correlations beside both nulls, a panel for each comparison."""
    roles = [role for role in ROLES if role in set(histograms["role"])]
    picture = Picture(figsize=(0.8 + 3.6 * len(roles), 4.2), layout="constrained")
    panels = picture.subplots(1, len(roles), sharey=True, squeeze=False)[0]
    positive = histograms.filter(pl.col("density") > 0)["density"].to_numpy()
    floor = 0.7 * float(positive.min(initial=1.0))
    for axes, role in zip(panels, roles, strict=True):
        for quantity, (colour, name) in QUANTITIES.items():
            own = histograms.filter(role=role, quantity=quantity).sort("low")
            edges = np.append(own["low"].to_numpy(), own["high"].to_numpy()[-1:])
            density = own["density"].to_numpy().clip(floor)
            if quantity == "held out":
                axes.stairs(density, edges, fill=True, color=colour, alpha=0.25, baseline=floor)
            axes.stairs(density, edges, color=colour, linewidth=1.6, label=name, baseline=floor)
        axes.set(title=ROLES[role][1][0].upper() + ROLES[role][1][1:], xlabel="held-out correlation r")
        axes.set(yscale="log", xlim=(-0.22, 1.02))
    panels[0].set_ylim(floor, 1.5 * float(positive.max(initial=1.0)))
    panels[0].set_ylabel("density (log scale)")
    _legend_below(picture, panels[0])
    return picture


def excess(neurons: pl.DataFrame, asked: float) -> Picture:
    """Draw mean excess and the share of universal neurons by A's layer."""
    picture = Picture(figsize=(9.6, 4.2), layout="constrained")
    left, right = picture.subplots(1, 2)
    share = pl.col("universal").mean() * 100
    means = neurons.group_by("role", "layer").agg(pl.col("excess").mean(), share).sort("layer")
    for role, (colour, name) in ROLES.items():
        own = means.filter(role=role)
        if not own.is_empty():
            left.plot(own["layer"], own["excess"], "o-", color=colour, markersize=4, label=name)
            right.plot(own["layer"], own["universal"], "o-", color=colour, markersize=4, label=name)
    left.axhline(0, color=BLACK, linewidth=1)
    right.axhline(asked, label=f"claimed of all neurons: {asked:g} %", **DOTTED)
    right.set_yscale("symlog", linthresh=0.1)
    _ticks(right.yaxis, FixedLocator([0, 0.1, 1, 10, 100]))
    right.set_ylim(-0.01, 160)
    left.set_title("Excess")
    right.set_title("Universal neurons")
    _by_layer(left, "mean excess (difference of correlations)", "layer of A")
    _by_layer(right, "% of the layer's neurons\n(logarithmic above 0.1 %)", "layer of A")
    _legend_below(picture, right)
    return picture


def layer_maps(pairs: pl.DataFrame) -> Picture:
    """Draw all pairs of layers: excess of best matches, and CKA where it was measured."""
    columns = [column for column in MAPS if measured(pairs, column)]
    layers = [sorted(set(pairs[side])) for side in ("layer_a", "layer_b")]
    height = min(2.9 + 0.13 * len(layers[0]), 7.0)
    picture = Picture(figsize=(0.8 + 4.4 * len(columns), height), layout="constrained")
    for axes, column in zip(picture.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        values = np.full([len(side) for side in layers], np.nan)
        for a, b, value in pairs.select("layer_a", "layer_b", column).drop_nulls().iter_rows():
            values[layers[0].index(a), layers[1].index(b)] = value
        top = float(np.nanmax(np.abs(values))) or 1.0
        signed = bool((values < 0).any())
        norm = TwoSlopeNorm(0, -top, top) if column == "excess" else Normalize(-top if signed else 0, top)
        colours = DIVERGING if column == "excess" or signed else SEQUENTIAL
        image = axes.imshow(values, colours, norm, origin="lower", aspect="auto", interpolation="nearest")
        if np.isnan(values).any():
            axes.set_facecolor("#E3E6EA")
            axes.set_title("grey: not measured", fontsize=9.5, fontweight="normal")
        else:
            ends = [0, len(layers[1]) - 1], [0, len(layers[0]) - 1]
            axes.plot(*ends, color="white", linewidth=3)
            axes.plot(*ends, "--", color=BLACK, linewidth=1.2)
        axes.set(xlabel="layer of B", ylabel="layer of A")
        for axis, side in ((axes.xaxis, layers[1]), (axes.yaxis, layers[0])):
            step = -(-len(side) // 10)
            axis.set_ticks(range(0, len(side), step), [str(layer) for layer in side[::step]])
        axes.grid(visible=False)
        picture.colorbar(image, ax=axes, label=MAPS[column])
    return picture


def residuals(neurons: pl.DataFrame, limit: float, seed: int) -> Picture:
    """Draw correlations before and after word and position were regressed out: counts, and universal neurons."""
    known = neurons.drop_nulls(["r", "r_residual"])
    x, y = known["r"].to_numpy(), known["r_residual"].to_numpy()
    low = min(-0.1, float(min(x.min(), y.min())) - 0.03)
    picture = Picture(figsize=(6.6, 5.2), layout="constrained")
    axes = picture.subplots()
    box, colours = (low, 1.02), f"{SEQUENTIAL}_r"
    counts = axes.hexbin(x, y, gridsize=45, extent=(*box, *box), mincnt=1, norm=LogNorm(), cmap=colours)
    universal = np.flatnonzero(known["universal"])
    if len(universal) > DOTS:
        universal = np.random.default_rng(seed).choice(universal, DOTS, replace=False)
    if len(universal):
        axes.plot(x[universal], y[universal], "o", color=VERMILION, markerfacecolor="none", label="universal")
    axes.plot([low, 1], [low, 1], color=BLUE, linewidth=1.2, label="nothing lost")
    axes.axhline(limit, **DOTTED)
    axes.axvline(limit, **DOTTED)
    axes.set(xlim=box, ylim=box, xlabel="held-out correlation r of the best match")
    axes.set_ylabel("the same without word and position")
    picture.colorbar(counts, ax=axes, label="neurons (log scale)")
    axes.legend(loc="upper left")
    return picture


def spectra(means: pl.DataFrame, unit: str) -> Picture:
    """Draw mean centroids by layer and class of neuron, universal ones joined with their controls."""
    picture = Picture(figsize=(7.8, 4.6), layout="constrained")
    axes = picture.subplots()
    known = means.drop_nulls("centroid").sort("layer")
    axes.axhline(0.25, label="flat spectrum", **DOTTED)
    for kind, (colour, marker, name) in KINDS.items():
        own = known.filter(kind=kind)
        if not own.is_empty():
            face = "white" if kind == "control" else colour
            line = axes.plot(
                own["layer"], own["centroid"], marker, color=colour, markerfacecolor=face, label=name
            )
            line[0].set(zorder=3, markersize=6 if marker == "o" else 4)
    pairs = known.filter(kind="universal").join(known.filter(kind="control"), on="layer")
    axes.vlines(pairs["layer"], pairs["centroid"], pairs["centroid_right"], color=VERMILION, linewidth=0.8)
    _by_layer(axes, f"mean centroid (cycles per {unit})", "layer of A")
    handles, labels = axes.get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=3)
    return picture


def ablations(effects: pl.DataFrame) -> Picture:
    """Draw what the loss of each neuron costs beside its control, by task, and what replacements leave."""
    tasks = effects["task"].unique(maintain_order=True).to_list()
    rows = -(-(len(tasks) + 1) // 3)
    picture = Picture(figsize=(10.2, 3.5 * rows), layout="constrained")
    panels: Sequence[Axes] = np.ravel(picture.subplots(rows, 3, squeeze=False)).tolist()
    for axes, task in zip(panels, tasks, strict=False):
        _losses(axes, effects.filter(task=task, edit="ablation"), task)
    _replaced(panels[len(tasks)], effects.filter(task="text"))
    for axes in panels[len(tasks) + 1 :]:
        axes.set_axis_off()
    return picture


def _losses(axes: Axes, rows: pl.DataFrame, task: str) -> None:
    wide = rows.pivot("group", index="pair", values="nats").select("pair", *GROUPS).drop_nulls()
    values = wide.select(*GROUPS).to_numpy()
    axes.plot([0, 1], values.T, color=GREY, linewidth=0.6, alpha=0.6)
    for place, (colour, _) in enumerate(GROUPS.values()):
        own, at = values[:, place], place + 0.16 * (2 * place - 1)
        axes.plot(np.full(len(own), place), own, "o", color=colour, markersize=3.5, alpha=0.7)
        axes.errorbar(at, own.mean(), yerr=half_width(own), fmt="D", color=colour, markersize=6, capsize=4)
    gain = values[:, 0] - values[:, 1]
    axes.axhline(0, color=BLACK, linewidth=0.8)
    axes.set_xticks([0, 1], [name for _, name in GROUPS.values()])
    axes.set(xlim=(-0.45, 1.45), ylabel="loss without it (nats per token)")
    arm = f" ± {half_width(gain):.1g}" if len(gain) > 1 else ""
    axes.set_title(f"{task.capitalize()}\ndifference {gain.mean():+.2g}{arm}".replace("-", "−"))
    axes.grid(visible=False, axis="x")


def _replaced(axes: Axes, rows: pl.DataFrame) -> None:
    wide = rows.pivot("edit", index=["pair", "group"], values="kl").drop_nulls(["ablation", "replacement"])
    wide = wide.filter(pl.col("ablation") > 0, pl.col("replacement") > 0)
    if not wide.is_empty():
        kl = wide.select("ablation", "replacement").to_numpy()
        ends = np.array([0.8 * kl.min(), 1.25 * kl[:, 0].max()])
        axes.plot(ends, ends, color=BLACK, linewidth=1, label="as bad as ablation")
        axes.plot(ends, ends / 2, label="half as bad", **DOTTED)
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            _ticks(axis, LogLocator(subs=(1, 2, 5) if ends[1] < 30 * ends[0] else (1,)))
    for group, (colour, name) in GROUPS.items():
        own = wide.filter(group=group)
        axes.plot(own["ablation"], own["replacement"], "o", color=colour, label=name)
    axes.set(xlabel="KL after ablation (nats per token)", ylabel="KL after replacement (nats per token)")
    axes.set_title("Text: others in its place")
    axes.legend(fontsize=8.5)


def measured(table: pl.DataFrame, column: str) -> bool:
    """Tell whether a column holds anything."""
    return table[column].null_count() < len(table)


def _ticks(axis: Axis, at: Locator) -> None:
    axis.set_major_locator(at)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def _by_layer(axes: Axes, label: str, words: str) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=words, ylabel=label)


def _legend_below(picture: Picture, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=len(labels))
