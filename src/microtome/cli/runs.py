"""``microtome runs``: what a store holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from microtome.lab.run import Run


def runs(
    *,
    store: Annotated[Path, Parameter(help="Folder of all runs.")] = Path("store"),
    page: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Also write a page of all runs and print its path."),
    ] = False,
) -> None:
    """List the runs in a store."""
    from microtome.cli.console import say, table
    from microtome.lab.run import runs as stored
    from microtome.report.index import write_index

    found = stored(store)
    if not found:
        say(f"No runs in {store}.")
        return
    table(("run", "study", "status", "begun", "verdicts", "options given"), [_row(run) for run in found])
    if page:
        say(f"Page: {write_index(store)}")


def _row(run: "Run") -> tuple[object, ...]:
    from microtome.base.errors import UserError
    from microtome.report.words import shown, tally

    try:
        record = run.record
    except UserError as damage:
        return run.id, run.path.parent.name, "damaged", None, None, str(damage)
    verdicts = tally(verdict.outcome for verdict in run.verdicts) if record.status == "finished" else None
    given = "; ".join(f"{name} = {shown(value)}" for name, value in record.given.items())
    return run.id, record.study, run.status, record.created[:16].replace("T", " "), verdicts, given or None
