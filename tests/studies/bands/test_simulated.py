"""From simulated data to verdicts: both outcomes are reached, nulls are not supported, and each control can fail."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from microtome.lab import registry
from microtome.lab.config import build_config
from microtome.lab.power import power
from microtome.lab.verdict import Outcome, decide
from microtome.studies.bands import controls
from microtome.studies.bands.arms import ARMS
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.data import Data
from microtome.studies.bands.estimates import CONTRASTS
from microtome.studies.bands.planted import EFFECTS
from microtome.studies.bands.protocol import CONTROLS, PREDICTIONS

STUDY = registry.load("bands")
NOT_MEANT_AT_0 = {"order", "grokking"}
"""Claims of more than nothing: the null falsifies them."""
Edit = Callable[[pl.DataFrame], pl.DataFrame]


def planted(effect: bool = True, **options: Any) -> tuple[BandsConfig, Data]:
    usual: dict[str, Any] = {"seeds": 5, "lr_scales": (1.0,), "arms": ARMS, "resamples": 99}
    config = BandsConfig.model_validate(usual | options)
    return config, STUDY.simulate(config, np.random.default_rng(0), effect)


def test_planted_effects_are_found_and_nulls_are_not() -> None:
    config = build_config(STUDY, {"seeds": 5, "lr_scales": (1.0,), "arms": ARMS, "resamples": 99})
    found = power(STUDY, config, draws=24)
    assert found["prediction"].to_list() == [p.id for p in PREDICTIONS] == list(EFFECTS)
    assert (found["supported_effect"] >= 0.9).all(), found.select("prediction", "supported_effect")
    assert (found["falsified_effect"] == 0).all(), found.select("prediction", "falsified_effect")
    assert (found["supported_null"] <= 0.15).all(), found.select("prediction", "supported_null")
    null = dict(zip(found["prediction"], found["falsified_null"], strict=True))
    assert min(null[name] for name in NOT_MEANT_AT_0) >= 0.8
    assert max(null[name] for name in null if name not in NOT_MEANT_AT_0) <= 0.15, null


def test_the_arms_of_the_original_alone_decide() -> None:
    config, data = planted()
    levels = [0.05 / n for n in range(1, len(PREDICTIONS) + 1)]
    analysis = STUDY.analyse(config, data, levels)
    verdicts = decide(PREDICTIONS, analysis.estimates, analysis.controls, 0.05)
    assert {verdict.outcome for verdict in verdicts} == {Outcome.SUPPORTED}
    assert list(analysis.controls) == ["causality", "matched sizes", "planted bands"]
    assert set(analysis.controls) == {control.name for control in CONTROLS}
    assert all(result.passed for result in analysis.controls.values())


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_are_said_to_be_too_few(seeds: int) -> None:
    config, data = planted(seeds=seeds)
    analysis = STUDY.analyse(config, data, [0.05])
    verdicts = decide(PREDICTIONS, analysis.estimates, analysis.controls, 0.05)
    assert {verdict.outcome for verdict in verdicts} == {Outcome.INSUFFICIENT}
    assert all("of the 5 seeds that would be enough" in verdict.reason for verdict in verdicts)


def test_without_a_reference_its_claims_say_so() -> None:
    config, data = planted(reference_model=None)
    estimates = STUDY.analyse(config, data, [0.05]).estimates
    for name in ("reference", "band-0"):
        assert "no reference model was given (option reference_model)" in str(estimates[name].reason)
    assert estimates["more-universal"].value is not None


def set_check(name: str, arm: str, value: float) -> Edit:
    of = (pl.col("name") == name) & (pl.col("arm") == arm)
    return lambda curves: curves.with_columns(value=pl.when(of).then(value).otherwise("value"))


def stopped(arm: str, seeds: int) -> Edit:
    """Stop the first models of an arm at step 7."""

    def edit(curves: pl.DataFrame) -> pl.DataFrame:
        own = (pl.col("arm") == arm) & (pl.col("seed") < seeds)
        stops = curves.filter(own).unique("seed", maintain_order=True)
        row = {"table": "status", "step": 7, "band": None, "name": "diverged", "value": 1.0}
        rows = stops.with_columns(pl.lit(v, stops.schema[k]).alias(k) for k, v in row.items())
        return pl.concat([curves.filter(~own | (pl.col("step") < 7)), rows])

    return edit


@pytest.mark.parametrize(
    ("edit", "failing", "words"),
    [
        (lambda curves: curves, None, ""),
        (set_check("leak", "full", 1e-12), "causality", "over 25 models: 1e-12"),
        (lambda curves: curves.filter(pl.col("name") != "leak"), "causality", "over 0 models"),
        (set_check("parameters", "bands-only", 1.004e6), None, ""),
        (set_check("parameters", "bands-only", 1.006e6), "matched sizes", "bands-only has +0.600%"),
        (set_check("parameters", "full", 0.9e6), "matched sizes", "full has -10.000%"),
    ],
)
def test_each_control_can_fail(edit: Edit, failing: str | None, words: str) -> None:
    config, data = planted()
    found = controls.control_results(config, replace(data, curves=edit(data.curves)))
    assert [name for name, result in found.items() if not result.passed] == ([failing] if failing else [])
    if failing:
        assert words in found[failing].detail


def test_sizes_that_are_not_meant_to_match_may_differ() -> None:
    config, data = planted(match="none")
    apart = replace(data, curves=set_check("parameters", "full", 1e5)(data.curves))
    result = controls.control_results(config, apart)["matched sizes"]
    assert result.passed
    assert "not meant to be equal" in result.detail


def test_an_arm_that_diverged_at_one_scale_is_compared_at_another() -> None:
    config, data = planted(lr_scales=(1.0, 2.0))  # the planted best is the middle scale, the second of two
    at = {scale: data.curves.filter(scale=scale) for scale in config.lr_scales}
    lost = replace(data, curves=pl.concat([at[1.0], stopped("full", 1)(at[2.0])]))
    assert data.chosen == dict.fromkeys(ARMS, 2.0)
    assert lost.chosen == {**data.chosen, "full": 1.0}


def test_what_a_diverged_arm_is_part_of_is_not_decided_and_the_rest_is() -> None:
    config, data = planted()
    lost = replace(data, curves=stopped("full", 5)(data.curves))
    analysis = STUDY.analyse(config, lost, [0.05])
    loss = analysis.estimates["loss"]
    assert loss.value is None
    assert (
        loss.reason
        == "defined for 0 of 5 seeds: a model of full or baseline diverged at every scale of the rates"
    )
    assert analysis.estimates["bands-loss"].value == pytest.approx(-0.04, abs=0.02)
    levels = [0.05 / n for n in range(1, len(PREDICTIONS) + 1)]
    analysis = STUDY.analyse(config, lost, levels)
    verdicts = {v.prediction: v for v in decide(PREDICTIONS, analysis.estimates, analysis.controls, 0.05)}
    undecided = {name for name, contrast in CONTRASTS.items() if "full" in (contrast.arm, contrast.less)}
    assert {verdicts[name].outcome for name in undecided} == {Outcome.INSUFFICIENT}
    assert {verdicts[name].outcome for name in set(verdicts) - undecided} == {Outcome.SUPPORTED}


def test_planted_bands_that_are_not_found_fail_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = planted()

    def noise(bands: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x, band = planted_bands(bands, rng)
        return rng.standard_normal(x.shape), band

    planted_bands = controls.planted_bands
    monkeypatch.setattr(controls, "planted_bands", noise)
    assert not controls.control_results(config, data)["planted bands"].passed
