"""How the figures of head-spectra are drawn, each from the run's tables of one model (or, for ``models``, of all)."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import MaxNLocator

from microtome.base.style import BLACK, BLUE, DIVERGING, GREEN, GREY, ORANGE, SEQUENTIAL, VERMILION
from microtome.studies.head_spectra.protocol import PARTIAL_BELOW, PREDICTIONS, SUPPORTED_BELOW

Own = Mapping[str, pl.DataFrame]
"""A run's tables with the rows of one subject."""

ROLES = {
    "model": (BLUE, "the model"),
    "untrained": (ORANGE, "untrained twin"),
    "planted": (GREEN, "planted copies"),
}


def _grid(heads: pl.DataFrame, column: str) -> np.ndarray:
    """Return a column of the model's heads as ``[layers, heads]``."""
    return heads[column].to_numpy().reshape(heads["layer"].n_unique(), -1)


def _map(axes: Axes, values: np.ndarray, title: str, label: str, **style: object) -> None:
    image = axes.imshow(values, aspect="auto", interpolation="nearest", **style)  # type: ignore[arg-type]
    axes.set(title=title, xlabel="head", ylabel="layer")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, label=label)


def maps(own: Own, anchor: int) -> Picture:
    """Draw T and the residual of every head, layer by layer."""
    heads = own["heads"].filter(role="model")
    scale, residual = _grid(heads, "T"), _grid(heads, "spectral_residual")
    picture = Picture(figsize=(9.0, 1.9 + 0.14 * len(scale)), layout="constrained")
    left, right = picture.subplots(1, 2)
    top = max(abs(np.log2(scale)).max(), 0.1)
    norm = TwoSlopeNorm(0, -top, top)
    _map(left, np.log2(scale), "T", "log2 of T (0: as the anchor)", cmap=DIVERGING, norm=norm)
    _map(right, residual, "Residual", "|σ − T σ_anchor| / |σ|", cmap=SEQUENTIAL, vmin=0)
    for axes in (left, right):
        axes.annotate("anchor", (1.0, anchor), xycoords=("axes fraction", "data"), xytext=(3, 0),
                      textcoords="offset points", va="center", fontsize=8.5)  # fmt: skip
    return picture


def shapes(own: Own) -> Picture:
    """Draw the cosines of shapes between layers, and their means by head and by layer."""
    picture = Picture(figsize=(12.0, 4.2), layout="constrained")
    left, middle, right = picture.subplots(1, 3, width_ratios=(1.25, 1, 1.15))
    pairs = own["shape_cosines"].filter(role="model")["cosine"].to_numpy()
    side = round(len(pairs) ** 0.5)
    image = left.imshow(pairs.reshape(side, side), cmap=SEQUENTIAL, vmax=1)
    left.set(title="Between layers", xlabel="layer", ylabel="layer")
    left.grid(visible=False)
    picture.colorbar(image, ax=left, label="mean cosine over heads", shrink=0.75)
    for role, (colour, name) in ROLES.items():
        by_head, by_layer = (own[table].filter(role=role) for table in ("shape_by_head", "layers"))
        if not by_head.is_empty():
            middle.plot(by_head["head"], by_head["cosine"], "o", color=colour, label=name)
            right.plot(by_layer["layer"], by_layer["cosine_across_heads"], color=colour, label=name)
    middle.set(title="Each head across layers", xlabel="head", ylabel="mean cosine over pairs of layers")
    right.set(title="Heads within a layer", xlabel="layer", ylabel="mean cosine over pairs of heads")
    for axes in (middle, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend_below(picture, right)
    return picture


def residuals(own: Own, anchor: int) -> Picture:
    """Draw mean and maximum residual by layer, with the original's thresholds."""
    picture, axes = _canvas()
    model = own["layers"].filter(role="model")
    for role, (colour, name) in ROLES.items():
        rows = own["layers"].filter(role=role)
        if not rows.is_empty():
            axes.plot(rows["layer"], rows["mean_residual"], color=colour, label=f"{name}, mean")
    axes.plot(
        model["layer"], model["max_residual"], ":", color=BLUE, linewidth=1.2, label="the model, largest"
    )
    for at, words, dashes in (
        (PARTIAL_BELOW, "PARTIALLY SUPPORTED below", "-."),
        (SUPPORTED_BELOW, "SUPPORTED below", "--"),
    ):
        axes.axhline(at, color=BLACK, linewidth=1, linestyle=dashes, label=f"{words} {at:g}")
    axes.set_ylim(bottom=-0.02)
    _by_layer(axes, "residual |σ − T σ_anchor| / |σ|", anchor)
    _legend(axes)
    return picture


def entropies(own: Own) -> Picture:
    """Draw every head's T and operator norm against its mean attention entropy, as the original correlates them."""
    picture = Picture(figsize=(9.4, 4.0), layout="constrained")
    left, right = picture.subplots(1, 2, sharey=True)
    heads = own["heads"].filter(role="model")
    for axes, column, label in (
        (left, "T", "T"),
        (right, "operator_norm", "largest singular value of the metric"),
    ):
        points = axes.scatter(
            heads[column], heads["entropy"], c=heads["layer"], cmap=SEQUENTIAL, s=16, linewidths=0
        )
        axes.set(xscale="log", xlabel=f"{label} (log scale)")
    left.set_ylabel("mean attention entropy (nats)")
    picture.colorbar(points, ax=right, label="layer")  # pyright: ignore[reportPossiblyUnboundVariable]
    return picture


def null(own: Own) -> Picture:
    """Draw the mean residual of random models beside those of the three roles."""
    picture, axes = _canvas(7.6, 3.4)
    draws = own["null"]["residual"].to_numpy()
    found = own["summary"].filter(quantity="mean residual without the anchor")
    values = {role: value for role, value in zip(found["role"], found["value"], strict=True) if value > 0}
    low, high = min(draws.min(), *values.values()), max(draws.max(), *values.values())
    bins = np.geomspace(low / 1.3, high * 1.3, 120)
    axes.hist(draws, bins, color=GREY, label=f"{len(draws)} random models")
    for role, value in values.items():
        colour, name = ROLES[role]
        axes.axvline(value, color=colour, label=f"{name}: {value:.3g}")
    axes.set(xscale="log", xlabel="mean residual without the anchor (log scale)", ylabel="random models")
    _legend(axes)
    return picture


def operators(own: Own, anchor: int) -> Picture:
    """Draw the residuals of the operators' own fits by layer, beside those of random bases."""
    picture = Picture(figsize=(10.4, 4.2), layout="constrained")
    left, right = picture.subplots(1, 2, sharey=True)
    rows, planted = (
        own["layers"].filter(pl.col("role") == role, ~pl.col("is_anchor")) for role in ("model", "planted")
    )
    left.plot(rows["layer"], rows["residual_same"], color=VERMILION, label="same head of the anchor")
    left.plot(rows["layer"], rows["residual"], color=BLUE, label="best head of the anchor")
    left.plot(rows["layer"], rows["random_residual"], "--", color=GREY, label="random bases")
    left.plot(planted["layer"], planted["residual"], color=GREEN, label="planted copies")
    right.plot(rows["layer"], rows["aligned_residual"], color=BLUE, label="best head, rotated")
    right.plot(
        rows["layer"], rows["random_aligned_residual"], "--", color=GREY, label="random bases, rotated"
    )
    right.plot(planted["layer"], planted["aligned_residual"], color=GREEN, label="planted copies, rotated")
    left.set(title="As they are", ylim=(-0.03, 1.05))
    right.set(title="After the best rotation found")
    _by_layer(left, "residual |W − T V| / |W|", anchor)
    _by_layer(right, "", anchor)
    for axes in (left, right):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    return picture


def corrections(own: Own, tolerance: float) -> Picture:
    """Draw what is left after a correction of each rank, with the anchor and without it."""
    picture, axes = _canvas()
    for role, (colour, name) in ROLES.items():
        rows = own["corrections"].filter(role=role)
        if not rows.is_empty():
            axes.plot(rows["rank"], rows["residual"], color=colour, label=f"{name}: on top of the anchor")
            axes.plot(rows["rank"], rows["own_residual"], "--", color=colour, label=f"{name}: alone")
            axes.set_xlim(-1, 1.05 * np.count_nonzero(rows["own_residual"]))
    axes.axhline(tolerance, color=BLACK, linestyle=":", linewidth=1, label=f"enough ({tolerance:g})")
    axes.set(xlabel="rank of the correction", ylabel="mean residual |W − T V − D| / |W|")
    _legend(axes)
    return picture


def attention(own: Own, anchor: int) -> Picture:
    """Draw normalised entropy and attention on the first token by layer, for the model and its untrained twin."""
    labels = {"normalised": "entropy / log of visible keys", "first_token": "attention on the first token"}
    panels = [name for name in labels if measured(own["layers"], name)]
    picture = Picture(figsize=(4.8 * len(panels), 3.8), layout="constrained")
    for axes, column in zip(picture.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for role in ("model", "untrained"):
            colour, name = ROLES[role]
            rows, heads = (own[table].filter(role=role).drop_nulls(column) for table in ("layers", "heads"))
            axes.plot(heads["layer"], heads[column], ".", color=colour, markersize=3, alpha=0.6)
            axes.plot(rows["layer"], rows[column], color=colour, label=name)
        axes.set_ylim(-0.02, 1.05)
        _by_layer(axes, labels[column], anchor)
    _legend_below(picture, picture.axes[0])
    return picture


def measured(table: pl.DataFrame, column: str) -> bool:
    """Tell whether a column is there and holds anything."""
    return column in table.columns and table[column].null_count() < len(table)


def models(verdicts: pl.DataFrame, subjects: Sequence[str]) -> Picture:
    """Draw each claim's estimate and interval for every model, over the two regions of each claim."""
    claims = [p for p in PREDICTIONS if not verdicts.filter(prediction=p.id)["value"].is_null().all()]
    picture = Picture(figsize=(9.4, (0.75 + 0.28 * len(subjects)) * len(claims) + 0.3), layout="constrained")
    for axes, prediction in zip(np.ravel(picture.subplots(len(claims), 1)), claims, strict=True):
        rows = verdicts.filter(prediction=prediction.id)
        at = [subjects.index(subject) for subject in rows["subject"]]
        widths = rows.select(below=pl.col("value") - pl.col("low"), above=pl.col("high") - pl.col("value"))
        axes.errorbar(rows["value"], at, xerr=widths.to_numpy().T.clip(0), fmt="o", color=BLACK, capsize=3)
        borders = np.ravel((prediction.supported_if.bounds, prediction.falsified_if.bounds))
        for border in borders[np.isfinite(borders)]:
            axes.plot(border, -0.5, alpha=0)  # so that both regions are in sight
        left, right = axes.get_xlim()
        for region, colour in ((prediction.supported_if, BLUE), (prediction.falsified_if, VERMILION)):
            for low, high in region.bounds:
                axes.axvspan(
                    max(low, left), min(high, right), color=colour, alpha=0.14, linewidth=0, zorder=0
                )
        axes.set_xlim(left, right)
        axes.set_yticks(range(len(subjects)), subjects)
        axes.set_ylim(len(subjects) - 0.4, -0.6)
        axes.set_title(f"{prediction.id} ({prediction.scale})", fontsize=10)
        axes.grid(visible=False, axis="y")
    return picture


def _canvas(width: float = 7.2, height: float = 4.2) -> tuple[Picture, Axes]:
    picture = Picture(figsize=(width, height))
    return picture, picture.subplots()


def _by_layer(axes: Axes, label: str, anchor: int) -> None:
    axes.axvline(anchor, color=GREY, linewidth=1, linestyle=":", zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer (dotted: the anchor)")
    axes.set_ylabel(label)


def _legend(axes: Axes) -> None:
    """Put the legend beside the data, which it must not cover."""
    axes.legend(bbox_to_anchor=(1.01, 1), loc="upper left")


def _legend_below(picture: Picture, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=len(labels))
