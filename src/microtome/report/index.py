"""The page of a store: every run with its verdicts, linked to its own page."""

from pathlib import Path

from microtome.lab.store_index import newest
from microtome.report.render import write_page


def write_index(store: Path | str) -> Path:
    """Write ``index.html`` into the store, newest runs first, and return its path."""
    root = Path(store)
    runs = newest(root)
    places = {run.id: f"{run.study}/{run.id}/report.html" for run in runs}
    pages = {run: place for run, place in places.items() if (root / place).is_file()}
    return write_page(root / "index.html", "index.html.j2", entries=runs, pages=pages, store=str(store))
