"""Whole runs: a model that learned nothing, planted copies and corrections, several models, resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import microtome
from microtome.lab.run import Run
from microtome.studies.head_spectra.protocol import COPIES, PREDICTIONS
from tests.studies.head_spectra.conftest import HEADS, LAYERS, SHORT

Deep = Callable[[str], Path]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def run_of(store: Path, deep: Deep) -> Callable[..., Run]:
    """A function that returns the run of some deep models, in a store that the tests of this file share."""

    def run(*names: str, **options: Any) -> Run:
        models = tuple(str(deep(name)) for name in names)
        return microtome.run("head-spectra", store=store, threads=1, model=models, **{**SHORT, **options})

    return run


def outcomes(run: Run) -> dict[str, str]:
    return {verdict.prediction: str(verdict.outcome) for verdict in run.verdicts}


def measured_by(run: Run) -> list[str]:
    """Return the kinds of the units that this run measured itself."""
    records = [json.loads(path.read_text("utf-8")) for path in run.path.glob("units/*/unit.json")]
    return sorted(record["kind"] for record in records if record["run"] == run.id)


def test_an_untrained_model_is_supported_as_published_and_not_when_controlled(
    run_of: Callable[..., Run],
) -> None:
    run = run_of("untrained")
    assert run.published["verdict"].outcome == "HYPOTHESIS SUPPORTED"
    assert run.published["shape of spectra"].outcome == "spectral shape is very stable"
    assert all(outcome != "SUPPORTED" for outcome in outcomes(run).values())
    assert outcomes(run)["shared-shape"] == outcomes(run)["operator-copy"] == "FALSIFIED"
    page = (run.path / "report.html").read_text("utf-8")
    assert "a twin that learned nothing" in page
    assert "HYPOTHESIS SUPPORTED" in page


def test_planted_copies_of_one_operator_are_supported_twice(run_of: Callable[..., Run]) -> None:
    run = run_of("copies")
    assert run.published["verdict"].outcome == "HYPOTHESIS SUPPORTED"
    found = outcomes(run)
    assert {claim: found[claim] for claim in COPIES} == dict.fromkeys(COPIES, "SUPPORTED")
    assert all(control.passed for control in run.controls.values())
    heads = run.tables["heads"].filter(role="model").sort("layer", "head")
    expected = np.repeat(0.5 + 0.15 * np.arange(LAYERS - 1), HEADS)
    np.testing.assert_allclose(heads["T"].to_numpy()[:-HEADS], expected, rtol=1e-3)
    assert heads["match"].to_list() == list(range(HEADS)) * LAYERS


def test_planted_corrections_are_recovered_at_their_rank(run_of: Callable[..., Run]) -> None:
    run = run_of("rank 3")
    heads = run.tables["heads"].filter(pl.col("role") == "model", pl.col("layer") < LAYERS - 1)
    assert heads["rank"].to_list() == [3] * len(heads)
    assert (heads["own_rank"] > 6).all()
    assert outcomes(run)["low-rank"] == "SUPPORTED"
    assert outcomes(run)["operator-copy"] == "FALSIFIED", "without the correction they are far apart"


def test_every_figure_table_and_answer_is_on_the_page(run_of: Callable[..., Run]) -> None:
    run = run_of("untrained")
    page = (run.path / "report.html").read_text("utf-8")
    figures = (
        "temperature_and_residual", "residuals_by_layer", "shape_cosines", "entropy", "gaussian_null", "operators",
        "low_rank_correction", "attention_by_layer",
    )  # fmt: skip
    for name in figures:
        assert (run.path / "figures" / f"{name}.png").stat().st_size > 1000
    for text in (
        "mean pair-cos",
        "share below .10",
        "nothing but the two weights",
        "As published: each layer",
    ):
        assert text in page
    assert [verdict.prediction for verdict in run.verdicts] == [p.id for p in PREDICTIONS]


def test_several_models_are_answered_apart_on_one_page(run_of: Callable[..., Run], deep: Deep) -> None:
    run = run_of("copies", "untrained")
    assert measured_by(run) == [], "both models were measured by their own runs"
    first, second = (deep(name).name for name in ("copies", "untrained"))
    found = outcomes(run)
    assert found[f"operator-copy [{first}]"] == "SUPPORTED"
    assert found[f"operator-copy [{second}]"] == "FALSIFIED"
    assert len(found) == 2 * len(PREDICTIONS)
    assert run.published[f"verdict [{second}]"].outcome == "HYPOTHESIS SUPPORTED"
    page = (run.path / "report.html").read_text("utf-8")
    assert "all models beside each other" in page
    assert (run.path / "figures" / "operators_2.png").is_file()


def test_other_anchors_texts_and_foldings_measure_only_what_they_change(run_of: Callable[..., Run]) -> None:
    run_of("untrained")
    assert set(measured_by(run_of("untrained", anchor="middle"))) == {"null", "operators", "spectra"}
    assert measured_by(run_of("untrained", blocks=6)) == ["entropy"] * 4
    folded = run_of("untrained", norm_gains=True, biases=True, offset=1)
    assert "null" in measured_by(folded), "a bias is one more column"
    assert "entropy" not in measured_by(folded)
    page = (folded.path / "report.html").read_text("utf-8")
    assert "Folded in: gains of the norm before attention, biases of the projections" in page
    assert "at an offset of 1 positions" in page


def test_two_workers_and_a_killed_run_end_as_an_undisturbed_one(
    run_of: Callable[..., Run], deep: Deep, tmp_path: Path
) -> None:
    undisturbed = run_of("untrained")
    options = {"threads": 1, "model": (str(deep("untrained")),), **SHORT}
    workers = microtome.run("head-spectra", store=tmp_path / "workers", workers=2, **options)
    assert_frame_equal(workers.rows, undisturbed.rows, check_exact=True)
    store = tmp_path / "killed"
    call = f"import microtome; microtome.run('head-spectra', store={str(store)!r}, **{options!r})"
    process = subprocess.Popen([sys.executable, "-c", call], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(done := list(store.glob("*/*/units/*/unit.json"))) < 5 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(done) >= 5
    resumed = microtome.run("head-spectra", store=store, **options)
    assert resumed.id == undisturbed.id
    assert_frame_equal(resumed.rows, undisturbed.rows, check_exact=True)
