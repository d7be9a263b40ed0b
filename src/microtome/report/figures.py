"""A run's figures as files, and as images that travel inside the page."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from microtome.base.files import atomic
from microtome.lab.study import Figure
from microtome.report.style import style

LARGEST_INLINE_SVG = 1_500_000
"""Bytes beyond which the page carries the PNG: a map of many thousand points is slow to draw as vectors."""


@dataclass(frozen=True)
class Drawn:
    """A figure that has been written, with what the page says about it."""

    name: str
    title: str
    caption: str
    svg: Path
    png: Path

    @property
    def source(self) -> str:
        """The image as a data URI, so that the page needs no other file."""
        if self.svg.stat().st_size <= LARGEST_INLINE_SVG:
            return _data_uri(self.svg, "image/svg+xml")
        return _data_uri(self.png, "image/png")


def write_figures(figures: Iterable[Figure], folder: Path) -> tuple[Drawn, ...]:
    """Draw each figure into ``folder`` as ``<name>.svg`` and ``<name>.png`` (twice the pixels)."""
    drawn = []
    for figure in figures:
        svg, png = folder / f"{figure.name}.svg", folder / f"{figure.name}.png"
        with style():
            picture = figure.draw()
            with atomic(svg) as temporary:
                picture.savefig(temporary, format="svg", metadata={"Date": None})
            with atomic(png) as temporary:
                picture.savefig(temporary, format="png", dpi=200)
            picture.clear()
        _forget(picture)
        drawn.append(Drawn(figure.name, figure.title, figure.caption, svg, png))
    return tuple(drawn)


def _forget(picture: object) -> None:
    """Close a figure that pyplot keeps; one made without pyplot is freed on its own."""
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(picture)


def _data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
