"""Predictions, written down before the data: what is estimated, and what would support or falsify them."""

import math
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from microtome.base.files import digest


class Frozen(BaseModel):
    """A record that cannot change and has no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Region(Frozen):
    """A union of open intervals of the real line; ``None`` is an infinite bound."""

    spans: tuple[tuple[float | None, float | None], ...]

    @model_validator(mode="after")
    def _spans_are_intervals(self) -> Self:
        if not self.spans or any(low >= high for low, high in self.bounds):
            raise ValueError(f"expected non-empty open intervals (low < high), got {self.spans}")
        return self

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """The spans with infinities in place of ``None``."""
        return tuple(
            (-math.inf if low is None else low, math.inf if high is None else high)
            for low, high in self.spans
        )

    def contains(self, low: float, high: float) -> bool:
        """Whether the whole interval [low, high] lies inside one span."""
        return any(a < low and high < b for a, b in self.bounds)

    def overlaps(self, other: "Region") -> bool:
        """Whether some point lies in both regions."""
        return any(max(a, c) < min(b, d) for a, b in self.bounds for c, d in other.bounds)

    def __str__(self) -> str:
        def span(low: float, high: float) -> str:
            if low == -math.inf:
                return f"< {high:g}"
            return f"> {low:g}" if high == math.inf else f"between {low:g} and {high:g}"

        return " or ".join(span(low, high) for low, high in self.bounds)


def above(x: float) -> Region:
    """The region of all values greater than ``x``."""
    return Region(spans=((x, None),))


def below(x: float) -> Region:
    """The region of all values less than ``x``."""
    return Region(spans=((None, x),))


def between(low: float, high: float) -> Region:
    """The region of all values between ``low`` and ``high``."""
    return Region(spans=((low, high),))


def outside(low: float, high: float) -> Region:
    """The region of all values less than ``low`` or greater than ``high``."""
    return Region(spans=((None, low), (high, None)))


class Prediction(Frozen):
    """A claim that an estimate can support or falsify, registered before the first measurement."""

    id: str
    """Short name, unique within the study."""
    claim: str
    """The claim in one plain sentence."""
    estimand: str
    """What is estimated, and over which unit the interval is taken."""
    scale: str
    """The unit of the estimate: ``nats``, ``cosine``, ``share`` ..."""
    supported_if: Region
    falsified_if: Region
    controls: tuple[str, ...] = ()
    """Names of the study's controls that must pass; a failed one makes the verdict INVALID."""
    min_units: int = 1
    """Fewer units than this make the verdict INSUFFICIENT."""
    source: str
    """The original document and its section, or ``added``."""

    @model_validator(mode="after")
    def _criteria_are_separate(self) -> Self:
        if self.supported_if.overlaps(self.falsified_if):
            raise ValueError(
                f"prediction '{self.id}': supported_if ({self.supported_if}) and falsified_if "
                f"({self.falsified_if}) overlap; expected two separate regions"
            )
        return self


def predictions_hash(predictions: tuple[Prediction, ...]) -> str:
    """Return the SHA-256 of the predictions' canonical form, stored in a run before its first unit."""
    return digest([prediction.model_dump(mode="json") for prediction in predictions])
