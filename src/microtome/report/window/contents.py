"""What the window says of a store and of a run, as JSON values; pages only lay them out."""

import json
from pathlib import Path
from typing import Any

from microtome.base.errors import UserError
from microtome.lab import registry
from microtome.lab.prediction import Prediction, Region
from microtome.lab.results import ROWS, TABLES, VERDICTS
from microtome.lab.run import Run
from microtome.lab.store import RUN
from microtome.lab.store_index import Summary, models_of, newest
from microtome.lab.verdict import Verdict
from microtome.report import words

FINISHED = "finished"


def of_store(store: Path) -> dict[str, Any]:
    """Return every run in short, the newest first."""
    found = newest(store)
    return {"store": store.resolve().name, "runs": [_line(summary) for summary in found]}


def _line(summary: Summary) -> dict[str, Any]:
    return {
        "study": summary.study,
        "id": summary.id,
        "status": summary.status,
        "created": summary.created,
        "models": summary.models,
        "given": [(name.replace("_", "-"), words.shown(value)) for name, value in summary.given.items()],
        "verdicts": summary.verdicts,
        "problem": summary.problem,
    }


def of_run(run: Run) -> dict[str, Any]:
    """Return what a run's page shows; a run that is not finished has no verdicts, controls and tables.

    Raises:
        UserError: when the run's record or its verdicts are damaged.
    """
    record, finished = run.record, run.record.status == FINISHED
    title, question = _names(record.study)
    settings = [(name.replace("_", "-"), words.shown(value)) for name, value in record.config.items()]
    return {
        "study": run.path.parent.name,
        "id": run.id,
        "title": title,
        "question": question,
        "status": run.status,
        "created": record.created,
        "registered": record.registered,
        "models": models_of(record.config),
        "given": [name.replace("_", "-") for name in record.given],
        "settings": settings,
        "identity": [
            *settings,
            *((f"fingerprint of {name}", value) for name, value in record.fingerprints.items()),
            ("study version", str(record.version)),
            ("predictions", record.predictions_hash[:16]),
        ],
        "predictions": [_prediction(prediction) for prediction in record.predictions],
        "verdicts": [_verdict(verdict) for verdict in run.verdicts] if finished else [],
        "controls": [c.model_dump(mode="json") for c in run.controls.values()] if finished else [],
        "published": _published(run) if finished else [],
        "failed": list(record.failed.items()),
        "events": record.events,
        "provenance": words.flattened(record.provenance),
        "command": words.command(record.study, record.given),
        "tables": table_names(run),
        "files": file_names(run),
    }


def table_names(run: Run) -> list[str]:
    """Return the names of a run's tables; ``rows`` are the measurements themselves."""
    tables = [name for name in run.record.files if name.startswith(f"{TABLES}/")]
    return [*(Path(name).stem for name in tables), *(["rows"] if ROWS in run.record.files else [])]


def file_names(run: Run) -> list[str]:
    """Return the files of a run that can be taken away, by path within the run: results, record, page, figures."""
    return [*run.record.files, RUN, *(name for name in run.record.report if (run.path / name).is_file())]


def _names(study: str) -> tuple[str, str | None]:
    """Return a study's title and question, or its name where it is not installed."""
    try:
        found = registry.load(study)
    except UserError:
        return study, None
    return found.title, found.question


def _prediction(prediction: Prediction) -> dict[str, Any]:
    return {
        "id": prediction.id,
        "claim": prediction.claim,
        "estimand": prediction.estimand,
        "scale": prediction.scale,
        "source": prediction.source,
        "supported": _region(prediction.supported_if),
        "falsified": _region(prediction.falsified_if),
    }


def _region(region: Region) -> dict[str, Any]:
    return {"text": str(region), "spans": region.spans}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    estimate, interval = verdict.estimate, verdict.interval
    return {
        "prediction": verdict.prediction,
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "level": words.percent(1 - verdict.alpha),
        "value": estimate.value,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "missing": estimate.reason,
        "n": estimate.n,
        "unit": estimate.unit,
        "method": estimate.method,
        "p": estimate.null.p if estimate.null else None,
        "null": estimate.null.description if estimate.null else None,
        "centre": estimate.null.center if estimate.null else None,
    }


def _published(run: Run) -> list[dict[str, Any]]:
    decided = json.loads((run.path / VERDICTS).read_text("utf-8"))["published"]
    outcomes = {verdict.prediction: verdict.outcome for verdict in run.verdicts}
    found = []
    for rule, reading in run.published.items():
        prediction = decided[rule]["prediction"]
        relation = words.relation(reading.claims, outcomes[prediction])
        found.append(
            {
                "rule": rule,
                "prediction": prediction,
                "text": decided[rule]["rule"],
                "outcome": reading.outcome,
                "kind": relation.kind,
                "relation": relation.text,
            }
        )
    return found
