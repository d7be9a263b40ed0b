"""The store: a folder of runs, and the files of one run.

    STORE/<study>/<run id>/
      run.json            the record (``microtome.lab.record``)
      units/<unit id>/    unit.json, rows.parquet, arrays.safetensors, log.txt
      rows.parquet  verdicts.json  tables/*.parquet  figures/  report.html

Only the process that holds a run's lock writes into its folder. Every file is written under a temporary name
and moved into place.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from microtome.base.errors import UserError
from microtome.base.files import TEMPORARY
from microtome.lab.failures import RunFailure
from microtome.lab.record import Damaged, RunRecord, read_record, read_sealed, write_record
from microtome.lab.unit_files import RECORD, adopt_unit, check_unit

RUN = "run.json"
LOCK = ".lock"


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        """The run's id, which is the folder's name."""
        return self.path.name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process alone; what an earlier process left half-written is swept.

        Raises:
            UserError: when another process holds the run, or the folder cannot be written.
        """
        lock = FileLock(self.path / LOCK, timeout=0.5)  # longer than ``in_use`` holds it
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            self._sweep()
        except Timeout:
            raise UserError(
                f"run {self.id} is being worked on by another process ({self.path}); "
                "wait for it to finish, or stop it and run the same command again"
            ) from None
        except OSError as error:
            lock.release()
            raise unwritable(self.path, error) from None
        try:
            yield
        finally:
            lock.release()

    @property
    def in_use(self) -> bool:
        """Whether some process holds the run now."""
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            if not (self.path / LOCK).exists():
                return False
            lock.acquire()
        except Timeout:
            return True
        except OSError:
            return False
        lock.release()
        return False

    def _sweep(self) -> None:
        for leftover in self.path.rglob(f"{TEMPORARY}*"):
            leftover.unlink(missing_ok=True)

    def read(self) -> RunRecord | None:
        """Return the run's record, or None when there is none.

        Raises:
            Damaged: when it was edited or cannot be read.
        """
        try:
            return read_record(self.path / RUN)
        except FileNotFoundError:
            return None

    def write(self, record: RunRecord) -> None:
        """Write the run's record."""
        write_record(self.path / RUN, record)

    def unit(self, unit_id: str) -> Path:
        """Return the folder of a unit."""
        return self.path / "units" / unit_id


class Store:
    """A folder of runs, by study."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def run_folder(self, study: str, run_id: str) -> RunFolder:
        """Return the folder of a run, which need not exist."""
        return RunFolder(self.root / study / run_id)

    def run_folders(self) -> list[RunFolder]:
        """Return the folders that hold a run's record, sorted by study and id."""
        return [RunFolder(path.parent) for path in sorted(self.root.glob(f"*/*/{RUN}"))]

    def elsewhere(self, study: str, unit_id: str, here: RunFolder) -> list[Path]:
        """Return the folders in which other runs of the study say that the unit is done."""
        found = sorted((self.root / study).glob(f"*/units/{unit_id}/{RECORD}"))
        return [path.parent for path in found if path.parent != here.unit(unit_id)]

    def adopt(self, study: str, unit_id: str, here: RunFolder) -> dict[str, Any] | None:
        """Take a unit that another run measured, and return its record; None when no run has it intact."""
        for source in self.elsewhere(study, unit_id, here):
            if record := adopt_unit(source, here.unit(unit_id)):
                return record
        return None

    def seconds(self, study: str) -> dict[str, list[float]]:
        """Return, by kind, the seconds per expected cost that each of the study's finished units took."""
        found: dict[str, list[float]] = {}
        seen: set[str] = set()
        for path in (self.root / study).glob(f"*/units/*/{RECORD}"):
            if path.parent.name in seen:
                continue
            try:
                record = read_sealed(path)
            except Damaged:
                continue
            seen.add(path.parent.name)
            found.setdefault(record["kind"], []).append(record["seconds"] / record["cost"])
        return found


def unwritable(path: Path, error: OSError) -> UserError:
    """Return what to tell a user whose store cannot be written."""
    return UserError(
        f"cannot write to the store at {path}: {error.strerror or error}; "
        "choose a folder that you can write to with --store"
    )


def storage_failure(error: OSError) -> RunFailure:
    """Return what to tell a user whose disk failed while units were being stored."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    what = "the disk of the store is full" if full else "the store could not be written"
    remedy = "free some space" if full else "make it writable"
    return RunFailure(f"{what} ({error.strerror or error}): {remedy} and run the same command again")


def intact_units(
    folder: RunFolder, unit_ids: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return the records of the finished units, and what is wrong with each damaged one, by id."""
    done: dict[str, dict[str, Any]] = {}
    damaged: dict[str, str] = {}
    for unit_id in unit_ids:
        try:
            if record := check_unit(folder.unit(unit_id)):
                done[unit_id] = record
        except Damaged as problem:
            damaged[unit_id] = str(problem)
    return done, damaged
