"""The estimates on planted and null data: false alarms, power, undefined numbers, and controls that can fail."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from microtome.lab.estimate import alphas
from microtome.lab.power import power
from microtome.lab.seeds import stream
from microtome.lab.study import Analysis
from microtome.lab.verdict import Outcome, decide
from microtome.measure.rescale import correlation, fit_to_layer
from microtome.studies.head_spectra import STUDY
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.data import Data, Role
from microtome.studies.head_spectra.planted import EFFECT, EFFECTS, OWN_RANK, simulate
from microtome.studies.head_spectra.protocol import COPIES, PREDICTIONS

FAST = HeadSpectraConfig(permutations=199, resamples=300, draws=199)
LEVELS = alphas(len(PREDICTIONS))
DRAWS = 400


def analysed(data: Data, config: HeadSpectraConfig = FAST) -> Analysis:
    return STUDY.analyse(config, data, LEVELS)


def outcomes(data: Data) -> dict[str, Outcome]:
    analysis = analysed(data)
    verdicts = decide(PREDICTIONS, analysis.estimates, analysis.controls)
    return {verdict.prediction: verdict.outcome for verdict in verdicts}


def with_role(data: Data, name: str, role: Role) -> Data:
    (subject,) = data
    return (replace(subject, roles={**subject.roles, name: role}),)


@pytest.fixture(scope="module")
def planted() -> Data:
    return simulate(FAST, stream(1, "test"), planted=True)


@pytest.fixture(scope="module")
def null() -> Data:
    return simulate(FAST, stream(2, "test"), planted=False)


def test_a_null_is_called_supported_no_more_often_than_the_level_says() -> None:
    binomial_error = 2 * np.sqrt(0.05 * 0.95 / DRAWS)
    counts = Counter(
        name
        for draw in range(DRAWS)
        for name, outcome in outcomes(simulate(FAST, stream(draw, "null"), planted=False)).items()
        if outcome is Outcome.SUPPORTED
    )
    assert all(counts[p.id] / DRAWS <= 0.05 + binomial_error for p in PREDICTIONS), counts


def test_a_fresh_simulation_reaches_the_stated_power() -> None:
    stated, again = (power(STUDY, FAST, 60, root_seed=seed) for seed in (0, 1))
    assert dict(zip(stated["prediction"], stated["planted"], strict=True)) == EFFECTS
    sure = stated.filter(pl.col("prediction") != "beyond-norm")
    assert (sure["power"] > 0.9).all()
    assert (again["supported_effect"] >= stated["power"]).all()


def test_both_outcomes_can_be_reached(planted: Data, null: Data) -> None:
    assert all(outcomes(planted)[claim] is Outcome.SUPPORTED for claim in (*COPIES, "temperature"))
    found = outcomes(null)
    assert all(found[claim] is Outcome.FALSIFIED for claim in COPIES[1:])
    (subject,) = planted
    own = subject.roles["model"]
    turned = replace(own, attention={name: -x for name, x in own.attention.items()})
    assert outcomes(with_role(planted, "model", turned))["temperature"] is Outcome.FALSIFIED
    rough = replace(own, spectra=own.spectra ** np.linspace(0.2, 3, len(own.spectra))[:, None, None])
    assert outcomes(with_role(planted, "model", rough))["spectral-copy"] is Outcome.FALSIFIED


def test_estimates_are_what_their_estimands_say(planted: Data) -> None:
    (subject,) = planted
    role, gaussian = subject.roles["model"], subject.gaussian
    assert gaussian is not None
    estimates = analysed(planted).estimates
    fit = fit_to_layer(role.spectra, role.anchor)
    kept = [i for i in range(len(role.spectra)) if i != role.anchor]
    entropy = role.attention["normalised"][kept]
    norm = role.spectra[kept].max(-1)
    expected = {
        "spectral-copy": fit.residual[kept].mean() - gaussian.residuals.mean(),
        "operator-copy": role.map("residual")[kept].mean(),
        "aligned-copy": role.map("aligned_residual")[kept].mean()
        / role.map("random_aligned_residual")[kept].mean(),
        "low-rank": role.map("rank")[kept].mean() / role.map("own_rank")[kept].mean(),
        "temperature": correlation(fit.scale[kept], entropy),
        "beyond-norm": correlation(norm, entropy) - correlation(fit.scale[kept], entropy),
    }
    for claim, value in expected.items():
        assert estimates[claim].value == pytest.approx(float(value)), claim
        assert estimates[claim].n == len(kept)
    assert expected["low-rank"] == pytest.approx(EFFECT.rank / OWN_RANK, rel=0.1)
    assert expected["operator-copy"] == pytest.approx(EFFECT.residual, rel=0.1)


def test_the_bootstrap_is_over_layers(null: Data) -> None:
    """Were heads the units, copies of each head beside it would shrink the interval."""
    (subject,) = null
    role = subject.roles["model"]

    def twice(x: Any) -> Any:
        return np.repeat(x, 2, axis=1)

    assert role.operators is not None
    doubled = replace(
        role,
        spectra=twice(role.spectra),
        attention={name: twice(x) for name, x in role.attention.items()},
        operators=pl.concat([role.operators, role.operators]).sort("layer", "head"),
    )
    one, other = (analysed(data).estimates for data in (null, with_role(null, "model", doubled)))
    for claim in ("spectral-copy", "operator-copy", "temperature", "beyond-norm"):
        at, its = one[claim].at(LEVELS[0]), other[claim].at(LEVELS[0])
        assert at is not None
        assert its is not None
        assert (its.low, its.high) == pytest.approx((at.low, at.high), abs=1e-9), claim


@pytest.mark.parametrize(
    ("role", "like", "control"),
    [("untrained", "planted", "untrained twin"), ("planted", "untrained", "planted copies")],
)
def test_a_twin_that_supports_or_copies_that_do_not_make_claims_invalid(
    planted: Data, role: str, like: str, control: str
) -> None:
    (subject,) = planted
    broken = with_role(planted, role, subject.roles[like])
    assert not analysed(broken).controls[control].passed
    found = outcomes(broken)
    assert {found[claim] for claim in COPIES} == {Outcome.INVALID}
    assert found["temperature"] is Outcome.SUPPORTED, "it does not stand on these controls"


def test_values_that_are_not_certified_make_the_spectral_claims_invalid(planted: Data) -> None:
    (subject,) = planted
    role = subject.roles["model"]
    loose = with_role(planted, "model", replace(role, error_bound=np.full(role.spectra.shape[:2], 1e-5)))
    found = outcomes(loose)
    assert found["spectral-copy"] is found["shared-shape"] is Outcome.INVALID
    assert found["low-rank"] is Outcome.SUPPORTED


def test_what_was_not_measured_is_missing_with_its_reason(planted: Data) -> None:
    (subject,) = planted
    bare = Role(subject.roles["model"].spectra, anchor=3)
    data = (replace(subject, roles={"model": bare}, gaussian=None),)
    estimates = analysed(data).estimates
    assert all(estimate.value is None for estimate in estimates.values())
    assert "d_model" in (estimates["spectral-copy"].reason or "")
    assert "holds no operators" in (estimates["low-rank"].reason or "")
    assert "visible keys" in (estimates["temperature"].reason or "")
    assert set(outcomes(data).values()) == {Outcome.INSUFFICIENT}


def test_equal_entropies_have_no_correlation(planted: Data) -> None:
    (subject,) = planted
    role = subject.roles["model"]
    flat = replace(role, attention={"normalised": np.ones(role.spectra.shape[:2])})
    estimate = analysed(with_role(planted, "model", flat)).estimates["temperature"]
    assert (estimate.value, estimate.reason) == (None, "the statistic is undefined on the data")


def test_tables_of_simulated_data_can_be_drawn(planted: Data) -> None:
    tables = STUDY.tables(FAST, planted)
    names = {figure.name for figure in STUDY.figures(FAST, tables) if figure.draw()}
    assert {"temperature_and_residual", "gaussian_null", "operators"} <= names
    assert all(len(listing.frame) for listing in STUDY.listings(FAST, tables))
    methods = " ".join(STUDY.methods(FAST, tables))
    assert "199 random models" in methods
    assert "nothing but the two weights" in methods
