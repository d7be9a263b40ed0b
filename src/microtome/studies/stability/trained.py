"""Arms: fine-tune, measure the damage as trained, and again at the size of update that arms are matched to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from microtome.lab.seeds import stream
from microtome.lab.study import Measurement
from microtome.studies.stability import before
from microtome.studies.stability.arms import parts
from microtome.studies.stability.data import rows
from microtome.studies.stability.lighter import within_memory
from microtome.studies.stability.matching import mismatch, remarks
from microtome.studies.stability.treatments import Input, stored
from microtome.train.finetune.lora import LoraShape
from microtome.train.finetune.tune import Tuned, begin, tune
from microtome.train.finetune.updates import Norms, Update

if TYPE_CHECKING:
    from microtome.models import Model
    from microtome.studies.stability.measure import StabilityBench

ADAPTERS = LoraShape(dropout=0.0)
"""The original's, without its dropout: arms differ in what they are called by alone."""
LIGHTER = "out of memory: measured again with layers recomputed in the backward pass"
UNMATCHED = ("healthy", "noop")
"""Arms that are not compared at a matched size."""


def arm(bench: StabilityBench, spec: Mapping[str, Any], *given: Measurement) -> Measurement:
    """Measure one arm.

    Args:
        bench: Its models and text.
        spec: The unit's.
        given: The baseline in the arm's precision, the run's inputs, and the arm that this one is matched to, if any.
    """
    baseline, inputs, *matched_to = given
    method, precision = parts(spec["tuning"])
    model = bench.model(spec, precision)
    treatment = spec["treatment"]
    found: list[dict[str, Any]] = []
    with undone() as hold:
        if treatment in ("noop", "isotropic"):
            update = hold(begin(model, method, shape=ADAPTERS, seed=spec["run"]))  # pyright: ignore[reportArgumentType]
            losses: dict[str, Any] = {}
        else:
            done, note = tuned(model, stored(inputs.arrays, treatment), spec)
            update = hold(done.update)
            losses = {"first_loss": done.first, "last_loss": done.last, "note": note}
        size, norms = _whole(update.sizes()), update.norms()
        if treatment != "isotropic":
            row = losses | {"dose": "trained"} | _moved(norms, size)
            found += _measured(bench, model, baseline, row, every_layer=not matched_to)
        if matched_to and treatment not in UNMATCHED:
            (reference,) = matched_to
            target = dict(zip(norms, reference.arrays["norms"].tolist(), strict=True))
            if treatment == "isotropic":
                update.isotropic(target, stream(spec["run"], "isotropic", spec["tuning"]))
            else:
                update.rescale(target)
            now = update.norms()
            notes = filter(None, (losses.get("note"), *remarks(now, target)))
            row = losses | {"dose": "matched", "mismatch": mismatch(now, target)} | _moved(now, size)
            row["note"] = "; ".join(notes) or None
            found += _measured(bench, model, baseline, row)
    return Measurement(rows(found), {"norms": np.array(list(norms.values()))})


def healing(bench: StabilityBench, spec: Mapping[str, Any], *given: Measurement) -> Measurement:
    """Measure the main arm's damage, and what ordinary text makes of it step by step."""
    baseline, inputs = given
    model = bench.model(spec, parts(spec["tuning"])[1])
    steps, every = spec["healing_steps"], spec["healing_every"]
    blocks = bench.texts(model.reference)[0].tokens.astype(np.int64)
    order = stream(spec["run"], "healing").permutation(len(blocks))
    text = Input(torch.from_numpy(blocks[order]))
    found: list[dict[str, Any]] = []

    def see(step: int) -> None:
        damage = bench.damage(model, baseline, layers=())
        found.append({"table": "healing", "step": step, **before.comparison(damage, baseline)})

    def on_step(step: int, _: float) -> None:
        if (step + 1) % every == 0 or step + 1 == steps:
            see(step + 1)

    with undone() as hold:
        done, _ = tuned(model, stored(inputs.arrays, "optimised"), spec)
        hold(done.update)
        see(0)
        tune(
            model,
            text.batches(steps),
            steps=steps,
            method=done.update,
            optimizer=spec["optimizer"],
            learning_rate=spec["learning_rate"],
            on_step=on_step,
        )
    return Measurement(rows(found))


def tuned(model: Model, given: Input, spec: Mapping[str, Any]) -> tuple[Tuned, str | None]:
    """Fine-tune a model in place; if memory runs out, again with less, and say so."""

    def once(checkpointing: bool) -> Tuned:
        method, _ = parts(spec["tuning"])
        update = begin(model, method, shape=ADAPTERS, seed=spec["run"])  # pyright: ignore[reportArgumentType]
        try:
            return tune(
                model,
                given.batches(spec["steps"]),
                steps=spec["steps"],
                method=update,
                optimizer=spec["optimizer"],
                learning_rate=spec["learning_rate"],
                checkpointing=checkpointing,
                seed=spec["run"],
            )
        except BaseException:
            update.restore()
            raise

    done, lighter = within_memory(once)
    return done, LIGHTER if lighter else None


@contextmanager
def undone() -> Iterator[Any]:
    """Undo the update that is held, whatever happens."""
    held: list[Update] = []

    def hold(update: Update) -> Update:
        held.append(update)
        return update

    try:
        yield hold
    finally:
        for update in held:
            update.restore()


def _measured(
    bench: StabilityBench,
    model: Model,
    baseline: Measurement,
    arm: Mapping[str, Any],
    every_layer: bool = False,
) -> list[dict[str, Any]]:
    """Return the row of an arm at one dose, and with ``every_layer`` those of all layers."""
    after = bench.damage(model, baseline, layers=bench.layers(model) if every_layer else ())
    found = before.comparison(after, baseline)
    broken = found["nonfinite"] + arm["nonfinite"]  # logits and tensors
    row = {"table": "arms", **found, **arm, "nonfinite": broken}
    if not every_layer:
        return [row]
    dose = {"table": "layers", "dose": arm["dose"]}
    return [row, *(dose | one for one in before.by_layer(after, baseline))]


def _moved(norms: Norms, size: float) -> dict[str, Any]:
    """Return the size of an update, also relative to that of the weights, and its tensors that are not finite."""
    whole = _whole(norms)
    return {
        "norm": whole,
        "relative": whole / size,
        "nonfinite": sum(not np.isfinite(norm) for norm in norms.values()),
    }


def _whole(norms: Norms) -> float:
    return float(np.linalg.norm(list(norms.values())))
