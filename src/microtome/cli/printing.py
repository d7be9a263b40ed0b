"""How runs and plans look in a terminal."""

from collections import Counter
from typing import TYPE_CHECKING

from microtome.base.progress import duration
from microtome.cli.console import say, table

if TYPE_CHECKING:
    from microtome.lab.plan import Plan
    from microtome.lab.run import Run

REPORT = "report.html"


def print_run(run: "Run") -> None:
    """Print both answers to each prediction, and where the page is."""
    published: dict[str, list[str]] = {}
    for rule in run.study.claims(run.config).published:
        if rule.id in run.published:
            published.setdefault(rule.prediction, []).append(run.published[rule.id].outcome)
    table(
        ("prediction", "estimate", "interval", "verdict", "as published", "reason"),
        [
            (
                verdict.prediction,
                None if verdict.estimate.value is None else f"{verdict.estimate.value:.3g}",
                verdict.interval and f"[{verdict.interval.low:.3g}, {verdict.interval.high:.3g}]",
                verdict.outcome,
                "; ".join(published.get(verdict.prediction, ())) or None,
                verdict.reason,
            )
            for verdict in run.verdicts
        ],
        title=f"{run.study.title} · run {run.id}",
    )
    if run.record.registered == "after the data":
        say("Predictions were registered after the data: read the verdicts as exploratory.")
    say(f"Page: {run.path / REPORT}")


def print_plan(plan: "Plan") -> None:
    """Print the units of a run, which of them are done, and how long the rest may take."""
    table(
        ("unit", "what it measures", "state"),
        [(planned.unit.id, planned.unit.label, planned.state) for planned in plan.units],
        title=f"{plan.study} · run {plan.run_id}",
    )
    states = Counter(planned.state for planned in plan.units)
    say(
        f"{len(plan.units)} units: {', '.join(f'{count} {state}' for state, count in states.items())}.",
        f"Time for the rest: {duration(plan.seconds)}"
        + (" (no finished unit in the store to go by)." if plan.seconds is None else "."),
        f"Folder: {plan.path}",
    )
