"""A small finished run, built by hand, with every outcome and with text that would be dangerous unescaped."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
from matplotlib.figure import Figure as MatplotlibFigure
from pydantic import Field

from microtome.lab.claims import Claims, Control, PublishedRule, Reading
from microtome.lab.estimate import Estimate, Null, alphas
from microtome.lab.prediction import Prediction, Region, above, below, between, outside
from microtome.lab.study import Figure, Listing, Original, StudyConfig
from microtome.lab.verdict import ControlResult, decide

HOSTILE = "<script>alert('x')</script> & <img src=http://evil.example/x.png>"
TASKS = ("minimum", "maximum", "sum", "difference", "product")


class Config(StudyConfig):
    model: str = Field("embedded:smollm2-135m", description="The model whose residual stream is read.")
    tasks: tuple[str, ...] = Field(TASKS, description="Task words that fill {task} in the template.")
    pairs: tuple[tuple[int, int], ...] = Field(((25, 9), (42, 11)), description="Operand pairs.")
    template: str = Field("Given {a} and {b} calculate the {task}", description="The prompt.")
    layers: tuple[int, ...] | None = Field(None, description="Layers to read; all of them when not given.")


def _prediction(id: str, claim: str, supported: Region, falsified: Region, **more: Any) -> Prediction:
    given = {
        "id": id,
        "claim": claim,
        "estimand": "Difference of shares, averaged over operand pairs.",
        "scale": "share of variance",
        "supported_if": supported,
        "falsified_if": falsified,
        "source": "section 2",
    }
    return Prediction.model_validate(given | more)


PREDICTIONS = (
    _prediction(
        "separation",
        "Task vectors of different tasks are separate directions, beyond what the task word itself gives.",
        above(0.1),
        below(0.05),
        controls=("answers",),
    ),
    _prediction("invariance", "A task's direction does not depend on the operands.", above(0.5), below(0.5)),
    _prediction("gating", "The norm is raised at some layers.", between(1.2, 2.0), outside(1, 3)),
    _prediction("space", "Arithmetic tasks lie closer to each other.", above(0), below(0)),
    _prediction(
        "causal",
        "Adding the vector makes the model do the task.",
        above(0.2),
        below(0.1),
        scale="nats",
        controls=("alpha-zero", "answers"),
    ),
    _prediction(
        "scale",
        f"Norms agree across tasks {HOSTILE}",
        below(1500),
        above(2500),
        controls=("broken",),
        min_units=3,
    ),
)


def _estimate(value: float, half: float, n: int = 20, null: Null | None = None) -> Estimate:
    levels = alphas(len(PREDICTIONS))
    return Estimate.with_intervals(
        value,
        lambda level: (value - half * (1 + level), value + half * (1 + level)),
        levels,
        n=n,
        unit="operand pairs",
        method="BCa bootstrap over operand pairs, 2,000 draws",
        null=null,
    )


ESTIMATES = {
    "separation": _estimate(
        0.01,
        0.01,
        null=Null(description="task labels permuted", p=0.41, smallest_p=0.0005, center=0.02),
    ),
    "invariance": _estimate(
        0.93,
        0.02,
        null=Null(description="prompts exchanged", p=0.0005, smallest_p=0.0005, center=0.1),
    ),
    "gating": _estimate(1.6, 0.6),
    "space": _estimate(
        0.3,
        0.1,
        n=5,
        null=Null(
            description="all splits of the tasks into 3 and 2",
            p=0.1,
            smallest_p=0.1,
            enough="seven tasks would be enough",
        ),
    ),
    "causal": _estimate(1.4, 0.2, null=Null(description="random", p=0.001, smallest_p=0.001, center=0.05)),
    "scale": _estimate(1840.0, 260.0),
}
CONTROLS = (
    Control(name="answers", description="The model answers enough items to be asked at all."),
    Control(name="alpha-zero", description="A vector times zero changes nothing."),
    Control(name="broken", description=f"A control that fails {HOSTILE}"),
)
RESULTS = {
    "answers": ControlResult(name="answers", passed=True, detail="61 of 100 items answered"),
    "alpha-zero": ControlResult(name="alpha-zero", passed=True, detail="largest change 0 nats"),
    "broken": ControlResult(name="broken", passed=False, detail=f"expected 0, got 3 {HOSTILE}"),
}


def _rule(id: str, prediction: str, rule: str) -> PublishedRule:
    return PublishedRule(id, prediction, rule, read=lambda tables: PUBLISHED[id])


RULES = (
    _rule(
        "overlap",
        "separation",
        "Mean off-diagonal cosine below 0.1 (our number): no overlap.",
    ),
    _rule("blocks", "invariance", "Five 5 × 5 blocks on the heat map mean independence of the numbers."),
    _rule("norms", "gating", "Higher norms at a layer mean gating."),
    _rule(
        "groups",
        "space",
        "Sum and difference closest to each other: a task space.",
    ),
)
PUBLISHED = {
    "overlap": Reading(outcome="non-overlapping task vectors", claims=True, numbers={"mean cosine": -0.25}),
    "blocks": Reading(outcome="independent of the numbers", claims=True, numbers={"within": 0.97}),
    "norms": Reading(outcome="norms shown, not judged", claims=None),
    "groups": Reading(outcome=f"a task space {HOSTILE}", claims=True),
}


def _draw() -> MatplotlibFigure:
    figure = MatplotlibFigure()
    axes = figure.subplots()
    for k, task in enumerate(TASKS):
        axes.plot(range(12), [k + (x * 0.3) for x in range(12)], label=task)
    axes.set(xlabel="layer", ylabel="share of variance", title="Between tasks")
    axes.legend()
    return figure


@dataclass
class Study:
    name: str = "task-vectors"
    version: int = 1
    title: str = "Task vectors in the residual stream"
    question: str = "Does the residual stream hold one direction per task, apart from the operands?"
    original: Original = field(
        default_factory=lambda: Original(
            title="Task vectors", project="Mind of numbers", summary="Cosines of means."
        )
    )
    config: type = Config
    published: tuple[PublishedRule, ...] = RULES
    controls: tuple[Control, ...] = CONTROLS
    predictions: tuple[Prediction, ...] = PREDICTIONS

    def claims(self, config: Config) -> Claims:
        return Claims(self.predictions, self.published, self.controls)

    def listings(self, config: Config, tables: Any) -> list[Listing]:
        frame = pl.DataFrame({"layer": [0, 1], "mean residual": [0.12345, None], "note": [HOSTILE, "-"]})
        return [Listing("By layer", f"Residuals {HOSTILE}", frame)]

    def methods(self, config: Config, tables: Any) -> list[str]:
        return [
            f"Read {len(config.pairs)} pairs with the template “{config.template}” at the last token.",
            HOSTILE,
        ]

    @staticmethod
    def figures(config: Config, tables: Any) -> list[Figure]:
        return [
            Figure(
                "similarity_heatmap",
                f"Similarity {HOSTILE}",
                "Blocks are the task words.",
                _draw,
            ),
            Figure("task_pca", "PCA", "Five clusters: each is one final token.", _draw),
        ]


@dataclass
class Run:
    path: Path
    id: str = "0123456789abcdef"
    config: Config = field(default_factory=lambda: Config.model_validate({}))
    study: Study = field(default_factory=Study)
    status: str = "finished"
    failed: dict[str, str] = field(default_factory=dict)
    registered: str = "before the data"
    given: dict[str, Any] = field(default_factory=lambda: {"template": HOSTILE, "pairs": [[25, 9], [42, 11]]})

    @property
    def record(self) -> Any:
        return SimpleNamespace(
            given=self.given,
            config=self.config.model_dump(mode="json"),
            version=1,
            created="2026-11-22T04:40:00Z",
            status=self.status,
            failed=self.failed,
            events=("2026-11-22T04:41:00 reused 3 units of run 77",),
            fingerprints={"model": "cd" * 32},
            registered=self.registered,
            predictions_hash="ab" * 32,
            microtome="0.1.0",
            provenance={
                "python": "3.11.7",
                "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
                "command": "microtome run " + "task-vectors " * 20,
                "git": {"commit": "f" * 40, "dirty": True},
            },
        )

    predictions: tuple[Prediction, ...] = PREDICTIONS
    published: dict[str, Reading] = field(default_factory=lambda: PUBLISHED)
    controls: dict[str, ControlResult] = field(default_factory=lambda: RESULTS)
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)

    @property
    def verdicts(self) -> Any:
        return decide(PREDICTIONS, ESTIMATES, RESULTS)


def fake(path: Path, **changes: Any) -> Any:
    """A fake run in ``path``; ``Any``, since it only looks like a run."""
    return Run(path, **changes)
