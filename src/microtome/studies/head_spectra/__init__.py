"""Head spectra: are earlier layers' attention metrics temperature-rescaled copies of a shared operator?"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtome.lab.claims import Tables
from microtome.lab.study import Analysis, Bench, Figure, Listing, Measurement, Study, Unit
from microtome.studies.head_spectra import plan, protocol
from microtome.studies.head_spectra.config import HeadSpectraConfig

if TYPE_CHECKING:
    from numpy.random import Generator


class HeadSpectra(Study):
    """The study head-spectra; modules that need torch are imported when they are used."""

    name = plan.NAME
    version = plan.VERSION
    title = "Head spectra"
    question = "Are earlier layers' attention metrics temperature-rescaled copies of a shared operator?"
    original = protocol.ORIGINAL
    config = HeadSpectraConfig
    predictions = protocol.PREDICTIONS
    published = protocol.PUBLISHED
    controls = protocol.CONTROLS
    demo: Mapping[str, Any] = {"blocks": 4, "length": 256, "draws": 199}

    def subjects(self, config: HeadSpectraConfig) -> tuple[str, ...]:
        """Return the short names of the models and files."""
        return config.labels

    def fingerprints(self, config: HeadSpectraConfig) -> dict[str, str]:
        """Return the fingerprints of models, files and text; check files, layers, offsets and the text's length."""
        from microtome.studies.head_spectra.inputs import fingerprints

        return fingerprints(config)

    def units(self, config: HeadSpectraConfig, fingerprints: Mapping[str, str]) -> Sequence[Unit]:
        """Return the plan."""
        from microtome.studies.head_spectra.inputs import subjects

        return plan.plan(config, subjects(config, fingerprints), fingerprints.get("corpus", ""))

    def open(self, config: HeadSpectraConfig) -> Bench:
        """Return the bench; it loads a model when a unit needs one."""
        from microtome.studies.head_spectra.measure import HeadSpectraBench

        return HeadSpectraBench(config)

    def gather(
        self, config: HeadSpectraConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]
    ) -> Any:
        """Return the run's ``Data``."""
        from microtome.studies.head_spectra.data import gather

        return gather(config, units, measured)

    def analyse(self, config: HeadSpectraConfig, data: Any, levels: Sequence[float]) -> Analysis:
        """Return estimates and controls."""
        from microtome.studies.head_spectra.analysis import analyse

        return analyse(config, data, levels)

    def tables(self, config: HeadSpectraConfig, data: Any) -> Tables:
        """Return the numbers behind the figures and the published rules."""
        from microtome.studies.head_spectra.tables import tables

        return tables(config, data)

    def figures(self, config: HeadSpectraConfig, tables: Tables) -> Iterable[Figure]:
        """Return, for each model, the original's numbers as figures, then those of the controls."""
        from microtome.studies.head_spectra.figures import figures

        return figures(config, tables)

    def listings(self, config: HeadSpectraConfig, tables: Tables) -> Iterable[Listing]:
        """Return the original's tables, and what each role comes to."""
        from microtome.studies.head_spectra.listings import listings

        return listings(config, tables)

    def methods(self, config: HeadSpectraConfig, tables: Tables) -> Iterable[str]:
        """Return the methods with the run's numbers."""
        from microtome.studies.head_spectra.methods import methods

        return methods(config, tables)

    def simulate(self, config: HeadSpectraConfig, rng: "Generator", planted: bool) -> Any:
        """Return synthetic ``Data``, with every claim true or none."""
        from microtome.studies.head_spectra.planted import simulate

        return simulate(config, rng, planted)

    def planted_effects(self, config: HeadSpectraConfig) -> dict[str, str]:
        """Return the planted effects in words."""
        from microtome.lab.claims import of
        from microtome.studies.head_spectra.planted import EFFECTS

        if len(config.labels) == 1:
            return EFFECTS
        return {of(claim, label): text for claim, text in EFFECTS.items() for label in config.labels}

    def extract(self, config: HeadSpectraConfig, out: Path) -> None:
        """Write the spectra and entropies of the config's one model as the original's file."""
        from microtome.studies.head_spectra.extract import extract

        extract(config, out)


STUDY = HeadSpectra()
