"""What a run is held to: predictions, the published rules beside them, and the controls that come first."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from microtome.lab.prediction import Frozen, Prediction

if TYPE_CHECKING:  # polars takes long to import; listing studies must not
    import polars as pl

Tables = Mapping[str, "pl.DataFrame"]


class Control(Frozen):
    """A check that must pass before a prediction is read."""

    name: str
    description: str


class Reading(Frozen):
    """What a published rule reads from the data, in the original's words."""

    outcome: str
    claims: bool | None
    """Whether the rule reads its claim as true; None where the original gives no rule that decides."""
    numbers: dict[str, float | None] = Field(default_factory=dict)
    """What the rule looked at; a number that is undefined is None (NaN becomes None)."""

    @field_validator("numbers")
    @classmethod
    def _undefined_is_none(cls, numbers: dict[str, float | None]) -> dict[str, float | None]:
        return {name: x if x is not None and math.isfinite(x) else None for name, x in numbers.items()}


@dataclass(frozen=True)
class PublishedRule:
    """The original's own threshold rule, as a function of the run's tables."""

    id: str
    prediction: str
    """The prediction that asks the same question."""
    rule: str
    """The rule in words, with its threshold and whose threshold that is."""
    read: Callable[[Tables], Reading]


def of(name: str, subject: str) -> str:
    """Return the id of a claim, rule or control about one of several subjects."""
    return f"{name} [{subject}]"


@dataclass(frozen=True)
class Claims:
    """What a run is held to: its predictions, the published rules beside them, and its controls."""

    predictions: tuple[Prediction, ...]
    published: tuple[PublishedRule, ...]
    controls: tuple[Control, ...]

    def about(self, subjects: Sequence[str]) -> "Claims":
        """Return the claims made of each subject apart, claim by claim; all are corrected together."""
        return Claims(
            tuple(
                p.model_copy(
                    update={
                        "id": of(p.id, subject),
                        "claim": f"{subject}: {p.claim}",
                        "controls": tuple(of(control, subject) for control in p.controls),
                    }
                )
                for p in self.predictions
                for subject in subjects
            ),
            tuple(
                replace(
                    rule,
                    id=of(rule.id, subject),
                    prediction=of(rule.prediction, subject),
                    read=_reader(rule, subject),
                )
                for rule in self.published
                for subject in subjects
            ),
            tuple(
                control.model_copy(update={"name": of(control.name, subject)})
                for control in self.controls
                for subject in subjects
            ),
        )


def _reader(rule: PublishedRule, subject: str) -> Callable[[Tables], Reading]:
    """Return the rule's reading of the rows about one subject."""

    def read(tables: Tables) -> Reading:
        own = {
            name: table.filter(subject=subject) if "subject" in table.columns else table
            for name, table in tables.items()
        }
        return rule.read(own)

    return read
