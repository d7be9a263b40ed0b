"""A run's measurements in the shape that the analysis reads; simulated data have it too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from microtome.lab.study import Measurement, Unit
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.matches import Scores, Selected, scores, selected, table
from microtome.studies.universality.plan import CONDITIONS, Comparison, Role
from microtome.studies.universality.similarity import SCALES


@dataclass(frozen=True)
class Matched:
    """The neurons of A in one comparison."""

    frame: pl.DataFrame
    """See ``matches.table``."""
    selected: Selected
    scores: Scores
    tiles: pl.DataFrame
    """A row for each pair of layers: the mean of the best correlations, and that after rotation."""


@dataclass(frozen=True)
class Published:
    """The original's procedures in one comparison, on random tokens or text."""

    neurons: pl.DataFrame
    layers: tuple[int, ...]
    numbers: Mapping[str, Float[np.ndarray, "layers"]]


@dataclass(frozen=True)
class Similarity:
    """Debiased CKA between all layers of the pair."""

    rows: pl.DataFrame
    pseudo: Mapping[str, Float[np.ndarray, "groups layers_a layers_b"]]
    """By scale: pseudo-values of the jackknife over groups of documents."""
    null: Float[np.ndarray, "draws"]
    """The largest value over all pairs of layers, after documents were exchanged."""
    matched: tuple[int, ...]
    """For each of A's layers the place of B's layer at the same depth."""


@dataclass(frozen=True)
class Data:
    """All comparisons of a run."""

    matched: Mapping[Role, Matched]
    published: Mapping[tuple[Role, str], Published]
    similarity: Similarity | None = None
    effects: pl.DataFrame | None = None
    examples: pl.DataFrame | None = None
    noise: Mapping[str, float] | None = None
    labels: Mapping[Role, str] | None = None

    def both(self, role: Role) -> tuple[Published, Published]:
        """Return what the original's procedures measured of one comparison, on random tokens and on text."""
        random, text = (self.published[role, condition] for condition in CONDITIONS)
        return random, text


def gather(config: UniversalityConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]) -> Data:
    """Join the units of a run."""

    def of(kind: str, role: str | None = None) -> list[Unit]:
        return [unit for unit in units if unit.kind == kind and role in (None, unit.spec.get("role"))]

    def rows(kind: str) -> pl.DataFrame | None:
        frames = [measured[unit.id].rows for unit in of(kind)]
        return pl.concat(frames) if frames else None

    roles: dict[Role, Unit] = {unit.spec["role"]: unit for unit in of("select")}
    matched = {}
    for role, unit in roles.items():
        stripes = [measured[one.id] for one in of("select", role)]
        joined = selected(stripes), scores([measured[one.id] for one in of("score", role)])
        frame = table(*joined, unit.spec, config.threshold_excess, config.fdr)
        matched[role] = Matched(frame, *joined, pl.concat(stripe.rows for stripe in stripes))
    published: dict[tuple[Role, str], Published] = {}
    for unit in of("published"):
        one = measured[unit.id]
        published[unit.spec["role"], unit.spec["condition"]] = Published(
            one.rows, tuple(unit.spec["layers"]), one.arrays
        )
    found = None
    for unit in of("similarity"):
        one, comparison = measured[unit.id], Comparison.of(unit.spec)
        places = tuple(comparison.matched(i).start for i in range(len(comparison.a.layers)))
        pseudo = {scale: np.asarray(one.arrays[f"{scale}_pseudo"]) for scale in SCALES}
        found = Similarity(one.rows, pseudo, np.asarray(one.arrays["null"]), places)
    noise = rows("noise")
    labels: dict[Role, str] = {role: unit.label.partition(":")[0] for role, unit in roles.items()}
    return Data(
        matched=matched,
        published=published,
        similarity=found,
        effects=rows("effects"),
        examples=rows("examples"),
        noise=None if noise is None else _first(noise),
        labels=labels,
    )


def _first(frame: pl.DataFrame) -> dict[str, Any]:
    return frame.row(0, named=True)
