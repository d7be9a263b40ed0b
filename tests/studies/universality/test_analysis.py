"""From simulated data to verdicts: both outcomes are reached, and nulls are not supported."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from microtome.lab import registry
from microtome.lab.config import build_config
from microtome.lab.power import power
from microtome.studies.universality.effects import chosen
from microtome.studies.universality.estimates import ablation_pairs, spectral_pairs
from microtome.studies.universality.protocol import PREDICTIONS

STUDY = registry.load("universality")


def test_planted_effects_are_found_and_nulls_are_not() -> None:
    config = build_config(STUDY, {"resamples": 400})
    found = power(STUDY, config, draws=20)
    assert found["prediction"].to_list() == [p.id for p in PREDICTIONS]
    assert (found["supported_effect"] >= 0.9).all(), found.select("prediction", "supported_effect")
    assert (found["supported_null"] <= 0.15).all(), found.select("prediction", "supported_null")
    null = dict(zip(found["prediction"], found["falsified_null"], strict=True))
    assert null["transfer"] == null["beyond-rotations"] == 1.0
    assert_frame_equal(power(STUDY, config, draws=3), power(STUDY, config, draws=3))


def neurons() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    n = 120
    return pl.DataFrame(
        {
            "layer": np.repeat([0, 1, 2], 40),
            "neuron": np.tile(np.arange(40), 3),
            "matched": np.tile(np.arange(40) < 10, 3),
            "universal": np.tile(np.arange(40) < 5, 3),
            "dead": np.tile(np.arange(40) == 39, 3),
            "excess": rng.random(n),
            "mean": rng.standard_normal(n),
            "sd": rng.uniform(0.5, 2, n),
            "firing": rng.random(n),
            "centroid": rng.random(n),
        }
    )


def test_ablated_neurons_are_the_matched_ones_of_largest_excess_with_controls_of_their_layer() -> None:
    frame = neurons()
    found = chosen(frame, 6, np.ones(len(frame)), 0)
    treated = found.filter(group="universal")["row"].to_numpy()
    controls = found.filter(group="control")["row"].to_numpy()
    best = frame.with_row_index().filter("matched").sort("excess", descending=True).head(6)["index"].to_list()
    assert treated.tolist() == best
    layer = frame["layer"].to_numpy()
    np.testing.assert_array_equal(layer[treated], layer[controls])
    assert len(set(controls.tolist())) == 6
    assert not frame["universal"].to_numpy()[controls].any()
    assert not frame["dead"].to_numpy()[controls].any()
    assert not set(controls.tolist()) & set(treated.tolist())


def test_nothing_matched_means_nothing_is_ablated() -> None:
    frame = neurons().with_columns(matched=pl.lit(value=False))
    assert chosen(frame, 6, np.ones(len(frame)), 0).is_empty()


def test_spectral_controls_are_of_the_same_layer_and_not_universal() -> None:
    pairs = spectral_pairs(neurons(), 0)
    assert pairs["layer"].to_list() == [0] * 5 + [1] * 5 + [2] * 5


@pytest.mark.parametrize(("tasks", "expected"), [(["text"], 1.0), (None, 2.5)])
def test_losses_are_averaged_over_tasks_for_each_pair(tasks: list[str] | None, expected: float) -> None:
    rows = [
        {"pair": pair, "group": group, "edit": "ablation", "task": task, "nats": nats + (group == "control")}
        for pair in range(2)
        for group in ("universal", "control")
        for task, nats in (("text", 1.0), ("recall", 2.0), ("sentiment", 3.0))
    ]
    found = ablation_pairs(pl.DataFrame(rows), tasks)
    assert found["universal"].to_list() == [expected] * 2
    assert found["control"].to_list() == [expected + 1] * 2
