"""Whole runs at a tiny size: the page, the same again, workers, a killed run, and arms that diverge."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

import microtome
from microtome.lab.run import Run
from microtome.lab.runner import execute
from microtome.models import load_model
from microtome.studies.bands import STUDY
from microtome.studies.bands.arms import ARMS, train_config
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.measure import FINAL, BandsBench, _trained, trained_models
from microtome.studies.bands.plan import plan
from microtome.studies.bands.protocol import CONTROLS, PREDICTIONS, PUBLISHED

ROOT = Path(__file__).parents[3]
DIVERGING = {"band_lrs": (2e-4, 2e-3, 1e30)}
"""With which the arms that have a rate for each band cannot train."""


@pytest.fixture(scope="module")
def done(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return microtome.run("bands", store=tmp_path_factory.mktemp("store"), threads=1, **options)


def outcomes(run: Run) -> dict[str, str]:
    return {verdict.prediction: str(verdict.outcome) for verdict in run.verdicts}


def test_a_run_answers_every_prediction_on_a_page(done: Run) -> None:
    assert outcomes(done) == {p.id: "INSUFFICIENT" for p in PREDICTIONS}
    assert {name for name, control in done.controls.items() if control.passed} == {c.name for c in CONTROLS}
    assert set(done.published) == {rule.id for rule in PUBLISHED}
    page = (done.path / "report.html").read_text("utf-8")
    for words in ("The arms side by side", "What a run of this size can decide", *ARMS):
        assert words in page, words
    for figure in STUDY.figures(done.config, done.tables):  # pyright: ignore[reportArgumentType]
        assert (done.path / "figures" / f"{figure.name}.png").stat().st_size > 1000


def test_every_model_is_in_the_tables_under_its_own_seed(done: Run, config: BandsConfig) -> None:
    assert len(done.tables["losses"]) == len(ARMS) * config.seeds
    by_seed = done.tables["by_seed"]
    of = by_seed.group_by("arm", "name").agg(pl.col("seed").sort())
    for name in ("loss", "universal", "overlap", "low", "order", "roughness"):
        found = dict(of.filter(name=name).select("arm", "seed").iter_rows())
        assert found == {arm: [0, 1] for arm in ARMS}, name
    assert set(of.filter(name="reference")["arm"]) == {"baseline", "full"}
    assert done.tables["timeline"]["step"].unique().sort().to_list() == [0, 10, 20]


def test_the_same_again_measures_nothing(done: Run, options: dict[str, Any]) -> None:
    before = {file: file.stat().st_mtime_ns for file in done.path.rglob("*") if file.is_file()}
    again = microtome.run("bands", store=done.path.parents[1], threads=1, **options)
    assert again.id == done.id
    after = {file: file.stat().st_mtime_ns for file in done.path.rglob("*") if file.is_file()}
    assert {f: t for f, t in after.items() if f.name != "lock"} == {
        f: t for f, t in before.items() if f.name != "lock"
    }


def test_another_threshold_measures_nothing_anew(done: Run, config: BandsConfig) -> None:
    fingerprints = STUDY.fingerprints(config)
    moved = config.model_copy(update={"threshold_excess": 0.4, "aq_threshold": 0.4})
    assert [unit.id for unit in plan(moved, fingerprints)] == [unit.id for unit in plan(config, fingerprints)]


def test_one_more_seed_trains_only_that_seed(config: BandsConfig) -> None:
    fingerprints = STUDY.fingerprints(config)
    more = plan(config.model_copy(update={"seeds": 3}), fingerprints)
    known = {unit.id for unit in plan(config, fingerprints)}
    new = [unit.label for unit in more if unit.kind == "train" and unit.id not in known]
    assert new == [f"{arm}, seed 2, rates x 1" for arm in ARMS]


@pytest.mark.parametrize("arm", ["full", "baseline"])
def test_stored_weights_make_the_model_that_was_trained(done: Run, config: BandsConfig, arm: str) -> None:
    (unit,) = (
        unit
        for unit in plan(config, STUDY.fingerprints(config))
        if unit.kind == "train" and unit.spec["arm"] == arm and unit.spec["seed"] == 1
    )
    bench: Any = BandsBench(config)
    arrays = bench.measure(unit, {}).arrays
    tokens = bench._tokens["text"]
    folder = _trained(config, arm, 1, 1.0).folder
    ours = bench._module(train_config(config, arm, 1, 1.0), arrays, FINAL)
    loaded: Any = load_model(str(folder)).module
    with torch.no_grad():
        torch.testing.assert_close(ours(input_ids=tokens).logits, loaded(input_ids=tokens).logits)


def test_the_demonstrations_pair_is_two_baselines(config: BandsConfig) -> None:
    folders = trained_models(config)
    models = [load_model(folder).module for folder in folders]
    assert [type(model).__name__ for model in models] == ["StandardTransformer"] * 2
    assert len(set(folders)) == 2


def test_two_workers_and_a_killed_run_end_as_an_undisturbed_one(
    done: Run, config: BandsConfig, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROTOME_CACHE", str(tmp_path / "cache"))  # so that every model is trained anew
    store = tmp_path / "killed"
    call = f"import microtome; microtome.run('bands', store={str(store)!r}, threads=1, **{options!r})"
    process = subprocess.Popen([sys.executable, "-c", call], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(found := list(store.glob("*/*/units/*/unit.json"))) < 3 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 3 <= len(found) < len(plan(config, STUDY.fingerprints(config)))
    resumed = execute(STUDY, config, store=store, workers=2, threads=1)
    assert resumed.id == done.id
    assert_frame_equal(resumed.rows, done.rows, check_exact=True)
    for name, table in done.tables.items():
        assert_frame_equal(resumed.tables[name], table, check_exact=True)


@pytest.fixture(scope="module")
def diverged(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = {**options, **DIVERGING, "reference_model": None}
    return microtome.run("bands", store=tmp_path_factory.mktemp("diverged"), threads=1, **small)


def test_arms_that_diverge_are_marked_and_the_others_go_on(diverged: Run, done: Run) -> None:
    losses = diverged.tables["losses"]
    lost = losses.filter("diverged")
    assert set(lost["arm"]) == {"rates-only", "full", "no-wormhole"}
    assert lost["held_out"].null_count() == len(lost) == 6
    whole, before = (
        run.tables["losses"].filter(pl.col("arm").is_in(["baseline", "bands-only"]))
        for run in (diverged, done)
    )
    assert_frame_equal(whole, before, check_exact=True)
    assert set(diverged.tables["universal"]["arm"]) == {"baseline", "bands-only"}


def test_the_curve_of_a_diverged_arm_is_kept(diverged: Run) -> None:
    rows = diverged.rows
    status = rows.filter((pl.col("table") == "status") & (pl.col("name") == "diverged"))
    assert len(status) == 6
    assert (status["step"] >= 1).all()
    page = (diverged.path / "report.html").read_text("utf-8")
    assert "Models that diverged" in page


def test_claims_about_a_diverged_arm_say_why_they_are_not_read(diverged: Run) -> None:
    verdicts = {verdict.prediction: verdict for verdict in diverged.verdicts}
    assert set(outcomes(diverged).values()) == {"INSUFFICIENT"}
    assert "diverged at every scale" in str(verdicts["loss"].estimate.reason)
    assert diverged.published["stable rates"].outcome == "unstable: fails to support AKIRA"


def test_without_seeds_to_compare_or_a_reference_the_rest_is_measured(
    options: dict[str, Any], tmp_path: Path
) -> None:
    config = BandsConfig.model_validate({**options, "seeds": 1, "reference_model": None})
    run = execute(STUDY, config, store=tmp_path, threads=1)
    assert set(outcomes(run).values()) == {"INSUFFICIENT"}
    assert len(run.tables["losses"]) == len(ARMS)
    assert run.tables["universal"].is_empty()
    assert run.published["AQ count"].claims is None
