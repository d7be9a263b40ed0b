"""The figures of the page: the original's five, by its file names where it has them, then those of the controls."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from microtome.lab.study import Figure, Tables
from microtome.measure.nulls import simplex_cosine
from microtome.report.style import BLUE, DIVERGING, GREY, ORANGE, PALETTE, VERMILION
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.protocol import PUBLISHED

KIND_COLOURS = {"task": BLUE, "wrong task": VERMILION, "random": GREY}


def figures(config: TaskVectorsConfig, tables: Tables) -> Iterator[Figure]:
    """Yield the figures; those of steering only when something could be steered."""
    chosen = tables["chosen"].row(0, named=True)
    yield from _published(config, tables, chosen["published_layer"])
    yield from _controlled(config, tables, chosen["controlled_layer"])
    if not tables["dose"].is_empty():
        yield from _causal(tables)


def _published(config: TaskVectorsConfig, tables: Tables, layer: int) -> Iterator[Figure]:
    k, n = len(config.tasks), len(config.tasks) * len(config.pairs)
    forced = simplex_cosine(k)
    yield Figure(
        "similarity_heatmap",
        f"As published: cosines of the {k} task vectors, layer {layer}",
        f"Off the diagonal the mean is {_mean_off(tables):.2f}. {k} vectors of equal norm whose mean was "
        f"removed must average -1/({k} - 1) = {forced:.2f}, whatever the model does, so 0 is not what to "
        "compare with.",
        partial(_heatmap, tables["cosines_small"], list(config.tasks)),
    )
    yield Figure(
        "task_pca",
        f"As published: the {k} task vectors in two dimensions, layer {layer}",
        "Points that stand apart; any distinct vectors would. In brackets: each component's share of variance.",
        partial(_scatter, tables["pca_small"], list(config.tasks), named=True),
    )
    yield Figure(
        "similarity_25x25",
        f"As published: cosines of all {n} prompts, layer {layer}",
        "Bright blocks on the diagonal are prompts that end in the same word. Each prompt is read at that "
        "very word, so the blocks would be there if the model computed nothing; see the shares of variance "
        "below.",
        partial(_blocks, tables["cosines_all"], list(config.tasks), len(config.pairs)),
    )
    yield Figure(
        "task_clusters",
        f"As published: all {n} prompts in two dimensions, layer {layer}",
        "One colour and marker a task. Clusters show that the token which is read is the task word.",
        partial(_scatter, tables["pca_all"], list(config.tasks), named=False),
    )
    yield Figure(
        "task_norms",
        "As published: norm of each task vector, by layer",
        "Norms grow with depth, as those of everything in the stream do (dashed: the residual stream "
        "itself, scaled to the task vectors at the embedding).",
        partial(_norms, tables["norms"], tables["layers"], list(config.tasks)),
    )


def _mean_off(tables: Tables) -> float:
    rows = tables["cosines_small"].filter(pl.col("task_i") != pl.col("task_j"))
    return float(rows["cosine"].to_numpy().mean())


def _read_at_embedding(tables: Tables) -> str:
    """Return what the published rules for separation and invariance say before the first layer."""
    there = {"published": tables["published_at_embedding"]}
    rules = [rule for rule in PUBLISHED if rule.prediction in ("separation", "invariance")]
    return ", ".join(f"“{rule.read(there).outcome}” ({rule.id})" for rule in rules)


def _controlled(config: TaskVectorsConfig, tables: Tables, layer: int) -> Iterator[Figure]:
    chance = 1 / len(config.tasks)
    layers = tables["layers"]
    yield Figure(
        "variance_shares",
        "Controlled: what the published vectors are made of",
        "Share of variance between tasks, by layer. In the published template it is as high at the "
        "embedding, before any computation, as after it: the vectors are the tokens that they are read at. "
        f"The original's rules, read at that embedding, say: {_read_at_embedding(tables)}. In the suffix "
        "template all prompts are read at one and the same token, whose embedding has no variance at all; "
        "what appears there was computed from the context.",
        partial(_shares, layers),
    )
    yield Figure(
        "transfer",
        "Controlled: do task vectors carry over to other words?",
        "Accuracy of naming the task of reworded prompts by the nearest centroid of task prompts (blue) "
        f"and of sentences that only contain the word (orange). Dotted: guessing. Layer {layer}, marked, "
        "was chosen on other operand pairs. Only the distance between the lines speaks for tasks rather "
        "than words.",
        partial(_transfer, layers, chance, layer),
    )
    yield Figure(
        "invariance",
        "Controlled: does the task vector depend on the numbers?",
        "Cosine between the task vector of one operand pair and the mean of the others, for the task's "
        "prompts (blue) and for the bare word (orange). 1: the numbers do not matter.",
        partial(_invariance, layers, layer),
    )
    yield Figure(
        "relative_norms",
        "Controlled: norms relative to the residual stream",
        "Norms of task and operand vectors over the stream's own norm, suffix template. Gating would lift "
        "the tasks' line above the operands' at some layer.",
        partial(_relative_norms, layers, layer),
    )
    yield Figure(
        "scale",
        "Controlled: are the task vectors' norms equal?",
        "Norms over their mean: of the words' embeddings, and, without the bias of noise, of task vectors "
        f"at layer {layer} on held-out operand pairs. Scale coordination would make the blue bars more equal "
        "than the orange ones.",
        partial(_scale, tables["held_out_norms"]),
    )
    yield Figure(
        "answers",
        "Controlled: can the model do the tasks?",
        "Share of items answered by forced choice among the tasks' answers, each less its mean over "
        "prompts; the cross marks the share that repeating the first operand would get, the dotted line "
        "guessing.",
        partial(_answers, tables["answers"], list(config.tasks), chance),
    )


def _causal(tables: Tables) -> Iterator[Figure]:
    layers = ", ".join(str(layer) for layer in tables["chosen"]["steered_layers"][0])
    yield Figure(
        "layer_choice",
        "Controlled: where steering works, on the operand pairs that choose the layer",
        f"Specific effect of adding the task vector once, in nats, by layer. The best (layer {layers}) is "
        "then scored on other operand pairs, so its selection does not flatter it.",
        partial(_layer_choice, tables["sweep"], tables["chosen"]["steered_layers"][0].to_list()),
    )
    yield Figure(
        "dose",
        "Controlled: does the model use the direction?",
        "Specific effect of steering as a share of really asking the other task, by dose, with 95 % "
        "intervals over held-out operand pairs. The task's vector must rise above a vector toward a wrong "
        "task and a random one of the same norm.",
        partial(_dose, tables["dose"]),
    )


def _canvas(width: float = 7.2, height: float = 4.2) -> tuple[Picture, Axes]:
    picture = Picture(figsize=(width, height))
    return picture, picture.subplots()


def _heatmap(cosines: pl.DataFrame, tasks: list[str]) -> Picture:
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


def _blocks(cosines: pl.DataFrame, tasks: list[str], pairs: int) -> Picture:
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


def _scatter(points: pl.DataFrame, tasks: list[str], named: bool) -> Picture:
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


def _norms(norms: pl.DataFrame, layers: pl.DataFrame, tasks: list[str]) -> Picture:
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


def _shares(layers: pl.DataFrame) -> Picture:
    picture, axes = _canvas()
    axes.plot(layers["layer"], layers["published_task_share"], color=VERMILION, label="published template")
    axes.plot(layers["layer"], layers["suffix_task_share"], color=BLUE, label="suffix template")
    axes.plot(-1, 0, "o", markerfacecolor="white", color=BLUE, label="no variance at all")
    axes.set_ylim(-0.03, 1.05)
    _by_layer(axes, "share of variance between tasks")
    _legend(axes)
    return picture


def _transfer(layers: pl.DataFrame, chance: float, layer: int) -> Picture:
    picture, axes = _canvas()
    axes.plot(layers["layer"], layers["transfer_accuracy"], color=BLUE, label="centroids of task prompts")
    axes.plot(layers["layer"], layers["word_accuracy"], color=ORANGE, label="centroids of the bare word")
    axes.axhline(chance, color="black", linestyle=":", linewidth=1, label="guessing")
    axes.set_ylim(0, 1.05)
    _by_layer(axes, "accuracy on reworded prompts", layer)
    _legend(axes)
    return picture


def _invariance(layers: pl.DataFrame, layer: int) -> Picture:
    picture, axes = _canvas()
    axes.plot(layers["layer"], layers["held_out_cosine"], color=BLUE, label="task prompts")
    axes.plot(layers["layer"], layers["word_held_out_cosine"], color=ORANGE, label="bare word")
    axes.set_ylim(min(0.0, *_known(layers["held_out_cosine"]), *_known(layers["word_held_out_cosine"])), 1.05)
    _by_layer(axes, "cosine to the other pairs' mean", layer)
    _legend(axes)
    return picture


def _known(values: pl.Series) -> list[float]:
    return values.drop_nulls().to_list()


def _relative_norms(layers: pl.DataFrame, layer: int) -> Picture:
    picture, axes = _canvas()
    axes.plot(layers["layer"], layers["task_norm"], color=BLUE, label="task vectors")
    axes.plot(layers["layer"], layers["operand_norm"], color=ORANGE, label="operand vectors")
    _by_layer(axes, "norm / norm of the residual stream", layer)
    _legend(axes)
    return picture


def _scale(norms: pl.DataFrame) -> Picture:
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


def _answers(answers: pl.DataFrame, tasks: list[str], chance: float) -> Picture:
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


def _layer_choice(sweep: pl.DataFrame, chosen: list[int]) -> Picture:
    picture, axes = _canvas()
    axes.plot(sweep["layer"], sweep["effect"], color=BLUE, marker="o")
    axes.axhline(0, color="black", linewidth=1)
    for layer in chosen:
        axes.axvline(layer, color=GREY, linewidth=1, linestyle="--", zorder=0)
    axes.set_xlabel("layer")
    axes.set_ylabel("specific effect (nats)")
    return picture


def _dose(dose: pl.DataFrame) -> Picture:
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
