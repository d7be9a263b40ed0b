"""Recovery by healing: its effect on a signed scale, and the percentage only where there was damage."""

from collections.abc import Iterator, Sequence
from math import log

from microtome.studies.stability import recovered
from microtome.studies.stability.records.findings import Finding, names
from microtome.studies.stability.records.run import Record


def damage_before(record: Record) -> float | None:
    """Return ``ln(R_collapsed / R_original)`` of a healing run: below 0 where rank had been lost."""
    return _ratio(record, "collapsed_rank", "original_rank")


def healing_effect(record: Record) -> float | None:
    """Return ``ln(R_final / R_collapsed)`` of a healing run: above 0 where rank rose; None without its summary."""
    return _ratio(record, "final_effective_rank", "collapsed_rank")


def _ratio(record: Record, above: str, below: str) -> float | None:
    summary = record.summary or {}
    top, bottom = summary.get(above), summary.get(below)
    return log(top / bottom) if top and bottom and top > 0 and bottom > 0 else None


def recovery(record: Record) -> float | None:
    """Return ``100 (R_final - R_collapsed) / (R_original - R_collapsed)`` , per cent; None if no rank had been lost."""
    summary = record.summary or {}
    if damage_before(record) is None or summary.get("final_effective_rank") is None:
        return None
    return recovered.recovery(
        summary["final_effective_rank"], summary["original_rank"], summary["collapsed_rank"]
    )


def recoveries(records: Sequence[Record]) -> Iterator[Finding]:
    """Find recoveries in per cent of damage that was not there, and those clipped at 0."""
    for record in records:
        summary = record.summary or {}
        damage, said = damage_before(record), summary.get("rank_recovery_pct")
        if damage is None or said is None:
            continue
        if damage >= 0:
            words = (
                f"Run {record.run}: the recovery of {said:.4g} % has no meaning. The rank after the attack, "
                f"{summary['collapsed_rank']:.4f}, is not below the original's, {summary['original_rank']:.4f} "
                f"({100 * damage:+.1f} log points): there was no damage to recover from."
            )
            yield Finding("meaningless recovery", names([record]), words)
        elif said == 0 and (true := recovery(record)):
            words = f"Run {record.run}: a recovery of {true:.4g} % is written as 0."
            yield Finding("clipped recovery", names([record]), words)
