"""The record of a run, ``run.json``: everything but the measurements, readable without microtome."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from microtome.base.files import digest, write_json
from microtome.lab.prediction import Frozen, Prediction

Status = Literal["measuring", "analysing", "finished", "failed", "interrupted"]
Registered = Literal["before the data", "after the data"]
STATUSES: tuple[str, ...] = get_args(Status)


class Damaged(Exception):
    """A file that does not match its checksum, or cannot be read; its text says which and how."""


class UnitEntry(Frozen):
    """A unit of the run's plan."""

    id: str
    kind: str
    label: str
    origin: str | None = None
    """The id of the run that measured it; None until it is measured."""


class EarlierPredictions(Frozen):
    """Predictions that were in force before an edit."""

    predictions: tuple[Prediction, ...]
    predictions_hash: str
    until: str


class RunRecord(Frozen):
    """What a run is, what was predicted, how and where it was measured, and how far it came."""

    format: int = 1
    """Raised when this record's fields change their meaning."""
    microtome: str
    """The version that wrote the record."""
    study: str
    version: int
    id: str
    status: Status
    created: str
    """When the run was first registered (UTC)."""
    registered: Registered
    """Whether the predictions in force were written down before every unit that the verdicts rest on."""
    given: dict[str, Any]
    """The config as the user gave it: only what differs from silence."""
    config: dict[str, Any]
    """The config as resolved, with every default."""
    fingerprints: dict[str, str]
    predictions: tuple[Prediction, ...]
    predictions_hash: str
    earlier_predictions: tuple[EarlierPredictions, ...] = ()
    units: tuple[UnitEntry, ...]
    failed: dict[str, str] = Field(default_factory=dict)
    """The error of each unit that failed, by id; its log.txt holds the traceback."""
    events: tuple[str, ...] = ()
    """What happened that a reader should know: damage found, units reused, interruptions."""
    provenance: dict[str, Any]
    """Of the latest session: command, code, machine, times."""
    earlier_provenance: tuple[dict[str, Any], ...] = Field(default=())
    """Of earlier sessions that worked on the same run."""
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each result file, by path within the run."""
    report: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the report and its figures, by path within the run."""


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_sealed(path: Path, record: dict[str, Any]) -> None:
    """Write ``record`` as JSON with a checksum of its own content, so that an edit shows."""
    write_json(path, {**record, "seal": digest(record)})


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the content of a sealed file without its seal.

    Raises:
        FileNotFoundError: when there is no such file.
        Damaged: when the file is not JSON or was changed since it was written.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        seal = record.pop("seal")
        intact = seal == digest(record)
    except (ValueError, KeyError, AttributeError, TypeError):
        raise Damaged(f"{path.name} is not whole") from None
    if not intact:
        raise Damaged(f"{path.name} was edited: its content does not match its seal")
    return record


def write_record(path: Path, record: RunRecord) -> None:
    """Write a run's record to ``path``."""
    write_sealed(path, record.model_dump(mode="json"))


def read_record(path: Path) -> RunRecord:
    """Return the run record at ``path``.

    Raises:
        FileNotFoundError: when there is none.
        Damaged: when it was edited or is not a record that this version reads.
    """
    try:
        return RunRecord.model_validate(read_sealed(path))
    except ValidationError as error:
        fields = ", ".join(sorted({str(e["loc"][0]) for e in error.errors() if e["loc"]}))
        raise Damaged(
            f"{path.name} is not a record that this version of microtome reads ({fields})"
        ) from None


def with_events(record: RunRecord, events: Iterable[str]) -> RunRecord:
    """Return the record with more events, each with its time."""
    return record.model_copy(update={"events": (*record.events, *(f"{now()} {event}" for event in events))})
