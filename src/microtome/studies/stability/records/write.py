"""Writes folders of runs as the original project does, so that its own analysis reads them too."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from microtome.base.files import atomic
from microtome.studies.stability.records.read import AGGREGATE, COLUMNS
from microtome.studies.stability.records.run import Line, Record, label

EVERY = 10
"""Steps from one logged point to the next."""
PREFIXES = {
    "eigen_prion": "treatment",
    "gaussian_noise": "control_gaussian",
    "random_text": "control_random_text",
    "random_tokens": "control",
}
"""How the names of a treatment's numbers begin."""

Clock = Callable[[], datetime]


class Point(NamedTuple):
    """What is logged at a step of the attack."""

    iteration: int
    effective_rank: float
    """On the input that is trained on."""
    loss: float | None = None
    """Nats per token, which only controls log."""


def name(
    model: str,
    precision: str,
    run: int | None = None,
    treatment: str | None = None,
    optimizer: str | None = None,
) -> str:
    """Return the name of a run's folder, or without ``run`` what all runs of its cell share.

    A model is named by its reference's last part; ``EleutherAI/pythia-70m`` gives ``pythia_70m_pythia-70m_run01_fp16``
    and any other model ``<model>_run01_fp16``.
    """
    own = label(model)
    if own.startswith("pythia-"):
        own = f"pythia_{own.removeprefix('pythia-')}_{own}"
    number = f"run{run:02}" if run is not None else None
    return "_".join(part for part in (own, number, precision, treatment, optimizer) if part)


def logged(steps: int, treatment: str = "eigen_prion") -> list[int]:
    """Return the iterations at which a run of ``steps`` logs: 0, 10, 20, ..., and of the attack itself the last."""
    found = list(range(0, steps, EVERY))
    if treatment == "eigen_prion" and steps and found[-1] != steps - 1:
        found.append(steps - 1)
    return found


def line(step: int, values: Mapping[str, Any], clock: Clock = datetime.now) -> Line:
    """Return a line of ``metrics.jsonl``: step, local time, values."""
    return {"step": step, "timestamp": clock().isoformat(), **values}


def prefixed(prefix: str, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return measured values under the names that one moment's have, such as ``baseline_perplexity``."""
    return {f"{prefix}_{key}": value for key, value in measured.items()}


def attack_lines(
    steps: int,
    points: Sequence[Point],
    initial_rank: float,
    tokens: Sequence[int],
    treatment: str = "eigen_prion",
    clock: Clock = datetime.now,
) -> list[Line]:
    """Return the lines of an attack of at most ``steps``, between those of the model before and after.

    Args:
        steps: Of the config, also where the run stopped before.
        points: What was logged.
        initial_rank: On the same input, before the first step.
        tokens: The catalyst's ids ``[T]``; controls have none.
        treatment: Which names the numbers have; controls log their loss, and no last line.
        clock: Gives the time of a line.
    """
    prefix, found = PREFIXES[treatment], []
    for point in points:
        values: dict[str, Any] = {"iteration": point.iteration, "effective_rank": point.effective_rank}
        if treatment == "eigen_prion":
            values["rank_reduction"] = 1 - point.effective_rank / initial_rank
        else:
            values["loss"] = point.loss
        found.append(line(point.iteration, prefixed(prefix, values), clock))
    if treatment == "eigen_prion" and points:
        final = {
            "initial_rank": initial_rank,
            "final_rank": points[-1].effective_rank,
            "rank_reduction": 1 - points[-1].effective_rank / initial_rank,
            "iterations": len(points),  # the original counts logged points, not steps
            "catalyst_tokens": [list(tokens)],
        }
        found.append(line(steps, prefixed("final", final), clock))
    return found


def write_run(root: Path, record: Record) -> Path:
    """Write a record into ``root`` under its folder's name, and return the folder."""
    folder = root / record.folder.name
    _write(folder / "config.json", json.dumps(record.config, indent=2))
    if record.summary is not None:
        _write(folder / "healing_summary.json", json.dumps(record.summary, indent=2))
    _write(folder / "metrics.jsonl", "".join(f"{json.dumps(each)}\n" for each in record.lines))
    return folder


def write_aggregate(root: Path, records: Iterable[Record]) -> Path:
    """Write ``aggregate_summary_<cell>.csv`` of one cell's runs into ``root``: ranks to 4 digits, per cent to 2.

    Raises:
        ValueError: There is no run, or they are of several cells.
    """
    its = sorted(records, key=lambda record: record.run)
    keys = {record.key for record in its}
    if len(keys) != 1:
        raise ValueError(f"expected the runs of one cell, got {sorted(keys)}")
    rows = [
        f"{record.run},{record.baseline_rank:.4f},{record.post_rank:.4f},{record.reduction:.2f}\n"
        for record in its
        if record.reduction is not None
    ]
    path = root / f"{AGGREGATE}{keys.pop()}.csv"
    _write(path, ",".join(COLUMNS) + "\n" + "".join(rows))
    return path


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")
