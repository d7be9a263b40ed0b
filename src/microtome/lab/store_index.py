"""What each run of a store came to, kept in one file, so that a listing of thousands reads one file.

The index is a cache: an entry holds while the run's ``run.json`` and ``verdicts.json`` are the files that it was
made from (by time, size and inode). What changed is read anew, and a damaged index is made anew. Processes that
write it at once move whole files into place; the last one wins, and each is right.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from microtome.base.errors import UserError
from microtome.base.files import atomic
from microtome.lab.prediction import Frozen
from microtome.lab.results import VERDICTS
from microtome.lab.run import Run
from microtome.lab.store import RUN
from microtome.lab.verdict import Outcome, Verdict

INDEX = ".index.json"
UNFINISHED = ("measuring", "analysing")
Stamp = tuple[int, ...]


class Decided(NamedTuple):
    """What one prediction of a run came to."""

    prediction: str
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None
    """The interval that decided."""


class Summary(Frozen):
    """One run in a listing."""

    study: str
    id: str
    status: str
    """As ``Run.status`` says it; ``damaged`` when ``problem`` says how."""
    created: str = ""
    models: tuple[str, ...] = ()
    """The references of models that its config names."""
    given: dict[str, Any] = Field(default_factory=dict)
    """The config as the user gave it."""
    verdicts: tuple[Decided, ...] = ()
    problem: str | None = None


class Entry(Frozen):
    """A summary and the state of the files that it was made from."""

    stamp: Stamp
    summary: Summary


_INDEX = TypeAdapter(dict[str, Entry])


def summaries(store: Path | str) -> list[Summary]:
    """Return what each run of a store came to, by study and id; reads only what changed since the last call.

    The index ``STORE/.index.json`` is written where it can be; a store that is read-only is read anew each time.
    """
    root = Path(store)
    known, stamps = _read(root), dict(sorted(_stamps(root)))
    entries = {
        name: known[name]
        if name in known and known[name].stamp == stamp
        else Entry(stamp=stamp, summary=_summary(root / name))
        for name, stamp in stamps.items()
    }
    if entries != known:
        _write(root, entries)
    return [_as_of_now(root, entry.summary) for entry in entries.values()]


def newest(store: Path | str) -> list[Summary]:
    """Return ``summaries``, the newest run first."""
    return sorted(summaries(store), key=lambda summary: summary.created, reverse=True)


def _stamps(root: Path) -> Iterator[tuple[str, Stamp]]:
    """Yield each run's name, ``study/id``, and the state of its two files."""
    for study in _folders(root):
        for run in _folders(study.path):
            with suppress(FileNotFoundError):
                yield f"{study.name}/{run.name}", (*_state(f"{run.path}/{RUN}"), *_decided_state(run.path))


def _folders(path: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as found:
            return [entry for entry in found if entry.is_dir()]
    except FileNotFoundError:
        return []


def _state(path: str) -> Stamp:
    it = os.stat(path)
    return it.st_mtime_ns, it.st_size, it.st_ino


def _decided_state(run: str) -> Stamp:
    try:
        return _state(f"{run}/{VERDICTS}")
    except FileNotFoundError:
        return ()


def _read(root: Path) -> dict[str, Entry]:
    """Return the index, or nothing when there is none, or one that is damaged or of another version."""
    try:
        return _INDEX.validate_json((root / INDEX).read_bytes())
    except (OSError, ValidationError):
        return {}


def _write(root: Path, entries: Mapping[str, Entry]) -> None:
    with suppress(OSError), atomic(root / INDEX) as temporary:
        temporary.write_bytes(_INDEX.dump_json(dict(entries)))


def _summary(path: Path) -> Summary:
    run = Run(path)
    try:
        record = run.record
        return Summary(
            study=path.parent.name,
            id=run.id,
            status=record.status,
            created=record.created,
            models=models_of(record.config),
            given=record.given,
            verdicts=tuple(map(_decided, run.verdicts)) if record.status == "finished" else (),
        )
    except (UserError, ValidationError, KeyError, OSError) as problem:
        return Summary(study=path.parent.name, id=run.id, status="damaged", problem=str(problem))


def _decided(verdict: Verdict) -> Decided:
    interval = verdict.interval
    return Decided(
        prediction=verdict.prediction,
        outcome=verdict.outcome,
        value=verdict.estimate.value,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
    )


def models_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the texts in a config's fields that are named for a model: ``model``, ``models``, ``model_a`` ..."""
    named = [value for name, value in config.items() if {"model", "models"} & set(name.split("_"))]
    values = [one for value in named for one in (value if isinstance(value, list | tuple) else [value])]
    return tuple(dict.fromkeys(value for value in values if isinstance(value, str)))


def _as_of_now(root: Path, summary: Summary) -> Summary:
    """Return the summary of a run that may have been killed since its record was written."""
    if summary.status not in UNFINISHED:
        return summary
    try:
        return summary.model_copy(update={"status": Run(root / summary.study / summary.id).status})
    except UserError as problem:  # it was damaged or deleted a moment ago
        return summary.model_copy(update={"status": "damaged", "problem": str(problem)})
