"""The figures of the published analysis: bars of means with standard deviations, over every run."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from microtome.base.files import atomic
from microtome.base.style import BLACK, BLUE, PALETTE, style
from microtome.studies.stability.records.published_statistics import mark
from microtome.studies.stability.records.published_tables import REDUCTION, Cell
from microtome.studies.stability.records.run import millions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "treatment": "Rank reduction by what is trained on, as published",
    "optimizer": "Rank reduction by optimiser, as published",
    "precision": "Rank reduction by precision, as published",
}
BESIDE = (0.08, 0.28)
"""Where runs lie beside their mean, in widths of a place."""


def scaling(cells: Sequence[Cell], path: Path, absolute: bool) -> Path:
    """Draw the reduction against the parameters; cells whose name tells no size are left out."""
    from matplotlib.figure import Figure

    sized = [(size, cell) for cell in cells if (size := millions(cell.model))]
    with style():
        picture = Figure(figsize=(7.2, 4.6), layout="constrained")
        axes = picture.subplots()
        means = []
        for size, cell in sized:
            values = _finite(cell)
            shown = np.abs(values) if absolute else values
            at = size * 1e6 * (1 + 0.5 * np.linspace(*BESIDE, len(values)))
            _dots(axes, at, values, absolute)
            means.append(shown.mean() if len(shown) else np.nan)
            _spread(axes, size * 1e6, shown)
        axes.plot([size * 1e6 for size, _ in sized], means, "o-", color=BLUE, markersize=8)
        axes.set(
            title="Rank reduction by model size, as published",
            xlabel="parameters (log scale)",
            ylabel=_unit(absolute),
        )
        _ticks(axes, sized)
        _zero(axes, absolute)
        _legend(picture)
        return _saved(picture, path)


def comparison(column: str, cells: Sequence[Cell], tests: Mapping[str, Any], path: Path) -> Path:
    """Draw bars of mean absolute reductions with every run, and the p of each pair, uncorrected."""
    from matplotlib.figure import Figure

    with style():
        picture = Figure(figsize=(1.8 + 1.9 * max(2, len(cells)), 4.8), layout="constrained")
        axes = picture.subplots()
        for place, cell in enumerate(cells):
            values = _finite(cell)
            shown = np.abs(values)
            if len(shown):
                axes.bar(place, shown.mean(), width=0.62, color=PALETTE[place % len(PALETTE)], alpha=0.45)
            _spread(axes, place, shown)
            _dots(axes, place + np.linspace(*BESIDE, len(values)), values, True)
        axes.set(
            title=f"{TITLES[column]}\n{_verdict(tests)}", xlabel=column.replace("optimizer", "optimiser")
        )
        axes.set_ylabel(_unit(True))
        axes.set_xticks(range(len(cells)), [f"{cell.label}\nn = {len(cell.runs)}" for cell in cells])
        axes.set_xlim(-0.6, max(len(cells), 2) - 0.4)
        axes.grid(axis="x", visible=False)
        _brackets(axes, cells, tests)
        axes.set_ylim(bottom=0)
        _legend(picture)
        return _saved(picture, path)


def _finite(cell: Cell) -> np.ndarray:
    values = cell.values(REDUCTION)
    return values[np.isfinite(values)]


def _unit(absolute: bool) -> str:
    return f"{'absolute ' if absolute else ''}rank reduction (%)"


def _dots(axes: "Axes", at: np.ndarray, values: np.ndarray, absolute: bool) -> None:
    """Draw runs, hollow where the rank has grown: an absolute value does not tell."""
    for grown in (False, True):
        its = (values < 0) == grown
        shown = np.abs(values[its]) if absolute else values[its]
        face = "none" if grown else BLACK
        axes.plot(
            at[its], shown, "o", color=BLACK, markerfacecolor=face, markersize=4.5, alpha=0.75, clip_on=False
        )


def _spread(axes: "Axes", at: float, shown: np.ndarray) -> None:
    if len(shown) > 1:
        axes.errorbar(at, shown.mean(), shown.std(ddof=1), color=BLACK, capsize=5, linewidth=1.2)


def _ticks(axes: "Axes", sized: Sequence[tuple[float, Cell]]) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.set_xticks(
        [size * 1e6 for size, _ in sized], [f"{cell.label}\nn = {len(cell.runs)}" for _, cell in sized]
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.12)


def _zero(axes: "Axes", absolute: bool) -> None:
    if absolute:
        axes.set_ylim(bottom=0)
    else:
        axes.axhline(0, color=BLACK, linewidth=0.8)


def _verdict(tests: Mapping[str, Any]) -> str:
    """Say what the test of all groups came to."""
    test = tests.get("statistical_test") or tests["statistical_tests"]["anova"]
    if test["p_value"] is None:
        return f"not tested: {test['error']}"
    what = f"t = {test['t_statistic']:.2f}" if "t_statistic" in test else f"F = {test['f_statistic']:.2f}"
    return f"{what}, p = {test['p_value']:.3g} {mark(test['p_value'])}, of signed values"


def _brackets(axes: "Axes", cells: Sequence[Cell], tests: Mapping[str, Any]) -> None:
    """Draw a bracket over each pair that was tested, higher for every next one."""
    pairs = tests.get("statistical_tests", {}).get("pairwise", {})
    top = axes.get_ylim()[1]
    step, level = 0.1 * top, top
    for (left, one), (right, other) in combinations(enumerate(cells), 2):
        p = pairs.get(f"{one.label} vs {other.label}", {}).get("p_value")
        if p is None:
            continue
        axes.plot(
            [left, left, right, right],
            [level, level + 0.2 * step, level + 0.2 * step, level],
            color=BLACK,
            linewidth=1,
        )
        axes.text(
            (left + right) / 2,
            level + 0.25 * step,
            f"p = {p:.3g} {mark(p)}",
            ha="center",
            va="bottom",
            fontsize=9,
        )
        level += step
    axes.set_ylim(top=level + 0.2 * step)


def _legend(picture: "Figure") -> None:
    from matplotlib.lines import Line2D

    dot: dict[str, Any] = {"color": BLACK, "marker": "o", "linestyle": "", "markersize": 4.5}
    handles = [
        Line2D([], [], label="a run", **dot),
        Line2D([], [], label="a run whose rank grew", markerfacecolor="none", **dot),
        Line2D([], [], color=BLACK, marker="_", label="mean ± sd"),
    ]
    picture.legend(handles=handles, loc="outside lower center", ncols=3)


def _saved(picture: "Figure", path: Path) -> Path:
    with atomic(path) as temporary:
        picture.savefig(temporary, format="png", dpi=200)
    return path
