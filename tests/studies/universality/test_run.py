"""Whole runs on tiny models: both answers, the page, tokenisers that differ, resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import microtome
from microtome.lab.run import Run
from microtome.studies.universality.protocol import CONTROLS, PREDICTIONS, PUBLISHED
from tests.studies.universality.conftest import SHORT

Tiny = Callable[..., Path]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def pair(store: Path, pair_options: dict[str, Any]) -> Run:
    return microtome.run("universality", store=store, threads=1, **pair_options)


def outcomes(run: Run) -> dict[str, str]:
    return {verdict.prediction: str(verdict.outcome) for verdict in run.verdicts}


def test_two_random_models_share_nothing(pair: Run) -> None:
    found = outcomes(pair)
    assert list(found) == [p.id for p in PREDICTIONS]
    assert "SUPPORTED" not in (found["transfer"], found["actionable"], found["irreducible"])
    assert found["transfer"] == "FALSIFIED"
    assert pair.controls["planted copy"].passed, pair.controls["planted copy"].detail
    assert pair.controls["untrained twin"].passed
    assert pair.controls["no-op edit"].passed
    assert set(pair.controls) == {control.name for control in CONTROLS}
    assert set(pair.published) == {rule.id for rule in PUBLISHED}


def test_the_published_rule_finds_action_quanta_where_nothing_is_shared(pair: Run) -> None:
    layers = pair.tables["published_layers"].filter(role="pair")
    share = int(layers["aq_statistical"].sum()) / int(layers["neurons"].sum())
    assert 0 < share < 0.2, "mean + 2 sd fixes the answer"
    assert (layers["aq_percentile"] > 0).all()
    text = layers.filter(condition="text")
    assert (text["procrustes_mean"] > text["held_out_mean"] + 0.1).all(), (
        "the inflation of a fit scored on itself"
    )


def test_every_comparison_is_on_the_page(pair: Run) -> None:
    assert pair.tables["comparisons"]["role"].to_list() == ["pair", "planted", "untrained"]
    page = (pair.path / "report.html").read_text("utf-8")
    for text in ("planted copy", "untrained", "Total neurons", "Action Quanta candidates", "noise"):
        assert text in page, text
    for figure in pair.study.figures(pair.config, pair.tables):
        assert (pair.path / "figures" / f"{figure.name}.png").stat().st_size > 1000


def test_the_planted_copies_are_found(pair: Run) -> None:
    rows = pair.tables["comparisons"].filter(role="planted")
    assert rows["copies"][0] >= 0.99


def test_neurons_are_exported_with_model_layer_and_index(pair: Run) -> None:
    found = pl.read_parquet(pair.path / "exports" / "aq_candidates.parquet")
    assert_frame_equal(found, pair.tables["aq_candidates"])
    rows = json.loads((pair.path / "exports" / "aq_candidates.json").read_text("utf-8"))
    assert len(rows) == len(found) > 0
    assert {"model", "layer", "neuron", "kind", "score"} <= set(rows[0])
    assert set(found["kind"]) >= {"structural", "semantic"}


def test_without_a_second_model_only_the_controls_are_shown(
    store: Path, pair_options: dict[str, Any]
) -> None:
    run = microtome.run("universality", store=store, threads=1, **{**pair_options, "model_b": None})
    assert set(outcomes(run).values()) == {"INSUFFICIENT"}
    assert run.tables["comparisons"]["role"].to_list() == ["planted", "untrained"]
    assert run.published["basic verdict"].claims is None
    assert run.controls["planted copy"].passed
    assert not run.tables["examples"].is_empty()
    assert "there is no second model" in (run.path / "report.html").read_text("utf-8")


def test_models_of_different_tokenisers_are_compared_by_word(
    store: Path, pair_options: dict[str, Any], other_words: Path
) -> None:
    run = microtome.run(
        "universality", store=store, threads=1, **{**pair_options, "model_b": str(other_words)}
    )
    comparisons = run.tables["comparisons"]
    assert comparisons["rows"][0] == 10 * SHORT["rows"]
    examples = run.tables["examples"]
    if not examples.is_empty():
        assert not examples["word"].str.contains(r"\s").any()
    assert outcomes(run)["transfer"] == "FALSIFIED"


def test_a_copy_of_the_model_is_universal(store: Path, pair_options: dict[str, Any]) -> None:
    run = microtome.run(
        "universality", store=store, threads=1, **{**pair_options, "model_b": pair_options["model_a"]}
    )
    found = outcomes(run)
    assert found["transfer"] == "SUPPORTED"
    assert found["similarity"] == "SUPPORTED"
    assert run.published["basic verdict"].outcome.startswith("VERY STRONG")
    frame = run.tables["neurons"].filter(role="pair")
    same = (frame["layer"] == frame["layer_b"]) & (frame["neuron"] == frame["neuron_b"])
    assert same.sum() > 0.99 * len(same)


def test_all_and_matched_layers_and_stripes_agree(
    store: Path, pair_options: dict[str, Any], pair: Run
) -> None:
    striped = microtome.run("universality", store=store, threads=1, **{**pair_options, "layers_at_once": 2})
    columns = ["layer", "neuron", "layer_b", "neuron_b", "r", "excess", "universal"]
    one, other = (run.tables["neurons"].select("role", *columns) for run in (pair, striped))
    assert_frame_equal(one, other, abs_tol=1e-5)
    matched = microtome.run("universality", store=store, threads=1, **{**pair_options, "pairs": "matched"})
    frame = matched.tables["neurons"].filter(role="pair")
    assert (frame["layer"] == frame["layer_b"]).all(), "both models have three layers"


def test_two_workers_and_a_killed_run_end_as_an_undisturbed_one(
    pair: Run, pair_options: dict[str, Any], tmp_path: Path
) -> None:
    workers = microtome.run("universality", store=tmp_path / "workers", workers=2, threads=1, **pair_options)
    assert_frame_equal(workers.rows, pair.rows, check_exact=True)
    store = tmp_path / "killed"
    options = {"threads": 1, **pair_options}
    call = f"import microtome; microtome.run('universality', store={str(store)!r}, **{options!r})"
    process = subprocess.Popen([sys.executable, "-c", call], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(done := list(store.glob("*/*/units/*/unit.json"))) < 3 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(done) >= 3
    resumed = microtome.run("universality", store=store, **options)
    assert resumed.id == pair.id
    assert_frame_equal(resumed.rows, pair.rows, check_exact=True)
    for name, table in pair.tables.items():
        assert_frame_equal(resumed.tables[name], table, check_exact=True)
