"""The plan of a run: each model in three roles, itself, its untrained twin, and planted copies of its anchor.

Five kinds of unit, each after those it needs:

- ``file``: spectra and entropies of a file;
- ``spectra``: singular values of all heads, in one role;
- ``entropy``: attention entropy of all heads on some blocks of text;
- ``operators``: one layer's operators fitted by the anchor's, in one role;
- ``null``: spectra of random models of Gaussian products with the same shapes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from microtome.lab.study import Unit
from microtome.studies.head_spectra.config import HeadSpectraConfig

NAME = "head-spectra"
VERSION = 1
ROLES = ("model", "untrained", "planted")
METRIC = ("norm_gains", "head_norm_gains", "biases", "offset")
"""Options that change what the metric holds."""
BLOCKS_A_UNIT = 4
DRAWS_A_UNIT = 100


@dataclass(frozen=True)
class Shape:
    """What of a model the plan depends on."""

    layers: int
    heads: int
    kv_heads: int
    d_head: int
    d: int
    """Columns of the metric's factors: ``d_model``, and one more with biases."""

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Shape":
        """Return the shape in the spec of a unit of the kind ``null``."""
        return cls(*(spec[name.name] for name in fields(cls)))


@dataclass(frozen=True)
class Subject:
    """One of the run's models or files."""

    label: str
    fingerprint: str
    is_file: bool
    shape: Shape | None
    """None for a file that does not say its sizes."""


def plan(config: HeadSpectraConfig, subjects: tuple[Subject, ...], corpus: str) -> list[Unit]:
    """Return the units of a run."""
    units = [unit for subject in subjects for unit in _Plan(config, subject, corpus).units()]
    return list({unit.id: unit for unit in units}.values())


class _Plan:
    def __init__(self, config: HeadSpectraConfig, subject: Subject, corpus: str) -> None:
        self.config = config
        self.subject = subject
        self.corpus = corpus
        self.metric = {name: getattr(config, name) for name in METRIC}

    def units(self) -> Iterator[Unit]:
        if self.subject.is_file:
            shape = None if self.subject.shape is None else asdict(self.subject.shape)
            spec = {"file": self.subject.fingerprint, "shape": shape}
            yield self.unit("file", f"{self.subject.label}: its numbers", spec, 0.1)
        else:
            yield from self.of_model()
        if self.subject.shape is not None:
            yield from self.null(self.subject.shape)

    def of_model(self) -> Iterator[Unit]:
        assert self.subject.shape is not None
        anchor = {"anchor": self.config.anchor}
        trained: tuple[str, ...] = ()
        for role in ROLES:
            spec = self.of_role(role)
            planted = role == "planted"
            label = f"{self.subject.label}, {role}: singular values"
            spectra = self.unit(
                "spectra", label, spec | anchor if planted else spec, needs=trained if planted else ()
            )
            trained = trained or (spectra.id,)
            yield spectra
            if role != "planted":
                yield from self.entropy(role)
            for layer in range(self.subject.shape.layers):
                label = f"{self.subject.label}, {role}: operators of layer {layer}"
                own = (
                    spec
                    | anchor
                    | {"layer": layer, "tolerance": self.config.tolerance, "seed": self.config.seed}
                )
                yield self.unit("operators", label, own, 2.0, needs=(spectra.id,))

    def of_role(self, role: str) -> dict[str, Any]:
        """Return what identifies the weights; the model itself owes nothing to a seed."""
        spec = {"model": self.subject.fingerprint, "role": role, **self.metric}
        return spec if role == "model" else spec | {"seed": self.config.seed}

    def entropy(self, role: str) -> Iterator[Unit]:
        for first in range(0, self.config.blocks, BLOCKS_A_UNIT):
            last = min(first + BLOCKS_A_UNIT, self.config.blocks)
            spec = {"model": self.subject.fingerprint, "role": role, "corpus": self.corpus}
            spec |= {"length": self.config.length, "blocks": [first, last]}
            if role != "model":
                spec["seed"] = self.config.seed
            label = f"{self.subject.label}, {role}: attention entropy, blocks {first} to {last - 1}"
            yield self.unit("entropy", label, spec, float(last - first))

    def null(self, shape: Shape) -> Iterator[Unit]:
        for first in range(0, self.config.draws, DRAWS_A_UNIT):
            last = min(first + DRAWS_A_UNIT, self.config.draws)
            spec = {**asdict(shape), "anchor": self.config.anchor, "seed": self.config.seed}
            label = f"{self.subject.label}: Gaussian products, draws {first} to {last - 1}"
            yield self.unit("null", label, spec | {"draws": [first, last]}, (last - first) / 10)

    def unit(
        self, kind: str, label: str, spec: Mapping[str, Any], cost: float = 1.0, needs: tuple[str, ...] = ()
    ) -> Unit:
        return Unit(
            study=NAME, version=VERSION, kind=kind, label=label, spec=dict(spec), needs=needs, cost=cost
        )
