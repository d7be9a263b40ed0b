"""One run's folder: what its name says, and what its files hold."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from microtome.studies.stability.arms import PUBLISHED_PRECISIONS, PUBLISHED_TREATMENTS

Line = dict[str, Any]

OPTIMIZERS = ("adamw", "sgd", "adafactor")
SEED = 42
"""Run ``n`` of the original has seed 42 + n, for every model."""

_NAME = re.compile(
    r"(?P<label>.+?)(?:_run(?P<run>\d+))?"
    rf"_(?P<precision>{'|'.join(PUBLISHED_PRECISIONS)})"
    rf"(?:_(?P<treatment>{'|'.join(PUBLISHED_TREATMENTS)}))?"
    rf"(?:_(?P<optimizer>{'|'.join(OPTIMIZERS)}))?"
)
_PYTHIA = re.compile(r"pythia_.*_(?P<model>pythia-(?P<size>.+))")
_MILLIONS = {"k": 1e-3, "m": 1.0, "b": 1e3}


class Name(NamedTuple):
    """What a folder's name says."""

    model: str
    """``pythia-160m``, or the whole label of any other model."""
    size: str
    """``160m``; of any other model the label."""
    run: int
    """1 where the name has no number."""
    precision: str
    treatment: str
    optimizer: str | None
    key: str
    """The name without its number: that of all runs of a cell."""


def parse(name: str) -> Name | None:
    """Return what ``<label>[_runNN]_<precision>[_<treatment>][_<optimizer>]`` says; ``None`` of another name.

    The label of a Pythia is ``pythia_<SIZE>_pythia-<SIZE>``, with more in between in folders of healing.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    parts = found.groupdict()
    label = parts["label"]
    pythia = _PYTHIA.fullmatch(label)
    model, size = (pythia["model"], pythia["size"]) if pythia else (label, label)
    key = label + name[found.start("precision") - 1 :]
    return Name(
        model,
        size,
        int(parts["run"] or 1),
        parts["precision"],
        parts["treatment"] or "eigen_prion",
        parts["optimizer"],
        key,
    )


def label(reference: str) -> str:
    """Return the last part of a model's reference as it can stand in a folder's name."""
    return re.sub(r"[^\w.-]", "-", re.split(r"[/:\\]", reference.rstrip("/\\"))[-1])


def millions(model: str) -> float | None:
    """Return the millions of parameters that a model's name ends with, 1000 of ``pythia-1b``; ``None`` without."""
    found = re.search(r"(?:^|[-_])(\d+(?:\.\d+)?)([kmb])$", model.lower())
    return float(found[1]) * _MILLIONS[found[2]] if found else None


@dataclass(frozen=True)
class Record:
    """A run as its files tell it; records are equal if all but their folders' places is.

    Ranks and perplexities are those of the original's measures (see ``published_damage``); a number that no line has
    is ``None``.
    """

    folder: Path = field(compare=False)
    model: str
    size: str
    run: int
    precision: str
    treatment: str
    optimizer: str | None
    """As the folder's name ends; the original leaves out ``adamw``."""
    config: Mapping[str, Any]
    lines: tuple[Line, ...]
    """Those of ``metrics.jsonl``, in its order."""
    cut: int = 0
    """Lines that could not be read."""
    summary: Mapping[str, Any] | None = None
    """Of ``healing_summary.json``, which only healing has."""

    @property
    def key(self) -> str:
        """Return the name that all runs of this cell share."""
        name = parse(self.folder.name)
        assert name is not None
        return name.key

    @property
    def baseline_rank(self) -> float | None:
        """Return the effective rank before the attack."""
        return self._last("baseline_effective_rank")

    @property
    def baseline_perplexity(self) -> float | None:
        """Return the perplexity before the attack."""
        return self._last("baseline_perplexity")

    @property
    def post_rank(self) -> float | None:
        """Return the effective rank after the attack."""
        return self._last("post_attack_effective_rank")

    @property
    def post_perplexity(self) -> float | None:
        """Return the perplexity after the attack."""
        return self._last("post_attack_perplexity")

    @property
    def singular_values(self) -> tuple[list[float] | None, list[float] | None]:
        """Return the shares of singular values before and after the attack, the largest first."""
        return self._last("baseline_singular_values"), self._last("post_attack_singular_values")

    @property
    def reduction(self) -> float | None:
        """Return ``100 (1 - post / baseline)`` of the ranks in per cent: negative where the rank has grown."""
        return _of(lambda base, post: 100 * (1 - post / base), self.baseline_rank, self.post_rank)

    @property
    def effect(self) -> float | None:
        """Return ``ln(post / baseline)`` of the ranks: negative where the rank has fallen."""
        return _of(lambda base, post: math.log(post / base), self.baseline_rank, self.post_rank)

    @property
    def perplexity_increase(self) -> float | None:
        """Return ``100 (post - baseline) / baseline`` of the perplexities in per cent."""
        base, post = self.baseline_perplexity, self.post_perplexity
        return _of(lambda base, post: (post - base) / base * 100, base, post)

    @property
    def iterations(self) -> int | None:
        """Return the steps that were made: those of the config where a control came to its end.

        Controls have no rule to stop and do not log their last step.
        """
        done = self._last("treatment_iteration")
        if done is not None:
            return int(done) + 1
        return None if self.post_rank is None else self._steps

    @property
    def stopped_early(self) -> bool:
        """Tell whether the run is known to have made fewer steps than its config asks for."""
        made, asked = self.iterations, self._steps
        return made is not None and asked is not None and made < asked

    @property
    def tokens(self) -> tuple[int, ...] | None:
        """Return the catalyst's token ids."""
        rows = self._last("final_catalyst_tokens")
        return tuple(rows[0]) if rows else None

    @property
    def seed(self) -> int:
        """Return the run's seed, which no file holds."""
        return SEED + self.run

    @property
    def healing(self) -> tuple[Line, ...]:
        """Return the lines of fine-tuning a damaged model on text."""
        return tuple(line for line in self.lines if "healing_step" in line)

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 (hex) of all that was measured, timestamps left out: equal for copies of one run."""
        kept = [{name: line[name] for name in line if name != "timestamp"} for line in self.lines]
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()

    @property
    def _steps(self) -> int | None:
        return self.config.get("attack", {}).get("num_steps")

    def _last(self, name: str) -> Any:
        return next((line[name] for line in reversed(self.lines) if name in line), None)


def _of(formula: Any, base: float | None, post: float | None) -> float | None:
    """Return a formula of a value before and after; ``None`` without either, nan where it is undefined."""
    if base is None or post is None:
        return None
    if not (base > 0 and post > 0):
        return math.nan
    return formula(base, post)
