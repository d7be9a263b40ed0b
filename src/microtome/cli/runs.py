"""``microtome runs``: what a store holds."""

from pathlib import Path
from typing import TYPE_CHECKING

from microtome.cli.parameters import STORE, Switch

if TYPE_CHECKING:
    from microtome.lab.run import Run


def runs(*, store: Path = STORE, page: Switch = False) -> None:
    """List the runs in a store.

    Args:
        store: Folder of all runs.
        page: Also write a page of all runs and print its path.
    """
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
