"""Measuring units: untuned models, a planted collapse, inputs, arms, healing, and the published procedure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from microtome.corpora import PackedTokens
from microtome.lab.seeds import stream
from microtome.lab.study import Bench, Measurement, Unit
from microtome.measure.curvature import NullSpace
from microtome.models import Model, fingerprint
from microtome.models.load import device_of
from microtome.models.quantized import load_in
from microtome.studies.stability import before, trained
from microtome.studies.stability.arms import TREATMENTS, parts
from microtome.studies.stability.catalyst import decades, share, top_directions
from microtome.studies.stability.collapse import plant_collapse
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.damage import Damage, damage
from microtome.studies.stability.data import rows
from microtome.studies.stability.inputs import texts
from microtome.studies.stability.published_run import precision_of, published_run
from microtome.studies.stability.search import search
from microtome.studies.stability.size import parameters_of
from microtome.studies.stability.treatments import arrays, inputs, random_tokens

CURVATURE_ROWS = 2
"""Sequences of training text whose loss has its curvature measured."""


class StabilityBench(Bench):
    """One model in one precision at a time; what a unit changes of it is undone."""

    def __init__(self, config: StabilityConfig) -> None:
        self.config = config
        self.references = {fingerprint(reference): reference for reference in config.models}
        self._loaded: tuple[tuple[str, str], Model] | None = None
        self._outside: tuple[str, NullSpace] | None = None
        self._texts: dict[str, tuple[PackedTokens, PackedTokens]] = {}

    def measure(self, unit: Unit, needed: Mapping[str, Measurement]) -> Measurement:
        """Measure one unit of any kind."""
        spec, given = unit.spec, [needed[need] for need in unit.needs]
        kinds = {
            "baseline": self._baseline,
            "planted": self._planted,
            "inputs": self._inputs,
            "arm": self._arm,
            "healing": self._healing,
            "published": self._published,
        }
        return kinds[unit.kind](spec, *given)

    def model(self, spec: Mapping[str, Any], precision: str) -> Model:
        """Return the unit's model in a precision."""
        key = (spec["model"], precision)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # so that two models are never in memory
            reference = self.references[spec["model"]]
            device = self.config.device
            self._loaded = key, load_in(reference, precision, device=device, attention="eager")
        return self._loaded[1]

    def texts(self, reference: str) -> tuple[PackedTokens, PackedTokens]:
        """Return a model's text for training, and its held-out text."""
        if reference not in self._texts:
            self._texts[reference] = texts(self.config, reference)
        return self._texts[reference]

    def damage(
        self,
        model: Model,
        baseline: Measurement | None = None,
        layers: Sequence[int] | None = None,
        draws: int | None = None,
    ) -> Damage:
        """Return a model's damage on held-out text; all calls have the same draws of documents."""
        return damage(
            model,
            self.texts(model.reference)[1],
            rng=stream(self.config.seed, "documents"),
            limits=None if baseline is None else before.limits(baseline),
            draws=self.config.draws if draws is None else draws,
            layers=layers,
        )

    def layers(self, model: Model) -> range:
        """Return the layers whose damage is measured, in blocks passed."""
        return range(0, model.anatomy.layers + 1, self.config.layer_stride)

    def _baseline(self, spec: Mapping[str, Any]) -> Measurement:
        model = self.model(spec, spec["precision"])
        found = self.damage(model, layers=self.layers(model))
        row = {
            "table": "baselines",
            "family": model.anatomy.family,
            "parameters": parameters_of(model),
            "rank": found.value(before.MEASURE, found.middle),
            "nats": found.nats,
            "nonfinite": found.nonfinite,
            "tokens": found.tokens,
            "massive": found.massive,
        }
        levels = [
            {"table": "levels", **{key: one[key] for key in (*before.KEYS, "value")}} for one in found.rows
        ]
        return Measurement(rows([row, *levels]), before.kept(found))

    def _planted(self, spec: Mapping[str, Any], baseline: Measurement) -> Measurement:
        model = self.model(spec, parts(self.config.tunings[0])[1])
        self._loaded = None  # what is planted is not taken back
        plant_collapse(model)
        found = self.damage(model, baseline, layers=())
        return Measurement(rows([{"table": "planted", **before.comparison(found, baseline)}]))

    def _inputs(self, spec: Mapping[str, Any]) -> Measurement:
        config, run = self.config, spec["run"]
        model = self.model(spec, "float32")
        text = self.texts(model.reference)[0]
        outside = self.outside(spec, model)
        start = random_tokens(model, config.length, stream(run, "start"))
        found = search(
            model, outside, start, config.checks, stream(run, "search"), blocks=config.curvature_blocks
        )
        made = inputs(TREATMENTS, found.tokens, start, model, text, stream(run, "treatments"), config.steps)
        shares = []
        for name, one in made.items():
            its, loss = share(model, outside, one.fed, one.labels, config.curvature_blocks)
            searched = name == "optimised"
            shares.append(
                {
                    "table": "inputs",
                    "treatment": name,
                    "share": its,
                    "decades": decades(its),
                    "loss": loss,
                    "changed": found.changed if searched else None,
                    "swaps": found.swaps if searched else None,
                    "certified": len(outside.values),
                }
            )
        return Measurement(rows(shares), arrays(made))

    def outside(self, spec: Mapping[str, Any], model: Model) -> NullSpace:
        """Return the directions of a model that an input's gradient is to avoid; one for all runs."""
        if self._outside is None or self._outside[0] != spec["model"]:
            self._outside = None
            config = self.config
            text = torch.from_numpy(self.texts(model.reference)[0].tokens[:CURVATURE_ROWS].astype(np.int64))
            found = top_directions(
                model,
                text,
                config.directions,
                config.lanczos_steps,
                stream(config.seed, "lanczos"),
                blocks=config.curvature_blocks,
            )
            self._outside = spec["model"], found
        return self._outside[1]

    def _arm(self, spec: Mapping[str, Any], *given: Measurement) -> Measurement:
        return trained.arm(self, spec, *given)

    def _healing(self, spec: Mapping[str, Any], *given: Measurement) -> Measurement:
        return trained.healing(self, spec, *given)

    def _published(self, spec: Mapping[str, Any]) -> Measurement:
        precision = precision_of(spec["precision"], device_of(self.config.device).type)
        model = self.model(spec, precision)
        text = None
        if spec["healing_steps"]:
            text = torch.from_numpy(self.texts(model.reference)[0].tokens.astype(np.int64))
        row, record = published_run(model, spec, text)
        return Measurement(rows([{"table": "published", **row, "record": json.dumps(record)}]))
