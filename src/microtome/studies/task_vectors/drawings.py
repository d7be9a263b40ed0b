"""How the figures of task-vectors are drawn, each from the run's tables alone."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from microtome.base.style import BLUE, DIVERGING, GREY, ORANGE, PALETTE, VERMILION

KIND_COLOURS = {"task": BLUE, "wrong task": VERMILION, "random": GREY}


def _canvas(width: float = 7.2, height: float = 4.2) -> tuple[Picture, Axes]:
    picture = Picture(figsize=(width, height))
    return picture, picture.subplots()


def heatmap(cosines: pl.DataFrame, tasks: list[str]) -> Picture:
    """Draw the tasks' cosines with their values."""
    picture, axes = _canvas(5.6, 4.6)
    k = len(tasks)
    matrix = cosines["cosine"].to_numpy().reshape(k, k)
    image = axes.imshow(matrix, cmap=DIVERGING, vmin=-1, vmax=1)
    for i in range(k):
        for j in range(k):
            dark = abs(matrix[i, j]) > 0.6
            axes.text(
                j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", color="white" if dark else "black"
            )
    axes.set_xticks(range(k), tasks, rotation=30, ha="right")
    axes.set_yticks(range(k), tasks)
    axes.grid(visible=False)
    picture.colorbar(image, ax=axes, label="cosine similarity")
    return picture


def blocks(cosines: pl.DataFrame, tasks: list[str], pairs: int) -> Picture:
    """Draw the prompts' cosines, sorted by task, as the original sorts them."""
    picture, axes = _canvas(6.6, 5.6)
    n = len(tasks) * pairs
    order = np.arange(n).reshape(pairs, len(tasks)).T.ravel()
    matrix = cosines["cosine"].to_numpy().reshape(n, n)[np.ix_(order, order)]
    image = axes.imshow(matrix, cmap=DIVERGING, vmin=-1, vmax=1)
    centres = [pairs * i + (pairs - 1) / 2 for i in range(len(tasks))]
    axes.set_xticks(centres, tasks, rotation=30, ha="right")
    axes.set_yticks(centres, tasks)
    for edge in range(pairs, n, pairs):
        axes.axhline(edge - 0.5, color="white", linewidth=1)
        axes.axvline(edge - 0.5, color="white", linewidth=1)
    axes.grid(visible=False)
    axes.set_xlabel("task word; within it, the operand pairs")
    picture.colorbar(image, ax=axes, label="cosine similarity")
    return picture


def scatter(points: pl.DataFrame, tasks: list[str], named: bool) -> Picture:
    """Draw points on two principal components, one colour and marker a task."""
    picture, axes = _canvas(6.4, 4.6)
    for task, colour, marker in zip(tasks, _cycle(PALETTE), _cycle("osD^vPX*h"), strict=False):
        own = points.filter(pl.col("task") == task)
        axes.scatter(
            own["x"], own["y"], s=70 if named else 38, color=colour, marker=marker, label=task, zorder=3
        )
        if named:
            axes.annotate(task, (own["x"][0], own["y"][0]), xytext=(8, 6), textcoords="offset points")
    axes.margins(0.18)
    axes.set_xlabel(f"principal component 1 ({points['share_x'][0]:.0%} of variance)")
    axes.set_ylabel(f"principal component 2 ({points['share_y'][0]:.0%} of variance)")
    if not named:
        _legend(axes, "task")
    return picture


def _cycle(values: tuple[str, ...] | str) -> Iterator[str]:
    while True:
        yield from values


def _legend(axes: Axes, title: str | None = None) -> None:
    """Put the legend beside the data, which it must not cover."""
    axes.legend(title=title, bbox_to_anchor=(1.01, 1), loc="upper left")


def _by_layer(axes: Axes, label: str, marked: int | None = None) -> None:
    if marked is not None:
        axes.axvline(marked, color=GREY, linewidth=1, linestyle="--", zorder=0)
    axes.set_xlabel("layer (-1: embedding)")
    axes.set_ylabel(label)


def norms(norms: pl.DataFrame, layers: pl.DataFrame, tasks: list[str]) -> Picture:
    """Draw the published norms by layer, and the residual stream's."""
    picture, axes = _canvas()
    for task, colour in zip(tasks, _cycle(PALETTE), strict=False):
        own = norms.filter(pl.col("task") == task)
        axes.plot(own["layer"], own["norm"], color=colour, label=task)
    first = norms.filter(pl.col("layer") == -1)["norm"].to_numpy().mean()
    residual = layers["residual_norm"].to_numpy()
    axes.plot(
        layers["layer"],
        residual * first / residual[0],
        color="black",
        linestyle="--",
        label="residual, scaled",
    )
    axes.set_yscale("log")
    _by_layer(axes, "norm of the task vector (log scale)")
    _legend(axes)
    return picture


def shares(layers: pl.DataFrame) -> Picture:
    """Draw the share of variance between tasks by layer, for both templates."""
    picture, axes = _canvas()
    axes.plot(layers["layer"], layers["published_task_share"], color=VERMILION, label="published template")
    axes.plot(layers["layer"], layers["suffix_task_share"], color=BLUE, label="suffix template")
    axes.plot(-1, 0, "o", markerfacecolor="white", color=BLUE, label="no variance at all")
    axes.set_ylim(-0.03, 1.05)
    _by_layer(axes, "share of variance between tasks")
    _legend(axes)
    return picture


def transfer(layers: pl.DataFrame, chance: float, layer: int) -> Picture:
    """Draw the accuracies of both kinds of centroid by layer."""
    picture, axes = _canvas()
    axes.plot(layers["layer"], layers["transfer_accuracy"], color=BLUE, label="centroids of task prompts")
    axes.plot(layers["layer"], layers["word_accuracy"], color=ORANGE, label="centroids of the bare word")
    axes.axhline(chance, color="black", linestyle=":", linewidth=1, label="guessing")
    axes.set_ylim(0, 1.05)
    _by_layer(axes, "accuracy on reworded prompts", layer)
    _legend(axes)
    return picture


def invariance(layers: pl.DataFrame, layer: int) -> Picture:
    """Draw the cosine to the other pairs' mean by layer."""
    picture, axes = _canvas()
    axes.plot(layers["layer"], layers["held_out_cosine"], color=BLUE, label="task prompts")
    axes.plot(layers["layer"], layers["word_held_out_cosine"], color=ORANGE, label="bare word")
    axes.set_ylim(min(0.0, *_known(layers["held_out_cosine"]), *_known(layers["word_held_out_cosine"])), 1.05)
    _by_layer(axes, "cosine to the other pairs' mean", layer)
    _legend(axes)
    return picture


def _known(values: pl.Series) -> list[float]:
    return values.drop_nulls().to_list()


def relative_norms(layers: pl.DataFrame, layer: int) -> Picture:
    """Draw task and operand norms over the residual stream's, by layer."""
    picture, axes = _canvas()
    axes.plot(layers["layer"], layers["task_norm"], color=BLUE, label="task vectors")
    axes.plot(layers["layer"], layers["operand_norm"], color=ORANGE, label="operand vectors")
    _by_layer(axes, "norm / norm of the residual stream", layer)
    _legend(axes)
    return picture


def scale(norms: pl.DataFrame) -> Picture:
    """Draw each task's norm over the mean, for words and task vectors."""
    picture, axes = _canvas(6.8, 3.8)
    at = np.arange(len(norms))
    even = norms.select("task", pl.col("norm", "word_norm") / pl.col("norm", "word_norm").mean())
    axes.bar(at - 0.19, even["word_norm"].to_numpy(), 0.36, color=ORANGE, label="embedding of the word")
    axes.bar(at + 0.19, even["norm"].to_numpy(), 0.36, color=BLUE, label="task vector")
    axes.axhline(1, color="black", linestyle=":", linewidth=1)
    axes.set_xticks(at, norms["task"].to_list())
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("norm / mean norm over tasks")
    _legend(axes)
    return picture


def answers(answers: pl.DataFrame, tasks: list[str], chance: float) -> Picture:
    """Draw the share of items answered, by task and template."""
    templates = answers["template"].unique(maintain_order=True).to_list()
    picture, axes = _canvas(7.6, 4.0)
    width = 0.8 / len(templates)
    for i, (template, colour) in enumerate(zip(templates, _cycle(PALETTE), strict=False)):
        own = {
            row["task"]: row for row in answers.filter(pl.col("template") == template).iter_rows(named=True)
        }
        at = np.arange(len(tasks)) + (i - (len(templates) - 1) / 2) * width
        axes.bar(at, [own[task]["accuracy"] for task in tasks], width * 0.9, color=colour, label=template)
        echo = [own[task]["echo"] for task in tasks]
        axes.plot(
            at, echo, "x", color="black", label="echo of the first operand" if i == 0 else None, zorder=4
        )
    axes.axhline(chance, color="black", linestyle=":", linewidth=1, label="guessing")
    axes.set_xticks(range(len(tasks)), tasks)
    axes.set_ylim(0, 1.05)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("share of items answered")
    _legend(axes, "template")
    return picture


def layer_choice(sweep: pl.DataFrame, chosen: list[int]) -> Picture:
    """Draw the specific effect on the choosing pairs, by layer."""
    picture, axes = _canvas()
    axes.plot(sweep["layer"], sweep["effect"], color=BLUE, marker="o")
    axes.axhline(0, color="black", linewidth=1)
    for layer in chosen:
        axes.axvline(layer, color=GREY, linewidth=1, linestyle="--", zorder=0)
    axes.set_xlabel("layer")
    axes.set_ylabel("specific effect (nats)")
    return picture


def dose(dose: pl.DataFrame) -> Picture:
    """Draw the share of the ceiling by dose, for each kind of vector."""
    picture, axes = _canvas()
    for kind, colour in KIND_COLOURS.items():
        own = dose.filter(pl.col("kind") == kind)
        if own.is_empty():
            continue
        axes.plot(own["alpha"], own["share"], color=colour, marker="o", label=f"{kind} vector")
        known = own.drop_nulls()
        axes.fill_between(known["alpha"], known["low"], known["high"], color=colour, alpha=0.15, linewidth=0)
    axes.axhline(0, color="black", linewidth=1)
    axes.set_xlabel("dose (1: the vector as it is)")
    axes.set_ylabel("specific effect / ceiling")
    _legend(axes)
    return picture
