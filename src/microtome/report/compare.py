"""The page that lays two runs side by side: what differs in what was asked, then what came out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from microtome.base.errors import UserError
from microtome.report import words
from microtome.report.content import Answer, answers_of
from microtome.report.figures import Drawn, figures_of
from microtome.report.render import write_page
from microtome.report.strip import strip

if TYPE_CHECKING:
    from microtome.lab.run import Run


@dataclass(frozen=True)
class Pair:
    """One prediction in both runs; None where a run does not have it."""

    id: str
    claim: str
    first: Answer | None
    second: Answer | None

    @property
    def changed(self) -> bool:
        """Whether the two runs come to different verdicts."""
        outcomes = {answer and answer.verdict.outcome for answer in (self.first, self.second)}
        return len(outcomes) > 1


def write_comparison(first: "Run", second: "Run", path: Path) -> Path:
    """Write the page that compares two finished runs of one study to ``path`` and return it.

    Raises:
        UserError: when the runs are of different studies.
    """
    if first.study.name != second.study.name:
        raise UserError(
            f"expected two runs of one study, got {first.study.name} ({first.id}) and "
            f"{second.study.name} ({second.id}); `microtome runs` lists the runs of each study"
        )
    pairs = pair_up(first, second)
    return write_page(
        path,
        "compare.html.j2",
        first=first,
        second=second,
        study=first.study,
        differences=differences(first, second),
        pairs=pairs,
        changed=[pair.id for pair in pairs if pair.changed],
        figures=_side_by_side(figures_of(first), figures_of(second)),
    )


def differences(first: "Run", second: "Run") -> list[tuple[str, str, str]]:
    """Return what differs between two runs' configs, fingerprints and versions: name, first, second."""
    sides = [_identity(run) for run in (first, second)]
    names = dict.fromkeys(name for side in sides for name in side)
    rows = [(name, sides[0].get(name, "–"), sides[1].get(name, "–")) for name in names]
    return [row for row in rows if row[1] != row[2]]


def _identity(run: "Run") -> Mapping[str, str]:
    record = run.record
    settings = {name.replace("_", "-"): words.shown(value) for name, value in record.config.items()}
    prints = {f"fingerprint of {name}": value for name, value in record.fingerprints.items()}
    study = {"study version": str(record.version), "predictions": record.predictions_hash[:16]}
    return {**settings, **prints, **study}


def pair_up(first: "Run", second: "Run") -> tuple[Pair, ...]:
    """Return the predictions of both runs by id, each drawn on one scale."""
    ours, theirs = ({a.prediction.id: a for a in answers_of(run)} for run in (first, second))
    pairs = []
    for id in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(id), theirs.get(id)
        pairs.append(Pair(id, _claim(one, other), _beside(one, other), _beside(other, one)))
    return tuple(pairs)


def _claim(*answers: Answer | None) -> str:
    return next(answer.prediction.claim for answer in answers if answer)


def _beside(answer: Answer | None, other: Answer | None) -> Answer | None:
    if answer is None or other is None:
        return answer
    drawn = strip(answer.prediction, answer.verdict, other.verdict)
    return Answer(answer.prediction, answer.verdict, drawn, answer.published)


def _side_by_side(
    first: tuple[Drawn, ...], second: tuple[Drawn, ...]
) -> list[tuple[Drawn | None, Drawn | None]]:
    """Pair figures by name."""
    ours, theirs = ({drawn.name: drawn for drawn in side} for side in (first, second))
    names = dict.fromkeys([*ours, *theirs])
    return [(ours.get(name), theirs.get(name)) for name in names]
