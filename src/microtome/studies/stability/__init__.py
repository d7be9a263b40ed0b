"""Stability: does fine-tuning on a crafted input collapse a model's structure, and what shields it?"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtome.lab.claims import Claims, Tables, of
from microtome.lab.study import Analysis, Bench, Figure, Listing, Measurement, Study, Unit
from microtome.studies.stability import orchestrate, plan, protocol, published
from microtome.studies.stability.config import StabilityConfig

if TYPE_CHECKING:
    from numpy.random import Generator


class Stability(Study):
    """The study stability; modules that need torch are imported when they are used."""

    name = plan.NAME
    version = plan.VERSION
    title = "Stability"
    question = "Does fine-tuning on a crafted input collapse a model's structure, and what shields it?"
    original = protocol.ORIGINAL
    config = StabilityConfig
    predictions = protocol.PREDICTIONS
    published = published.PUBLISHED
    controls = protocol.CONTROLS
    demo: Mapping[str, Any] = {
        "runs": 2,
        "treatments": ("optimised", "start", "isotropic", "noop", "healthy"),
        "optimizers": ("adamw", "sgd"),
        "tunings": ("full/float32", "lora/float32", "lora/nf4"),
        "steps": 4,
        "length": 16,
        "directions": 2,
        "lanczos_steps": 12,
        "curvature_blocks": 2,
        "checks": 20,
        "healing_steps": 4,
        "healing_every": 4,
        "published": ("eigen_prion/adamw/fp16",),
        "published_steps": 3,
        "evaluation_tokens": 640,
        "layer_stride": 10,
        "draws": 20,
    }

    def subjects(self, config: StabilityConfig) -> tuple[str, ...]:
        """Return the short names of the models."""
        return config.labels

    def claims(self, config: StabilityConfig) -> Claims:
        """Return the claims of each model apart, and the one about sizes of all together."""
        every = Claims(self.predictions, self.published, self.controls)
        if len(config.labels) == 1:
            return every
        apart = Claims(self.predictions[:-1], self.published[:-1], self.controls).about(config.labels)
        scaling = protocol.SCALING.model_copy(
            update={
                "controls": tuple(
                    of(name, label) for name in protocol.SCALING.controls for label in config.labels
                )
            }
        )
        return Claims((*apart.predictions, scaling), (*apart.published, self.published[-1]), apart.controls)

    def fingerprints(self, config: StabilityConfig) -> dict[str, str]:
        """Return the fingerprints of models and text; check that they fit the config."""
        from microtome.studies.stability.inputs import fingerprints

        return fingerprints(config)

    def units(self, config: StabilityConfig, fingerprints: Mapping[str, str]) -> Sequence[Unit]:
        """Return the plan."""
        return plan.plan(config, fingerprints)

    def open(self, config: StabilityConfig) -> Bench:
        """Return the bench; it loads a model when a unit needs one."""
        from microtome.studies.stability.measure import StabilityBench

        return StabilityBench(config)

    def gather(
        self, config: StabilityConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]
    ) -> Any:
        """Return the run's ``Data``."""
        from microtome.studies.stability.data import gather

        return gather(config, units, measured)

    def analyse(self, config: StabilityConfig, data: Any, levels: Sequence[float]) -> Analysis:
        """Return estimates and controls."""
        from microtome.studies.stability.analysis import analyse

        return analyse(config, data, levels)

    def tables(self, config: StabilityConfig, data: Any) -> Tables:
        """Return the numbers behind the figures and the published rules."""
        from microtome.studies.stability.tables import tables

        return tables(config, data)

    def figures(self, config: StabilityConfig, tables: Tables) -> Iterable[Figure]:
        """Return the figures of each model, the original's first, and one of all sizes."""
        from microtome.studies.stability.figures import figures

        return figures(config, tables)

    def listings(self, config: StabilityConfig, tables: Tables) -> Iterable[Listing]:
        """Return the original's numbers, every arm's, the inputs' and the untuned models'."""
        from microtome.studies.stability.listings import listings

        return listings(config, tables)

    def methods(self, config: StabilityConfig, tables: Tables) -> Iterable[str]:
        """Return the methods with the run's numbers."""
        from microtome.studies.stability.methods import methods

        return methods(config, tables)

    def simulate(self, config: StabilityConfig, rng: "Generator", planted: bool) -> Any:
        """Return synthetic ``Data``, with every claim true or none."""
        from microtome.studies.stability.planted import simulate

        return simulate(config, rng, planted)

    def planted_effects(self, config: StabilityConfig) -> dict[str, str]:
        """Return the planted effects in words."""
        from microtome.studies.stability.planted import EFFECTS

        if len(config.labels) == 1:
            return EFFECTS
        apart = {claim: text for claim, text in EFFECTS.items() if claim != "scaling"}
        named = {of(claim, label): text for claim, text in apart.items() for label in config.labels}
        return named | {"scaling": EFFECTS["scaling"]}

    def experiment(self, model: str, cell: str, **settings: Any) -> Mapping[str, Any]:
        """Return the options with which the study runs one published cell on a model."""
        return orchestrate.options(model, (cell,), **settings)

    def priority(self, number: int, **settings: Any) -> Sequence[Mapping[str, Any]]:
        """Return the options of each of a priority's runs, one for each model."""
        return orchestrate.options_of(number, **settings)

    def folder(self, number: int, output: Path) -> Path:
        """Return where a priority's raw results are."""
        return orchestrate.folder_of(number, output)

    def export(self, config: StabilityConfig, store: Path | str, folder: Path) -> Sequence[Path]:
        """Write what is finished as the original's folders."""
        return orchestrate.export(self, config, store, folder)

    def analyse_records(self, priority: int, results: Path, output: Path, **options: Any) -> Any:
        """Analyse folders of published runs both ways, and write tables, plots and a page."""
        from microtome.studies.stability.records.analysis import analyse

        return analyse(priority, results, output, **options)


STUDY = Stability()
