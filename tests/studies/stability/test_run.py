"""Whole runs on tiny models: every arm, matched sizes, what is undone, resuming, several models, the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import microtome
from microtome.lab.run import Run
from microtome.studies.stability import STUDY
from microtome.studies.stability.arms import TREATMENTS
from microtome.studies.stability.config import StabilityConfig
from microtome.studies.stability.plan import arms
from tests.studies.stability.conftest import SHORT

Run_of = Callable[..., Run]
ARM = ("run", "treatment", "optimizer", "tuning", "dose")


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Path], prose: str) -> Run_of:
    """A function that returns a run on tiny models, in a store that the tests of this file share."""
    store = tmp_path_factory.mktemp("store")

    def run(*families: str, **options: Any) -> Run:
        models = tuple(str(tiny_model(name)) for name in families)
        given = {**SHORT, "models": models, "corpus": prose, "device": "cpu", **options}
        return microtome.run("stability", store=store, threads=1, **given)

    return run


@pytest.fixture(scope="module")
def whole(run_of: Run_of) -> Run:
    return run_of("llama")


def test_every_arm_of_the_factorial_is_measured(whole: Run) -> None:
    trained = whole.tables["arms"].filter(pl.col("dose") == "trained")
    found = set(trained.select("treatment", "optimizer", "tuning").iter_rows())
    expected = {arm for arm in arms(whole.config) if arm[0] != "isotropic"}  # pyright: ignore[reportArgumentType]
    assert found == expected
    assert set(whole.tables["arms"]["treatment"]) == set(TREATMENTS)
    assert trained.group_by("treatment", "optimizer", "tuning").len()["len"].to_list() == [2] * len(expected)


def test_no_update_changes_nothing(whole: Run) -> None:
    rows = whole.tables["arms"].filter(treatment="noop")
    assert len(rows) == 2
    assert rows.select("effect", "rise", "norm", "low", "high").to_numpy().any() == False  # noqa: E712
    assert whole.controls["no-op"].passed


def test_matched_sizes_agree_within_a_per_cent(whole: Run) -> None:
    matched = whole.tables["arms"].filter(dose="matched")
    assert set(matched["treatment"]) == set(TREATMENTS) - {"noop", "healthy"}
    assert matched["mismatch"].max() < 0.01  # pyright: ignore[reportOptionalOperand, reportOperatorIssue]
    main = whole.tables["arms"].filter(treatment="optimised", optimizer="adamw", dose="trained")
    noted = matched.drop_nulls("note")
    assert set(noted["treatment"]) == {"gaussian"}  # fed past the embeddings, which no output shares
    sizes = matched.filter(pl.col("note").is_null()).join(
        main.select("run", "tuning", size="norm"), on=("run", "tuning")
    )
    assert ((sizes["norm"] / sizes["size"] - 1).abs() < 0.01).all()


def test_every_input_reports_its_share(whole: Run) -> None:
    inputs = whole.tables["inputs"]
    assert set(inputs["treatment"]) == set(TREATMENTS) - {"isotropic", "noop"}
    assert inputs["share"].is_between(0, 1).all()
    optimised, start = (inputs.filter(treatment=name).sort("run")["share"] for name in ("optimised", "start"))
    assert (optimised >= start).all()


def test_the_planted_collapse_is_found(whole: Run) -> None:
    assert whole.tables["planted"]["effect"].item() < 0


def test_damage_is_measured_at_every_layer_of_the_main_arm(whole: Run) -> None:
    layers = whole.tables["layers"].filter(pl.col("tuning") == "full/float32")
    depth = layers["layer"].n_unique()
    assert set(layers["layer"]) == set(range(depth))  # the embedding's output, and that of every block
    middle = layers.filter(layer=(depth - 1) // 2 + 1, selection="kept", centred=True, measure="entropy_rank")
    arms = whole.tables["arms"].filter(
        treatment="optimised", optimizer="adamw", tuning="full/float32", dose="trained"
    )
    assert_frame_equal(
        middle.select("run", "effect").sort("run"), arms.select("run", "effect").sort("run"), abs_tol=1e-12
    )


def test_the_page_has_both_answers(whole: Run) -> None:
    page = (whole.path / "report.html").read_text("utf-8")
    assert "As published" in page
    assert "what the absolute value does" in page
    assert {rule.id for rule in STUDY.claims(whole.config).published} == set(whole.published)  # pyright: ignore[reportArgumentType]
    assert (whole.path / "figures" / "arms_rank.png").is_file()


def test_one_more_run_measures_only_that(whole: Run, run_of: Run_of) -> None:
    more = run_of("llama", runs=3, treatments=("optimised", "noop"), tunings=("full/float32",))
    own = [unit for unit in more.record.units if unit.origin == more.id]
    assert own
    assert all("seed 45" in unit.label for unit in own)


def test_the_same_units_come_out_the_same(
    whole: Run, tmp_path: Path, tiny_model: Callable[..., Path], prose: str
) -> None:
    fewer = {
        "treatments": ("optimised", "start"),
        "tunings": ("full/float32", "lora/float32"),
        "published": (),
    }
    again = microtome.run(
        "stability",
        store=tmp_path,
        threads=1,
        **{
            **SHORT,
            "models": (str(tiny_model("llama")),),
            "corpus": prose,
            "device": "cpu",
            "runs": 1,
            **fewer,
        },
    )
    first = whole.tables["arms"].join(again.tables["arms"], on=ARM, how="semi")
    assert_frame_equal(again.tables["arms"], first)


def test_several_models_have_claims_of_their_own_and_one_of_size(run_of: Run_of) -> None:
    run = run_of("gpt2", "gpt_neox", runs=1, tunings=("full/float32",), published=(), healing_steps=0)
    ids = [verdict.prediction for verdict in run.verdicts]
    assert ids.count("scaling") == 1
    assert sum(name.startswith("collapse [") for name in ids) == 2
    assert len(run.tables["sizes"]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"treatments": ("optimized",)}, "expected treatments among"),
        ({"treatments": ("start",)}, "expected 'optimised' among the treatments"),
        ({"tunings": ("full/int8",)}, "expected tunings of full/float32"),
        ({"tunings": ("lora/int8",)}, "not quantised"),
        ({"published": ("eigen_prion/adam/fp16",)}, "expected TREATMENT/OPTIMISER/PRECISION"),
        ({"optimizers": ("adamw", "adamw")}, "each of optimizers once"),
        ({"directions": 30}, "at least as many lanczos_steps"),
        ({"block": 4096}, "within the context"),
        ({"curvature_blocks": 9}, "as curvature_blocks"),
    ],
)
def test_mistakes_are_said(run_of: Run_of, options: dict[str, Any], said: str) -> None:
    with pytest.raises(microtome.UserError, match=said):
        run_of("llama", **options)


def test_a_model_twice_is_refused(run_of: Run_of) -> None:
    with pytest.raises(microtome.UserError, match="once"):
        run_of("llama", "llama")


def test_the_demo_is_a_valid_config() -> None:
    assert StabilityConfig(**STUDY.demo).treatments
