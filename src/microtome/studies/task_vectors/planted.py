"""Synthetic data in which every claim is true, or none is, for the study's power and its false alarms.

Vectors are sums of a template's mean, the operands' vector, the task's vector and noise, each with its own size at each
of four layers; steering moves answers by a known share of the ceiling. They go through the same analysis as real data.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.data import Data
from microtome.studies.task_vectors.measure import SIDE_EFFECT
from microtome.studies.task_vectors.plan import controlled_pairs
from microtome.studies.task_vectors.steering import KINDS, STEERED
from microtome.studies.task_vectors.tasks import TASKS, Family

D = 16
LAYERS = 4
BEST = 3
"""Index of the layer with the least noise, which the analysis should choose."""

UNEVEN = (0.5, 1.5)
"""Smallest and largest norm of the words' embeddings, and of task vectors without a common scale."""


@dataclass(frozen=True)
class Truth:
    """What is planted."""

    word_has_task: bool
    """Whether the bare word leaves the same vector as the task."""
    noise: float
    """Norm of the noise over that of the mean task vector, at the best layer."""
    growth: float
    """Factor by which task vectors grow more than operand vectors up to the best layer."""
    one_scale: bool
    family: float
    """Norm of what tasks of a family share, over that of what they do not."""
    share: float
    """Share of the ceiling that the task's vector reaches."""


EFFECT = Truth(word_has_task=False, noise=0.35, growth=2.0, one_scale=True, family=0.7, share=0.4)
NULL = Truth(word_has_task=True, noise=1.2, growth=1.0, one_scale=False, family=0.0, share=0.0)

EFFECTS = {
    "separation": "the bare word has nothing of the task: accuracy above it by 0.8 (five tasks)",
    "invariance": f"noise of {EFFECT.noise:g} task norms: cosine about 0.95",
    "gating": f"task vectors grow {EFFECT.growth:g} times as much as the operands': log ratio about 1",
    "scale": f"task norms equal, those of the words from {UNEVEN[0]:g} to {UNEVEN[1]:g}: log ratio about -1.4",
    "task-space": f"families share {EFFECT.family:g} of a task's own norm: cosines higher within by about 0.4",
    "causal-use": f"the task's vector reaches {EFFECT.share:.0%} of the ceiling, the others none",
}


def simulate(config: TaskVectorsConfig, rng: np.random.Generator, planted: bool) -> Data:
    """Return one run's synthetic data with as many pairs and tasks as the config has."""
    truth = EFFECT if planted else NULL
    pairs, fit = controlled_pairs(config)
    tasks = _task_vectors(config, truth, rng)
    operands = rng.standard_normal((len(pairs), D)) / np.sqrt(D)
    words = _basis(len(config.tasks), rng) * np.linspace(*UNEVEN, len(config.tasks))[:, None]

    def vectors(task: np.ndarray) -> np.ndarray:
        return _stream(task, operands, truth, rng)

    published = np.repeat(words[None, None], len(config.pairs), axis=1)
    return Data(
        layers=tuple(range(LAYERS)),
        published=np.concatenate([published, np.repeat(published, LAYERS, axis=0)]),
        suffix=vectors(tasks),
        transfer=vectors(tasks),
        word=vectors(tasks if truth.word_has_task else np.zeros_like(tasks)),
        fit=np.array(fit),
        answers=_answers(config, pairs),
        sweep=pl.DataFrame(schema=STEERED),
        steer=_steered(
            config, [pair for pair, chosen in zip(pairs, fit, strict=True) if not chosen], truth, rng
        ),
        side_effect=pl.DataFrame(
            [(0, BEST, kind, name, 0.01) for name in config.tasks for kind in ("task", "random")],
            schema=SIDE_EFFECT,
            orient="row",
        ),
    )


def _basis(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return ``n`` orthonormal vectors in random position, or unit vectors if there are too many for that."""
    x = rng.standard_normal((D, n))
    return np.linalg.qr(x)[0].T if n <= D else (x / np.linalg.norm(x, axis=0)).T


def _task_vectors(config: TaskVectorsConfig, truth: Truth, rng: np.random.Generator) -> np.ndarray:
    n = len(config.tasks)
    basis = _basis(n + 2, rng)
    families = np.array([TASKS[name].family is Family.ARITHMETIC for name in config.tasks], int)
    tasks = basis[:n] + truth.family * basis[n + families]
    return tasks if truth.one_scale else tasks * rng.permutation(np.linspace(*UNEVEN, n))[:, None]


def _stream(tasks: np.ndarray, operands: np.ndarray, truth: Truth, rng: np.random.Generator) -> np.ndarray:
    """Return ``[1 + layers, pairs, tasks, d]``; the embedding, first, is the same for all prompts."""
    index = np.arange(1, LAYERS + 1)
    operand_size = 2.0**index
    task_size = operand_size * truth.growth ** ((np.minimum(index, BEST) - 1) / (BEST - 1))
    noise_size = task_size * truth.noise * np.where(index == BEST, 1, 1.2) / np.sqrt(D)
    shape = (LAYERS, len(operands), *tasks.shape)
    size = (slice(None), None, None, None)
    x = task_size[size] * tasks + operand_size[size] * operands[:, None]
    x = x + noise_size[size] * rng.standard_normal(shape) + 4 * rng.standard_normal(D)
    return np.concatenate([np.ones((1, *shape[1:])), x])


def _answers(config: TaskVectorsConfig, pairs: list[tuple[int, int]]) -> pl.DataFrame:
    rows = [
        {
            "template": "steering",
            "a": a,
            "b": b,
            "task": name,
            "answer": TASKS[name].answer(a, b),
            "right": 1.0,
        }
        for a, b in pairs
        for name in config.tasks
    ]
    return pl.DataFrame(rows).with_columns(right_uncalibrated=pl.col("right"))


def _steered(
    config: TaskVectorsConfig, pairs: list[tuple[int, int]], truth: Truth, rng: np.random.Generator
) -> pl.DataFrame:
    """Return four items a pair, whose effects and ceilings vary between pairs as well as between items."""
    rows = []
    for a, b in pairs:
        top = 4 + rng.standard_normal()
        for item in range(4):
            source, target = (
                config.tasks[item % len(config.tasks)],
                config.tasks[(item + 1) % len(config.tasks)],
            )
            ceiling = top + 0.5 * rng.standard_normal()
            for kind in KINDS:
                effect = (truth.share * top if kind == "task" else 0.0) + rng.standard_normal()
                moved = (effect, 0.0, 0.0, 0.0, ceiling, 0.0, 0.0)
                rows.append((0, a, b, source, target, BEST, kind, 1.0, *moved))
    return pl.DataFrame(rows, schema=STEERED, orient="row")
