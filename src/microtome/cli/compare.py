"""``microtome compare RUN RUN``: two runs side by side."""

from pathlib import Path

from microtome.cli.parameters import STORE


def compare(first: str, second: str, /, *, store: Path = STORE, to: Path | None = None) -> None:
    """Write a page that lays two runs side by side: what differs in their options, then each prediction.

    Args:
        first: A run's id, the first digits of it, or its folder.
        second: Another one, of the same study.
        store: Folder of all runs.
        to: File to write; by default compare-FIRST-SECOND.html in the store.
    """
    from microtome.cli.console import say, table
    from microtome.lab.run import open_run
    from microtome.report.compare import differences, write_comparison

    one, other = open_run(first, store), open_run(second, store)
    page = write_comparison(one, other, to or store / f"compare-{one.id}-{other.id}.html")
    table(("option", one.id, other.id), differences(one, other), title="What differs")
    say(f"Page: {page}")
