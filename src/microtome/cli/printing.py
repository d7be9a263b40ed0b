"""How runs, trained models and plans of both look in a terminal."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from microtome.base.progress import duration
from microtome.cli.console import say, table
from microtome.cli.values import written

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from microtome.lab.plan import Plan
    from microtome.lab.run import Run
    from microtome.lab.verdict import Verdict
    from microtome.train.loop import Trained
    from microtome.train.plan import TrainingPlan

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
            (*_decided(verdict), "; ".join(published.get(verdict.prediction, ())) or None, verdict.reason)
            for verdict in run.verdicts
        ],
        title=f"{run.study.title} · run {run.id}",
    )
    if run.record.registered == "after the data":
        say("Predictions were registered after the data: read the verdicts as exploratory.")
    say(f"Page: {run.path / REPORT}")


def _decided(verdict: "Verdict") -> tuple[str | None, ...]:
    value, interval = verdict.estimate.value, verdict.interval
    return (
        verdict.prediction,
        None if value is None else f"{value:.3g}",
        interval and f"[{interval.low:.3g}, {interval.high:.3g}]",
        verdict.outcome,
    )


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


def print_training(plan: "TrainingPlan") -> None:
    """Print the options of a training run, the size of its model, and what it would read."""
    options = plan.config.model_dump()
    table(("option", "value"), [(name, written(value)) for name, value in options.items()])
    say(
        f"{plan.parameters:,} parameters, with a vocabulary of {plan.vocabulary:,} tokens.",
        f"{plan.tokens:,} tokens read, {plan.tokens / plan.parameters:.3g} for each parameter.",
        f"{plan.flops:.3g} floating-point operations.",
    )


def print_trained(trained: "Trained") -> None:
    """Print what was trained, how well it does on held-out text, how fast it went, and what to do with it."""
    say(
        f"Trained: {trained.parameters:,} parameters, {trained.step:,} steps, {trained.tokens:,} tokens.",
        f"Held out: {trained.held_out:.4f} nats per token.",
        f"Speed: {trained.tokens_per_second:,.0f} tokens/s.",
        f"Folder: {trained.folder}",
        f"Next: microtome models check {trained.folder}",
        f"      microtome run universality --model-a {trained.folder} --model-b ANOTHER",
    )


def print_experiments(folders: "Sequence[Path]", verbosity: str) -> None:
    """Print where the original's folders are: nothing, their number, or each."""
    from microtome.report.words import counted

    if verbosity == "quiet":
        return
    if verbosity == "verbose":
        say(*map(str, folders))
    place = folders[0].parent if folders else None
    say(f"{counted(len(folders), 'run')}{f' in {place}' if place else ''}")


def print_analysis(analysed: Any) -> None:
    """Print what an analysis of published runs came to: what was left out, what is wrong, verdicts, files."""
    for problem in analysed.problems:
        say(f"Left out: {problem.said}")
    table(
        ("prediction", "estimate", "interval", "verdict", "reason"),
        [(*_decided(verdict), verdict.reason) for verdict in analysed.verdicts],
        title="Controlled",
    )
    say(*analysed.summary, *(f"Written: {path}" for path in analysed.files), f"Page: {analysed.page}")
