"""The figures of the controlled analysis: signed dots of every run, and the effect against the model's size."""

from typing import TYPE_CHECKING

import numpy as np

from microtome.base.style import BLUE, GREY, VERMILION
from microtome.studies.stability.records.contrasts import Cell
from microtome.studies.stability.records.controlled import Controlled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def signed(without: Controlled, kept: Controlled) -> "Figure":
    """Draw y of every run by cell, hollow where it stopped early, and the mean of the others with its interval."""
    from matplotlib.figure import Figure

    names = [cell.name for cell in kept.cells]
    counted = {cell.name: cell for cell in without.cells}
    picture = Figure(figsize=(7.6, 1.6 + 0.62 * len(names)), layout="constrained")
    axes = picture.subplots()
    axes.axvline(0, color=GREY, linewidth=1)
    for place, cell in enumerate(kept.cells):
        its = counted[cell.name]
        early = [seed not in its.seeds for seed in cell.seeds]
        _dots(axes, cell.values[np.logical_not(early)], place, filled=True)
        _dots(axes, cell.values[early], place, filled=False)
        _interval(axes, its, place)
        _published(axes, claimed(kept, cell.name), place)
    axes.set_yticks(range(len(names)), [_label(counted[name]) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("ln(R after / R before): left of 0 fewer dimensions, right of it more")
    _legend(picture)
    return picture


def claimed(found: Controlled, cell: str) -> float:
    """Return where the published mean of absolute reductions would lie, were they all reductions; else nan."""
    size = found.published.get(cell, np.nan)
    return float(np.log1p(-size / 100)) if size < 100 else np.nan


def _dots(axes: "Axes", values: np.ndarray, place: int, filled: bool) -> None:
    spread = np.linspace(-0.13, 0.13, len(values)) if len(values) > 1 else np.zeros(len(values))
    axes.plot(
        values,
        place + 0.16 + spread,
        "o",
        color=BLUE,
        mfc=BLUE if filled else "white",
        alpha=0.75,
        markersize=5.5,
    )


def _interval(axes: "Axes", cell: Cell, place: int) -> None:
    if len(cell.values):
        low, high = cell.mean.interval()
        axes.plot([low, high], [place - 0.12] * 2, "-", color="black", linewidth=2.4)
        axes.plot([cell.mean.value], [place - 0.12], "o", color="black", markersize=7)


def _published(axes: "Axes", value: float, place: int) -> None:
    axes.plot([value], [place - 0.12], "x", color=VERMILION, markersize=8, markeredgewidth=2)


def _legend(picture: "Figure") -> None:
    from matplotlib.lines import Line2D

    marks = (
        Line2D([], [], color="black", marker="o", linewidth=2.4, label="mean and 95 % interval"),
        Line2D([], [], color=BLUE, marker="o", linestyle="", label="a run"),
        Line2D(
            [], [], color=BLUE, marker="o", linestyle="", mfc="white", label="stopped early, not in the mean"
        ),
        Line2D([], [], color=VERMILION, marker="x", linestyle="", markeredgewidth=2, label="as published"),
    )
    picture.legend(handles=list(marks), loc="outside upper left", ncols=2)


def by_size(without: Controlled) -> "Figure":
    """Draw the mean effect against the parameters, beside the published curve turned to the same scale."""
    from matplotlib.figure import Figure

    fit = without.scaling
    assert fit is not None
    picture = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = picture.subplots()
    axes.axhline(0, color=GREY, linewidth=1)
    means = {cell.name: cell.mean for cell in without.cells}
    x = 10**fit.decades
    y = np.array([means[name].value for name in fit.models])
    ends = np.array([means[name].interval() for name in fit.models]).reshape(-1, 2)
    axes.errorbar(
        x,
        y,
        np.abs(ends.T - y),
        fmt="o",
        color="black",
        capsize=4,
        markersize=7,
        label="signed mean, 95 % interval",
    )
    places = [claimed(without, name) for name in fit.models]
    axes.plot(x, places, "x--", color=VERMILION, markeredgewidth=2, label="as published, absolute")
    if np.isfinite(fit.slope.value) and len(x) > 2:
        line = fit.values.mean() + fit.slope.value * (fit.decades - fit.decades.mean())
        axes.plot(x, line, "-", color=BLUE, label=f"slope {fit.slope.value:+.3f} per decade")
    axes.set_xscale("log")
    axes.set_xticks(x, [_label(_of(without, name)) for name in fit.models], minor=False)
    axes.minorticks_off()
    axes.set(xlabel="parameters", ylabel="ln(R after / R before)")
    axes.margins(x=0.15)
    picture.legend(loc="outside upper left", ncols=2)
    return picture


def _label(cell: Cell) -> str:
    """Return a cell's name and runs; a dollar in it is no formula."""
    return f"{cell.name} (n = {len(cell.values)})".replace("$", r"\$")


def _of(found: Controlled, name: str) -> Cell:
    return next(cell for cell in found.cells if cell.name == name)


def healed(found: Controlled) -> "Figure":
    """Draw damage and healing of every run, each on its own scale."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    picture = Figure(figsize=(7.6, 4.6), layout="constrained")
    for axes, cells, label in zip(
        picture.subplots(2, 1),
        (found.cells[:1], found.cells[1:]),
        (
            "ln(R damaged / R original): left of 0 rank was lost",
            "ln(R healed / R damaged): right of 0 rank came back",
        ),
        strict=True,
    ):
        axes.axvline(0, color=GREY, linewidth=1)
        for place, cell in enumerate(cells):
            _dots(axes, cell.values, place, filled=True)
            _interval(axes, cell, place)
        axes.set_yticks(range(len(cells)), [_label(cell) for cell in cells])
        axes.set_ylim(len(cells) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(label)
    return picture
