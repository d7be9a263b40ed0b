"""Directions of the tasks from the fit pairs, and the layer at which steering with them works best."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import polars as pl
from jaxtyping import Float

from microtome.lab.study import Measurement
from microtome.measure.steering import specific_effect


class Directions:
    """The mean vector of each task at each layer over some operand pairs.

    Index 0 is the embedding, index 1 + i the i-th measured layer.
    """

    def __init__(self, means: Float[np.ndarray, "layers tasks d"]) -> None:
        self.means = means

    @classmethod
    def of(cls, read: Sequence[Measurement]) -> Self:
        """Average the activations ``[1 + layers, tasks, d]`` of the units that read the fit pairs."""
        means = np.mean([measured.arrays["activations"] for measured in read], axis=0, dtype=np.float64)
        return cls(np.asarray(means))

    def task(self, source: int, target: int, layer: int) -> Float[np.ndarray, "d"]:
        """Return ``v_target - v_source`` at a layer's index."""
        return self.means[layer, target] - self.means[layer, source]

    def wrong(self, source: int, target: int, layer: int, rng: np.random.Generator) -> Float[np.ndarray, "d"]:
        """Return the vector toward a task that is neither, of the right one's norm.

        It leaves the source as the right vector does, so what it lacks is the target alone.

        Raises:
            ValueError: there are only two tasks.
        """
        others = [task for task in range(self.means.shape[1]) if task not in (source, target)]
        if not others:
            raise ValueError("expected a third task for a wrong-task vector, got two tasks")
        wrong = others[int(rng.integers(len(others)))]
        return _scaled(self.task(source, wrong, layer), self.task(source, target, layer))

    def random(
        self, source: int, target: int, layer: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "d"]:
        """Return a vector of uniform random direction, of the right one's norm."""
        right = self.task(source, target, layer)
        return _scaled(rng.standard_normal(right.shape), right)


def _scaled(x: Float[np.ndarray, "d"], like: Float[np.ndarray, "d"]) -> Float[np.ndarray, "d"]:
    return x * (np.linalg.norm(like) / np.linalg.norm(x))


def with_effects(rows: pl.DataFrame) -> pl.DataFrame:
    """Return steered rows with their specific ``effect`` and ``ceiling``, that of really asking the target, in nats."""
    steered, swapped, base = (
        (rows[name].to_numpy(), rows[f"{name}_elsewhere"].to_numpy())
        for name in ("steered", "swapped", "base")
    )
    return rows.with_columns(
        effect=specific_effect(steered[0], base[0], steered[1], base[1]),
        ceiling=specific_effect(swapped[0], base[0], swapped[1], base[1]),
    )


def by_layer(sweep: pl.DataFrame) -> pl.DataFrame:
    """Return the mean specific effect at each layer, a pair counting once: columns layer, effect, pairs."""
    pairs = with_effects(sweep).group_by("layer", "a", "b").agg(pl.col("effect").mean())
    return pairs.group_by("layer").agg(pl.col("effect").mean(), pairs=pl.len()).sort("layer")


def chosen_layer(sweeps: Sequence[pl.DataFrame]) -> int | None:
    """Return the layer with the largest mean specific effect on the fit pairs; None if nothing was answered."""
    found = by_layer(pl.concat(sweeps))
    return None if found.is_empty() else found.sort("effect", "layer", descending=[True, False])["layer"][0]


def by_pair(steer: pl.DataFrame, dose: float) -> pl.DataFrame:
    """Return one row a steered pair: the specific effect of each kind, the ceiling, and the gain over the control.

    The control is the wrong-task vector; with two tasks there is none, and the random vector stands in for it. Items
    of a pair (source and target tasks) count alike.
    """
    rows = with_effects(steer.filter(pl.col("alpha") == dose))
    kinds = rows["kind"].unique().to_list()
    control = "wrong task" if "wrong task" in kinds else "random"
    of = [
        pl.col("effect").filter(pl.col("kind") == kind).mean().alias(kind)
        for kind in sorted({"task", control, *kinds})
    ]
    pairs = rows.group_by("seed", "a", "b", maintain_order=True).agg(*of, pl.col("ceiling").mean())
    return pairs.with_columns(gain=pl.col("task") - pl.col(control))
