"""The analysis on data whose truth is known: planted effects are found, nulls are not, confounds are seen."""

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from microtome.lab.estimate import alphas
from microtome.lab.power import power
from microtome.lab.seeds import stream
from microtome.lab.study import Analysis
from microtome.lab.verdict import Outcome, decide
from microtome.studies.task_vectors import STUDY
from microtome.studies.task_vectors.analysis import best_layer, log_growth, transfer_differences
from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.data import Data
from microtome.studies.task_vectors.planted import BEST, EFFECTS, simulate
from microtome.studies.task_vectors.tables import tables
from microtome.studies.task_vectors.tasks import TASKS

FAST = TaskVectorsConfig(permutations=139, resamples=200)
LEVELS = alphas(len(STUDY.predictions))
DRAWS = 400


def analysed(data: Data, config: TaskVectorsConfig = FAST) -> Analysis:
    return STUDY.analyse(config, data, LEVELS)


def outcomes(data: Data, config: TaskVectorsConfig = FAST) -> dict[str, Outcome]:
    analysis = analysed(data, config)
    verdicts = decide(STUDY.predictions, analysis.estimates, analysis.controls)
    return {verdict.prediction: verdict.outcome for verdict in verdicts}


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
        for name, outcome in outcomes(simulate(FAST, stream(0, "null", draw), planted=False)).items()
        if outcome is Outcome.SUPPORTED
    )
    assert all(counts[p.id] / DRAWS <= 0.05 + binomial_error for p in STUDY.predictions)


def test_a_fresh_simulation_reaches_the_stated_power() -> None:
    """With nine tasks, so that the task space can be decided too."""
    config = FAST.model_copy(update={"tasks": tuple(TASKS)})
    stated, again = (power(STUDY, config, 60, root_seed=seed) for seed in (0, 1))
    assert (stated["power"] > 0.5).all()
    assert (again["supported_effect"] >= stated["power"]).all()


def test_both_outcomes_can_be_reached(planted: Data, null: Data) -> None:
    reachable = ("separation", "gating", "scale", "causal-use")
    assert all(outcomes(planted)[name] is Outcome.SUPPORTED for name in reachable)
    assert all(outcomes(null)[name] is not Outcome.SUPPORTED for name in reachable)
    falsified = replace(null, word=null.suffix, suffix=null.word)
    assert outcomes(falsified)["gating"] is Outcome.FALSIFIED


def test_planted_sizes_are_what_the_study_says(planted: Data) -> None:
    estimates = analysed(planted).estimates
    assert set(EFFECTS) == set(estimates)
    expected = {
        "separation": 0.8,
        "invariance": 0.95,
        "gating": 0.7,
        "scale": -1.4,
        "task-space": 0.4,
        "causal-use": 0.4,
    }
    for name, size in expected.items():
        value = estimates[name].value
        assert value == pytest.approx(size, rel=0.4), name


def test_five_tasks_cannot_make_a_task_space(planted: Data) -> None:
    analysis = analysed(planted)
    verdict = next(
        v
        for v in decide(STUDY.predictions, analysis.estimates, analysis.controls)
        if v.prediction == "task-space"
    )
    assert verdict.outcome is Outcome.INSUFFICIENT
    null = verdict.estimate.null
    assert null is not None
    assert null.smallest_p == pytest.approx(0.1)
    assert "9 tasks" in verdict.reason


def test_the_layer_with_the_least_noise_is_chosen(planted: Data) -> None:
    assert best_layer(planted) == BEST


def test_scored_pairs_do_not_choose_the_layer(planted: Data) -> None:
    scrambled = planted.suffix.copy()
    scrambled[:, ~planted.fit] = stream(0, "scramble").standard_normal(scrambled[:, ~planted.fit].shape)
    assert best_layer(replace(planted, suffix=scrambled)) == best_layer(planted)


def test_words_that_carry_everything_leave_no_difference(planted: Data) -> None:
    same = replace(planted, word=planted.suffix)
    assert (transfer_differences(same) == 0).all()


def test_growth_is_a_closed_form_without_noise() -> None:
    rng = np.random.default_rng(0)
    task, operand = rng.standard_normal((3, 8)), rng.standard_normal((6, 8))
    task -= task.mean(0)
    factors, growth = np.array([1.0, 1, 2, 3, 4]), np.array([1.0, 1, 1.5, 2, 5])
    x = factors[:, None, None, None] * (growth[:, None, None, None] * task + operand[:, None])
    assert log_growth(x[:, :, :], best=3) == pytest.approx(np.full(6, np.log(2)))


def test_vectors_read_at_different_embeddings_are_invalid(planted: Data) -> None:
    suffix = planted.suffix.copy()
    suffix[0] += np.arange(5)[:, None]
    found = outcomes(replace(planted, suffix=suffix))
    assert found["separation"] is Outcome.INVALID
    assert found["causal-use"] is Outcome.SUPPORTED


@pytest.mark.parametrize(
    ("change", "control"),
    [
        (lambda data: replace(data, answers=data.answers.with_columns(right=pl.lit(0.0))), "ability"),
        (lambda data: replace(data, steer=data.steer.with_columns(identity_error=pl.lit(1e-9))), "identity"),
        (lambda data: replace(data, steer=data.steer.with_columns(swapped=pl.lit(0.0))), "ceiling"),
        (
            lambda data: replace(
                data, side_effect=data.side_effect.with_columns(nats=0.3 * (pl.col("kind") == "task"))
            ),
            "side effect",
        ),
    ],
)
def test_each_control_can_fail_and_makes_the_causal_claim_invalid(
    planted: Data, change, control: str
) -> None:
    data = change(planted)
    assert not analysed(data).controls[control].passed
    assert outcomes(data)["causal-use"] is Outcome.INVALID


def test_nothing_to_steer_is_missing_not_zero(planted: Data) -> None:
    data = replace(planted, steer=planted.steer.clear(), side_effect=planted.side_effect.clear())
    estimate = analysed(data).estimates["causal-use"]
    assert estimate.value is None
    assert estimate.reason == "the model answers no two tasks of a scored pair"


def test_two_tasks_leave_scale_and_task_space_undefined() -> None:
    config = FAST.model_copy(update={"tasks": ("sum", "minimum")})
    estimates = analysed(simulate(config, stream(0, "two"), planted=True), config).estimates
    assert estimates["scale"].reason == "two centred vectors have equal norms, whatever the model does"
    assert estimates["task-space"].value is None
    assert estimates["causal-use"].value is not None


def equal_words(data: Data) -> Data:
    """Return the data with published vectors of equal norms at right angles, as unrelated words have them."""
    return replace(data, published=data.published / np.linalg.norm(data.published, axis=-1, keepdims=True))


@pytest.mark.parametrize("planted_truth", [True, False])
def test_the_published_cosine_is_forced_whatever_the_truth(planted_truth: bool) -> None:
    config = FAST.model_copy(update={"tasks": tuple(TASKS)[:6]})
    data = simulate(config, stream(3, "forced"), planted_truth)
    equal = (
        data.published
        / np.linalg.norm(data.published - data.published.mean(2, keepdims=True), axis=-1)[..., None]
    )
    rows = tables(config, replace(data, published=equal))["layers"]
    assert rows["published_off_diagonal"].to_numpy() == pytest.approx(-1 / 5, abs=0.05)


def test_published_rules_read_the_tables(planted: Data) -> None:
    found = tables(FAST, equal_words(planted))
    readings = {rule.id: rule.read(found) for rule in STUDY.published}
    assert readings["heat map"].outcome == "non-overlapping"
    assert readings["blocks"].claims
    assert readings["equal norms"].claims
    there = {"published": found["published_at_embedding"]}
    separate = [rule for rule in STUDY.published if rule.id in ("heat map", "blocks")]
    assert all(rule.read(there).claims for rule in separate), "the words alone satisfy the rules"
    uneven = tables(FAST, planted)
    assert not next(rule for rule in STUDY.published if rule.id == "equal norms").read(uneven).claims
    assert all(reading.numbers for reading in readings.values())
    one = found | {"published": found["published"].with_columns(value=pl.lit(None, pl.Float64))}
    assert all(rule.read(one).claims is None for rule in STUDY.published)


def test_every_figure_and_method_can_be_made(planted: Data) -> None:
    found = tables(FAST, planted)
    figures = list(STUDY.figures(FAST, found))
    assert {"task_pca", "similarity_heatmap", "similarity_25x25", "task_clusters", "dose"} <= {
        f.name for f in figures
    }
    for figure in figures:
        assert figure.caption
        assert figure.draw().axes
    text = " ".join(STUDY.methods(FAST, found))
    assert "-0.250" in text
    assert str(FAST.operands) in text
