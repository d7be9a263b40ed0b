"""One look for every figure: Okabe and Ito's colours, safe for the colour-blind, and a plain sans-serif."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK, GREY = "#56B4E9", "#CC79A7", "#22262B", "#7A828C"

PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
"""Colours for categories, in the order in which to use them."""
DIVERGING = "RdBu_r"
"""Colour map for signed values; centre it on zero."""
SEQUENTIAL = "cividis"
"""Colour map for values without a sign."""

_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same figure on every machine
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": BLACK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E6EA",
    "grid.linewidth": 0.7,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "text.color": BLACK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "figure.figsize": (7.2, 4.2),
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.12,
    "figure.dpi": 100,
    "image.cmap": SEQUENTIAL,
    "svg.fonttype": "path",
    "svg.hashsalt": "microtome",  # the same figure gives the same bytes
}


@contextmanager
def style() -> Iterator[None]:
    """Draw within microtome's style, without touching the caller's matplotlib settings."""
    import matplotlib as mpl
    from cycler import cycler

    with mpl.rc_context({**_SETTINGS, "axes.prop_cycle": cycler(color=PALETTE)}):
        yield
