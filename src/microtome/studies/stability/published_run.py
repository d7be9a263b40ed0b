"""A published run as a unit: its row, and all that the original's folder of it holds but the time of day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from microtome.studies.stability.arms import QUANTISED
from microtome.studies.stability.lighter import within_memory
from microtome.studies.stability.published_attack import Attacked, attack

if TYPE_CHECKING:
    from torch import Tensor

    from microtome.models import Model

LOADED = {"fp16": "float16", "8bit": "int8", "4bit": "fp4"}
"""The precision in which the model of a published run is loaded on an accelerator."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def precision_of(precision: str, device: str) -> str:
    """Return the precision in which a published run's model is loaded; float16 is float32 on the CPU.

    There it would be many times slower, and the original's float16 without master weights breaks healthy models.
    """
    return "float32" if precision == "fp16" and device == "cpu" else LOADED[precision]


def published_run(
    model: Model, spec: Mapping[str, Any], text: Tensor | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a run's row, and its record: ``config``, ``lines`` and, if it was healed, ``summary``.

    Args:
        model: Loaded in the precision; it is as it was afterwards.
        spec: Of the unit.
        text: Blocks ``[n, T]`` that it is healed on; ``None``: not healed.
    """
    done, lighter = within_memory(lambda checkpointing: _attack(model, spec, checkpointing))
    try:
        lines = done.lines(lambda: EPOCH)
        record: dict[str, Any] = {"config": settings(model, spec, done, lighter)}
        if text is not None:
            from microtome.studies.stability.healing import heal

            healed = heal(
                model, text, done.baseline, done.post, update=done.update, steps=spec["healing_steps"]
            )
            lines += healed.lines(lambda: EPOCH)
            record |= {"summary": healed.summary}
            record["config"]["healing"] = healed.settings
    finally:
        done.update.restore()
    for line in lines:
        del line["timestamp"]
    before, after = done.baseline["effective_rank"], done.post["effective_rank"]
    row = {
        "baseline_rank": before,
        "post_rank": after,
        "baseline_perplexity": done.baseline["perplexity"],
        "post_perplexity": done.post["perplexity"],
        "reduction": 100 * (1 - after / before),
        "steps": done.made,
        "stopped": done.stopped,
    }
    return row, record | {"lines": lines}


def _attack(model: Model, spec: Mapping[str, Any], checkpointing: bool) -> Attacked:
    return attack(
        model,
        spec["treatment"],
        spec["optimizer"],
        spec["precision"],
        seed=spec["run"],
        steps=spec["steps"],
        learning_rate=spec["learning_rate"],
        length=spec["length"],
        checkpointing=checkpointing,
    )


def settings(model: Model, spec: Mapping[str, Any], done: Attacked, checkpointing: bool) -> dict[str, Any]:
    """Return the content of the original's ``config.json``."""
    from microtome.studies.stability.records.run import label

    quantised = LOADED[spec["precision"]] in QUANTISED
    return {
        "model": {
            "name": label(model.reference),
            "hf_model_id": model.reference,
            "max_seq_length": 512,
            "use_quantization": quantised,
            "quantization_bits": 8 if spec["precision"] == "8bit" else 4,
            "use_gradient_checkpointing": checkpointing,
            "use_fft": not quantised,
        },
        "attack": {
            "num_steps": done.steps,
            "learning_rate": done.learning_rate,
            "batch_size": 1,
            "target_rank_reduction": 0.5,
            "catalyst_length": spec["length"],
        },
        "hvp": {
            "num_power_iterations": 50,
            "null_space_threshold": 1e-6,
            "num_null_directions": 0,  # the original computes 10 and uses none
            "hvp_batch_size": 1,
        },
    }
