"""A run's figures as files, and as images that travel inside the page."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from microtome.base.files import atomic
from microtome.base.style import style
from microtome.lab.study import Figure

if TYPE_CHECKING:
    from microtome.lab.run import Run

FOLDER = "figures"
"""Where a run keeps its figures."""
LARGEST_INLINE_SVG = 1_500_000
"""Bytes beyond which the page carries the PNG: a map of many thousand points is slow to draw as vectors."""


@dataclass(frozen=True)
class Drawn:
    """A figure that has been drawn, with what a page says about it."""

    name: str
    title: str
    caption: str
    source: str
    """The image as a data URI, so that a page needs no other file."""


def write_figures(figures: Iterable[Figure], folder: Path) -> tuple[Drawn, ...]:
    """Draw each figure into ``folder`` as ``<name>.svg`` and ``<name>.png`` (twice the pixels)."""
    drawn = []
    for figure in figures:
        with style():
            picture = figure.draw()
            with atomic(folder / f"{figure.name}.svg") as temporary:
                picture.savefig(temporary, format="svg", metadata={"Date": None})
            with atomic(folder / f"{figure.name}.png") as temporary:
                picture.savefig(temporary, format="png", dpi=200)
        _forget(picture)
        drawn.append(_read(figure, folder))
    return tuple(drawn)


def figures_of(run: "Run") -> tuple[Drawn, ...]:
    """Return the figures of a run: those in its folder, or drawn aside where they are missing."""
    drawn = []
    with TemporaryDirectory() as aside:
        for figure in run.study.figures(run.config, run.tables):
            if not (run.path / FOLDER / f"{figure.name}.svg").is_file():
                drawn += write_figures([figure], Path(aside))
            else:
                drawn.append(_read(figure, run.path / FOLDER))
    return tuple(drawn)


def _read(figure: Figure, folder: Path) -> Drawn:
    svg, png = folder / f"{figure.name}.svg", folder / f"{figure.name}.png"
    if svg.stat().st_size <= LARGEST_INLINE_SVG or not png.is_file():
        source = _data_uri(svg, "image/svg+xml")
    else:
        source = _data_uri(png, "image/png")
    return Drawn(figure.name, figure.title, figure.caption, source)


def _forget(picture: object) -> None:
    """Close a figure that pyplot keeps; one made without pyplot is freed on its own."""
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(picture)


def _data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
