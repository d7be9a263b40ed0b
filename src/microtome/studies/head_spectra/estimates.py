"""The controlled estimates of one role of a model, with intervals over layers."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from microtome.lab.estimate import Estimate, Null
from microtome.lab.seeds import stream
from microtome.lab.verdict import decide
from microtome.measure.bootstrap import Bootstrap, bootstrap_mean, bootstrap_statistic, ratio_of_means
from microtome.measure.correlation import correlation_of, permuted_correlations
from microtome.measure.nulls import permutation_p, smallest_p
from microtome.measure.rescale import fit_to_layer, scalar_fit
from microtome.measure.sign_flips import sign_flip_test
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.data import Gaussian, Role, Subject
from microtome.studies.head_spectra.protocol import PREDICTIONS

UNIT = "layers"
METHOD = "BCa bootstrap over layers, all heads of a layer together, widened for few"
NO_OPERATORS = "a file of singular values holds no operators; give the model itself (option model)"
NO_SIZES = (
    "the file does not say how wide the model is, which the null needs; give the option d_model, or add the key (with "
    "kv_heads, if keys are shared), as `microtome spectra extract` does"
)
NO_ENTROPY = "the file has no entropies over the logarithm of the visible keys; `microtome spectra extract` writes them"

Layers = Float[np.ndarray, "layers"]


def estimates_of(
    config: HeadSpectraConfig, subject: Subject, role: str, levels: Sequence[float]
) -> dict[str, Estimate]:
    """Return all estimates of one role of a subject."""
    analyst = _Analyst(config, subject.roles[role], subject.gaussian, levels, role)
    return {
        "spectral-copy": analyst.spectral_copy(),
        "shared-shape": analyst.shared_shape(),
        "operator-copy": analyst.operator_copy(),
        "aligned-copy": analyst.aligned_copy(),
        "low-rank": analyst.low_rank(),
        "temperature": analyst.temperature(),
        "beyond-norm": analyst.beyond_norm(),
    }


def log_gain(role: Role, shape: Float[np.ndarray, "k"]) -> Float[np.ndarray, "layers heads"]:
    """Return, for layers but the anchor, the log residual of the anchor's spectrum over that of a common shape."""
    fitted = fit_to_layer(role.spectra, role.anchor).residual
    common = scalar_fit(role.spectra, np.broadcast_to(shape, role.spectra.shape)).residual
    with np.errstate(divide="ignore"):
        return role.others(np.log(fitted) - np.log(common))


class _Analyst:
    """The estimates of one role; each method computes the one of its name."""

    def __init__(
        self,
        config: HeadSpectraConfig,
        role: Role,
        gaussian: Gaussian | None,
        levels: Sequence[float],
        name: str,
    ) -> None:
        self.config = config
        self.role = role
        self.gaussian = gaussian
        self.levels = levels
        self.name = name
        self.n = len(role.spectra) - 1
        self.fit = fit_to_layer(role.spectra, role.anchor)

    def rng(self, *purpose: str) -> np.random.Generator:
        return stream(self.config.seed, "analysis", self.name, *purpose)

    def missing(self, reason: str) -> Estimate:
        return Estimate.missing(reason, n=self.n, unit=UNIT, method=METHOD)

    def estimate(self, found: Bootstrap, null: Null | None = None, less: float = 0.0) -> Estimate:
        """Return the estimate ``found - less``."""
        if found.undefined:
            return self.missing(found.undefined)
        return Estimate.with_intervals(
            found.value - less,
            lambda level: tuple(bound - less for bound in found.interval(level)),  # type: ignore[return-value]
            self.levels,
            n=found.n,
            unit=UNIT,
            method=METHOD,
            null=null,
        )

    def mean(self, name: str, layers: Layers, bounds: tuple[float, float] = (-np.inf, np.inf)) -> Bootstrap:
        return bootstrap_mean(layers, self.rng(name), self.config.resamples, bounds=bounds)

    def flips(self, name: str, gain: Layers, description: str, center: float | None = None) -> Null:
        """Return the null in which each layer's gain could as well have the other sign."""
        test = sign_flip_test(gain[None], self.rng(name, "null"), self.config.permutations)
        return Null(
            description=f"{description}, {len(test.null)} draws",
            p=test.max_p,
            smallest_p=test.smallest_p,
            center=center,
        )

    def by_layer(self, name: str) -> Layers:
        """Return a column of the operators averaged over heads, for all layers but the anchor."""
        return self.role.others(self.role.map(name)).mean(1)

    def spectral_copy(self) -> Estimate:
        if self.gaussian is None:
            return self.missing(NO_SIZES)
        residuals = self.role.others(self.fit.residual).mean(1)
        draws = self.gaussian.residuals
        null = Null(
            description=f"{len(draws)} random models of Gaussian products with the same shapes and anchor rule",
            p=float(permutation_p(residuals.mean(), draws, "less")),
            smallest_p=smallest_p(len(draws)),
            center=0.0,
            enough=f"{int(np.ceil(1 / self.levels[0]))} draws would reach {self.levels[0]:.2g} (option draws)",
        )
        return self.estimate(self.mean("spectral-copy", residuals), null, less=float(draws.mean()))

    def shared_shape(self) -> Estimate:
        if self.gaussian is None:
            return self.missing(NO_SIZES)
        if self.gaussian.shape.shape != self.role.spectra.shape[-1:]:
            return self.missing("the file's spectra are not as long as its d_head says")
        gain = log_gain(self.role, self.gaussian.shape).mean(1)
        if not np.isfinite(gain).all():
            return self.missing(
                "some layer's spectra are exact multiples of the anchor's or of the common shape"
            )
        null = self.flips("shared-shape", -gain, "the two shapes exchanged at random in each layer", 0.0)
        return self.estimate(self.mean("shared-shape", gain), null)

    def operator_copy(self) -> Estimate:
        if self.role.operators is None:
            return self.missing(NO_OPERATORS)
        own, random = self.by_layer("residual"), self.by_layer("random_residual")
        description = "the same singular values in random bases, exchanged at random in each layer"
        null = self.flips("operator-copy", random - own, description, float(random.mean()))
        return self.estimate(self.mean("operator-copy", own, (0, 1)), null)

    def aligned_copy(self) -> Estimate:
        if self.role.operators is None:
            return self.missing(NO_OPERATORS)
        own, random = self.by_layer("aligned_residual"), self.by_layer("random_aligned_residual")
        null = self.flips(
            "aligned-copy", random - own, "operators and random bases exchanged at random in each layer", 1.0
        )
        return self.ratio("aligned-copy", own, random, null)

    def low_rank(self) -> Estimate:
        if self.role.operators is None:
            return self.missing(NO_OPERATORS)
        needed, alone = self.by_layer("rank"), self.by_layer("own_rank")
        null = self.flips("low-rank", alone - needed, "with and without anchor exchanged in each layer", 1.0)
        return self.ratio("low-rank", needed, alone, null)

    def ratio(self, name: str, above: Layers, below: Layers, null: Null) -> Estimate:
        if not below.any():
            return self.missing("there is nothing to compare with: the reference is 0 in every layer")
        statistic = ratio_of_means(above, below)
        found = bootstrap_statistic(statistic, self.n, self.rng(name), self.config.resamples)
        return self.estimate(found, null)

    def temperature(self) -> Estimate:
        entropy = self.role.attention.get("normalised")
        if entropy is None:
            return self.missing(NO_ENTROPY)
        scale, entropy = self.role.others(self.fit.scale), self.role.others(entropy)
        statistic = correlation_of(scale, entropy)
        found = bootstrap_statistic(
            statistic, self.n, self.rng("temperature"), self.config.resamples, (-1, 1)
        )
        if found.undefined:
            return self.missing(found.undefined)
        draws = permuted_correlations(
            scale, entropy, self.rng("temperature", "null"), self.config.permutations
        )
        null = Null(
            description=f"layers, and heads within layers, permuted, {len(draws)} draws",
            p=float(permutation_p(found.value, draws, "less")),
            smallest_p=smallest_p(len(draws)),
            center=float(draws.mean()),
        )
        return self.estimate(found, null)

    def beyond_norm(self) -> Estimate:
        entropy = self.role.attention.get("normalised")
        if entropy is None:
            return self.missing(NO_ENTROPY)
        entropy = self.role.others(entropy)
        of_scale = correlation_of(self.role.others(self.fit.scale), entropy)
        of_norm = correlation_of(self.role.others(self.role.spectra.max(-1)), entropy)
        found = bootstrap_statistic(
            lambda units: of_norm(units) - of_scale(units),
            self.n,
            self.rng("beyond-norm"),
            self.config.resamples,
            (-2, 2),
        )
        return self.estimate(found)


def outcomes(estimates: Mapping[str, Estimate], level: float) -> dict[str, str]:
    """Return what each prediction would come to alone at one error level, without controls."""
    bare = [p.model_copy(update={"controls": (), "min_units": 1}) for p in PREDICTIONS]
    return {p.id: str(decide([p], estimates, {}, level)[0].outcome) for p in bare}
