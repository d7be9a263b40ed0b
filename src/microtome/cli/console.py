"""Output: plain lines and rich tables, which read as well in a pipe as in a terminal."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH_IN_A_PIPE = 160
"""Columns where there is no terminal to ask; ``COLUMNS`` overrides it."""

COLOURS = {
    "SUPPORTED": "blue",
    "FALSIFIED": "red",
    "INCONCLUSIVE": "default",
    "INSUFFICIENT": "yellow",
    "INVALID": "magenta",
    "finished": "green",
    "failed": "red",
}


def console() -> "Console":
    """Return a console for stdout that colours a terminal and nothing else."""
    from rich.console import Console

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=WIDTH_IN_A_PIPE if piped else None, highlight=False, soft_wrap=False)


def say(*lines: str) -> None:
    """Print lines as they are: no markup is read in them and nothing is wrapped."""
    for line in lines:
        print(line)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table; words with a colour of their own (outcomes, states) are coloured in a terminal."""
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*(_cell(value) for value in row))
    console().print(grid)


def _cell(value: object) -> "RenderableType":
    from rich.text import Text

    text = "–" if value is None else str(value)
    return Text(text, style=COLOURS.get(text.split(" ")[0], ""))


def megabytes(size: int) -> str:
    """Write a number of bytes as ``98 MB``."""
    return f"{size / 1e6:,.0f} MB"
