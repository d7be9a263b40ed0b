"""The page of a store: every run with its verdicts, linked to its own page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from microtome.base.errors import UserError
from microtome.lab.run import runs
from microtome.lab.verdict import Verdict
from microtome.report import words
from microtome.report.render import write_page

if TYPE_CHECKING:
    from microtome.lab.run import Run


@dataclass(frozen=True)
class Entry:
    """One run in the index."""

    id: str
    study: str
    status: str
    created: str
    given: tuple[tuple[str, str], ...]
    verdicts: tuple[Verdict, ...]
    page: str | None
    """The run's page, relative to the store."""
    problem: str | None = None
    """Why the run cannot be read."""


def write_index(store: Path | str) -> Path:
    """Write ``index.html`` into the store, newest runs first, and return its path."""
    entries = [_entry(run, Path(store)) for run in runs(store)]
    entries.sort(key=lambda entry: entry.created, reverse=True)
    return write_page(Path(store) / "index.html", "index.html.j2", entries=entries, store=str(store))


def _entry(run: "Run", store: Path) -> Entry:
    page = run.path / "report.html"
    try:
        record, status = run.record, run.status
        return Entry(
            id=run.id,
            study=record.study,
            status=status,
            created=record.created,
            given=tuple((name.replace("_", "-"), words.shown(value)) for name, value in record.given.items()),
            verdicts=run.verdicts if status == "finished" else (),
            page=page.relative_to(store).as_posix() if page.is_file() else None,
        )
    except UserError as problem:
        return Entry(run.id, run.path.parent.name, "damaged", "", (), (), None, str(problem))
