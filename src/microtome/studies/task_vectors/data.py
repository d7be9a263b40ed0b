"""A run's measurements in the shape that the analysis reads; simulated data have it too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from microtome.lab.study import Measurement, Unit
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.directions import by_pair
from microtome.studies.task_vectors.measure import SIDE_EFFECT
from microtome.studies.task_vectors.plan import controlled_pairs
from microtome.studies.task_vectors.steering import STEERED

Vectors = Float[np.ndarray, "layers pairs tasks d"]


@dataclass(frozen=True)
class Data:
    """Vectors ``[layers, pairs, tasks, d]``, layer 0 being the embedding, and the rows of answers and steering."""

    layers: tuple[int, ...]
    """Numbers of the measured layers; index 1 + i of the vectors is the i-th of them."""
    published: Vectors
    suffix: Vectors
    transfer: Vectors
    word: Vectors
    fit: Bool[np.ndarray, "pairs"]
    """Which pairs of suffix, transfer and word choose the layer; the others are scored."""
    answers: pl.DataFrame
    sweep: pl.DataFrame
    steer: pl.DataFrame
    side_effect: pl.DataFrame

    @cached_property
    def steered_pairs(self) -> pl.DataFrame:
        """One row a steered pair, at dose 1; see ``by_pair``."""
        return by_pair(self.steer, dose=1.0)


def gather(config: TaskVectorsConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]) -> Data:
    """Join the units of a run."""
    read: dict[tuple[str, int, int], np.ndarray] = {}
    frames: dict[str, list[pl.DataFrame]] = {"prompts": [], "sweep": [], "steer": [], "side-effect": []}
    for unit in units:
        measurement = measured[unit.id]
        frames[unit.kind].append(measurement.rows)
        if unit.kind == "prompts":
            a, b = unit.spec["pair"]
            templates: list[str] = unit.spec["templates"]
            parts = np.split(measurement.arrays["activations"], len(templates), axis=1)
            read |= {(template, a, b): part for template, part in zip(templates, parts, strict=True)}
    pairs, fit = controlled_pairs(config)

    def vectors(template: str, of: Sequence[tuple[int, int]]) -> np.ndarray:
        return np.stack([read[template, a, b] for a, b in of], axis=1).astype(np.float64)

    suffix = vectors("suffix", pairs)
    return Data(
        layers=tuple(range(len(suffix) - 1)) if config.layers == "all" else config.layers,
        published=vectors("published", config.pairs),
        suffix=suffix,
        transfer=vectors("transfer", pairs),
        word=vectors("word", pairs),
        fit=np.array(fit),
        answers=pl.concat(frames["prompts"], how="diagonal"),
        sweep=pl.concat([pl.DataFrame(schema=STEERED), *frames["sweep"]]),
        steer=pl.concat([pl.DataFrame(schema=STEERED), *frames["steer"]]),
        side_effect=pl.concat([pl.DataFrame(schema=SIDE_EFFECT), *frames["side-effect"]]),
    )
