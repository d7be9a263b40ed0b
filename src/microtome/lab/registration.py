"""Registering a run: its record, with the predictions in force, as it stands before the next measurement."""

from importlib.metadata import version
from typing import Any

from microtome.lab.plan import Layout
from microtome.lab.prediction import predictions_hash
from microtome.lab.record import EarlierPredictions, Registered, RunRecord, UnitEntry, now


def register(
    layout: Layout,
    earlier: RunRecord | None,
    provenance: dict[str, Any],
    units: tuple[UnitEntry, ...],
    registered: Registered,
) -> RunRecord:
    """Return the record with which a session begins; what an earlier session recorded is carried on.

    Edited predictions replace those in force, which are kept beside them with the time of the edit.
    """
    study, config = layout.study, layout.config
    predictions = study.claims(config).predictions
    in_force = predictions_hash(predictions)
    history = earlier.earlier_predictions if earlier else ()
    if earlier and earlier.predictions_hash != in_force:
        replaced = EarlierPredictions(
            predictions=earlier.predictions, predictions_hash=earlier.predictions_hash, until=now()
        )
        history = (*history, replaced)
    return RunRecord(
        microtome=version("microtome"),
        study=study.name,
        version=study.version,
        id=layout.folder.id,
        status="measuring",
        created=earlier.created if earlier else provenance["started"],
        registered=registered,
        given=config.model_dump(mode="json", exclude_unset=True),
        config=config.model_dump(mode="json"),
        fingerprints=dict(layout.fingerprints),
        predictions=predictions,
        predictions_hash=in_force,
        earlier_predictions=history,
        units=units,
        events=earlier.events if earlier else (),
        provenance=provenance,
        earlier_provenance=(*earlier.earlier_provenance, earlier.provenance) if earlier else (),
        report=earlier.report if earlier else {},
    )
