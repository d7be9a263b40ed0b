"""The plan of a run: every arm of the factorial in every run, and the published procedure beside it.

Kinds of unit, each after those it needs:

- ``baseline``: a model in one precision, untouched: the ranks and the loss that damage is measured against;
- ``planted``: the model with its matrices moved toward rank 1, a collapse that must be found;
- ``inputs``: one run's inputs, with the share of each one's gradient outside the top curvature directions;
- ``arm``: one input, optimiser and tuning: the damage as trained, and at the matched size of the update;
- ``healing``: the main arm, then ordinary text;
- ``published``: one run of the published procedure.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from microtome.lab.study import Unit
from microtome.studies.stability.arms import OTHER_TUNINGS, cell_parts, parts
from microtome.studies.stability.config import StabilityConfig

NAME = "stability"
VERSION = 1
TEXT = ("documents", "held_out", "block", "evaluation_tokens", "layer_stride")
INPUTS = ("steps", "healing_steps", "length", "directions", "lanczos_steps", "curvature_blocks", "checks")


def plan(config: StabilityConfig, fingerprints: Mapping[str, str]) -> list[Unit]:
    """Return the units of a run."""
    units = [
        unit
        for number in range(1, len(config.models) + 1)
        for unit in _Plan(config, fingerprints[f"model {number}"], fingerprints["text"]).units(
            config.labels[number - 1]
        )
    ]
    return list({unit.id: unit for unit in units}.values())


def run_seeds(config: StabilityConfig) -> range:
    """Return the seed of each run: the root and its number, from 1."""
    return range(config.seed + 1, config.seed + config.runs + 1)


def arms(config: StabilityConfig) -> list[tuple[str, str, str]]:
    """Return treatment, optimiser and tuning of every arm; each after the one that it is matched to.

    A direction without training, and none, do not depend on the optimiser and are run once.
    """
    found = []
    for tuning in config.tunings:
        wanted = [name for name in config.treatments if tuning == config.tunings[0] or name in OTHER_TUNINGS]
        for treatment in sorted(wanted, key=lambda name: name != "optimised"):
            untrained = treatment in ("isotropic", "noop")
            found += [
                (treatment, optimizer, tuning) for optimizer in config.optimizers[: 1 if untrained else None]
            ]
    return found


def reference(config: StabilityConfig, tuning: str) -> tuple[str, str, str]:
    """Return the arm whose update's size others of a tuning are matched to."""
    return "optimised", config.optimizers[0], tuning


class _Plan:
    def __init__(self, config: StabilityConfig, model: str, text: str) -> None:
        self.config = config
        self.model = {"model": model}
        self.text = {"text": text} | {name: getattr(config, name) for name in TEXT}
        self.damage = self.text | {"draws": config.draws, "seed": config.seed}
        self.training = self.damage | {
            name: getattr(config, name) for name in ("steps", "learning_rate", "length")
        }

    def units(self, label: str) -> Iterator[Unit]:
        self.label = label
        config = self.config
        if config.treatments:
            precisions = dict.fromkeys(parts(tuning)[1] for tuning in config.tunings)
            baselines = {precision: self.baseline(precision) for precision in precisions}
            yield from baselines.values()
            yield self.planted(next(iter(baselines.values())))
            for seed in run_seeds(config):
                yield from self.of_run(seed, baselines)
        for cell in config.published:
            for seed in run_seeds(config):
                yield self.published(cell, seed)

    def baseline(self, precision: str) -> Unit:
        spec = self.damage | {"precision": precision}
        return self.unit("baseline", f"baseline, {precision}", spec, cost=0.5)

    def planted(self, baseline: Unit) -> Unit:
        return self.unit("planted", "a planted collapse", self.damage, needs=(baseline.id,))

    def of_run(self, seed: int, baselines: Mapping[str, Unit]) -> Iterator[Unit]:
        config = self.config
        given = {name: getattr(config, name) for name in INPUTS}
        inputs = self.unit("inputs", f"inputs, seed {seed}", self.text | given | {"run": seed}, cost=2.0)
        yield inputs
        made: dict[tuple[str, str, str], Unit] = {}
        for arm in arms(config):
            treatment, optimizer, tuning = arm
            main = reference(config, tuning)
            needs = [baselines[parts(tuning)[1]].id, inputs.id]
            if arm != main:
                needs.append(made[main].id)
            spec = {"run": seed, "treatment": treatment, "optimizer": optimizer, "tuning": tuning}
            made[arm] = self.unit(
                "arm",
                f"{treatment}, {optimizer}, {tuning}, seed {seed}",
                self.training | spec,
                needs=tuple(needs),
                cost=0.7 if treatment in ("isotropic", "noop") else 1.0,
            )
            yield made[arm]
        if config.healing_steps:
            tuning = config.tunings[0]
            spec = {"run": seed, "optimizer": config.optimizers[0], "tuning": tuning}
            spec |= {"healing_steps": config.healing_steps, "healing_every": config.healing_every}
            yield self.unit(
                "healing",
                f"healing, seed {seed}",
                self.training | spec,
                needs=(baselines[parts(tuning)[1]].id, inputs.id),
                cost=2.0,
            )

    def published(self, cell: str, seed: int) -> Unit:
        treatment, optimizer, precision = cell_parts(cell)
        spec = {
            "run": seed,
            "treatment": treatment,
            "optimizer": optimizer,
            "precision": precision,
            "steps": self.config.published_steps,
            "learning_rate": self.config.published_rate,
            "healing_steps": self.config.published_healing,
            "length": self.config.length,
        }
        if self.config.published_healing:
            spec |= self.text
        return self.unit("published", f"as published: {cell}, seed {seed}", spec, cost=1.5)

    def unit(
        self, kind: str, label: str, spec: Mapping[str, Any], needs: tuple[str, ...] = (), cost: float = 1.0
    ) -> Unit:
        return Unit(
            study=NAME,
            version=VERSION,
            kind=kind,
            label=f"{self.label}: {label}",
            spec=self.model | dict(spec),
            needs=needs,
            cost=cost,
        )
