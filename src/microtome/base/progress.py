"""Progress of all long work, on stderr: a bar in a terminal or notebook, else a line or two if it takes long."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console


class Advance(Protocol):
    """The function that advances a piece of work."""

    def __call__(self, steps: float, /, who: str = "") -> None:
        """Take the work ``steps`` further, and say who is at it, such as ``3 of 4 workers``."""


LONG = 2.0
"""Seconds after which work is worth a line where no bar can be drawn."""


@contextmanager
def progress(description: str, total: float | None, unit: str = "") -> Iterator[Advance]:
    """Show how far the work is and how long the rest may take; yield the function that advances it.

    Steps may be fractions: what is shown is the percentage. Where stderr is a file or a pipe, work of less
    than ``LONG`` seconds says nothing, longer work one line on its way and one when it is done.

    Args:
        description: What is being done.
        total: How many steps there are; ``None`` if that is not known.
        unit: What a step is, in the plural.
    """
    from rich.console import Console

    noun = unit.removesuffix("s") if total == 1 else unit
    what = f"{description}: {total:,.0f} {noun}" if total is not None and unit else description
    console = Console(stderr=True)
    with _bar(console, what, total) if _draws(console) else _lines(what, total) as advance:
        yield advance


def duration(seconds: float | None) -> str:
    """Write a time as a person would: ``0.8 s``, ``45 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None:
        return "unknown"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def _draws(console: "Console") -> bool:
    """Whether a bar that redraws itself can be shown."""
    from importlib.util import find_spec

    in_notebook = console.is_jupyter and find_spec("ipywidgets") is not None
    return in_notebook or (console.is_terminal and not console.is_dumb_terminal)


@contextmanager
def _bar(console: "Console", what: str, total: float | None) -> Iterator[Advance]:
    from rich import progress as rich

    columns: list[rich.ProgressColumn] = [
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(),
        rich.TimeElapsedColumn(),
    ]
    if total is not None:
        columns += [rich.TaskProgressColumn(), rich.TextColumn("· left"), rich.TimeRemainingColumn()]
    options: dict[str, Any] = {"console": console, "transient": True, "get_time": monotonic}
    # The speed is that of the whole work: with steps of minutes, a short window would often be empty.
    with rich.Progress(*columns, speed_estimate_period=float("inf"), **options) as bar:
        task = bar.add_task(what, total=total)

        def advance(steps: float, /, who: str = "") -> None:
            bar.update(task, advance=steps, description=f"{what}, {who}" if who else what)

        yield advance


@contextmanager
def _lines(what: str, total: float | None) -> Iterator[Advance]:
    start, done, said = monotonic(), 0.0, False

    def advance(steps: float, /, who: str = "") -> None:
        nonlocal done, said
        done += steps
        elapsed = monotonic() - start
        if said or total is None or elapsed < LONG or not 0 < done < total:
            return
        said = True
        left = duration(elapsed / done * (total - done))
        so_far = f"{done / total:.0%} done" + (f" by {who}" if who else "")
        print(f"{what}: {so_far}, about {left} left", file=sys.stderr, flush=True)

    yield advance
    if (elapsed := monotonic() - start) >= LONG:
        print(f"{what}: done in {duration(elapsed)}", file=sys.stderr, flush=True)
