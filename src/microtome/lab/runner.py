"""The runner: registers the predictions, has an engine measure what is missing, stores it, and concludes."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from microtome.base.progress import progress
from microtome.lab.engines import Engine, Failed, Result
from microtome.lab.engines.local import LocalEngine
from microtome.lab.failures import Interrupted, RunFailure
from microtome.lab.plan import Layout, lay_out
from microtome.lab.prediction import predictions_hash
from microtome.lab.provenance import provenance
from microtome.lab.record import Damaged, Registered, RunRecord, Status, UnitEntry, now
from microtome.lab.registration import register
from microtome.lab.results import conclude, write_results
from microtome.lab.run import Run
from microtome.lab.store import intact_units, storage_failure, unwritable
from microtome.lab.study import Study, StudyConfig, Unit
from microtome.lab.unit_files import Provider, check_files, write_failure, write_unit

Tell = Callable[[str], None]


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


def execute(
    study: Study,
    config: StudyConfig,
    *,
    store: Path | str = "store",
    workers: int = 1,
    threads: int | None = None,
    command: str | None = None,
    engine: Engine | None = None,
    again: bool = False,
    tell: Tell = _to_stderr,
) -> Run:
    """Run ``study`` with ``config``: measure what the store does not have, then decide.

    A finished run whose files are whole is returned as it is. A run that was stopped goes on where it was.

    Args:
        study: what to run.
        config: its resolved config.
        store: the folder of all runs.
        workers: worker processes of the local engine; 1 measures in this process.
        threads: threads for each unit; by default the processors shared among the workers.
        command: the exact command, for the record; by default this process's arguments.
        engine: measures instead of the local engine; ``workers`` and ``threads`` are then its own.
        again: analyse and decide anew although the run is finished (after a change of the analysis).
        tell: receives messages that a user should see.

    Raises:
        UserError: a mistake in the config, a store that cannot be written, a run that another process holds.
        RunFailure: failed units, a dead worker or a full disk; what is finished is kept.
        Interrupted: after Ctrl-C; what is finished is kept.
    """
    engine = engine or LocalEngine(workers, threads)
    layout = lay_out(study, config, store)
    session = _Session(layout, engine, tell)
    with layout.folder.locked():
        if not session.look() or again:
            session.register(command)
            session.work()
    return Run(layout.folder.path, study)


@contextmanager
def _storing() -> Iterator[None]:
    """Tell a disk that fails from an error of the study."""
    try:
        yield
    except OSError as error:
        raise storage_failure(error) from error


class _Session:
    """One process's work on a run, while it holds the lock."""

    def __init__(self, layout: Layout, engine: Engine, tell: Tell) -> None:
        self.layout = layout
        self.folder = layout.folder
        self.engine = engine
        self.predictions_hash = predictions_hash(layout.study.claims(layout.config).predictions)
        self.record: RunRecord | None = None
        self.done: dict[str, dict[str, Any]] = {}
        """The records of the units that are finished and intact, by id."""
        self._tell = tell
        self._events: list[str] = []

    def look(self) -> bool:
        """Check what is there, say what is damaged, and return whether nothing is left to do."""
        try:
            self.record = self.folder.read()
        except Damaged as problem:
            self._say(f"{problem}; it is written anew")
        self.done, damaged = intact_units(self.folder, [unit.id for unit in self.layout.units])
        for unit_id, problem in damaged.items():
            self._say(f"unit {unit_id} is damaged: {problem}; it is measured again")
        if self.record is None or self.record.status != "finished" or len(self.done) < len(self.layout.units):
            return False
        if self.record.predictions_hash != self.predictions_hash:
            self._say("the predictions were edited since this run finished; it is decided anew")
            return False
        try:
            check_files(self.folder.path, self.record.files)
        except Damaged as problem:
            self._say(f"{problem}; it is computed again from the finished units")
            return False
        return True

    def register(self, command: str | None) -> None:
        """Take over what other runs measured, and write the record with its predictions before measuring."""
        dtype = getattr(self.layout.config, "dtype", None)
        origin = provenance(
            command,
            engine=self.engine.name,
            threads=self.engine.threads,
            workers=getattr(self.engine, "workers", None),
            dtype=None if dtype is None else str(dtype),
        )
        try:
            self._adopt()
        except OSError as error:
            raise unwritable(self.folder.path, error) from None
        self.record = register(self.layout, self.record, origin, self._entries(), self._registered())
        self._update("measuring")

    def work(self) -> None:
        """Measure what is missing, then conclude; if something stops it, the record says so."""
        try:
            failed = self._measure()
            if failed:
                raise RunFailure(self._explain(failed))
            self._update("analysing")
            results = conclude(self.layout, self.engine.threads, self._registered())
            with _storing():
                files = write_results(self.folder.path, results)
            self._update("finished", files=files, report={})
        except KeyboardInterrupt:
            self._stopped("interrupted")
            raise Interrupted(f"interrupted: {self._kept}; the same command goes on from there") from None
        except RunFailure as failure:
            self._stopped("failed")
            raise RunFailure(f"{failure}\n{self._kept}; the same command goes on from there") from failure
        except BaseException as error:
            self._stopped("failed")
            error.add_note(f"{self._kept}; the same command goes on from there")
            raise

    def _measure(self) -> dict[str, str]:
        """Measure and store the missing units, and return the error of each that failed."""
        units = self.layout.units
        missing = [unit for unit in units if unit.id not in self.done]
        failed: dict[str, str] = {}
        if not missing:
            return failed
        results = self.engine.measure(self.layout.study, self.layout.config, missing, self.folder.unit)
        by_id = {unit.id: unit for unit in missing}
        share = len(missing) / sum(unit.cost for unit in missing)
        with closing(results), progress(self.layout.study.name, len(missing), "units") as advance:
            for result in results:
                unit = by_id[result.unit]
                if isinstance(result, Failed):
                    failed[unit.id] = result.error
                with _storing():
                    self._store(unit, result)
                advance(unit.cost * share, who=self.engine.at_work)
        self._update("failed" if failed else "measuring", failed=failed)
        return failed

    def _store(self, unit: Unit, result: Result) -> None:
        folder = self.folder.unit(unit.id)
        if isinstance(result, Failed):
            write_failure(folder, result.log)
            return
        provider = Provider(self.folder.id, self.predictions_hash, self.engine.threads)
        self.done[unit.id] = write_unit(folder, unit, result.files, result.log, result.seconds, provider)

    def _adopt(self) -> None:
        """Take over the missing units that other runs in the store have measured."""
        taken = 0
        for unit in self.layout.units:
            if unit.id not in self.done and (
                record := self.layout.store.adopt(self.layout.study.name, unit.id, self.folder)
            ):
                self.done[unit.id] = record
                taken += 1
        if taken:
            self._say(f"{taken} of {len(self.layout.units)} units were measured by other runs and are reused")

    def _registered(self) -> Registered:
        """Whether every finished unit was measured under the predictions in force."""
        same = all(record["predictions_hash"] == self.predictions_hash for record in self.done.values())
        return "before the data" if same else "after the data"

    def _entries(self) -> tuple[UnitEntry, ...]:
        origins = {unit_id: record["run"] for unit_id, record in self.done.items()}
        return tuple(
            UnitEntry(id=unit.id, kind=unit.kind, label=unit.label, origin=origins.get(unit.id))
            for unit in self.layout.units
        )

    def _update(self, status: Status, **changes: Any) -> None:
        """Write the record with a new status, the units so far, and the events since it was last written."""
        assert self.record is not None
        if status != "measuring" and status != "analysing":
            changes["provenance"] = {**self.record.provenance, "finished": now()}
        changes |= {"status": status, "units": self._entries(), "registered": self._registered()}
        changes["events"] = (*self.record.events, *self._events)
        self._events = []
        self.record = self.record.model_copy(update=changes)
        with _storing():
            self.folder.write(self.record)

    def _stopped(self, status: Status) -> None:
        with suppress(RunFailure):  # a full disk may refuse this too; the units say how far the run came
            self._update(status)

    def _say(self, message: str) -> None:
        self._events.append(f"{now()} {message}")
        self._tell(message)

    @property
    def _kept(self) -> str:
        return (
            f"{len(self.done)} of {len(self.layout.units)} units are finished and kept in {self.folder.path}"
        )

    def _explain(self, failed: dict[str, str]) -> str:
        labels = {unit.id: unit.label for unit in self.layout.units}
        skipped = len(self.layout.units) - len(self.done) - len(failed)
        lines = [f"{len(failed)} of {len(labels)} units failed:"]
        lines += [f"  {unit_id} ({labels[unit_id]}): {error}" for unit_id, error in failed.items()]
        if skipped:
            lines.append(f"{skipped} that need them were skipped.")
        lines.append("Their tracebacks are in units/<unit>/log.txt.")
        return "\n".join(lines)
