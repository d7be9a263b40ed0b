"""The numbers behind the figures and the published rules, one table each."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from microtome.lab.seeds import stream
from microtome.measure.bootstrap import bootstrap_statistic, ratio_of_means
from microtome.measure.centroids import centred_centroids, centred_vectors, held_out_cosine, norm
from microtome.measure.pca import pca
from microtome.measure.similarity import cosine_matrix, mean_off_diagonal, mean_within_and_between
from microtome.measure.transfer import transfer
from microtome.measure.variance import two_way
from microtome.studies.task_vectors.analysis import best_layer
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.data import Data
from microtome.studies.task_vectors.directions import by_layer, with_effects
from microtome.studies.task_vectors.inputs import published_layer

EMBEDDING = -1
"""The layer number of the embedding in the tables."""


def tables(config: TaskVectorsConfig, data: Data) -> dict[str, pl.DataFrame]:
    """Return all tables of a run."""
    best = best_layer(data)
    at = 1 + data.layers.index(published_layer(config, data.layers))
    small = centred_vectors(data.published[:, :1])[:, 0]
    large = _all_prompts(data, at)
    prompts = [{"task": task, "a": a, "b": b} for (a, b), task in product(config.pairs, config.tasks)]
    first = [{"task": task, "a": config.pairs[0][0], "b": config.pairs[0][1]} for task in config.tasks]
    return {
        "published": _published(config, data, at),
        "published_at_embedding": _published(config, data, 0),
        "cosines_small": _cosines(first, small[at]),
        "cosines_all": _cosines(prompts, large),
        "pca_small": _pca(first, small[at]),
        "pca_all": _pca(prompts, large),
        "norms": _norms(config, data, small),
        "layers": _layers(data),
        "chosen": _chosen(config, data, best, at),
        "held_out_norms": _held_out_norms(config, data, best),
        "answers": _answers(data),
        "sweep": by_layer(data.sweep),
        "dose": _dose(config, data),
        "side_effect": data.side_effect,
    }


def _all_prompts(data: Data, at: int) -> np.ndarray:
    """Return all published prompts' vectors at a layer's index, less their mean: ``[pairs tasks, d]``."""
    flat = data.published[at].reshape(-1, data.published.shape[-1])
    return flat - flat.mean(0)


def _published(config: TaskVectorsConfig, data: Data, at: int) -> pl.DataFrame:
    """Return what the published rules read, at the index of a layer.

    A quantity that these tasks do not have is missing.
    """
    from sklearn.metrics import silhouette_score

    tasks = list(config.tasks)
    small, large = centred_vectors(data.published[:, :1])[:, 0], _all_prompts(data, at)
    labels = np.tile(np.arange(len(tasks)), len(config.pairs))
    within, outside = mean_within_and_between(cosine_matrix(large), labels)
    lengths = np.linalg.norm(small, axis=-1).mean(-1)
    norms = np.linalg.norm(small[at], axis=-1)
    cosines = cosine_matrix(small[at])

    def between(some: list[str], others: list[str]) -> float | None:
        if not {*some, *others} <= set(tasks):
            return None
        rows, columns = [tasks.index(name) for name in some], [tasks.index(name) for name in others]
        return float(cosines[np.ix_(rows, columns)].mean())

    quantities = {
        "mean off-diagonal cosine": float(mean_off_diagonal(cosines)),
        "cosine of sum and product": between(["sum"], ["product"]),
        "silhouette of the clusters": float(silhouette_score(pca(large, 2).scores, labels)),
        "cosine within tasks": float(within),
        "cosine between tasks": float(outside),
        "norm at the published layer over norm at the first": float(lengths[at] / lengths[1]),
        "coefficient of variation of norms": float(norms.std(ddof=1) / norms.mean()),
        "cosine of sum and difference": between(["sum"], ["difference"]),
        "their cosine with minimum and maximum": between(["sum", "difference"], ["minimum", "maximum"]),
    }
    frame = pl.DataFrame(
        {"quantity": list(quantities), "value": list(quantities.values())},
        schema={"quantity": pl.String, "value": pl.Float64},
    )
    return frame.with_columns(pl.col("value").fill_nan(None))


def _cosines(prompts: list[dict[str, Any]], vectors: np.ndarray) -> pl.DataFrame:
    matrix = cosine_matrix(vectors)
    rows = [
        {f"{key}_i": value for key, value in one.items()}
        | {f"{key}_j": value for key, value in other.items()}
        | {"cosine": float(matrix[i, j])}
        for i, one in enumerate(prompts)
        for j, other in enumerate(prompts)
    ]
    return pl.DataFrame(rows)


def _pca(prompts: list[dict[str, Any]], vectors: np.ndarray) -> pl.DataFrame:
    found = pca(vectors, 2)
    share_x, share_y = found.explained_share.tolist()
    return pl.DataFrame(prompts).with_columns(
        x=found.scores[:, 0], y=found.scores[:, 1], share_x=pl.lit(share_x), share_y=pl.lit(share_y)
    )


def _norms(config: TaskVectorsConfig, data: Data, small: np.ndarray) -> pl.DataFrame:
    """Return the published norms: of the first pair's task vectors, after each layer."""
    return pl.DataFrame(
        {"layer": layer, "task": task, "norm": float(length)}
        for layer, vectors in zip((EMBEDDING, *data.layers), small, strict=True)
        for task, length in zip(config.tasks, np.linalg.norm(vectors, axis=-1), strict=True)
    )


def _layers(data: Data) -> pl.DataFrame:
    """Return one row a layer: shares of variance, forced cosine, transfer, invariance, relative norms."""
    scored = ~data.fit
    suffix, carried, word = (x[:, scored] for x in (data.suffix, data.transfer, data.word))
    published, controlled = two_way(data.published), two_way(suffix)
    residual = np.linalg.norm(suffix, axis=-1).mean((-1, -2))
    centred = centred_centroids(suffix)
    operand = suffix.mean(-2) - suffix.mean((-2, -3))[:, None]
    columns: Mapping[str, np.ndarray] = {
        "published_task_share": published.label_share,
        "published_operand_share": published.pair_share,
        "suffix_task_share": controlled.label_share,
        "suffix_operand_share": controlled.pair_share,
        "published_off_diagonal": mean_off_diagonal(cosine_matrix(centred_centroids(data.published))),
        "transfer_accuracy": transfer(suffix, carried).mean((-1, -2)),
        "word_accuracy": transfer(word, carried).mean((-1, -2)),
        "held_out_cosine": held_out_cosine(suffix).mean((-1, -2)),
        "word_held_out_cosine": held_out_cosine(word).mean((-1, -2)),
        "residual_norm": residual,
        "task_norm": np.linalg.norm(centred, axis=-1).mean(-1) / residual,
        "operand_norm": np.linalg.norm(operand, axis=-1).mean(-1) / residual,
    }
    frame = pl.DataFrame({"layer": [EMBEDDING, *data.layers], **columns})
    return frame.with_columns(pl.all().exclude("layer").fill_nan(None))


def _chosen(config: TaskVectorsConfig, data: Data, best: int, at: int) -> pl.DataFrame:
    """Return the layers that were used, and how many pairs and items there are."""
    steered = data.steer.select("seed", "layer").unique().sort("seed")
    items = data.steer.select("seed", "a", "b", "source", "target").unique()
    possible = int((~data.fit).sum()) and config.operands // 2 * len(config.seeds)
    words = np.linalg.norm(centred_centroids(data.published[0]), axis=-1)
    return pl.DataFrame(
        {
            "published_layer": data.layers[at - 1],
            "controlled_layer": data.layers[best - 1],
            "steered_layers": [steered["layer"].to_list()],
            "fit_pairs": int(data.fit.sum()),
            "scored_pairs": int((~data.fit).sum()),
            "steered_pairs": len(items.select("seed", "a", "b").unique()),
            "steerable_pairs": possible,
            "steered_items": len(items),
            "word_variation": float(words.std(ddof=1) / words.mean()),
        }
    )


def _held_out_norms(config: TaskVectorsConfig, data: Data, best: int) -> pl.DataFrame:
    suffix = data.suffix[best][~data.fit]
    lengths = norm(suffix) / np.linalg.norm(suffix, axis=-1).mean()
    words = np.linalg.norm(centred_centroids(data.published[0]), axis=-1)
    words = words / np.linalg.norm(data.published[0], axis=-1).mean()
    frame = pl.DataFrame({"task": list(config.tasks), "norm": lengths, "word_norm": words})
    return frame.with_columns(pl.col("norm", "word_norm").fill_nan(None))


def _answers(data: Data) -> pl.DataFrame:
    """Return accuracies by template and task, beside that of echoing the first operand."""
    answered = data.answers.filter(pl.col("answer").is_not_null())
    return answered.group_by("template", "task", maintain_order=True).agg(
        items=pl.len(),
        accuracy=pl.col("right").mean(),
        uncalibrated=pl.col("right_uncalibrated").mean(),
        echo=(pl.col("answer") == pl.col("a")).mean(),
    )


def _dose(config: TaskVectorsConfig, data: Data) -> pl.DataFrame:
    """Return the share of the ceiling that each kind of vector reaches at each dose, with 95 % intervals."""
    schema = {
        "kind": pl.String, "alpha": pl.Float64, "nats": pl.Float64,
        "share": pl.Float64, "low": pl.Float64, "high": pl.Float64, "pairs": pl.Int64,
    }  # fmt: skip
    rows = []
    for (kind, alpha), items in sorted(with_effects(data.steer).group_by("kind", "alpha")):
        pairs = items.group_by("seed", "a", "b", maintain_order=True).agg(pl.col("effect", "ceiling").mean())
        effect, top = pairs["effect"].to_numpy(), pairs["ceiling"].to_numpy()
        rng = stream(config.seeds[0], "dose", str(kind), str(alpha))
        found = bootstrap_statistic(ratio_of_means(effect, top), len(pairs), rng, config.resamples)
        low, high = found.interval(0.95)
        rows.append((kind, alpha, float(effect.mean()), found.value, low, high, len(pairs)))
    return pl.DataFrame(rows, schema=schema, orient="row").fill_nan(None)
