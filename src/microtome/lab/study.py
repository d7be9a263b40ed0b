"""What a study is: a question, a config, predictions, published rules, and how to measure and analyse."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import Field

from microtome.base.files import digest
from microtome.lab.claims import Claims, Control, PublishedRule, Tables
from microtome.lab.estimate import Estimate
from microtome.lab.prediction import Frozen, Prediction
from microtome.lab.resources import Resources
from microtome.lab.verdict import ControlResult

if TYPE_CHECKING:  # polars, numpy and matplotlib take long to import; listing studies must not
    import numpy as np
    import polars as pl
    from matplotlib.figure import Figure as MatplotlibFigure


class StudyConfig(Frozen):
    """The base of every study's config: frozen, no unknown keys, each field with a description.

    A field that cannot change results (a device, a batch size, a reference that a fingerprint stands for) is
    declared with ``Field(json_schema_extra={"identity": False})`` and has no part in the run's id.
    """


class Original(Frozen):
    """The public experiment that a study implements, credited by its project's name."""

    title: str
    project: str
    summary: str


class Unit(Frozen):
    """The smallest piece of a run that can be done, stored and skipped alone.

    Its id comes from what is measured (study, version, kind, spec, and the units it needs), so two runs that
    need the same measurement share it.
    """

    study: str
    version: int
    kind: str
    label: str
    spec: dict[str, Any]
    needs: tuple[str, ...] = ()
    """Ids of units whose measurements this one reads; they come earlier in the plan."""
    cost: float = Field(default=1.0, gt=0)
    """Expected work relative to the study's other units, for the estimate of time."""

    @property
    def id(self) -> str:
        """The kind and sixteen hexadecimal digits."""
        identity = [self.study, self.version, self.kind, self.spec, list(self.needs)]
        return f"{self.kind}-{digest(identity)[:16]}"


@dataclass(frozen=True)
class Measurement:
    """What one unit measured: rows for people and statistics, arrays for further computation."""

    rows: "pl.DataFrame"
    arrays: "Mapping[str, np.ndarray]" = field(default_factory=dict)


@dataclass(frozen=True)
class Analysis:
    """What a run's measurements come to."""

    estimates: Mapping[str, Estimate]
    controls: Mapping[str, ControlResult]


@dataclass(frozen=True)
class Figure:
    """One picture of the page."""

    name: str
    """File name without suffix."""
    title: str
    caption: str
    """What to see in it, in one or two sentences."""
    draw: "Callable[[], MatplotlibFigure]"


@dataclass(frozen=True)
class Listing:
    """One table of the page, as the original prints it."""

    title: str
    caption: str
    """What to see in it, in one or two sentences."""
    frame: "pl.DataFrame"
    decimals: int = 4
    """Digits after the point in columns of fractions."""


class Bench(ABC):
    """What a worker keeps between units: the loaded model, caches. Made by ``Study.open`` in each process."""

    @abstractmethod
    def measure(self, unit: Unit, needed: Mapping[str, Measurement]) -> Measurement:
        """Measure one unit; ``needed`` holds the measurements of the units it names, by id."""


class Study(ABC):
    """A question with everything needed to answer it twice: as published, and controlled."""

    name: str
    version: int
    """Raised whenever the same unit would come out different."""
    title: str
    question: str
    original: Original
    config: type[StudyConfig]
    bench: Callable[[Any], Bench]
    """The class of the study's bench, which takes the config; not needed where ``open`` is defined."""
    demo: Mapping[str, Any] = MappingProxyType({})
    """Options with which the study runs small, for a demonstration."""
    predictions: tuple[Prediction, ...]
    published: tuple[PublishedRule, ...] = ()
    controls: tuple[Control, ...] = ()

    def subjects(self, config: Any) -> tuple[str, ...]:
        """Return the names of the things that the run makes its claims of, if there may be several (models).

        With several, ``analyse`` returns the estimates and controls under ``of(name, subject)``, and tables that the
        published rules read have a column ``subject``.
        """
        return ()

    def claims(self, config: Any) -> Claims:
        """Return what a run with this config is held to."""
        claims, subjects = Claims(self.predictions, self.published, self.controls), self.subjects(config)
        return claims.about(subjects) if len(subjects) > 1 else claims

    def demos(self, models: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Return the options of each run of the demonstration.

        Args:
            models: references of models that the demonstration's earlier runs left.
        """
        return (self.demo,)

    def models(self, config: Any) -> tuple[str, ...]:
        """Return references of models that a finished run leaves, which other studies can look into."""
        return ()

    def resources(self, config: Any) -> Resources:
        """Return what a cluster reserves for each worker: a processor, and a GPU if the config names ``cuda``."""
        return Resources(gpus=1 if str(getattr(config, "device", "")).startswith("cuda") else 0)

    @abstractmethod
    def fingerprints(self, config: Any) -> dict[str, str]:
        """Return the fingerprints of the models and corpora that the config names.

        Raises:
            UserError: when the config names something that is not there or cannot work.
        """

    def unit(self, kind: str, label: str, spec: Mapping[str, Any], **how: Any) -> Unit:
        """Return a unit of this study and its version; ``how`` are the unit's ``needs`` and ``cost``."""
        return Unit(study=self.name, version=self.version, kind=kind, label=label, spec=dict(spec), **how)

    @abstractmethod
    def units(self, config: Any, fingerprints: Mapping[str, str]) -> Sequence[Unit]:
        """Return the plan: every unit of the run, each after the units that it needs. Loads no model."""

    def open(self, config: Any) -> Bench:
        """Load what measuring takes: unless a study says otherwise, its ``bench``."""
        return self.bench(config)

    def gather(self, config: Any, units: Sequence[Unit], measured: Mapping[str, Measurement]) -> Any:
        """Join the units' measurements into the data that ``analyse`` and ``simulate`` share.

        Unless a study says otherwise, these are the rows of all units in the order of the plan, as one table.
        """
        import polars as pl

        return pl.concat([measured[unit.id].rows for unit in units])

    def analyse(self, config: Any, data: Any, levels: Sequence[float]) -> Analysis:
        """Compute the estimates of all predictions, with intervals at each error level, and the controls.

        Unless a study says otherwise, each prediction is about the mean over rows of the column that is named like
        it, with Student's interval, and there are no controls.
        """
        from microtome.lab.means import mean_estimate

        return Analysis({p.id: mean_estimate(data[p.id], levels) for p in self.predictions}, {})

    def tables(self, config: Any, data: Any) -> Tables:
        """Return the numbers behind figures and published rules; each is stored as ``tables/<name>.parquet``.

        Unless a study says otherwise, this is the one table that ``gather`` returns, as ``data``.
        """
        return {"data": data}

    def exports(self, config: Any, tables: Tables) -> Tables:
        """Return what other programs should find, each as ``exports/<name>.parquet`` and ``.json``."""
        return {}

    def figures(self, config: Any, tables: Tables) -> Iterable[Figure]:
        """Return the figures of the page, in its order."""
        return ()

    def listings(self, config: Any, tables: Tables) -> Iterable[Listing]:
        """Return the tables that the page shows, in its order."""
        return ()

    def methods(self, config: Any, tables: Tables) -> Iterable[str]:
        """Return the methods section, a paragraph an item, with the run's own numbers.

        Unless a study says otherwise, it says what each prediction estimates.
        """
        return (f"{p.id}: {p.estimand}" for p in self.predictions)

    @abstractmethod
    def simulate(self, config: Any, rng: "np.random.Generator", planted: bool) -> Any:
        """Return synthetic data in which every claim is true (planted) or none is, for power and nulls."""

    def planted_effects(self, config: Any) -> dict[str, str]:
        """Say, per prediction, the size of the effect that ``simulate`` plants, on the estimate's scale."""
        return {}
