"""Healing as the original does it: the attacked model is tuned on ordinary text, and measured on the way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from jaxtyping import Int
from torch import Tensor

from microtome.studies.stability.published_catalyst import twice_shifted
from microtome.studies.stability.published_damage import as_published
from microtome.studies.stability.records.run import Line
from microtome.studies.stability.records.write import EVERY, Clock, line, prefixed
from microtome.studies.stability.recovered import recovery
from microtome.train.finetune.tune import tune

if TYPE_CHECKING:
    from microtome.models import Model
    from microtome.train.finetune.updates import Update


@dataclass(frozen=True, eq=False)
class Healed:
    """What healing came to."""

    points: list[dict[str, Any]]
    """The values of each line: ``step``, ``effective_rank``, ``perplexity``, ``spectral_gap``, ``loss`` and
    ``recovery_pct``; None where there is none."""
    summary: dict[str, Any]
    """That of ``healing_summary.json``."""
    settings: dict[str, Any]
    """Those of healing in ``config.json``."""

    def lines(self, clock: Clock = datetime.now) -> list[Line]:
        """Return the lines of the original's ``metrics.jsonl``."""
        return [line(point["step"], prefixed("healing", point), clock) for point in self.points]


def heal(
    model: Model,
    text: Int[Tensor, "n T"],
    original: dict[str, Any],
    collapsed: dict[str, Any],
    *,
    update: Update | None = None,
    steps: int = 500,
    learning_rate: float = 1e-5,
    optimizer: str = "sgd",
    every: int = EVERY,
) -> Healed:
    """Tune an attacked model in place on text, and measure it before every tenth step and at the end.

    Defaults are the original's. Labels are shifted twice, as in the attack, and a line's loss is that of the step
    before it; the first has none. Two things differ from the original: a recovery is not cut to 0-100 %, and is None,
    not 0, where no rank had been lost; and the sentences that rank is measured on are padded, as everywhere else.

    Args:
        model: As :func:`attack` left it.
        text: Sequences of at least 3 tokens, one for each step in turn.
        original: As :func:`as_published`, before the attack.
        collapsed: The same after it.
        update: That of the attack, to go on with; ``None``: all weights are tuned.
        steps: Of healing.
        learning_rate: The same at all steps.
        optimizer: ``sgd``, ``adamw`` or ``adafactor``, each truly what it is called.
        every: Steps between measurements.
    """
    ranks = original["effective_rank"], collapsed["effective_rank"]
    points: list[dict[str, Any]] = []

    def see(step: int, loss: float | None, measured: dict[str, Any]) -> None:
        kept = {name: measured[name] for name in ("effective_rank", "perplexity", "spectral_gap")}
        points.append(
            {"step": step, **kept, "loss": loss, "recovery_pct": recovery(kept["effective_rank"], *ranks)}
        )

    def on_step(step: int, loss: float) -> None:
        if (step + 1) % every == 0 and step + 1 < steps:
            see(step + 1, loss, as_published(model))

    see(0, None, collapsed)
    tune(
        model,
        map(twice_shifted, islice(cycle(text), steps)),
        steps=steps,
        method="full" if update is None else update,
        optimizer=optimizer,
        learning_rate=learning_rate,
        on_step=on_step,
    )
    settings = {
        "num_healing_steps": steps,
        "healing_learning_rate": learning_rate,
        "healing_optimizer": optimizer,
        "measurement_interval": every,
        "num_training_samples": len(text),
    }
    return Healed(points, summary(original, collapsed, as_published(model)), settings)


def summary(original: dict[str, Any], collapsed: dict[str, Any], final: dict[str, Any]) -> dict[str, Any]:
    """Return the original's summary of a model before the attack, after it, and after healing."""
    ranks = [one["effective_rank"] for one in (final, original, collapsed)]
    before, after = collapsed["perplexity"], final["perplexity"]
    return {
        "rank_recovery_pct": recovery(*ranks),
        "ppl_improvement_pct": 100 * (before - after) / before,
        "final_effective_rank": ranks[0],
        "final_perplexity": after,
        "original_rank": ranks[1],
        "collapsed_rank": ranks[2],
        "original_perplexity": original["perplexity"],
        "collapsed_perplexity": before,
    }
