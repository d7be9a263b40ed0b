"""The controlled estimates, with intervals over documents, layers or pairs of neurons."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from microtome.lab.estimate import Estimate, Null
from microtome.lab.seeds import stream
from microtome.measure.bootstrap import Bootstrap, bootstrap_mean, bootstrap_statistic, ratio_of_means
from microtome.measure.nulls import permutation_p, smallest_p
from microtome.measure.overlap import matched_controls, strata_of
from microtome.measure.sign_flips import sign_flip_test
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.data import Data, Published
from microtome.studies.universality.thresholds import action_quanta

NO_PAIR = "there is no second model; give one (option model_b)"
NO_NEURONS = "too few neurons are matched; more documents may find some, or none is there"
DECILES = 10

GROUPS = ("groups of documents", "BCa bootstrap over groups of documents, matches fixed, widened for few")
PAIRS = (
    "pairs of neurons",
    "BCa bootstrap over pairs of a universal neuron and its control, widened for few",
)


def estimates_of(config: UniversalityConfig, data: Data, levels: Sequence[float]) -> dict[str, Estimate]:
    """Return all estimates of the pair of models."""
    analyst = _Analyst(config, data, levels)
    return {
        "beyond-rotations": analyst.beyond_rotations(),
        "transfer": analyst.transfer(),
        "similarity": analyst.similarity(),
        "depth-match": analyst.depth_match(),
        "conditions": analyst.conditions(),
        "slow": analyst.slow(),
        "actionable": analyst.lost("actionable", ["text"]),
        "task-bearing": analyst.lost("task-bearing", None),
        "irreducible": analyst.irreducible(),
    }


def spectral_pairs(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return universal neurons beside others of their layer, matched on mean, deviation and firing rate.

    Columns: ``layer`` and the centroids ``universal`` and ``control``.
    """
    known = frame.filter(pl.col("centroid").is_not_null(), ~pl.col("dead"))
    treated = np.flatnonzero(known["universal"])
    pool = np.flatnonzero(~known["universal"])
    features = np.stack(
        [known["mean"].to_numpy(), np.log(known["sd"].to_numpy()), known["firing"].to_numpy()], 1
    )
    if not len(treated) or not len(pool):
        return pl.DataFrame(schema={"layer": pl.Int64, "universal": pl.Float64, "control": pl.Float64})
    rng = stream(seed, "ties of spectral controls")
    controls = matched_controls(treated, pool, features, known["layer"].to_numpy(), rng)
    kept = controls >= 0
    centroid = known["centroid"].to_numpy()
    return pl.DataFrame(
        {
            "layer": known["layer"].to_numpy()[treated[kept]],
            "universal": centroid[treated[kept]],
            "control": centroid[controls[kept]],
        }
    )


def strata_of_layer(neurons: pl.DataFrame) -> np.ndarray:
    """Return for each index the stratum of its layer and its variance in B."""
    strata = np.zeros(len(neurons), np.int64)
    for i, layer in enumerate(sorted(set(neurons["layer"]))):
        own = (neurons["layer"] == layer).to_numpy()
        strata[own] = (
            i * (DECILES + 1) + 1 + strata_of(neurons["variance_b"].to_numpy()[own].astype(float), DECILES)
        )
    return strata


class _Analyst:
    """The estimates of the pair; each method computes the one of its name."""

    def __init__(self, config: UniversalityConfig, data: Data, levels: Sequence[float]) -> None:
        self.config = config
        self.data = data
        self.levels = levels
        self.matched = data.matched.get("pair")

    def rng(self, *purpose: str) -> np.random.Generator:
        return stream(self.config.seed, "analysis", *purpose)

    def estimate(self, found: Bootstrap, about: tuple[str, str], null: Null | None = None) -> Estimate:
        if found.undefined:
            return self.missing(found.undefined, about, found.n)
        return Estimate.with_intervals(
            found.value, found.interval, self.levels, n=found.n, unit=about[0], method=about[1], null=null
        )

    def missing(self, reason: str, about: tuple[str, str], n: int = 0) -> Estimate:
        return Estimate.missing(reason, n=n, unit=about[0], method=about[1])

    def beyond_rotations(self) -> Estimate:
        if self.matched is None:
            return self.missing(NO_PAIR, GROUPS)
        found = self.of_excess("beyond-rotations", lambda excess: float(np.nanmean(excess)))
        exchanged = self.matched.scores.exchanged(self.rng("exchanged"), max(199, self.config.permutations))
        draws = np.nanmean(exchanged - self.matched.scores.baseline, 1)
        null = Null(
            description=f"B's documents shifted within blocks, the matches kept, {len(draws)} draws",
            p=float(permutation_p(found.value, draws)),
            smallest_p=smallest_p(len(draws)),
            center=float(draws.mean()),
            enough=self.enough("options shifts and documents"),
        )
        return self.estimate(found, GROUPS, null)

    def enough(self, remedy: str) -> str:
        needed = int(np.ceil(1 / self.levels[0])) - 1
        return f"{needed} draws would reach {self.levels[0]:.2g} ({remedy})"

    def transfer(self) -> Estimate:
        if self.matched is None:
            return self.missing(NO_PAIR, GROUPS)
        significant = self.matched.frame["matched"].to_numpy()
        threshold = self.config.threshold_excess

        def share(excess: np.ndarray) -> float:
            with np.errstate(invalid="ignore"):
                return float((significant & (excess > threshold)).mean())

        return self.estimate(self.of_excess("transfer", share), GROUPS)

    def of_excess(self, name: str, reduce: Callable[[np.ndarray], float]) -> Bootstrap:
        assert self.matched is not None
        statistic = self.matched.scores.over(reduce)
        n = len(self.matched.scores.rows)
        return bootstrap_statistic(statistic, n, self.rng(name), self.config.resamples)

    def similarity(self) -> Estimate:
        about = ("groups of documents", "BCa bootstrap over pseudo-values of the jackknife, widened for few")
        found = self.data.similarity
        if found is None:
            return self.missing(NO_PAIR, about)
        null = Null(
            description=f"documents of B exchanged, largest of all pairs of layers, {len(found.null)} draws",
            p=float(permutation_p(found.rows["standardised"].max(), found.null)),  # type: ignore[arg-type]
            smallest_p=smallest_p(len(found.null)),
            center=float(found.null.mean()),
            enough=self.enough("option permutations"),
        )
        same, _ = self.by_depth()
        return self.estimate(bootstrap_mean(same, self.rng("similarity"), self.config.resamples), about, null)

    def depth_match(self) -> Estimate:
        about = ("groups of documents", "BCa bootstrap over pseudo-values of the jackknife, widened for few")
        if self.data.similarity is None:
            return self.missing(NO_PAIR, about)
        same, other = self.by_depth()
        if np.isnan(other).any():
            return self.missing("one of the models has a single layer", about)
        found = bootstrap_mean(same - other, self.rng("depth-match"), self.config.resamples)
        return self.estimate(found, about)

    def by_depth(self) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each group, the mean CKA over layers of one depth, and over all other pairs of layers."""
        found = self.data.similarity
        assert found is not None
        pseudo = found.pseudo["standardised"]
        same = np.zeros(pseudo.shape[1:], bool)
        same[np.arange(len(same)), list(found.matched)] = True
        others = pseudo[:, ~same].mean(1) if (~same).any() else np.full(len(pseudo), np.nan)
        return pseudo[:, same].mean(1), others

    def conditions(self) -> Estimate:
        about = ("neurons", "Mantel and Haenszel, Robins' variance")
        pairs = [self.data.published.get(("pair", condition)) for condition in ("random", "text")]
        random, text = pairs
        if random is None or text is None:
            return self.missing(NO_PAIR, about)
        return self.odds(random, text, about)

    def odds(self, random: Published, text: Published, about: tuple[str, str]) -> Estimate:
        from statsmodels.stats.contingency_tables import StratifiedTable

        sets = [action_quanta(self.config, one.neurons, self.config.threshold) for one in (random, text)]
        strata, n = strata_of_layer(random.neurons), len(random.neurons)
        tables = []
        for stratum in np.unique(strata):
            a, b = (one[strata == stratum] for one in sets)
            tables.append([[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]])
        joined = StratifiedTable(np.moveaxis(np.array(tables, float), 0, -1))
        with np.errstate(all="ignore"):
            value, se = (float(np.asarray(x)) for x in (joined.logodds_pooled, joined.logodds_pooled_se))
        if not np.isfinite([value, se]).all():
            return self.missing("one of the sets is empty, or they never or always coincide", about, n)

        def interval(level: float) -> tuple[float, float]:
            from scipy.special import ndtri

            arm = float(ndtri(0.5 + level / 2)) * se
            return value - arm, value + arm

        return Estimate.with_intervals(value, interval, self.levels, n=n, unit=about[0], method=about[1])

    def slow(self) -> Estimate:
        about = ("layers", "BCa bootstrap over layers, all pairs of a layer together, widened for few")
        if self.matched is None:
            return self.missing(NO_PAIR, about)
        pairs = spectral_pairs(self.matched.frame, self.config.seed)
        if len(pairs) < 2:
            return self.missing(NO_NEURONS, about, len(pairs))
        gain = (pairs["universal"] - pairs["control"]).to_numpy()
        found = bootstrap_mean(
            gain, self.rng("slow"), self.config.resamples, clusters=pairs["layer"].to_numpy()
        )
        return self.estimate(found, about)

    def lost(self, name: str, tasks: Sequence[str] | None) -> Estimate:
        if self.matched is None:
            return self.missing(NO_PAIR, PAIRS)
        pairs = ablation_pairs(self.data.effects, tasks)
        if len(pairs) < 2:
            return self.missing(NO_NEURONS, PAIRS, len(pairs))
        gain = (pairs["universal"] - pairs["control"]).to_numpy()
        test = sign_flip_test(gain[None], self.rng(name, "null"), max(999, self.config.permutations))
        null = Null(
            description=f"universal neuron and control exchanged at random, {len(test.null)} draws",
            p=test.max_p,
            smallest_p=test.smallest_p,
            center=0.0,
        )
        return self.estimate(bootstrap_mean(gain, self.rng(name), self.config.resamples), PAIRS, null)

    def irreducible(self) -> Estimate:
        if self.matched is None:
            return self.missing(NO_PAIR, PAIRS)
        frame = self.data.effects
        if frame is None or frame.is_empty():
            return self.missing(NO_NEURONS, PAIRS)
        own = frame.filter(pl.col("group") == "universal", pl.col("task") == "text")
        wide = own.pivot("edit", index="pair", values="kl").sort("pair")
        if len(wide) < 2 or not wide["ablation"].sum() > 0:
            return self.missing(NO_NEURONS, PAIRS, len(wide))
        statistic = ratio_of_means(wide["replacement"].to_numpy(), wide["ablation"].to_numpy())
        found = bootstrap_statistic(
            statistic, len(wide), self.rng("irreducible"), self.config.resamples, (0, np.inf)
        )
        return self.estimate(found, PAIRS)


def ablation_pairs(
    effects: pl.DataFrame | None, tasks: Sequence[str] | None, what: str = "nats"
) -> pl.DataFrame:
    """Return a row for each pair: the loss without its universal neuron and without its control.

    Args:
        effects: See ``effects.effects``.
        tasks: Averaged; None for all but text.
        what: ``nats`` or ``kl``.
    """
    if effects is None or effects.is_empty():
        return pl.DataFrame(schema={"pair": pl.Int64, "universal": pl.Float64, "control": pl.Float64})
    wanted = pl.col("task") != "text" if tasks is None else pl.col("task").is_in(list(tasks))
    own = effects.filter(pl.col("edit") == "ablation", wanted)
    means = own.group_by("pair", "group").agg(pl.col(what).mean())
    return means.pivot("group", index="pair", values=what).sort("pair").select("pair", "universal", "control")
