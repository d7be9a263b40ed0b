"""The plan of a run: the pair of models and two controls, each of them a comparison with units of its own.

Kinds of unit, each after those it needs:

- ``published``: the original's procedures, in both versions, on random tokens or on text;
- ``select``: best matches on one half of the documents, of all of A's layers in a few of B's layers;
- ``score``: the same matches on a block of documents of the other half;
- ``similarity``: debiased CKA between all layers;
- ``noise``: the original's alignment of two matrices of noise;
- ``effects``: what the loss of one of A's matched neurons, or its replacement, costs (of the pair);
- ``examples``: what activates matched neurons in both models.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

from microtome.lab.study import Unit
from microtome.studies.universality.config import UniversalityConfig

NAME = "universality"
VERSION = 1
CONDITIONS = ("random", "text")
DOCUMENTS_A_UNIT = 25
"""Documents of a unit that scores; shifts are taken within it."""
NEURONS_A_UNIT = 8
SIMILARITY_DOCUMENTS = 128
"""Documents on which layers are compared as wholes, at most."""
Role = Literal["pair", "planted", "untrained"]


@dataclass(frozen=True)
class Side:
    """One of the two models of a comparison."""

    model: str
    """Fingerprint of the model it is, or is made of."""
    layers: tuple[int, ...]
    """Those that are compared."""
    depth: int
    """Layers of the whole model."""
    neurons: int
    """Of a layer."""


@dataclass(frozen=True)
class Comparison:
    """Two models on one text."""

    role: Role
    a: Side
    b: Side
    text: str
    """Fingerprint of the aligned text."""
    documents: int
    """Documents of it that select and score."""
    label: str

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> "Comparison":
        """Return the comparison in a unit's spec."""
        a, b = (Side(**{**spec[side], "layers": tuple(spec[side]["layers"])}) for side in "ab")
        return cls(spec["role"], a, b, spec["text"], spec["documents"], "")

    @property
    def halves(self) -> tuple[range, range]:
        """The numbers of the documents that select and of those that score: even ones and odd ones."""
        return range(0, self.documents, 2), range(1, self.documents, 2)

    def partners(self, matched: bool) -> list[range]:
        """Return, for each of A's layers, the places of B's layers that it is compared with."""
        return [self.matched(i) if matched else range(len(self.b.layers)) for i in range(len(self.a.layers))]

    def matched(self, place: int) -> range:
        """Return the place of B's layer at the same relative depth as one of A's, as a range of one."""
        depth = relative_depth(self.a.layers[place], self.a.depth)
        distances = [abs(relative_depth(layer, self.b.depth) - depth) for layer in self.b.layers]
        nearest = distances.index(min(distances))
        return range(nearest, nearest + 1)


def relative_depth(layer: int, depth: int) -> float:
    """Return where a layer lies between the first (0) and the last (1)."""
    return layer / max(depth - 1, 1)


def spread(depth: int, count: int) -> tuple[int, ...]:
    """Return ``count`` layers at equal distances, none at either end."""
    count = min(count, depth)
    return tuple(dict.fromkeys(min(round(depth * (i + 1) / (count + 1)), depth - 1) for i in range(count)))


def plan(config: UniversalityConfig, comparisons: Sequence[Comparison]) -> list[Unit]:
    """Return the units of a run; the comparison of the real pair, if there is one, comes first."""
    alone = all(comparison.role != "pair" for comparison in comparisons)
    units = [
        unit
        for comparison in comparisons
        for unit in _Plan(config, comparison, alone or comparison.role != "planted").units()
    ]
    return list({unit.id: unit for unit in units}.values())


class _Plan:
    def __init__(self, config: UniversalityConfig, comparison: Comparison, shown: bool) -> None:
        self.config = config
        self.comparison = comparison
        self.main = comparison.role == "pair"
        self.shown = shown  # whether the original's procedures are: of a copy only where there is no pair

    def units(self) -> Iterator[Unit]:
        config = self.config
        for condition in CONDITIONS if self.shown else ():
            spec = self.spec(
                "condition", "layers", "num_samples", "sequence", "rotations", condition=condition
            )
            yield self.unit("published", f"the original's procedures, {condition}", spec, cost=4.0)
        selects = list(self.selects())
        yield from selects
        scores = list(self.scores(tuple(unit.id for unit in selects)))
        yield from scores
        needs = tuple(unit.id for unit in (*selects, *scores))
        if self.main:
            yield self.unit(
                "similarity",
                "similarity of all layers",
                self.spec("permutations", most=SIMILARITY_DOCUMENTS),
                cost=4.0,
            )
            yield from self.effects(needs)
        if config.examples and self.shown and self.comparison.role != "untrained":
            spec = self.spec("threshold_excess", "fdr", "examples")
            yield self.unit("examples", "contexts of matched neurons", spec, needs, cost=3.0)
        if self.comparison.role == "untrained":
            spec = {name: getattr(config, name) for name in ("num_samples", "sequence", "seed")}
            spec |= {"neurons_a": self.comparison.a.neurons, "neurons_b": self.comparison.b.neurons}
            yield self.unit("noise", "the original's alignment on noise", spec, cost=2.0)

    def selects(self) -> Iterator[Unit]:
        first, count = 0, len(self.comparison.b.layers)
        # Matched layers have few sums, so one pass takes all of them.
        at_once = count if self.config.pairs == "matched" else self.config.layers_at_once
        while first < count:
            last = min(first + at_once, count)
            spec = self.spec("pairs", "precision", "rotations", stripe=[first, last])
            layers = self.comparison.b.layers
            label = f"best matches in B's layers {layers[first]} to {layers[last - 1]}"
            yield self.unit("select", label, spec, cost=3.0 + 2.0 * (last - first))
            first = last

    def scores(self, needs: tuple[str, ...]) -> Iterator[Unit]:
        count = len(self.comparison.halves[1])
        blocks = max(1, count // DOCUMENTS_A_UNIT)
        edges = [count * i // blocks for i in range(blocks + 1)]
        for first, last in pairwise(edges):
            spec = self.spec("shifts", "rotations", block=[first, last])
            yield self.unit("score", f"their scores, documents {first} to {last - 1}", spec, needs, cost=3.0)

    def effects(self, needs: tuple[str, ...]) -> Iterator[Unit]:
        options = ("threshold_excess", "fdr", "neurons", "atoms", "effect_documents")
        for first in range(0, self.config.neurons, NEURONS_A_UNIT):
            block = [first, min(first + NEURONS_A_UNIT, self.config.neurons)]
            label = f"ablations and replacements, neurons {block[0]} to {block[1] - 1}"
            yield self.unit("effects", label, self.spec(*options, block=block), needs, cost=4.0)

    def spec(self, *options: str, **more: Any) -> dict[str, Any]:
        """Return what identifies the comparison, with some of the config's options and ``more``."""
        sides = {name: asdict(getattr(self.comparison, name)) for name in ("a", "b")}
        made = {"seed": self.config.seed} | (
            {"noise": self.config.noise} if self.comparison.role == "planted" else {}
        )
        chosen = {name: getattr(self.config, name) for name in options if name not in more}
        of_text = {"text": self.comparison.text, "documents": self.comparison.documents}
        return {"role": self.comparison.role, **of_text, **sides, **made, **chosen, **more}

    def unit(
        self, kind: str, label: str, spec: Mapping[str, Any], needs: tuple[str, ...] = (), cost: float = 1.0
    ) -> Unit:
        return Unit(
            study=NAME,
            version=VERSION,
            kind=kind,
            label=f"{self.comparison.label}: {label}",
            spec=dict(spec),
            needs=needs,
            cost=cost,
        )
