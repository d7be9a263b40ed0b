"""``microtome runs``: what a store holds."""

from pathlib import Path
from typing import TYPE_CHECKING

from microtome.cli.parameters import STORE, Switch

if TYPE_CHECKING:
    from microtome.lab.store_index import Summary


def runs(*, store: Path = STORE, last: int = 200, page: Switch = False) -> None:
    """List the runs in a store, the newest first.

    Args:
        store: Folder of all runs.
        last: How many to list.
        page: Also write a page of all runs and print its path.
    """
    from microtome.cli.console import say, table
    from microtome.lab.store_index import newest
    from microtome.report.index import write_index

    found = newest(store)
    if not found:
        say(f"No runs in {store}.")
        return
    listed = found[: max(1, last)]
    table(("run", "study", "status", "begun", "verdicts", "options given"), map(_row, listed))
    if len(listed) < len(found):
        say(f"The newest {len(listed):,} of {len(found):,} runs; --last {len(found)} lists all.")
    if page:
        say(f"Page: {write_index(store)}")


def _row(summary: "Summary") -> tuple[object, ...]:
    from microtome.report.words import shown, tally

    verdicts = tally(verdict.outcome for verdict in summary.verdicts)
    given = "; ".join(f"{name} = {shown(value)}" for name, value in summary.given.items())
    begun = summary.created[:16].replace("T", " ")
    return (
        summary.id,
        summary.study,
        summary.status,
        begun or None,
        verdicts or None,
        summary.problem or given or None,
    )
