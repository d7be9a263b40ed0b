"""The figures of the page: the original's five, by its file names where it has them, then those of the controls."""

from collections.abc import Iterator
from functools import partial

import polars as pl

from microtome.lab.claims import Tables
from microtome.lab.study import Figure
from microtome.measure.nulls import simplex_cosine
from microtome.studies.task_vectors import drawings
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.protocol import PUBLISHED


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
        partial(drawings.heatmap, tables["cosines_small"], list(config.tasks)),
    )
    yield Figure(
        "task_pca",
        f"As published: the {k} task vectors in two dimensions, layer {layer}",
        "Points that stand apart; any distinct vectors would. In brackets: each component's share of variance.",
        partial(drawings.scatter, tables["pca_small"], list(config.tasks), named=True),
    )
    yield Figure(
        "similarity_25x25",
        f"As published: cosines of all {n} prompts, layer {layer}",
        "Bright blocks on the diagonal are prompts that end in the same word. Each prompt is read at that "
        "very word, so the blocks would be there if the model computed nothing; see the shares of variance "
        "below.",
        partial(drawings.blocks, tables["cosines_all"], list(config.tasks), len(config.pairs)),
    )
    yield Figure(
        "task_clusters",
        f"As published: all {n} prompts in two dimensions, layer {layer}",
        "One colour and marker a task. Clusters show that the token which is read is the task word.",
        partial(drawings.scatter, tables["pca_all"], list(config.tasks), named=False),
    )
    yield Figure(
        "task_norms",
        "As published: norm of each task vector, by layer",
        "Norms grow with depth, as those of everything in the stream do (dashed: the residual stream "
        "itself, scaled to the task vectors at the embedding).",
        partial(drawings.norms, tables["norms"], tables["layers"], list(config.tasks)),
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
        partial(drawings.shares, layers),
    )
    yield Figure(
        "transfer",
        "Controlled: do task vectors carry over to other words?",
        "Accuracy of naming the task of reworded prompts by the nearest centroid of task prompts (blue) "
        f"and of sentences that only contain the word (orange). Dotted: guessing. Layer {layer}, marked, "
        "was chosen on other operand pairs. Only the distance between the lines speaks for tasks rather "
        "than words.",
        partial(drawings.transfer, layers, chance, layer),
    )
    yield Figure(
        "invariance",
        "Controlled: does the task vector depend on the numbers?",
        "Cosine between the task vector of one operand pair and the mean of the others, for the task's "
        "prompts (blue) and for the bare word (orange). 1: the numbers do not matter.",
        partial(drawings.invariance, layers, layer),
    )
    yield Figure(
        "relative_norms",
        "Controlled: norms relative to the residual stream",
        "Norms of task and operand vectors over the stream's own norm, suffix template. Gating would lift "
        "the tasks' line above the operands' at some layer.",
        partial(drawings.relative_norms, layers, layer),
    )
    yield Figure(
        "scale",
        "Controlled: are the task vectors' norms equal?",
        "Norms over their mean: of the words' embeddings, and, without the bias of noise, of task vectors "
        f"at layer {layer} on held-out operand pairs. Scale coordination would make the blue bars more equal "
        "than the orange ones.",
        partial(drawings.scale, tables["held_out_norms"]),
    )
    yield Figure(
        "answers",
        "Controlled: can the model do the tasks?",
        "Share of items answered by forced choice among the tasks' answers, each less its mean over "
        "prompts; the cross marks the share that repeating the first operand would get, the dotted line "
        "guessing.",
        partial(drawings.answers, tables["answers"], list(config.tasks), chance),
    )


def _causal(tables: Tables) -> Iterator[Figure]:
    layers = ", ".join(str(layer) for layer in tables["chosen"]["steered_layers"][0])
    yield Figure(
        "layer_choice",
        "Controlled: where steering works, on the operand pairs that choose the layer",
        f"Specific effect of adding the task vector once, in nats, by layer. The best (layer {layers}) is "
        "then scored on other operand pairs, so its selection does not flatter it.",
        partial(drawings.layer_choice, tables["sweep"], tables["chosen"]["steered_layers"][0].to_list()),
    )
    yield Figure(
        "dose",
        "Controlled: does the model use the direction?",
        "Specific effect of steering as a share of really asking the other task, by dose, with 95 % "
        "intervals over held-out operand pairs. The task's vector must rise above a vector toward a wrong "
        "task and a random one of the same norm.",
        partial(drawings.dose, tables["dose"]),
    )
