"""Bands: does a transformer with explicit spectral bands learn more universal, better separated features?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from microtome.lab.claims import Tables
from microtome.lab.study import Analysis, Bench, Figure, Listing, Measurement, Study, Unit
from microtome.studies.bands import plan, protocol
from microtome.studies.bands.config import BandsConfig

if TYPE_CHECKING:
    from numpy.random import Generator


class Bands(Study):
    """The study bands; modules that need torch are imported when they are used."""

    name = plan.NAME
    version = plan.VERSION
    title = "Bands"
    question = (
        "Does a transformer with explicit spectral bands learn more universal, better separated features than a "
        "standard one?"
    )
    original = protocol.ORIGINAL
    config = BandsConfig
    predictions = protocol.PREDICTIONS
    published = protocol.PUBLISHED
    controls = protocol.CONTROLS
    demo: Mapping[str, Any] = {
        "arms": ("baseline", "bands-only", "rates-only", "full", "no-wormhole"),
        "seeds": 2,
        "lr_scales": (1.0,),
        "steps": 60,
        "warmup_steps": 6,
        "documents": 600,
        "held_out": 0.02,
        "evaluations": 2,
        "ablation_blocks": 4,
        "feature_blocks": 16,
        "reference_documents": 24,
    }

    def models(self, config: BandsConfig) -> tuple[str, ...]:
        """Return the folders of the first two baselines, at the middle scale of the rates."""
        from microtome.studies.bands.measure import trained_models

        return trained_models(config)

    def fingerprints(self, config: BandsConfig) -> dict[str, str]:
        """Return the fingerprints of the text and of the reference model; check sizes and lengths."""
        from microtome.studies.bands.inputs import fingerprints

        return fingerprints(config)

    def units(self, config: BandsConfig, fingerprints: Mapping[str, str]) -> Sequence[Unit]:
        """Return the plan."""
        return plan.plan(config, fingerprints)

    def open(self, config: BandsConfig) -> Bench:
        """Return the bench; it loads text and models when a unit needs them."""
        from microtome.studies.bands.measure import BandsBench

        return BandsBench(config)

    def gather(self, config: BandsConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]) -> Any:
        """Return the run's ``Data``."""
        from microtome.studies.bands.data import gather

        return gather(config, units, measured)

    def analyse(self, config: BandsConfig, data: Any, levels: Sequence[float]) -> Analysis:
        """Return estimates and controls."""
        from microtome.studies.bands.analysis import analyse

        return analyse(config, data, levels)

    def tables(self, config: BandsConfig, data: Any) -> Tables:
        """Return the numbers behind the figures and the published rules."""
        from microtome.studies.bands.tables import tables

        return tables(config, data)

    def figures(self, config: BandsConfig, tables: Tables) -> Iterable[Figure]:
        """Return a figure for each of the original's research questions, and those of the controls."""
        from microtome.studies.bands.figures import figures

        return figures(config, tables)

    def listings(self, config: BandsConfig, tables: Tables) -> Iterable[Listing]:
        """Return the arms side by side, the original's table of predictions, and what a run this small can decide."""
        from microtome.studies.bands.listings import listings

        return listings(config, tables)

    def methods(self, config: BandsConfig, tables: Tables) -> Iterable[str]:
        """Return the methods with the run's numbers."""
        from microtome.studies.bands.methods import methods

        return methods(config, tables)

    def simulate(self, config: BandsConfig, rng: "Generator", planted: bool) -> Any:
        """Return synthetic ``Data``, with every claim true or none."""
        from microtome.studies.bands.planted import simulate

        return simulate(config, rng, planted)

    def planted_effects(self, config: BandsConfig) -> dict[str, str]:
        """Return the planted effects in words."""
        from microtome.studies.bands.planted import EFFECTS

        return EFFECTS


STUDY = Bands()
