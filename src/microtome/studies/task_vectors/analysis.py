"""The controlled estimates and the controls that must pass, from a run's data or from simulated ones."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from microtome.lab.estimate import Estimate, Null
from microtome.lab.seeds import stream
from microtome.lab.study import Analysis
from microtome.measure.bootstrap import (
    Bootstrap,
    bootstrap_mean,
    bootstrap_statistic,
    coefficient_of_variation,
)
from microtome.measure.centroids import (
    centred_centroids,
    centred_vectors,
    held_out_cosine,
    leave_one_out_centroids,
    squared_norm_pseudovalues,
)
from microtome.measure.nulls import PermutationTest, in_own_span, permutation_test
from microtome.measure.sign_flips import sign_flip_test
from microtome.measure.similarity import cosine, cosine_matrix
from microtome.measure.splits import exact_splits, family_contrast, family_test, labels_needed
from microtome.measure.steering import share_of_ceiling
from microtome.measure.transfer import transfer
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.controls import control_results
from microtome.studies.task_vectors.data import Data, Vectors
from microtome.studies.task_vectors.tasks import TASKS, Family

UNIT = "operand pairs"
BCA = "BCa bootstrap over operand pairs, widened for few"
EQUAL = "bound without assumptions, since all operand pairs gave the same value"


def analyse(config: TaskVectorsConfig, data: Data, levels: Sequence[float]) -> Analysis:
    """Return the estimates with intervals at each error level, and the controls."""
    best = best_layer(data)
    analyst = _Analyst(config, data, levels, best)
    estimates = {
        "separation": analyst.separation(),
        "invariance": analyst.invariance(),
        "gating": analyst.gating(),
        "scale": analyst.scale(),
        "task-space": analyst.task_space(),
        "causal-use": analyst.causal_use(),
    }
    return Analysis(estimates, control_results(config, data))


def best_layer(data: Data) -> int:
    """Return the index of the layer at which directions are most the task's rather than its word's, on the fit pairs.

    The mean cosine between a pair's task vectors in the transfer template and the other pairs' centroids in the suffix
    template, less the same with centroids of the bare word. The embedding (index 0) takes no part: it holds no task.
    """
    queries = centred_vectors(data.transfer[1:, data.fit])

    def closeness(trained: Vectors) -> Float[np.ndarray, "layers"]:
        centroids = leave_one_out_centroids(centred_vectors(trained[1:, data.fit]))
        return cosine(queries, centroids).mean((-1, -2))

    scores = closeness(data.suffix) - closeness(data.word)
    return 1 + (0 if np.isnan(scores).all() else int(np.nanargmax(scores)))


def transfer_differences(data: Data) -> Float[np.ndarray, "layers pairs"]:
    """Return, per layer and scored pair, the transfer accuracy from task prompts less that from the bare word."""
    scored = ~data.fit
    target = data.transfer[:, scored]
    gain = transfer(data.suffix[:, scored], target) - transfer(data.word[:, scored], target)
    return gain.mean(-1)


def log_growth(x: Vectors, best: int) -> Float[np.ndarray, "pairs"]:
    """Return, per pair, how much more the task vectors grow from early layers to ``best`` than the operands' do.

    With t the task vectors' root mean square norm and o the operands' (the pair's mean over tasks less the grand
    mean), both relative to the residual's norm: ``ln(t/o)[best] - mean_early ln(t/o)``. Early is the first quarter.
    """
    residual = np.linalg.norm(x, axis=-1).mean(-1)
    task = np.sqrt(np.square(centred_vectors(x)).sum(-1).mean(-1)) / residual
    means = x.mean(-2)
    operand = np.linalg.norm(means - means.mean(1, keepdims=True), axis=-1) / residual
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(task / operand)
    early = ratio[1 : 1 + max(1, (len(x) - 1) // 4)].mean(0)
    return np.where(np.isfinite(ratio[best] - early), ratio[best] - early, np.nan)


class _Analyst:
    """The six estimates; each method computes the one of its name."""

    def __init__(self, config: TaskVectorsConfig, data: Data, levels: Sequence[float], best: int) -> None:
        self.config = config
        self.data = data
        self.levels = levels
        self.best = best
        self.scored = data.suffix[:, ~data.fit]
        self.n = self.scored.shape[1]

    def rng(self, *purpose: str) -> np.random.Generator:
        return stream(self.config.seeds[0], "analysis", *purpose)

    def mean(
        self, name: str, values: Float[np.ndarray, "n"], bounds: tuple[float, float] | None = None
    ) -> Bootstrap:
        limits = bounds or (-np.inf, np.inf)
        return bootstrap_mean(values, self.rng(name, "bootstrap"), self.config.resamples, bounds=limits)

    def estimate(self, found: Bootstrap, null: Null | None = None, method: str = BCA) -> Estimate:
        if found.undefined:
            return Estimate.missing(found.undefined, n=found.n, unit=UNIT, method=method)
        if found.constant:
            method = EQUAL
        return Estimate.with_intervals(
            found.value, found.interval, self.levels, n=found.n, unit=UNIT, method=method, null=null
        )

    def missing(self, reason: str) -> Estimate:
        return Estimate.missing(reason, n=self.n, unit=UNIT, method=BCA)

    def separation(self) -> Estimate:
        differences = transfer_differences(self.data)
        test = sign_flip_test(differences[1:], self.rng("separation", "null"), self.config.permutations)
        null = max_null(test, "accuracies from tasks and from bare words exchanged at random in each pair")
        return self.estimate(self.mean("separation", differences[self.best], (-1, 1)), null)

    def invariance(self) -> Estimate:
        cosines = held_out_cosine(self.scored[1:]).mean(-1)
        test = permutation_test(
            lambda x: held_out_cosine(x).mean((-1, -2)),
            self.scored[1:],
            self.rng("invariance", "null"),
            self.config.permutations,
        )
        null = max_null(test, "task labels permuted within each pair")
        return self.estimate(self.mean("invariance", cosines[self.best - 1], (-1, 1)), null)

    def gating(self) -> Estimate:
        growth = log_growth(self.scored, self.best)
        if np.isnan(growth).any():
            return self.missing("a task or operand vector has no length at some early layer")
        test = sign_flip_test(growth[None], self.rng("gating", "null"), self.config.permutations)
        return self.estimate(
            self.mean("gating", growth), max_null(test, "tasks and operands exchanged in each pair")
        )

    def scale(self) -> Estimate:
        if len(self.config.tasks) < 3:
            return self.missing("two centred vectors have equal norms, whatever the model does")
        words = np.linalg.norm(centred_centroids(self.data.published[0]), axis=-1)
        squares = coefficient_of_variation(squared_norm_pseudovalues(self.scored[self.best]), root=True)
        reference = np.log(words.std(ddof=1) / words.mean())
        found = bootstrap_statistic(
            lambda units: np.log(squares(units)) - reference, self.n, self.rng("scale"), self.config.resamples
        )
        return self.estimate(found)

    def task_space(self) -> Estimate:
        family = np.array([TASKS[name].family is Family.ARITHMETIC for name in self.config.tasks])
        members, others = int(family.sum()), int((~family).sum())
        if not members or not others or len(family) < 3:
            return self.missing(
                "needs two families of tasks, one of them with two members; see the option tasks"
            )
        y = in_own_span(centred_vectors(self.scored[self.best]))
        flat = y.reshape(self.n, -1)

        def contrast(units: np.ndarray) -> np.ndarray:
            counts = (units[:, :, None] == np.arange(self.n)).sum(1) / units.shape[1]
            return family_contrast(cosine_matrix((counts @ flat).reshape(-1, *y.shape[1:])), family[None])[0]

        found = bootstrap_statistic(contrast, self.n, self.rng("task-space"), self.config.resamples)
        test = family_test(cosine_matrix(y.mean(0))[None], family)
        splits = exact_splits(len(family), members)
        level = self.levels[0]
        null = Null(
            description=f"all {splits} splits of the tasks into families of {members} and {others}",
            p=float(test.p[0]),
            smallest_p=1 / splits,
            center=float(test.null.mean()),
            enough=f"{labels_needed(level)} tasks, split evenly, would reach {level:.2g}",
        )
        return self.estimate(found, null)

    def causal_use(self) -> Estimate:
        pairs = self.data.steered_pairs
        if pairs.is_empty():
            return Estimate.missing(
                "the model answers no two tasks of a scored pair", n=0, unit=UNIT, method=BCA
            )
        gain = pairs["gain"].to_numpy()
        found = share_of_ceiling(gain, pairs["ceiling"].to_numpy(), self.rng("causal"), self.config.resamples)
        test = sign_flip_test(gain[None], self.rng("causal", "null"), self.config.permutations)
        return self.estimate(found, max_null(test, "right and wrong task exchanged in each pair", center=0.0))


def max_null(test: PermutationTest, description: str, center: float | None = None) -> Null:
    """Return the null of the most extreme layer: p is corrected for the search over layers."""
    layers = len(test.observed)
    searched = f"; the largest of {layers} layers" if layers > 1 else ""
    return Null(
        description=f"{description}, {len(test.null)} draws{searched}",
        p=1.0 if np.isnan(test.max_p) else test.max_p,
        smallest_p=test.smallest_p,
        center=float(np.nanmean(test.null)) if center is None else center,
    )
