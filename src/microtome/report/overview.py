"""One picture of several runs: beside each prediction's controlled verdict, what the original's rules made of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from microtome.base import style
from microtome.lab.store_index import models_of
from microtome.lab.study import Figure
from microtome.lab.verdict import Outcome
from microtome.report import words
from microtome.report.content import Answer, Content

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

Chip = tuple[str, str, str]
"""A sign, the colour of its square, and what both mean."""

YES: Chip = ("✓", style.BLUE, "claimed")
NO: Chip = ("✕", style.VERMILION, "denied")
SPLIT: Chip = ("±", style.PURPLE, "rules disagree")
SILENT: Chip = ("", "#EEF0F2", "no rule decides")
CONTROLLED: dict[Outcome, Chip] = {
    Outcome.SUPPORTED: (words.MARKS[Outcome.SUPPORTED], style.BLUE, "supported"),
    Outcome.FALSIFIED: (words.MARKS[Outcome.FALSIFIED], style.VERMILION, "falsified"),
    Outcome.INCONCLUSIVE: (words.MARKS[Outcome.INCONCLUSIVE], style.GREY, "inconclusive"),
    Outcome.INSUFFICIENT: (words.MARKS[Outcome.INSUFFICIENT], "#C2C8CF", "too few data"),
    Outcome.INVALID: (words.MARKS[Outcome.INVALID], style.BLACK, "a control failed"),
}

BLOCK = 1.55
"""Height of a study's block, in inches: its title, two rows of squares, and slanted names below."""
SQUARE = 0.32
"""Side of a square, in inches."""


def overview(pages: Sequence[Content]) -> Figure:
    """Return the picture of all predictions of finished runs: a block for each run, a column for each prediction."""
    return Figure(
        "overview",
        "Two answers to every prediction",
        "Each column is a prediction. Above, what the original's own rules make of the measurements; below, the "
        "verdict of microtome, from an interval, a null and controls. Where the colours differ, the answers do.",
        lambda: _draw(pages),
    )


def published(answer: Answer) -> Chip:
    """Return what the original's rules on a prediction make of it together."""
    claims = {p.reading.claims for p in answer.published} - {None}
    if len(claims) > 1:
        return SPLIT
    return YES if True in claims else NO if False in claims else SILENT


def _draw(pages: Sequence[Content]) -> "MatplotlibFigure":
    from matplotlib.figure import Figure as MatplotlibFigure

    most = max(len(page.answers) for page in pages)
    width, height = max(1.9 + 0.5 * most, 8.6), BLOCK * len(pages) + 0.9
    figure = MatplotlibFigure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    for row, page in enumerate(pages):
        _block(ax, page, 0.05 + BLOCK * row)
    _legend(ax, BLOCK * len(pages) + 0.15)
    return figure


def _block(ax: "Axes", page: Content, top: float) -> None:
    models = " and ".join(map(words.model, models_of(page.run.record.config)))
    title = ax.text(0.1, top + 0.14, page.run.study.title, weight="bold", va="center")
    ax.annotate(
        models,
        (1, 0.5),
        xycoords=title,
        xytext=(9, 0),
        textcoords="offset points",
        size=9,
        va="center",
        color=style.GREY,
    )
    for line, name in enumerate(("as published", "controlled")):
        ax.text(1.3, top + 0.5 + 0.37 * line, name, size=9.5, ha="right", va="center")
    for column, answer in enumerate(page.answers):
        x = 1.65 + 0.5 * column
        for line, chip in enumerate((published(answer), CONTROLLED[answer.verdict.outcome])):
            _square(ax, x, top + 0.5 + 0.37 * line, chip)
        ax.text(
            x + 0.1, top + 1.1, answer.prediction.id, size=8, rotation=-22, va="top", rotation_mode="anchor"
        )


def _square(ax: "Axes", x: float, y: float, chip: Chip) -> None:
    from matplotlib.patches import Rectangle

    sign, colour, _ = chip
    ax.add_patch(Rectangle((x - SQUARE / 2, y - SQUARE / 2), SQUARE, SQUARE, color=colour, linewidth=0))
    ax.text(x, y, sign, color="white", weight="bold", size=11, ha="center", va="center")


def _legend(ax: "Axes", top: float) -> None:
    for line, (name, chips) in enumerate(
        (("as published", (YES, NO, SPLIT, SILENT)), ("controlled", tuple(CONTROLLED.values())))
    ):
        y = top + 0.1 + 0.37 * line
        ax.text(1.3, y, f"{name}:", size=9, ha="right", va="center", color=style.GREY)
        for column, chip in enumerate(chips):
            x = 1.65 + 1.35 * column
            _square(ax, x, y, chip)
            ax.text(x + 0.24, y, chip[2], size=9, va="center")
