"""How the figures of stability are drawn, each from the run's tables of one model (or, for ``sizes``, of all)."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from microtome.base.style import BLACK, BLUE, GREEN, GREY, ORANGE, PALETTE, PURPLE, VERMILION
from microtome.lab.claims import Tables
from microtome.measure.effects import half_width
from microtome.studies.stability.protocol import IMMUNE

CHANGE = "change of ln rank (0: none)"
LOSS = "rise of held-out loss (nats per token)"
MARKS = "osD^vP*X<"


def forest(
    rows: Sequence[tuple[str, np.ndarray, str]], label: str, margin: float | None = None, zero: bool = True
) -> Picture:
    """Draw, line by line, the values of each run as dots, and their mean with its 95 % interval; a line at ``zero``."""
    picture = Picture(figsize=(8.4, 1.3 + 0.34 * len(rows)), layout="constrained")
    axes = picture.subplots()
    if margin is not None:
        axes.axvspan(-margin, margin, color=GREY, alpha=0.13, linewidth=0)
    if zero:
        axes.axvline(0, color=BLACK, linewidth=0.9)
    for place, (_, values, colour) in enumerate(rows):
        axes.plot(values, np.full(len(values), place + 0.18), "o", color=colour, alpha=0.45, markersize=4)
        reach = half_width(values, 0.95) if len(values) > 1 else 0.0
        mean = values.mean()
        axes.plot([mean - reach, mean + reach], [place - 0.12] * 2, color=colour, linewidth=2.2)
        axes.plot(mean, place - 0.12, "D", color=colour, markersize=5.5)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.grid(visible=False, axis="y")
    return picture


def arms(own: Tables, column: str, label: str, margin: float | None) -> Picture:
    """Draw one number of every arm as trained, ordered as the plan has them."""
    trained = own["arms"].filter(pl.col("dose") == "trained").drop_nulls(column)
    tunings = trained["tuning"].unique(maintain_order=True).to_list()
    rows = [
        (
            f"{treatment.replace('_', ' ')}, {optimizer}, {tuning}",
            group[column].to_numpy(),
            PALETTE[tunings.index(tuning) % len(PALETTE)],
        )
        for (treatment, optimizer, tuning), group in trained.group_by(
            "treatment", "optimizer", "tuning", maintain_order=True
        )
    ]
    return forest(rows, label, margin)


def comparisons(own: Tables) -> Picture:
    """Draw the value of every comparison in ln rank, run by run."""
    colours = {"shield": GREEN, "lora": GREEN, "immune": GREEN, "adam": ORANGE, "sgd": ORANGE}
    rows = [
        (name, group["value"].to_numpy(), colours.get(name.partition("-")[0], BLUE))
        for (name,), group in own["comparisons"].group_by("prediction", maintain_order=True)
        if name != "harm"
    ]
    return forest(rows, "difference of the change of ln rank", IMMUNE)


def doses(own: Tables) -> Picture:
    """Draw rank and loss against the size of the update, every run of every arm of the first tuning."""
    picture = Picture(figsize=(9.6, 4.2), layout="constrained")
    left, right = picture.subplots(1, 2)
    rows = own["arms"].filter((pl.col("relative") > 0) & (pl.col("tuning") == pl.col("tuning").first()))
    treatments = rows["treatment"].unique(maintain_order=True).to_list()
    for number, treatment in enumerate(treatments):
        its = rows.filter(treatment=treatment)
        style = {"color": PALETTE[number % len(PALETTE)], "marker": MARKS[number % len(MARKS)]}
        for axes, column in ((left, "effect"), (right, "rise")):
            known = its.drop_nulls(column)
            axes.plot(known["relative"], known[column], linestyle="", alpha=0.75, markersize=5,
                      label=treatment.replace("_", " "), **style)  # fmt: skip
    for axes, label in ((left, CHANGE), (right, LOSS)):
        axes.set(xscale="log", xlabel="size of the update |dW| / |W|", ylabel=label)
        axes.axhline(0, color=BLACK, linewidth=0.9)
    right.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return picture


def layers(own: Tables) -> Picture:
    """Draw the main arm's change of rank at every layer, by rows that are kept, and by measure."""
    picture = Picture(figsize=(9.6, 4.2), layout="constrained")
    left, right = picture.subplots(1, 2, sharey=True)
    rows = own["layers"].drop_nulls("effect")
    selections = {"all": (VERMILION, "all rows"), "without first": (ORANGE, "without first tokens"),
                  "kept": (BLUE, "without massive rows too")}  # fmt: skip
    for name, (colour, label) in selections.items():
        for centred, dashes in ((True, "-"), (False, ":")):
            _sweep(left, rows.filter(selection=name, centred=centred, measure="entropy_rank"), colour, dashes,
                   f"{label}, {'centred' if centred else 'not centred'}")  # fmt: skip
    kept = rows.filter(selection="kept", centred=True)
    for colour, measure in zip(PALETTE, kept["measure"].unique(maintain_order=True), strict=False):
        _sweep(right, kept.filter(measure=measure), colour, "-", measure.replace("_", " "))
    for axes, title in ((left, "Entropy rank, by rows"), (right, "By measure, kept rows, centred")):
        axes.set(title=title, xlabel="blocks passed", ylabel=CHANGE if axes is left else "")
        axes.axhline(0, color=BLACK, linewidth=0.9)
        axes.legend(fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    return picture


def _sweep(axes: Axes, rows: pl.DataFrame, colour: str, dashes: str, label: str) -> None:
    means = rows.group_by("layer").agg(pl.col("effect").mean()).sort("layer")
    if not means.is_empty():
        axes.plot(means["layer"], means["effect"], dashes, color=colour, label=label)


def finite(inputs: pl.DataFrame) -> pl.DataFrame:
    """Return the inputs whose decades are; without a certified direction all of a gradient lies outside."""
    return inputs.filter(pl.col("decades").is_finite())


def shares(own: Tables) -> Picture:
    """Draw how far outside the top curvature directions each input's gradient lies."""
    rows = [
        (treatment.replace("_", " "), group["decades"].to_numpy(), BLUE if treatment == "optimised" else GREY)
        for (treatment,), group in finite(own["inputs"]).group_by("treatment", maintain_order=True)
    ]
    return forest(rows, "decades: −log10 of the gradient's share inside the top directions", zero=False)


def signs(own: Tables) -> Picture:
    """Draw every published run's signed reduction, beside the mean of absolute values."""
    rows = own["published"].drop_nulls("reduction")
    picture = Picture(figsize=(8.4, 1.3 + 0.4 * rows.n_unique(["treatment", "optimizer", "precision"])),
                      layout="constrained")  # fmt: skip
    axes = picture.subplots()
    axes.axvline(0, color=BLACK, linewidth=0.9)
    names = []
    for place, (cell, group) in enumerate(
        rows.group_by("treatment", "optimizer", "precision", maintain_order=True)
    ):
        values = group["reduction"].to_numpy()
        names.append(", ".join(map(str, cell)).replace("_", " "))
        first = place == 0
        axes.plot(values, np.full(len(values), place), "o", color=BLUE, alpha=0.6,
                  label="a run, signed" if first else None)  # fmt: skip
        axes.plot(values.mean(), place, "|", color=BLUE, markersize=17, markeredgewidth=2.5,
                  label="their mean" if first else None)  # fmt: skip
        axes.plot(np.abs(values).mean(), place, "|", color=VERMILION, markersize=17, markeredgewidth=2.5,
                  label="mean of absolute values, as published" if first else None)  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("rank reduction (%; negative: rank rose)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=9)
    return picture


def healing(own: Tables) -> Picture:
    """Draw rank and loss of every damaged model along its fine-tuning on ordinary text."""
    picture = Picture(figsize=(9.6, 3.6), layout="constrained")
    left, right = picture.subplots(1, 2)
    for (_,), group in own["healing"].sort("step").group_by("run", maintain_order=True):
        for axes, column in ((left, "effect"), (right, "rise")):
            known = group.drop_nulls(column)
            axes.plot(
                known["step"], known[column], "o-", color=PURPLE, alpha=0.7, linewidth=1.2, markersize=4
            )
    for axes, label in ((left, CHANGE), (right, LOSS)):
        axes.set(xlabel="steps on ordinary text", ylabel=label)
        axes.axhline(0, color=BLACK, linewidth=0.9)
    left.annotate("healthy model", (1, 0), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                  textcoords="offset points", ha="right", fontsize=8.5)  # fmt: skip
    return picture


def sizes(table: pl.DataFrame) -> Picture:
    """Draw the mean effect of the main arm against the models' size."""
    picture = Picture(layout="constrained")
    axes = picture.subplots()
    for number, ((family,), group) in enumerate(table.group_by("family", maintain_order=True)):
        axes.plot(group["parameters"], group["effect"], linestyle="", marker=MARKS[number % len(MARKS)],
                  color=PALETTE[number % len(PALETTE)], label=str(family), markersize=8)  # fmt: skip
    for subject, parameters, effect in table.select("subject", "parameters", "effect").iter_rows():
        axes.annotate(subject, (parameters, effect), xytext=(6, 5), textcoords="offset points", fontsize=8.5)
    axes.axhline(0, color=BLACK, linewidth=0.9)
    axes.set(xscale="log", xlabel="parameters", ylabel=f"mean {CHANGE}")
    axes.margins(x=0.2, y=0.15)
    axes.legend(title="family")
    return picture
