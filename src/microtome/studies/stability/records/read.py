"""Reads folders of runs; what cannot be read is named and left out, and the rest is kept."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtome.base.errors import UserError
from microtome.studies.stability.records.run import Line, Name, Record, parse

AGGREGATE = "aggregate_summary_"
"""How the names of CSVs that sum up a cell begin; the cell's key follows."""
COLUMNS = ("run", "baseline_rank", "post_attack_rank", "rank_reduction_pct")
"""Of such a CSV."""
SECTIONS = ("model", "attack", "hvp", "healing")
"""Of ``config.json``, each an object."""
MEASURED = ("baseline_", "treatment_", "control_", "final_", "post_attack_", "healing_")
"""How the names of numbers in ``metrics.jsonl`` begin."""


@dataclass(frozen=True)
class Aggregate:
    """A CSV that sums up the runs of one cell."""

    path: Path
    key: str
    """The name of its runs' folders, without their number."""
    rows: tuple[dict[str, float], ...]
    """With the columns ``run``, ``baseline_rank``, ``post_attack_rank`` and ``rank_reduction_pct``."""


@dataclass(frozen=True)
class Problem:
    """Something that was left out, and why."""

    path: Path
    what: str
    """``name``, ``missing file``, ``unreadable``, ``not a number`` or ``columns``."""
    said: str
    """A sentence for the user."""


@dataclass(frozen=True)
class Collection:
    """All that a folder holds."""

    records: tuple[Record, ...]
    aggregates: tuple[Aggregate, ...]
    problems: tuple[Problem, ...]


class _Unusable(Exception):
    """Why one run or CSV is left out."""

    def __init__(self, what: str, said: str) -> None:
        super().__init__(said)
        self.what, self.said = what, said


def read(folder: Path) -> Collection:
    """Read the runs and aggregates that lie in ``folder``, or in its ``raw_data`` if it has that.

    A run is a folder with a ``metrics.jsonl`` or a ``config.json``; whatever else lies about is ignored. A line that
    is no JSON, such as a last one cut off, is counted in ``Record.cut``. A run is left out, as a problem, if its name
    says nothing, a file is missing or holds no JSON, or text stands where a number belongs.

    Raises:
        UserError: The folder does not exist, or holds nothing of this kind.
    """
    if not folder.is_dir():
        raise UserError(f"Expected a folder of runs, but there is none at {folder}. Check --results-dir.")
    inside = folder / "raw_data"
    place = inside if inside.is_dir() else folder
    records: list[Record] = []
    aggregates: list[Aggregate] = []
    problems: list[Problem] = []
    for path in sorted(place.iterdir()):
        try:
            if path.is_dir() and any((path / name).exists() for name in ("metrics.jsonl", "config.json")):
                records.append(_run(path))
            elif path.name.startswith(AGGREGATE) and path.suffix == ".csv":
                aggregates.append(_aggregate(path))
        except _Unusable as error:
            problems.append(Problem(path, error.what, f"{path.name}: {error.said}"))
    if not (records or aggregates or problems):
        raise UserError(
            f"Expected folders of runs, such as pythia_70m_pythia-70m_run01_fp16, but there are none in {place}. "
            "Give the folder that holds the runs (usually raw_data), not one run or the results' root."
        )
    return Collection(tuple(records), tuple(aggregates), tuple(problems))


def _run(folder: Path) -> Record:
    name = _named(folder.name)
    config = _config(folder / "config.json")
    lines, cut = _lines(folder / "metrics.jsonl")
    healed = folder / "healing_summary.json"
    summary = _json(healed) if healed.exists() else None
    for key, value in (summary or {}).items():
        _check(f"{healed.name}: {key}", value)
    return Record(folder, *name[:-1], config, lines, cut, summary)


def _config(path: Path) -> dict[str, Any]:
    config = _json(path)
    for section in SECTIONS:
        if not isinstance(config.get(section, {}), dict):
            raise _Unusable("unreadable", f"{path.name}: {section} is no JSON object; left out.")
    for key, value in config.get("attack", {}).items():
        _check(f"{path.name}: {key}", value)
    return config


def _lines(path: Path) -> tuple[tuple[Line, ...], int]:
    """Return the lines of a run's metrics, and how many could not be read."""
    lines: list[Line] = []
    cut = 0
    for text in _text(path).splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            cut += bool(text.strip())
            continue
        if not isinstance(line, dict):
            cut += 1
            continue
        for key, value in line.items():
            if key == "step" or key.startswith(MEASURED):
                _check(f"{path.name}: {key}", value)
        lines.append(line)
    if not lines:
        raise _Unusable("unreadable", f"{path.name} has no line that can be read; left out.")
    return tuple(lines), cut


def _aggregate(path: Path) -> Aggregate:
    key = path.stem.removeprefix(AGGREGATE)
    _named(key)
    table = csv.DictReader(_text(path).splitlines())
    missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
    if missing:
        raise _Unusable("columns", f"has no column {', '.join(missing)}; the runs' own numbers are used.")
    rows = []
    for row in table:
        try:
            numbers = {column: float(row[column] or "") for column in COLUMNS}
            rows.append({**numbers, "run": int(numbers["run"])})
        except (ValueError, OverflowError):
            said = f"expected numbers, got {', '.join(str(row[column]) for column in COLUMNS)!r}"
            raise _Unusable("not a number", f"{said}; the runs' own numbers are used.") from None
    return Aggregate(path, key, tuple(rows))


def _named(text: str) -> Name:
    name = parse(text)
    if name is None:
        expected = "<label>[_runNN]_<fp16|8bit|4bit>[_<treatment>][_<optimizer>]"
        raise _Unusable("name", f"expected a name like {expected}; left out.")
    return name


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        raise _Unusable("missing file", f"has no {path.name}; left out.") from None
    except OSError as error:
        raise _Unusable("unreadable", f"{path.name} cannot be read ({error.strerror}); left out.") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise _Unusable("unreadable", f"{path.name} is no JSON ({error}); left out.") from None
    if not isinstance(value, dict):
        raise _Unusable("unreadable", f"{path.name} is no JSON object; left out.")
    return value


def _check(where: str, value: Any) -> None:
    for item in _leaves(value):
        if item is not None and (isinstance(item, bool) or not isinstance(item, int | float)):
            raise _Unusable("not a number", f"{where} is {item!r}, expected a number; left out.")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
