"""``microtome compare RUN RUN``: two runs side by side."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def compare(
    first: str,
    second: str,
    /,
    *,
    store: Annotated[Path, Parameter(help="Folder of all runs.")] = Path("store"),
    to: Annotated[
        Path | None, Parameter(help="File to write [default: STORE/compare-FIRST-SECOND.html].")
    ] = None,
) -> None:
    """Write a page that lays two runs side by side: what differs in their configs, then each prediction.

    Args:
        first: A run's id, the first digits of it, or its folder.
        second: Another one.
    """
    from microtome.cli.console import say, table
    from microtome.lab.run import open_run
    from microtome.report.compare import differences, write_comparison

    one, other = open_run(first, store), open_run(second, store)
    page = to or store / f"compare-{one.id}-{other.id}.html"
    write_comparison(one, other, page)
    table(("option", one.id, other.id), differences(one, other), title="What differs")
    say(f"Page: {page}")
