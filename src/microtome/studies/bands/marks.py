"""How arms and bands look in every figure: their colours, marks and legends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from microtome.base.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION

MAIN = ("baseline", "full")
"""Arms that the original compares; they are drawn above the others."""
LOOKS = {
    "baseline": (BLACK, "o", "-"),
    "full": (VERMILION, "D", "-"),
    "no-wormhole": (BLUE, "s", "-"),
    "bands-only": (GREEN, "^", "-"),
    "rates-only": (ORANGE, "v", "-"),
    "equal-widths": (SKY, "P", "--"),
    "random-partition": (PURPLE, "X", "--"),
    "reversed-rates": (GREY, "<", "--"),
    "shuffled-rates": (GREY, ">", ":"),
    "equal-rates": (GREEN, "h", ":"),
    "filter-bank": (BLUE, "*", ":"),
}
"""Colour, marker and line of each arm; those of controls are broken."""


def arms_in(table: pl.DataFrame) -> list[str]:
    """Return a table's arms in the order in which they are drawn."""
    there = set(table["arm"]) if "arm" in table.columns else set()
    return [arm for arm in LOOKS if arm in there]


def line_of(arm: str) -> dict[str, Any]:
    """Return matplotlib's options for an arm's line."""
    colour, marker, line = LOOKS[arm]
    main = arm in MAIN
    return {
        "color": colour, "marker": marker, "linestyle": line, "linewidth": 2.4 if main else 1.1,
        "markersize": 5.5 if main else 4, "zorder": 3 if main else 2,
    }  # fmt: skip


def legend(picture: Picture, arms: Sequence[str], extra: Sequence[Line2D] = ()) -> None:
    """Name the arms below the figure."""
    handles = [*(Line2D([], [], label=arm, **line_of(arm)) for arm in arms), *extra]
    rows = -(-len(handles) // 5)
    picture.legend(handles=handles, loc="outside lower center", ncols=-(-len(handles) // rows))


def by_arm(axes: Axes, arms: Sequence[str]) -> None:
    """Write the arms down the axis, those of the original's comparison in bold."""
    axes.set_yticks(range(len(arms)), list(arms))
    for label, arm in zip(axes.get_yticklabels(), arms, strict=True):
        label.set_fontweight("bold" if arm in MAIN else "normal")
    axes.set_ylim(len(arms) - 0.4, -0.6)


def dots(
    axes: Axes,
    arms: Sequence[str],
    values: Callable[[str], pl.Series],
    filled: bool = True,
    shift: float = 0.0,
) -> None:
    """Draw a row for each arm: a dot for each model and a stroke at their mean."""
    for place, arm in enumerate(arms):
        known, colour = values(arm).drop_nulls().to_numpy(), LOOKS[arm][0]
        if not len(known):
            undefined(axes, place + shift, "undefined")
            continue
        at = np.full(len(known), place + shift)
        axes.plot(known, at, "o", color=colour, markerfacecolor=colour if filled else "white", alpha=0.85)
        axes.plot([known.mean()] * 2, [at[0] - 0.16, at[0] + 0.16], color=colour, linewidth=2)
    by_arm(axes, arms)


def undefined(axes: Axes, place: float, word: str) -> None:
    """Write a word where a row has no value, so that nothing is not read as 0."""
    axes.text(0.02, place, word, color=GREY, va="center", fontsize=9, transform=axes.get_yaxis_transform())


def by_band(
    axes: Axes,
    table: pl.DataFrame,
    column: str,
    colour: str,
    *,
    filled: bool = True,
    line: Mapping[str, Any] | None = None,
    dots: bool = True,
) -> None:
    """Draw a column by band: a dot for each seed, a line through the means."""
    known = table.drop_nulls(column)
    means = known.group_by("band").agg(pl.col(column).mean()).sort("band")
    if dots:
        face, size = (colour, 4.0) if filled else ("white", 3.5)
        axes.plot(
            known["band"], known[column], "o", color=colour, markerfacecolor=face, markersize=size, alpha=0.6
        )
    axes.plot(
        means["band"], means[column], **(line or {"color": colour, "linewidth": 1.4 if filled else 0.7})
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _colours(numbers: Sequence[int]) -> dict[int, Any]:
    """Return an ordered scale; its lightest end, unreadable on white, is left out."""
    return dict(zip(numbers, colormaps["viridis"](np.linspace(0, 0.92, len(numbers))), strict=True))


def along_training(
    axes: Axes, table: pl.DataFrame, numbers: Sequence[int], column: str, look: str = ".-"
) -> None:
    """Draw a column by step, a line for each band."""
    for band, colour in _colours(numbers).items():
        own = table.filter(band=band)
        axes.plot(own["step"], own[column], look, color=colour, linewidth=1.2)


def band_legend(picture: Picture, numbers: Sequence[int], extra: Sequence[Line2D] = ()) -> None:
    """Name the bands below the figure."""
    lines = [Line2D([], [], color=c, label=f"band {band}") for band, c in _colours(numbers).items()]
    handles = [*lines, *extra]
    picture.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 8), columnspacing=1.2)


def filling_legend(picture: Picture, controlled: str, published: str) -> None:
    """Say below the figure that filled dots are controlled and open ones as published."""
    handles = [
        Line2D([], [], color=BLACK, marker="o", markerfacecolor=face, linestyle="", label=label)
        for label, face in ((controlled, BLACK), (published, "white"))
    ]
    picture.legend(handles=handles, loc="outside lower center", ncols=2)
