"""Task vectors: does the residual stream hold one direction per task, apart from the operands?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from microtome.lab.claims import Tables
from microtome.lab.study import Analysis, Bench, Figure, Measurement, Study, Unit
from microtome.studies.task_vectors import plan, protocol
from microtome.studies.task_vectors.config import TaskVectorsConfig

if TYPE_CHECKING:
    from numpy.random import Generator


class TaskVectors(Study):
    """The study task-vectors; modules that need torch are imported when they are used."""

    name = plan.NAME
    version = plan.VERSION
    title = "Task vectors"
    question = "Does the residual stream hold one direction per task, apart from the operands?"
    original = protocol.ORIGINAL
    config = TaskVectorsConfig
    predictions = protocol.PREDICTIONS
    published = protocol.PUBLISHED
    controls = protocol.CONTROLS
    demo: Mapping[str, Any] = {
        "operands": 16,
        "layers": tuple(range(0, 30, 2)),
        "alphas": (0.0, 0.5, 1.0, 2.0, 4.0),
        "corpus_tokens": 128,
    }

    def fingerprints(self, config: TaskVectorsConfig) -> dict[str, str]:
        """Return the fingerprints of the model and of the unrelated text; check sites, layers and operands."""
        from microtome.studies.task_vectors.inputs import fingerprints

        return fingerprints(config)

    def units(self, config: TaskVectorsConfig, fingerprints: Mapping[str, str]) -> Sequence[Unit]:
        """Return the plan."""
        return plan.plan(config, fingerprints)

    def open(self, config: TaskVectorsConfig) -> Bench:
        """Load the model and check its tokenizer against the templates."""
        from microtome.studies.task_vectors.measure import TaskVectorsBench

        return TaskVectorsBench(config)

    def gather(
        self, config: TaskVectorsConfig, units: Sequence[Unit], measured: Mapping[str, Measurement]
    ) -> Any:
        """Return the run's ``Data``."""
        from microtome.studies.task_vectors.data import gather

        return gather(config, units, measured)

    def analyse(self, config: TaskVectorsConfig, data: Any, levels: Sequence[float]) -> Analysis:
        """Return estimates and controls."""
        from microtome.studies.task_vectors.analysis import analyse

        return analyse(config, data, levels)

    def tables(self, config: TaskVectorsConfig, data: Any) -> Tables:
        """Return the numbers behind the figures and the published rules."""
        from microtome.studies.task_vectors.tables import tables

        return tables(config, data)

    def figures(self, config: TaskVectorsConfig, tables: Tables) -> Iterable[Figure]:
        """Return the original's figures, then those of the controls."""
        from microtome.studies.task_vectors.figures import figures

        return figures(config, tables)

    def methods(self, config: TaskVectorsConfig, tables: Tables) -> Iterable[str]:
        """Return the methods with the run's numbers."""
        from microtome.studies.task_vectors.methods import methods

        return methods(config, tables)

    def simulate(self, config: TaskVectorsConfig, rng: "Generator", planted: bool) -> Any:
        """Return synthetic ``Data``, with every claim true or none."""
        from microtome.studies.task_vectors.planted import simulate

        return simulate(config, rng, planted)

    def planted_effects(self, config: TaskVectorsConfig) -> dict[str, str]:
        """Return the planted effects in words."""
        from microtome.studies.task_vectors.planted import EFFECTS

        return EFFECTS


STUDY = TaskVectors()
