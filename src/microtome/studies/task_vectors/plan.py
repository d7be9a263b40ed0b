"""The plan of a run: which prompts are read, where the layer is chosen, and what is steered.

Four kinds of unit, each after those it needs:

- ``prompts``: one operand pair, all tasks, one template or several: vectors of every layer, and for the published and
  the steering template log-probabilities of the answers;
- ``sweep``: one pair of a seed's fit half, steered at every layer with the directions of the other fit pairs;
- ``steer``: one pair of the score half, steered at the layer that the sweeps chose, with controls and doses;
- ``side-effect``: the same vectors added on unrelated text.
"""

from collections.abc import Mapping
from typing import Any

from microtome.lab.study import Unit
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.operands import Halves, OperandPair, draw
from microtome.studies.task_vectors.tasks import answers

NAME = "task-vectors"
VERSION = 1
CONTRASTED = ("suffix", "transfer", "word")
"""Templates that are read together: what the task has beyond its word shows in their differences."""


def plan(config: TaskVectorsConfig, fingerprints: Mapping[str, str]) -> list[Unit]:
    """Return the units of a run."""
    return _Plan(config, fingerprints).units()


def controlled_pairs(config: TaskVectorsConfig) -> tuple[list[OperandPair], list[bool]]:
    """Return the operand pairs of the controlled part, each once, and whether it belongs to a fit half.

    The published pairs join the scoring side, where their answers differ enough to tell tasks apart.
    """
    halves = [draw(config, seed) for seed in config.seeds]
    fit = dict.fromkeys(pair for half in halves for pair in half.fit)
    score = dict.fromkeys(pair for half in halves for pair in half.score if pair not in fit)
    listed = dict.fromkeys(
        (a, b) for a, b in config.pairs if a != b and (a, b) not in fit and (a, b) not in score
    )
    return [*fit, *score, *listed], [True] * len(fit) + [False] * (len(score) + len(listed))


class _Plan:
    def __init__(self, config: TaskVectorsConfig, fingerprints: Mapping[str, str]) -> None:
        self.config = config
        self.fingerprints = fingerprints
        self.reading = {
            "model": fingerprints["model"],
            "site": config.site,
            "layers": config.layers,
            "position": config.position,
            "tasks": list(config.tasks),
        }

    def units(self) -> list[Unit]:
        pairs, _ = controlled_pairs(self.config)
        units = [self.published(pair) for pair in self.config.pairs]
        units += [self.contrasted(pair) for pair in pairs]
        for seed in self.config.seeds:
            units += self.of_seed(seed, draw(self.config, seed))
        return list({unit.id: unit for unit in units}.values())

    def of_seed(self, seed: int, halves: Halves) -> list[Unit]:
        read = {pair: self.steering_prompts(pair, halves) for pair in (*halves.fit, *halves.score)}
        fit = tuple(read[pair].id for pair in halves.fit)
        sweeps = [
            self.steered(
                "sweep", seed, pair, halves, (read[pair].id, *(i for i in fit if i != read[pair].id)), cost=12
            )
            for pair in halves.fit
        ]
        swept = tuple(unit.id for unit in sweeps)
        steers = [
            self.steered("steer", seed, pair, halves, (read[pair].id, *fit, *swept), cost=10)
            for pair in halves.score
        ]
        return [*read.values(), *sweeps, *steers, self.side_effect(seed, (*fit, *swept))]

    def published(self, pair: OperandPair) -> Unit:
        texts = [self.config.prompt(self.config.template, name, *pair) for name in self.config.tasks]
        return self.prompts(("published",), pair, texts, list(answers(self.config.tasks, *pair)))

    def contrasted(self, pair: OperandPair) -> Unit:
        patterns = [getattr(self.config, f"{template}_template") for template in CONTRASTED]
        texts = [
            self.config.prompt(pattern, name, *pair) for pattern in patterns for name in self.config.tasks
        ]
        return self.prompts(CONTRASTED, pair, texts, [], cost=2)

    def steering_prompts(self, pair: OperandPair, halves: Halves) -> Unit:
        texts = [self.config.steering_prompt(name, *pair) for name in self.config.tasks]
        return self.prompts(("steering",), pair, texts, self.numbers(pair, halves), cost=4)

    def prompts(
        self,
        templates: tuple[str, ...],
        pair: OperandPair,
        texts: list[str],
        scored: list[int],
        cost: float = 1,
    ) -> Unit:
        label = f"{', '.join(templates)} {pair}"
        return self.unit(
            "prompts", label, cost, templates=templates, pair=pair, prompts=texts, answers=scored
        )

    def numbers(self, pair: OperandPair, halves: Halves) -> list[int]:
        """Return the tasks' answers for the pair, then for its partner."""
        return [*answers(self.config.tasks, *pair), *answers(self.config.tasks, *halves.partner(pair))]

    def steered(
        self, kind: str, seed: int, pair: OperandPair, halves: Halves, needs: tuple[str, ...], cost: float
    ) -> Unit:
        spec: dict[str, Any] = {"seed": seed, "pair": pair, "answers": self.numbers(pair, halves)}
        if kind == "steer":
            spec["alphas"] = list(self.config.alphas)
        return self.unit(kind, f"{kind} seed {seed} {pair}", cost, needs, **spec)

    def side_effect(self, seed: int, needs: tuple[str, ...]) -> Unit:
        spec = {
            "seed": seed,
            "corpus": self.fingerprints["corpus"],
            "tokens": self.config.corpus_tokens,
            "alphas": list(self.config.alphas),
        }
        return self.unit("side-effect", f"side effect seed {seed}", 20, needs, **spec)

    def unit(self, kind: str, label: str, cost: float = 1, needs: tuple[str, ...] = (), **spec: Any) -> Unit:
        spec = {key: list(value) if isinstance(value, tuple) else value for key, value in spec.items()}
        return Unit(
            study=NAME,
            version=VERSION,
            kind=kind,
            label=label,
            spec={**self.reading, **spec},
            needs=needs,
            cost=cost,
        )
