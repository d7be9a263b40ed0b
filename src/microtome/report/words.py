"""How the pages put things into words: numbers, values, counts, and published readings against verdicts."""

import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microtome.base.references import short
from microtome.lab.verdict import Outcome

MARKS = {
    Outcome.SUPPORTED: "✓",
    Outcome.FALSIFIED: "✕",
    Outcome.INCONCLUSIVE: "?",
    Outcome.INSUFFICIENT: "…",
    Outcome.INVALID: "!",
}
"""A sign for each outcome, so that no badge speaks by colour alone."""


@dataclass(frozen=True)
class Relation:
    """How a published reading stands to the controlled verdict on the same question."""

    kind: str
    """``agree``, ``disagree``, ``open`` (the data do not decide) or ``none`` (the rule does not)."""
    text: str


def relation(claims: bool | None, outcome: Outcome) -> Relation:
    """Compare what the published rule claims with what the controlled verdict came to."""
    if claims is None:
        return Relation("none", "the original gives no rule that decides")
    verb = "claims" if claims else "denies"
    match outcome:
        case Outcome.INCONCLUSIVE:
            return Relation("open", f"{verb} what the controlled data leave open")
        case Outcome.INSUFFICIENT:
            return Relation("open", f"{verb} what these data are too few to decide")
        case Outcome.INVALID:
            return Relation("open", f"{verb} what a failed control leaves open")
    agrees = claims is (outcome is Outcome.SUPPORTED)
    return Relation("agree", "agrees") if agrees else Relation("disagree", "disagrees")


def number(x: float | None) -> str:
    """Write a number with three significant digits, as a reader would: no ``e+03``, a true minus sign."""
    if x is None or not math.isfinite(x):
        return "–" if x is None or math.isnan(x) else ("∞" if x > 0 else "−∞")
    size = abs(x)
    if size >= 1000:
        text = f"{x:,.0f}"
    elif size and size < 1e-4:
        mantissa, exponent = f"{x:.2e}".split("e")
        text = f"{float(mantissa):g} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    else:
        text = f"{float(f'{x:.3g}'):g}"
    return text.replace("-", "−")


def cell(x: object, decimals: int) -> str:
    """Write a table's cell: fractions with so many digits after the point, the undefined as a dash."""
    if x is None or (isinstance(x, float) and math.isnan(x)):
        return "–"
    return f"{x:.{decimals}f}".replace("-", "−") if isinstance(x, float) else str(x)


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float) -> str:
    """Write a share as a percentage with up to four significant digits."""
    return f"{100 * share:.4g} %"


def tally(outcomes: Iterable[Outcome]) -> str:
    """Say how many predictions came to what: ``2 SUPPORTED, 1 FALSIFIED``."""
    counts = Counter(outcomes)
    return ", ".join(f"{counts[o]} {o}" for o in Outcome if counts[o])


def model(reference: str) -> str:
    """Return the name in a model reference, without what stands before it; of a digest, the first digits."""
    name = short(reference)
    return f"{name[:8]}…" if re.fullmatch("[0-9a-f]{16,}", name) else name


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: ``1 run``, ``10,000 runs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def joined(items: Sequence[str]) -> str:
    """Join with commas and a last *and*."""
    return " and ".join(part for part in (", ".join(items[:-1]), items[-1]) if part) if items else ""


def shown(value: Any) -> str:
    """Write a config value or a provenance value as plain text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, list | tuple):
        spaced = any(isinstance(item, str) and " " in item for item in value)
        return (" · " if spaced else ", ").join(_inside(item) for item in value) or "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping) else str(value)


def _inside(item: Any) -> str:
    return f"({shown(item)})" if isinstance(item, list | tuple) else shown(item)


def flattened(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Turn nested mappings into pairs of a spaced name and a text."""
    pairs: list[tuple[str, str]] = []
    for key, value in record.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            pairs += flattened(value, f"{name} · ")
        else:
            pairs.append((name, shown(value)))
    return pairs


def command(study: str, given: Mapping[str, Any]) -> str:
    """Return the command line that makes the same run: every option that was given."""
    return shlex.join(["microtome", "run", study, *(t for item in given.items() for t in _option(*item))])


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag.removeprefix("--")]
    if isinstance(value, Mapping):
        return [flag, json.dumps(value)]
    if isinstance(value, list | tuple):
        return [flag, *(_token(item) for item in value)]
    return [flag, _token(value)]


def _token(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
