"""A run that is in the store: its record, rows, tables, verdicts and figures, read when asked for."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from microtome.base.errors import UserError, did_you_mean
from microtome.lab import registry
from microtome.lab.claims import Reading
from microtome.lab.prediction import Prediction
from microtome.lab.record import Damaged, RunRecord
from microtome.lab.results import ROWS, TABLES, VERDICTS
from microtome.lab.store import RUN, RunFolder, Store
from microtome.lab.study import Study, StudyConfig
from microtome.lab.verdict import ControlResult, Verdict

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure as MatplotlibFigure


class Run:
    """One run. Nothing is read before it is asked for, and nothing is written.

    Args:
        path: the run's folder.
        study: the study, if it is at hand; else it is found by its name among the installed ones.
    """

    def __init__(self, path: Path | str, study: Study | None = None) -> None:
        self.path = Path(path)
        self._study = study

    @property
    def id(self) -> str:
        """The run's id: sixteen hexadecimal digits, from what can change its results."""
        return self.path.name

    @cached_property
    def record(self) -> RunRecord:
        """The content of ``run.json``."""
        try:
            record = RunFolder(self.path).read()
        except Damaged as problem:
            raise UserError(
                f"run {self.id}: {problem}; the command that made the run writes it anew ({self.path})"
            ) from None
        if record is None:
            raise UserError(f"there is no run at {self.path}: expected a folder with a {RUN}")
        return record

    @property
    def status(self) -> str:
        """``finished``, ``failed``, ``interrupted``, ``measuring``, ``analysing``, or ``stopped``.

        A run that was killed left ``measuring`` in its record; no process holds it, and it is ``stopped``.
        """
        status = self.record.status
        if status in ("measuring", "analysing") and not RunFolder(self.path).in_use:
            return "stopped"
        return status

    @property
    def study(self) -> Study:
        """The study that was run."""
        if self._study is None:
            self._study = registry.load(self.record.study)
        return self._study

    @cached_property
    def config(self) -> StudyConfig:
        """The resolved config."""
        if self.study.version != self.record.version:
            raise UserError(
                f"run {self.id} was made by version {self.record.version} of study {self.study.name}, "
                f"and version {self.study.version} is installed; its files can still be read, "
                "and the same command makes a new run"
            )
        return self.study.config.model_validate(self.record.config)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The predictions in force, as they were registered."""
        return self.record.predictions

    @cached_property
    def rows(self) -> "pl.DataFrame":
        """The rows of all units; the column ``unit`` says whose each is."""
        return self._read_frame(ROWS)

    @cached_property
    def tables(self) -> "Mapping[str, pl.DataFrame]":
        """The tables of the analysis, by name, as they are stored."""
        names = [Path(name).stem for name in self.record.files if name.startswith(f"{TABLES}/")]
        return MappingProxyType({name: self._read_frame(f"{TABLES}/{name}.parquet") for name in names})

    @cached_property
    def _decided(self) -> dict[str, Any]:
        self._require_finished()
        try:
            return json.loads((self.path / VERDICTS).read_text("utf-8"))
        except (OSError, ValueError):
            raise UserError(_damaged(self, VERDICTS)) from None

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The controlled verdicts, one for each prediction, in their order."""
        return tuple(Verdict.model_validate(verdict) for verdict in self._decided["verdicts"])

    @cached_property
    def controls(self) -> dict[str, ControlResult]:
        """The controls' results by name."""
        return {name: ControlResult.model_validate(it) for name, it in self._decided["controls"].items()}

    @cached_property
    def published(self) -> dict[str, Reading]:
        """What each published rule reads, by the rule's id."""
        return {
            rule: Reading.model_validate(it["reading"]) for rule, it in self._decided["published"].items()
        }

    def figures(self) -> "dict[str, MatplotlibFigure]":
        """Draw the study's figures as on its page and return them by name; a notebook shows one as a picture."""
        from microtome.base.style import style
        from microtome.lab.notebook import show_figures

        show_figures()
        with style():
            return {figure.name: figure.draw() for figure in self.study.figures(self.config, self.tables)}

    @property
    def verdict_table(self) -> "pl.DataFrame":
        """Both answers side by side, a row for each prediction."""
        import polars as pl

        claims = {prediction.id: prediction.claim for prediction in self.predictions}
        outcomes: dict[str, list[str]] = {}
        for rule, it in self._decided["published"].items():
            outcomes.setdefault(it["prediction"], []).append(self.published[rule].outcome)
        rows = [
            {
                "prediction": verdict.prediction,
                "claim": claims[verdict.prediction],
                "verdict": str(verdict.outcome),
                "estimate": verdict.estimate.value,
                "low": verdict.interval.low if verdict.interval else None,
                "high": verdict.interval.high if verdict.interval else None,
                "alpha": verdict.alpha,
                "n": verdict.estimate.n,
                "unit": verdict.estimate.unit,
                "p": verdict.estimate.null.p if verdict.estimate.null else None,
                "published": "; ".join(outcomes.get(verdict.prediction, [])) or None,
                "reason": verdict.reason,
            }
            for verdict in self.verdicts
        ]
        numbers = dict.fromkeys(("estimate", "low", "high", "alpha", "p"), pl.Float64)
        return pl.DataFrame(rows, schema_overrides={**numbers, "published": pl.String})

    def _require_finished(self) -> None:
        if self.record.status != "finished":
            raise UserError(
                f"run {self.id} is {self.status}: it has no results yet; the command that started it goes on "
                f"from where it is ({self.record.provenance.get('command')})"
            )

    def _read_frame(self, name: str) -> "pl.DataFrame":
        import polars as pl

        self._require_finished()
        try:
            return pl.read_parquet(self.path / name)
        except (OSError, pl.exceptions.PolarsError):
            raise UserError(_damaged(self, name)) from None

    def __repr__(self) -> str:
        lines = [f"Run {self.id} of {self.record.study}: {self.status} ({self.path})"]
        if self.record.status == "finished":
            lines += [f"  {verdict.outcome:<12}  {verdict.prediction}" for verdict in self.verdicts]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from microtome.lab.notebook import as_html

        return as_html(self)


def _damaged(run: Run, name: str) -> str:
    return f"run {run.id}: {name} is missing or damaged; the command that made the run computes it again"


def open_run(id_or_path: Path | str, store: Path | str = "store") -> Run:
    """Return a run by its folder, its id, or the first digits of its id.

    Raises:
        UserError: when there is no such run in the store, or several.
    """
    path = Path(id_or_path)
    if (path / RUN).exists():
        return Run(path.resolve())
    wanted = str(id_or_path)
    folders = Store(store).run_folders()
    found = [folder for folder in folders if wanted and folder.id.startswith(wanted)]
    if len(found) == 1:
        return Run(found[0].path)
    if found:
        names = ", ".join(f"{folder.path.parent.name}/{folder.id}" for folder in found)
        raise UserError(f"'{wanted}' is the start of {len(found)} runs: {names}; write more of the id")
    if not folders:
        raise UserError(f"there is no run '{wanted}': the store '{store}' holds no runs")
    near = did_you_mean(wanted, [folder.id for folder in folders])
    raise UserError(f"there is no run '{wanted}' in the store '{store}'.{near} `microtome runs` lists all")


def runs(store: Path | str = "store") -> list[Run]:
    """Return the runs in the store, by study and id; only their names are read."""
    return [Run(folder.path) for folder in Store(store).run_folders()]
