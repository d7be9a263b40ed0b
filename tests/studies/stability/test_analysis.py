"""Verdicts on planted and null data: collapse, increase, nothing; undefined numbers; controls that can fail."""

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from microtome.lab.estimate import alphas
from microtome.lab.power import power
from microtome.lab.seeds import stream
from microtome.lab.verdict import Outcome, decide
from microtome.studies.stability import STUDY
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.data import Data
from microtome.studies.stability.planted import EFFECT, EFFECTS, NOT_IMMUNE, simulate, with_truth
from microtome.studies.stability.tables import recoveries

ONE = StabilityConfig()
SIZES = StabilityConfig(models=tuple(f"size-{n}" for n in range(5)), healing_steps=0)
DRAWS = 150


def outcomes(data: Data, config: StabilityConfig = ONE) -> dict[str, Outcome]:
    claims = STUDY.claims(config)
    analysis = STUDY.analyse(config, data, alphas(len(claims.predictions)))
    verdicts = decide(claims.predictions, analysis.estimates, analysis.controls)
    return {verdict.prediction: verdict.outcome for verdict in verdicts}


def published(data: Data, rule: str, config: StabilityConfig = ONE) -> bool | None:
    (found,) = (one for one in STUDY.claims(config).published if one.id == rule)
    return found.read(STUDY.tables(config, data)).claims


@pytest.fixture(scope="module")
def planted() -> Data:
    return simulate(ONE, stream(1, "test"), planted=True)


def test_what_is_planted_is_supported(planted: Data) -> None:
    found = outcomes(planted)
    assert found.pop("scaling") is Outcome.INSUFFICIENT  # one model says nothing about size
    assert set(found.values()) == {Outcome.SUPPORTED}


def test_a_planted_increase_is_falsified_though_the_published_rule_calls_it_collapse() -> None:
    data = with_truth(ONE, stream(2, "test"), replace(EFFECT, damage=0.6))
    assert outcomes(data)["collapse"] is Outcome.FALSIFIED
    assert published(data, "damage") is True


def test_a_null_is_neither_supported_nor_falsified_in_at_least_95_of_100_draws() -> None:
    decided = Counter(
        any(
            outcome in (Outcome.SUPPORTED, Outcome.FALSIFIED)
            for name, outcome in outcomes(simulate(ONE, stream(draw, "null"), planted=False)).items()
            if "immune" not in name  # these hold where nothing happens; the next test has their own null
        )
        for draw in range(DRAWS)
    )
    error = 2 * np.sqrt(0.05 * 0.95 / DRAWS)  # of a frequency over these draws
    assert decided[True] / DRAWS <= 0.05 + error


def test_an_arm_at_the_margin_is_called_immune_no_more_often_than_the_level_says() -> None:
    called = Counter(
        outcomes(with_truth(ONE, stream(draw, "margin"), NOT_IMMUNE))["sgd-immune"] for draw in range(DRAWS)
    )
    assert called[Outcome.SUPPORTED] / DRAWS <= 0.05


def test_size_is_claimed_of_five_sizes_and_two_families() -> None:
    data = simulate(SIZES, stream(3, "test"), planted=True)
    assert outcomes(data, SIZES)["scaling"] is Outcome.SUPPORTED
    one_family = replace(data, baselines=data.baselines.with_columns(family=pl.lit("llama")))
    assert outcomes(one_family, SIZES)["scaling"] is Outcome.INSUFFICIENT
    assert published(data, "inverse scaling law", SIZES) is not None


def test_the_slope_of_means_is_the_mixed_models() -> None:
    """In a balanced design, least squares on the models' means is the mixed model with an effect of each model."""
    import statsmodels.api as sm

    truth = replace(EFFECT, damage=-0.2)
    data = with_truth(SIZES, stream(4, "test"), truth)
    rows = (
        data.arms.filter(treatment="optimised", optimizer="adamw", tuning="full/float32", dose="trained")
        .join(data.baselines.select("subject", "parameters").unique(), on="subject")
        .with_columns(
            size=pl.col("parameters").log10(), number=pl.col("subject").str.slice(-1).cast(pl.Int64)
        )
        .with_columns(
            effect=pl.col("effect") + 0.1 * (-1) ** pl.col("number")
        )  # models differ beyond their size
    )
    shifted = data.arms.join(rows.select("subject", "run", shifted="effect"), on=("subject", "run"))
    arms = shifted.with_columns(
        effect=pl.when(pl.col("treatment") == "optimised").then("shifted").otherwise("effect")
    ).drop("shifted")
    estimate = STUDY.analyse(SIZES, replace(data, arms=arms), alphas(1)).estimates["scaling"]
    design = sm.add_constant(rows["size"].to_numpy())
    mixed = sm.MixedLM(rows["effect"].to_numpy(), design, groups=rows["subject"].to_numpy()).fit()
    assert estimate.value == pytest.approx(mixed.params[1], rel=1e-4)


def test_planted_effects_name_every_prediction() -> None:
    for config in (ONE, SIZES):
        assert STUDY.planted_effects(config).keys() == {one.id for one in STUDY.claims(config).predictions}
    assert EFFECTS.keys() == {one.id for one in STUDY.predictions}


def test_power_is_stated() -> None:
    table = power(STUDY, ONE, draws=20)
    rows = table.filter(pl.col("prediction") != "scaling")
    assert (rows["supported_effect"] > 0.8).all()


@pytest.mark.parametrize(
    ("table", "changes", "control"),
    [
        ("arms", {"effect": 1e-9}, "no-op"),
        ("arms", {"nonfinite": 1}, "finite"),
        ("planted", {"effect": 0.0}, "planted collapse"),
        ("inputs", {"decades": 1.0}, "searched input"),
        ("inputs", {"certified": 0}, "searched input"),
        ("arms", {"mismatch": 0.02}, "matched size"),
        ("arms", {"rise": 0.2}, "healthy"),
    ],
)
def test_each_control_can_fail(planted: Data, table: str, changes: dict[str, float], control: str) -> None:
    frame: pl.DataFrame = getattr(planted, table)
    broken = frame.with_columns(
        pl.lit(value).cast(frame[name].dtype).alias(name) for name, value in changes.items()
    )
    results = STUDY.analyse(ONE, replace(planted, **{table: broken}), alphas(1)).controls
    assert not results[control].passed
    assert STUDY.analyse(ONE, planted, alphas(1)).controls[control].passed


def test_sizes_that_do_not_match_are_said_where_and_why(planted: Data) -> None:
    matched = pl.col("dose") == "matched"
    first = matched & (pl.col("tuning") == "full/float32") & (pl.col("optimizer") == "sgd")
    broken = planted.arms.with_columns(
        mismatch=pl.when(first).then(0.05).otherwise(pl.col("mismatch")),
        tuning=pl.when(first).then(pl.lit("full/bfloat16")).otherwise(pl.col("tuning")),
    )
    said = STUDY.analyse(ONE, replace(planted, arms=broken), alphas(1)).controls["matched size"].detail
    assert "0.05, under sgd, full/bfloat16; 16-bit weights" in said


def test_a_run_that_diverged_leaves_its_comparison_undefined_and_not_zero(planted: Data) -> None:
    gone = planted.arms.with_columns(
        effect=pl.when(pl.col("optimizer") == "sgd").then(None).otherwise(pl.col("effect"))
    )
    estimates = STUDY.analyse(ONE, replace(planted, arms=gone), alphas(1)).estimates
    assert estimates["adam"].value is None
    assert estimates["collapse"].value is not None


def test_arms_that_were_not_run_are_said() -> None:
    config = StabilityConfig(optimizers=("adamw",), tunings=("full/float32",), healing_steps=0)
    found = outcomes(simulate(config, stream(5, "test"), planted=True), config)
    assert {name for name, outcome in found.items() if outcome is Outcome.INSUFFICIENT} == {
        "adam", "sgd-immune", "adam-matched", "lora", "shield-8bit", "shield-4bit", "immune-4bit", "healing", "scaling",
    }  # fmt: skip


def test_recovery_is_undefined_without_damage() -> None:
    healing = pl.DataFrame(
        {"subject": "m", "run": [1, 1, 2, 2], "step": [0, 5, 0, 5], "effect": [-0.5, -0.2, 0.1, 0.0]}
    )
    found = recoveries(healing)["recovery"].to_list()
    expected = 100 * (np.exp(-0.2) - np.exp(-0.5)) / (1 - np.exp(-0.5))
    assert found == [pytest.approx(expected), None]


def test_published_rules_are_undefined_without_their_runs(planted: Data) -> None:
    nothing = replace(planted, published=planted.published.clear(), healing=planted.healing.clear())
    for rule in STUDY.claims(ONE).published:
        assert rule.read(STUDY.tables(ONE, nothing)).claims is None
