"""Measuring: prompts are read, then steered, one unit at a time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl
import torch

from microtome.capture import Add, capture, logprobs, nats_per_token
from microtome.corpora import load_corpus, pack
from microtome.lab.seeds import stream
from microtome.lab.study import Bench, Measurement, Unit
from microtome.measure.choice import correctness
from microtome.measure.steering import forced_choice
from microtome.models import load_model
from microtome.studies.task_vectors.config import BLOCK, TaskVectorsConfig
from microtome.studies.task_vectors.directions import Directions, chosen_layer
from microtome.studies.task_vectors.prompts import check_final_tokens, split_answers, whole_answers
from microtome.studies.task_vectors.steering import KINDS, Steering

if TYPE_CHECKING:
    from microtome.models import Model

SIDE_EFFECT = {
    "seed": pl.Int64,
    "layer": pl.Int64,
    "kind": pl.String,
    "target": pl.String,
    "nats": pl.Float64,
}
"""Columns of the side effect's rows; ``nats`` is the rise in nats per token of unrelated text."""


class TaskVectorsBench(Bench):
    """A loaded model, ready for the units of a run."""

    def __init__(self, config: TaskVectorsConfig) -> None:
        self.config = config
        self.model: Model = load_model(config.model, device=config.device)
        depth = self.model.anatomy.layers
        self.layers: tuple[int, ...] = tuple(range(depth)) if config.layers == "all" else config.layers
        check_final_tokens(config, self.model.tokenizer)

    def measure(self, unit: Unit, needed: Mapping[str, Measurement]) -> Measurement:
        """Measure one unit of any of the four kinds."""
        spec = unit.spec
        if unit.kind == "prompts":
            return self._prompts(spec)
        own, read, sweeps = _sorted(spec, needed)
        directions = Directions.of(read)
        if unit.kind == "sweep":
            steering = self._steering(directions, self.layers, (1.0,), KINDS[:1])
            return Measurement(steering.pair(spec, own[0]))
        layer = chosen_layer(sweeps)
        layers = () if layer is None else (layer,)
        if unit.kind == "steer":
            steering = self._steering(directions, layers, spec["alphas"], KINDS)
            return Measurement(steering.pair(spec, own[0]))
        assert unit.kind == "side-effect", unit.kind
        return self._side_effect(spec, self._steering(directions, layers, (1.0,), ("task", "random")))

    def _prompts(self, spec: Mapping[str, Any]) -> Measurement:
        """Read every layer at the position, and score the answers of all tasks under each prompt."""
        sites = ["resid_pre.0", *(f"{self.config.site}.{layer}" for layer in self.layers)]
        prompts: list[str] = spec["prompts"]
        tokens, options = self._tokens(spec)
        captured = capture(self.model, tokens, sites, positions=self.config.position)
        arrays = {"activations": torch.stack([captured[site] for site in sites]).float().numpy()}
        a, b = spec["pair"]
        templates: list[str] = spec["templates"]
        tasks = pl.DataFrame({"template": templates}).join(pl.DataFrame({"task": spec["tasks"]}), how="cross")
        rows = tasks.select("template", a=pl.lit(a), b=pl.lit(b), task="task", prompt=pl.Series(prompts))
        if spec["answers"]:
            scores = logprobs(self.model, tokens, options).double().numpy()
            own = scores[None, :, : len(prompts)]
            rows = rows.with_columns(
                pl.Series("answer", spec["answers"][: len(prompts)]),
                pl.Series("right_uncalibrated", correctness(forced_choice(own, calibrate=False))[0]),
                pl.Series("right", correctness(forced_choice(own))[0]),
            )
            arrays["answer_logp"] = scores
        return Measurement(rows, arrays)

    def _tokens(self, spec: Mapping[str, Any]) -> tuple[list[list[int]], list[list[int]]]:
        """Return the prompts' tokens and the answers'; the published template is read at its own last token."""
        tokenizer, prompts = self.model.tokenizer, spec["prompts"]
        if spec["templates"] == ["published"]:
            return [tokenizer(prompt)["input_ids"] for prompt in prompts], whole_answers(
                tokenizer, spec["answers"]
            )
        split = [split_answers(tokenizer, prompt, spec["answers"]) for prompt in prompts]
        return [tokens for tokens, _ in split], split[0][1]

    def _steering(
        self,
        directions: Directions,
        layers: tuple[int, ...],
        alphas: tuple[float, ...],
        kinds: tuple[str, ...],
    ) -> Steering:
        at = {layer: 1 + self.layers.index(layer) for layer in layers}
        site, position = self.config.site, self.config.position
        return Steering(
            self.model, directions, site=site, position=position, layers=at, alphas=alphas, kinds=kinds
        )

    def _side_effect(self, spec: Mapping[str, Any], steering: Steering) -> Measurement:
        """Add each task's vector, and a random one, at every position of unrelated text."""
        corpus = load_corpus(self.config.corpus)
        blocks = pack(corpus, self.model.tokenizer, BLOCK, blocks=spec["tokens"] // BLOCK)
        text = torch.from_numpy(blocks.tokens).long()
        plain = nats_per_token(self.model, text).mean().item()
        tasks: list[str] = spec["tasks"]
        rows = []
        for target in range(len(tasks)) if steering.layers else ():
            rng = stream(spec["seed"], "side effect", tasks[target])
            for vector in steering.vectors(target - 1, target, rng):
                add = Add(f"{steering.site}.{vector.layer}", torch.from_numpy(vector.values).float())
                nats = nats_per_token(self.model, text, interventions=[add]).mean().item() - plain
                rows.append((spec["seed"], vector.layer, vector.kind, tasks[target], nats))
        return Measurement(pl.DataFrame(rows, schema=SIDE_EFFECT, orient="row"))


def _sorted(
    spec: Mapping[str, Any], needed: Mapping[str, Measurement]
) -> tuple[list[Measurement], list[Measurement], list[pl.DataFrame]]:
    """Return the pair's own prompts, the other pairs' prompts, and the rows of the sweeps."""
    measured = list(needed.values())  # each is read from the store when it is asked for: once is enough
    read = [one for one in measured if "activations" in one.arrays]
    own = [one for one in read if [one.rows["a"][0], one.rows["b"][0]] == spec.get("pair")]
    others = [one for one in read if not any(one is mine for mine in own)]
    return own, others, [one.rows for one in measured if "activations" not in one.arrays]
