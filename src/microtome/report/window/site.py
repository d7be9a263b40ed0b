"""The window's site: every path that it has, and the bytes under each, made when they are asked for.

    index.html  run.html?run=STUDY/ID  compare.html?a=STUDY/ID&b=STUDY/ID  history.html?study=...&claim=...
    window*.js  window.css  style.css  palette.css
    data/runs.js  data/STUDY/ID/run.js  data/STUDY/ID/tables/NAME.js
    files/STUDY/ID/NAME     the run's own files, and each table as CSV

Data travel as scripts that call ``microtome.receive(name, value)``: a page opened as a file may load a script, not
JSON. So one site works from this machine's server, from any web server, and from a folder.
"""

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any, NamedTuple

from microtome.base.errors import UserError
from microtome.base.style import PALETTE
from microtome.lab.results import ROWS, TABLES
from microtome.lab.run import Run
from microtome.lab.store import RUN, Store
from microtome.report.window.contents import file_names, of_run, of_store, table_names
from microtome.report.window.tables import as_csv, packed

TEMPLATES = files("microtome.report") / "templates"
PAGES = {"index": "Runs", "run": "A run", "compare": "Two runs", "history": "History of a prediction"}
SCRIPTS = ("", "_strip", "_table", "_chart", "_map", "_explore", "_runs", "_run", "_compare", "_history")
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".parquet": "application/vnd.apache.parquet",
}


class Resource(NamedTuple):
    """What lies under a path."""

    kind: str
    """Its media type."""
    body: bytes


class Site:
    """The window on a store. It reads, and writes nothing but the store's index.

    Args:
        store: the folder of runs.
    """

    def __init__(self, store: Path | str) -> None:
        self.store = Path(store)
        self._fixed: dict[str, Callable[[], bytes]] = {
            **{f"{name}.html": lambda name=name: _shell(name) for name in PAGES},
            **{f"window{name}.js": lambda name=name: _template(f"window{name}.js") for name in SCRIPTS},
            "window.css": lambda: _template("window.css"),
            "style.css": lambda: _template("style.css.j2"),  # the reports' own, which needs no filling in
            "palette.css": _palette,
            "data/runs.js": lambda: script("runs", of_store(self.store)),
        }

    def get(self, path: str) -> Resource | None:
        """Return what lies under a path, already decoded; None where the site has nothing.

        Nothing outside the store is ever read: not through ``..``, and not through a link.
        """
        try:
            body = self._fixed[path]() if path in self._fixed else self._of_run(PurePosixPath(path).parts)
        except (UserError, OSError, ValueError):  # damaged, deleted a moment ago, or no name for a file
            return None
        suffix = PurePosixPath(path).suffix
        return None if body is None else Resource(KINDS.get(suffix, "application/octet-stream"), body)

    def paths(self) -> Iterator[str]:
        """Yield every path of the site, for writing it out."""
        yield from self._fixed
        for folder in Store(self.store).run_folders():
            run = Run(folder.path)
            name = f"{folder.path.parent.name}/{folder.id}"
            yield f"data/{name}/run.js"
            try:
                tables, kept = table_names(run), file_names(run)
            except UserError:
                continue  # its page says what is damaged
            yield from (f"data/{name}/tables/{table}.js" for table in tables)
            yield from (f"files/{name}/{file}" for file in kept)
            yield from (f"files/{name}/{file[: -len('.parquet')]}.csv" for file in kept if _is_table(file))

    def _of_run(self, parts: tuple[str, ...]) -> bytes | None:
        if len(parts) < 4 or ".." in parts:
            return None
        part, study, id, *rest = parts
        folder = self.store / study / id
        if not _inside(folder, self.store) or not (folder / RUN).is_file():
            return None
        run = Run(folder)
        if part == "files":
            return _file(run, "/".join(rest))
        if part != "data":
            return None
        if rest == ["run.js"]:
            return script(f"{study}/{id}/run", _contents(run))
        if rest[0] == "tables" and len(rest) == 2:
            return _table(run, rest[1].removesuffix(".js"))
        return None


def script(name: str, value: Any) -> bytes:
    """Return a script that hands ``value`` to the page; no text in it can end the script or start markup."""
    text = json.dumps([name, value], ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f"microtome.receive(...{text});\n".encode()


def _contents(run: Run) -> dict[str, Any]:
    try:
        return of_run(run)
    except UserError as problem:
        return {"study": run.path.parent.name, "id": run.id, "problem": str(problem)}


def _table(run: Run, name: str) -> bytes | None:
    if name not in table_names(run):
        return None
    file = ROWS if name == "rows" else f"{TABLES}/{name}.parquet"
    return script(f"{run.path.parent.name}/{run.id}/tables/{name}", packed(_frame(run, file)))


def _file(run: Run, name: str) -> bytes | None:
    """Return one of the run's own files, or one of its tables as CSV."""
    kept = file_names(run)
    if name in kept and _inside(run.path / name, run.path):
        return (run.path / name).read_bytes()
    parquet = name.removesuffix(".csv") + ".parquet"
    return as_csv(_frame(run, parquet)) if name.endswith(".csv") and parquet in kept else None


def _is_table(file: str) -> bool:
    return file.endswith(".parquet")


def _frame(run: Run, name: str) -> Any:
    import polars as pl

    if not _inside(run.path / name, run.path):
        raise UserError(f"{name} lies outside the run")
    try:
        return pl.read_parquet(run.path / name)
    except pl.exceptions.PolarsError:
        raise UserError(f"{name} is damaged") from None


def _inside(path: Path, folder: Path) -> bool:
    """Whether a path, with every link followed, lies below a folder."""
    whole = folder.resolve()
    return path.resolve() != whole and path.resolve().is_relative_to(whole)


def _template(name: str) -> bytes:
    return (TEMPLATES / name).read_bytes()


def _shell(page: str) -> bytes:
    scripts = "\n".join(f'<script src="window{name}.js"></script>' for name in SCRIPTS)
    text = Template((TEMPLATES / "window.html").read_text("utf-8"))
    return text.substitute(page=page, title=PAGES[page], scripts=scripts).encode()


def _palette() -> bytes:
    """Return the figures' colours for categories as CSS variables."""
    lines = (f"--series-{place}: {colour};" for place, colour in enumerate(PALETTE))
    return f":root {{ {' '.join(lines)} }}\n".encode()
