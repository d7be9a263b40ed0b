"""A run's measurements in the shape that the analysis reads; simulated data have it too."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from jaxtyping import Float

from microtome.lab.study import Measurement, Unit
from microtome.measure.rescale import Map, Spectra
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.measure import anchor_of
from microtome.studies.head_spectra.plan import Shape

MAPS = ("entropy", "normalised", "first_token")
"""What is known of each head's attention."""
Curve = Float[np.ndarray, "layers heads ranks"]


@dataclass(frozen=True)
class Role:
    """One set of heads: a model's own, its untrained twin's, or planted copies of the anchor."""

    spectra: Spectra
    anchor: int
    attention: Mapping[str, Map] = field(default_factory=dict)
    """Those of ``MAPS`` that were measured."""
    error_bound: Map | None = None
    """How far any of a head's singular values may lie from exact arithmetic's, relative to its largest."""
    operators: pl.DataFrame | None = None
    """A row for each head of each layer, in order; see ``HeadSpectraBench.operators``."""
    curve: Curve | None = None
    """Residual after the best correction of rank 0, 1, ... on top of the anchor, or without it if that is less."""
    own_curve: Curve | None = None
    """The same without the anchor."""

    def others(self, values: np.ndarray) -> np.ndarray:
        """Return the rows of all layers but the anchor."""
        return np.delete(values, self.anchor, axis=0)

    def map(self, name: str) -> Map:
        """Return one column of the operators by layer and head."""
        assert self.operators is not None
        return self.operators[name].to_numpy().astype(np.float64).reshape(self.spectra.shape[:2])


@dataclass(frozen=True)
class Gaussian:
    """What random models of Gaussian products come to, with a subject's shapes."""

    residuals: Float[np.ndarray, "draws"]
    """Mean residual of each random model, over heads and layers without its anchor."""
    shape: Float[np.ndarray, "k"]
    """Mean of their spectra, each of norm 1."""
    example: Spectra
    """The spectra of one random model."""


@dataclass(frozen=True)
class Subject:
    """Everything that was measured about one model or file."""

    label: str
    roles: Mapping[str, Role]
    """By ``model``, ``untrained``, ``planted``; a file has only spectra, and no untrained twin if its sizes are
    unknown."""
    gaussian: Gaussian | None
    """None for a file that does not say its sizes."""


Data = tuple[Subject, ...]


def gather(config: HeadSpectraConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]) -> Data:
    """Join the units of a run."""
    models = dict.fromkeys(unit.spec["model"] for unit in units if unit.kind == "spectra")
    files = dict.fromkeys(unit.spec["file"] for unit in units if unit.kind == "file")
    nulls = [(Shape.of(unit.spec), measured[unit.id]) for unit in units if unit.kind == "null"]
    subjects = []
    for label, one in zip(config.labels, (*models, *files), strict=True):
        own = [unit for unit in units if one in (unit.spec.get("model"), unit.spec.get("file"))]
        first = measured[own[0].id].arrays
        shape = Shape(*first["shape"].tolist()) if "shape" in first else None
        gaussian = _gaussian([null for its, null in nulls if its == shape])
        if one in files:
            roles = _of_file(config, measured[own[0].id], gaussian)
        else:
            roles = {
                role: _role(config, [unit for unit in own if unit.spec["role"] == role], measured)
                for role in dict.fromkeys(unit.spec["role"] for unit in own)
            }
        subjects.append(Subject(label, roles, gaussian))
    return tuple(subjects)


def _gaussian(nulls: Sequence[Measurement]) -> Gaussian | None:
    if not nulls:
        return None
    counts = [len(null.rows) for null in nulls]
    residuals = np.concatenate([null.rows["residual"].to_numpy() for null in nulls])
    shape = np.average([null.arrays["shape"] for null in nulls], axis=0, weights=counts)
    return Gaussian(residuals, shape, np.asarray(nulls[0].arrays["example"]))


def _role(config: HeadSpectraConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]) -> Role:
    by_kind = {kind: [measured[unit.id] for unit in units if unit.kind == kind] for kind in KINDS}
    (spectra,) = by_kind["spectra"]
    operators = by_kind["operators"]
    values = np.asarray(spectra.arrays["spectra"])
    return Role(
        spectra=values,
        anchor=anchor_of(spectra, config.anchor),
        attention=_attention([one.rows for one in by_kind["entropy"]], values.shape[:2]),
        error_bound=spectra.rows["error_bound"].to_numpy().reshape(values.shape[:2]),
        operators=pl.concat(one.rows for one in operators).sort("layer", "head"),
        curve=np.stack([one.arrays["curve"] for one in operators]),
        own_curve=np.stack([one.arrays["own_curve"] for one in operators]),
    )


KINDS = ("spectra", "entropy", "operators")


def _attention(parts: Iterable[pl.DataFrame], shape: tuple[int, ...]) -> dict[str, Map]:
    """Return the mean over all blocks of what each part of the text gave."""
    parts = list(parts)
    if not parts:
        return {}
    blocks = [part["blocks"][0] for part in parts]
    return {
        name: np.average([part[name].to_numpy() for part in parts], axis=0, weights=blocks).reshape(shape)
        for name in MAPS
    }


def _of_file(config: HeadSpectraConfig, file: Measurement, gaussian: Gaussian | None) -> dict[str, Role]:
    spectra = np.asarray(file.arrays["spectra"])
    maps = {name: file.rows[name] for name in MAPS if file.rows[name].null_count() == 0}
    attention = {name: column.to_numpy().reshape(spectra.shape[:2]) for name, column in maps.items()}
    roles = {"model": Role(spectra, anchor_of(file, config.anchor), attention)}
    if gaussian is not None:
        twin = Measurement(file.rows, {"spectra": gaussian.example})
        roles["untrained"] = Role(gaussian.example, anchor_of(twin, config.anchor))
    return roles
