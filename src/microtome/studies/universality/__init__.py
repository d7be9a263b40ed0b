"""Universality: do two models share neurons beyond chance, and are these irreducible, actionable and slow?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from microtome.lab.claims import Tables
from microtome.lab.study import Analysis, Bench, Figure, Listing, Measurement, Study, Unit
from microtome.studies.universality import plan, protocol
from microtome.studies.universality.config import UniversalityConfig

if TYPE_CHECKING:
    from numpy.random import Generator


class Universality(Study):
    """The study universality; modules that need torch are imported when they are used."""

    name = plan.NAME
    version = plan.VERSION
    title = "Universality"
    question = (
        "Do two models share neurons beyond chance, and are the shared ones irreducible, actionable and slow?"
    )
    original = protocol.ORIGINAL
    config = UniversalityConfig
    predictions = protocol.PREDICTIONS
    published = protocol.PUBLISHED
    controls = protocol.CONTROLS

    @property
    def demo(self) -> Mapping[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The controls at a small size; the real pair too where the weights of a second model are installed."""
        from microtome.models.embedded import EMBEDDED

        small = {
            "documents": 50,
            "rows": 64,
            "num_samples": 40,
            "layers": (5,),
            "rotations": 1,
            "neurons": 8,
            "effect_documents": 4,
        }
        small |= {"examples": 8, "shifts": 19, "permutations": 99, "pairs": "matched"}
        second = EMBEDDED[1]
        return small | ({"model_b": second.reference} if second.installed else {})

    def demos(self, models: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Return the controls' run, and one of the first two models that were trained before, if there are."""
        if len(models) < 2:
            return (self.demo,)
        trained = {"model_a": models[0], "model_b": models[1], "layers": (1,), "pairs": "all"}
        trained["threshold_excess"] = 0.1  # of models of a hundred steps, rotations come close to any neuron
        return (self.demo, {**self.demo, **trained})

    def fingerprints(self, config: UniversalityConfig) -> dict[str, str]:
        """Return the fingerprints of models and corpus; check layers, tokenisers and the text's length."""
        from microtome.studies.universality.inputs import fingerprints
        from microtome.studies.universality.readings import check

        found = fingerprints(config)
        check(config)
        return found

    def units(self, config: UniversalityConfig, fingerprints: Mapping[str, str]) -> Sequence[Unit]:
        """Return the plan."""
        from microtome.studies.universality.inputs import comparisons

        return plan.plan(config, comparisons(config, fingerprints))

    def open(self, config: UniversalityConfig) -> Bench:
        """Return the bench; it loads models when a unit needs them."""
        from microtome.studies.universality.measure import UniversalityBench

        return UniversalityBench(config)

    def gather(
        self, config: UniversalityConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]
    ) -> Any:
        """Return the run's ``Data``."""
        from microtome.studies.universality.data import gather

        return gather(config, units, measured)

    def analyse(self, config: UniversalityConfig, data: Any, levels: Sequence[float]) -> Analysis:
        """Return estimates and controls."""
        from microtome.studies.universality.analysis import analyse

        return analyse(config, data, levels)

    def tables(self, config: UniversalityConfig, data: Any) -> Tables:
        """Return the numbers behind the figures and the published rules."""
        from microtome.studies.universality.tables import tables

        return tables(config, data)

    def exports(self, config: UniversalityConfig, tables: Tables) -> Tables:
        """Return the neurons found, for further analysis."""
        return {"aq_candidates": tables["aq_candidates"]}

    def figures(self, config: UniversalityConfig, tables: Tables) -> Iterable[Figure]:
        """Return the original's numbers as figures, then those of the controls."""
        from microtome.studies.universality.figures import figures

        return figures(config, tables)

    def listings(self, config: UniversalityConfig, tables: Tables) -> Iterable[Listing]:
        """Return the original's summary, the comparisons beside each other, and matched neurons with their contexts."""
        from microtome.studies.universality.listings import listings

        return listings(config, tables)

    def methods(self, config: UniversalityConfig, tables: Tables) -> Iterable[str]:
        """Return the methods with the run's numbers."""
        from microtome.studies.universality.methods import methods

        return methods(config, tables)

    def simulate(self, config: UniversalityConfig, rng: "Generator", planted: bool) -> Any:
        """Return synthetic ``Data``, with every claim true or none."""
        from microtome.studies.universality.planted import simulate

        return simulate(config, rng, planted)

    def planted_effects(self, config: UniversalityConfig) -> dict[str, str]:
        """Return the planted effects in words."""
        from microtome.studies.universality.planted import EFFECTS

        return EFFECTS


STUDY = Universality()
