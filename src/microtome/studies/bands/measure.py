"""Measuring units: train a model, compare two, compare one with a public model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from microtome.lab.seeds import stream
from microtome.lab.study import Bench, Measurement, Unit
from microtome.studies.bands import inputs
from microtome.studies.bands.arms import band_neurons, train_config
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.features import layer_features
from microtome.studies.bands.observe import leak, neurons_of, observer
from microtome.studies.bands.plan import seeds
from microtome.train.build import architecture, new_model
from microtome.train.cached import trained
from microtome.train.config import TrainConfig
from microtome.train.curves import read
from microtome.train.loop import Diverged, Trained

CONDITIONS = ("text", "random")
ROWS = {"table": pl.String, "step": pl.Int64, "band": pl.Int64, "name": pl.String, "value": pl.Float64}
"""Of a ``train`` unit: one number each, in one long table."""
FINAL = "final"


class BandsBench(Bench):
    """Trains in microtome's cache, so that a model that was trained once is found again."""

    def __init__(self, config: BandsConfig) -> None:
        self.config = config

    def measure(self, unit: Unit, needed: Mapping[str, Measurement]) -> Measurement:
        """Measure one unit."""
        spec = unit.spec
        if unit.kind == "train":
            return self._train(spec["arm"], spec["seed"], spec["scale"])
        models = [needed[need] for need in unit.needs]
        if any(not model.arrays for model in models):  # one of them diverged: there is nothing to compare
            return Measurement(pl.DataFrame({"neuron": []}, schema={"neuron": pl.Int64}))
        if unit.kind == "pair":
            return Measurement(self._pair(spec, models))
        return Measurement(self._reference(spec, models[0]))

    def _train(self, arm: str, seed: int, scale: float) -> Measurement:
        config = self.config
        train = train_config(config, arm, seed, scale)
        try:
            done = _trained(config, arm, seed, scale)
        except Diverged as stop:
            rows = [*_curves(read(stop.folder)), ("status", stop.step, None, "diverged", 1.0)]
            return Measurement(pl.DataFrame(rows, schema=ROWS, orient="row"))
        weights = _weights(done.folder / "model.safetensors", FINAL)
        for step in train.milestones:
            weights |= _weights(done.folder / "milestones" / f"step-{step:08d}.safetensors", str(step))
        module = self._module(train, weights, FINAL)
        tokens = inputs.text(config).held_out[:1, :-1]
        checks = {"parameters": done.parameters, "leak": leak(module, tokens, tokens.shape[1] // 2)}
        rows = [*_curves(done.curves), *(("check", config.steps, None, *item) for item in checks.items())]
        return Measurement(pl.DataFrame(rows, schema=ROWS, orient="row"), weights)

    def _pair(self, spec: Mapping[str, Any], models: list[Measurement]) -> pl.DataFrame:
        config, arm, scale = self.config, spec["arm"], spec["scale"]
        configs = [train_config(config, arm, seed, scale) for seed in (spec["model"], spec["partner"])]
        bands = pl.Series("band", self._bands(configs[0]))
        frames = []
        moments = [FINAL, *(map(str, configs[0].milestones) if spec["timeline"] else ())]
        for moment in moments:
            sides = [
                self._module(train, model.arrays, moment)
                for train, model in zip(configs, models, strict=True)
            ]
            for condition in CONDITIONS if moment == FINAL else CONDITIONS[:1]:
                x, y = (neurons_of(side, self._tokens[condition]) for side in sides)
                step = config.steps if moment == FINAL else int(moment)
                frames += [
                    self._layer(configs[0], a, b, published=moment == FINAL).with_columns(
                        pl.lit(layer).alias("layer"),
                        pl.lit(condition).alias("condition"),
                        pl.lit(step).alias("step"),
                        pl.lit(moment == FINAL).alias("final"),
                        bands,
                    )
                    for layer, (a, b) in enumerate(zip(x, y, strict=True))
                ]
        return pl.concat(frames)

    def _layer(self, train: TrainConfig, x: Tensor, y: Tensor, published: bool) -> pl.DataFrame:
        """Compare a layer's neurons band by band, as the original does; a standard model's layer is one band."""
        config = self.config
        spans = self._spans(train) if train.model == "band" else [(0, x.shape[-1])]
        parts = []
        for start, stop in spans:
            found = layer_features(
                x[..., start:stop], y[..., start:stop], config.rotations, config.seed, published=published
            )
            matched = pl.when(pl.col("match") >= 0).then(pl.col("match") + start).otherwise(-1)
            parts.append(found.with_columns(pl.col("neuron") + start, matched.alias("match")))
        return pl.concat(parts)

    def _reference(self, spec: Mapping[str, Any], model: Measurement) -> pl.DataFrame:
        config = self.config
        train = train_config(config, spec["arm"], spec["model"], spec["scale"])
        module = self._module(train, model.arrays, FINAL)
        mine = [self._words(module, tokens, at) for tokens, at in self._own_words]
        theirs, bands = self._reference_words, pl.Series("band", self._bands(train))
        frames = []
        for layer in range(config.num_layers):
            x = torch.stack([document[layer] for document in mine])
            frames.append(
                layer_features(
                    x, theirs, config.rotations, config.seed, published=False, spectra=False
                ).with_columns(pl.lit(layer).alias("layer"), bands)
            )
        return pl.concat(frames)

    def _bands(self, train: TrainConfig) -> np.ndarray:
        """Return the band of each neuron of a layer."""
        spans = self._spans(train)
        return np.repeat(np.arange(len(spans)), [stop - start for start, stop in spans])

    def _spans(self, train: TrainConfig) -> list[tuple[int, int]]:
        return band_neurons(train, architecture(train, inputs.text(self.config).vocabulary))

    def _module(self, train: TrainConfig, arrays: Mapping[str, np.ndarray], moment: str) -> Any:
        module = new_model(train, inputs.text(self.config).vocabulary, torch.device("cpu")).eval()
        prefix = f"{moment}/"
        state = {
            name.removeprefix(prefix): torch.from_numpy(np.array(value))
            for name, value in arrays.items()
            if name.startswith(prefix)
        }
        module.load_state_dict(state)
        return module

    @cached_property
    def _tokens(self) -> dict[str, Tensor]:
        """The sequences on which neurons of two models are compared, ``[n, T]``."""
        read = inputs.text(self.config)
        text = read.held_out[: self.config.feature_blocks, :-1]
        random = stream(self.config.seed, "random tokens").integers(0, read.vocabulary, tuple(text.shape))
        return {"text": text, "random": torch.from_numpy(random)}

    @cached_property
    def _own_words(self) -> list[tuple[Tensor, np.ndarray]]:
        aligned = inputs.aligned(self.config)
        pairs = zip(aligned.tokens[0], aligned.positions[0], strict=True)
        return [(torch.from_numpy(np.asarray(tokens, np.int64))[None], at) for tokens, at in pairs]

    def _words(self, module: Any, tokens: Tensor, at: np.ndarray) -> list[Tensor]:
        return [neurons[0, at] for neurons in neurons_of(module, tokens)]

    @cached_property
    def _reference_words(self) -> Tensor:
        """The reference's neurons at the end of each word, ``[documents, words, d_mlp]``."""
        from microtome.capture import capture
        from microtome.models import load_model

        config, aligned = self.config, inputs.aligned(self.config)
        assert config.reference_model is not None
        model = load_model(config.reference_model, device=config.device)
        site = f"mlp_post.{config.reference_layer}"
        found = capture(
            model, [list(map(int, tokens)) for tokens in aligned.tokens[1]], [site], positions="all"
        )
        parts = found.split(site)
        return torch.stack([part[at] for part, at in zip(parts, aligned.positions[1], strict=True)])


def trained_models(config: BandsConfig) -> tuple[str, ...]:
    """Return the folders of the first two baselines at the middle scale, trained already or now."""
    scale = config.lr_scales[len(config.lr_scales) // 2]
    return tuple(str(_trained(config, "baseline", seed, scale).folder) for seed in list(seeds(config))[:2])


def _trained(config: BandsConfig, arm: str, seed: int, scale: float) -> Trained:
    train = train_config(config, arm, seed, scale)
    bands = band_neurons(train, architecture(train, inputs.text(config).vocabulary))
    seen = observer(bands, config.ablation_blocks)
    return trained(train, observe=seen, observed=f"ablation of {config.ablation_blocks}")


def _weights(path: Any, moment: str) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return {f"{moment}/{name}": value for name, value in load_file(path).items()}


def _curves(curves: Mapping[str, pl.DataFrame]) -> list[tuple[Any, ...]]:
    """Return the trainer's curves as rows of the long table."""
    rows: list[tuple[Any, ...]] = []
    for table in ("metrics", "bands", "evaluations", "observations"):
        for row in curves[table].to_dicts():
            step, band = row.pop("step"), row.pop("band", None)
            side = row.pop("side", None)
            rows += [
                (table, step, band, f"{name} {side}" if side else name, float(value))
                for name, value in row.items()
            ]
    return rows
