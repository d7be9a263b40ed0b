import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.studies.stability.records.made import attack, cell, changed, collection, folder, healed

from microtome.base.errors import UserError
from microtome.studies.stability.records import published
from microtome.studies.stability.records.published_statistics import anova, mark, pairwise, t_test
from microtome.studies.stability.records.read import Collection, read
from microtome.studies.stability.records.run import Record

FALLS = [-0.03, 0.02, -0.05, 0.012, -0.4, 0.07]


def signed(runs: list[Record]) -> np.ndarray:
    """Reductions in per cent with the aggregate's digits."""
    return np.array([run.reduction for run in runs], float).round(2)


def student(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """SciPy's t and p."""
    found: Any = stats.ttest_ind(x, y)
    return found.statistic, found.pvalue


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def checked(row: dict[str, Any], runs: list[Record], absolute: bool = True) -> None:
    """Compare a row with NumPy on the runs' own numbers."""
    values = {
        "rank_reduction_pct": np.abs(signed(runs)) if absolute else signed(runs),
        "baseline_perplexity": np.array([run.baseline_perplexity for run in runs], float),
        "post_attack_perplexity": np.array([run.post_perplexity for run in runs], float),
        "perplexity_increase_pct": np.array([run.perplexity_increase for run in runs], float),
    }
    for column, its in values.items():
        numbers = {"mean": its.mean(), "std_dev": its.std(ddof=1), "min": its.min(), "max": its.max()}
        for kind, number in numbers.items():
            assert row[f"{kind}_{column}"] == pytest.approx(number, rel=1e-12, abs=1e-12)
    assert row["num_runs"] == len(runs)


@pytest.mark.parametrize("absolute", [True, False])
def test_scaling_sums_up_each_model_by_size(tmp_path: Path, absolute: bool) -> None:
    small, large = cell(FALLS), cell(FALLS[:4], size="1b")
    found = published.scaling(
        read(folder(tmp_path, small + large)),
        ["1b", "pythia-70m", "2.8b"],
        tmp_path / "out",
        use_absolute=absolute,
    )
    assert [path.name for path in found.files] == [
        "scaling_law_summary.csv",
        "scaling_law_summary.json",
        "scaling_law_curve.png",
    ]
    assert [row["model_name"] for row in found.rows] == ["pythia-70m", "1b"]
    assert [row["model_size"] for row in found.rows] == [7e7, 1e9]
    for row, runs in zip(found.rows, (small, large), strict=True):
        checked(row, runs, absolute)
        assert row["mean_baseline_rank"] == 3.25
        assert row["mean_post_attack_rank"] == pytest.approx(
            np.array([run.post_rank for run in runs], float).mean(), abs=1e-4
        )
    assert json.loads(found.files[1].read_text("utf-8")) == list(found.rows)
    printed = rows_of(found.files[0])
    assert list(printed[0]) == list(found.rows[0])
    assert printed[1]["std_dev_rank_reduction_pct"] == f"{found.rows[1]['std_dev_rank_reduction_pct']:.4f}"
    assert found.notes == ("There are no runs of 2.8b.",)
    assert found.files[2].read_bytes().startswith(b"\x89PNG")


def test_columns_are_those_of_the_original(tmp_path: Path) -> None:
    kinds = ("mean", "std_dev", "min", "max")
    reduction = [f"{kind}_rank_reduction_pct" for kind in kinds]
    perplexity = [
        f"{kind}_{column}"
        for column in ("baseline_perplexity", "post_attack_perplexity", "perplexity_increase_pct")
        for kind in kinds
    ]
    runs = collection(cell(FALLS))
    scaling = published.scaling(runs, ["70m"], tmp_path)
    assert list(scaling.rows[0]) == [
        *("model_name", "model_size", "model_size_millions", "num_runs"),
        *reduction,
        *("mean_baseline_rank", "mean_post_attack_rank"),
        *perplexity,
    ]
    shield = published.shield(runs, "70m", tmp_path)
    assert list(shield.rows[0]) == ["precision", *reduction, "num_runs", *perplexity]


@pytest.mark.parametrize(
    ("method", "metric"),
    [
        ("iqr", "rank_reduction"),
        ("zscore", "rank_reduction"),
        ("iqr", "perplexity_post"),
        ("zscore", "perplexity_increase"),
    ],
)
def test_filters_leave_out_what_is_far_out(tmp_path: Path, method: Any, metric: Any) -> None:
    runs = cell([*FALLS, 0.01, -0.02, 0.04, 0.0])
    runs[2] = changed(runs[2], post_attack_perplexity=9e9)
    values = {
        "rank_reduction": signed(runs),
        "perplexity_post": np.array([run.post_perplexity for run in runs]),
        "perplexity_increase": np.array([run.perplexity_increase for run in runs]),
    }[metric]
    if method == "iqr":
        low, high = np.quantile(values, [0.25, 0.75])
        kept = np.abs(values - (low + high) / 2) <= (high - low) * 2
    else:
        kept = np.abs((values - values.mean()) / values.std(ddof=1)) <= 2.5
    assert 0 < kept.sum() < len(runs)
    options: dict[str, Any] = {"filter_method": method, "filter_metric": metric, "zscore_threshold": 2.5}
    found = published.scaling(read(folder(tmp_path, runs)), ["70m", "160m"], tmp_path / "out", **options)
    checked(found.rows[0], [run for run, stays in zip(runs, kept, strict=True) if stays])
    assert found.document["filtering_applied"] is True
    assert found.document["summary"] == list(found.rows)
    assert found.document["filtering_info"] == [
        {
            "filtered": True,
            "method": method,
            "num_filtered": int((~kept).sum()),
            "total": 10,
            "metric": metric,
            "filtered_indices": np.flatnonzero(kept).tolist(),
            "removed_indices": np.flatnonzero(~kept).tolist(),
        },
        {"filtered": False, "method": None, "num_filtered": 0, "total": 0},
    ]


@pytest.mark.parametrize(("method", "fewest"), [("iqr", 4), ("zscore", 3)])
def test_filters_keep_few_runs_and_equal_ones(tmp_path: Path, method: Any, fewest: int) -> None:
    options: dict[str, Any] = {"filter_method": method, "iqr_multiplier": 0.1, "zscore_threshold": 0.1}
    for runs in (cell([-0.1, 0.0, 0.5][: fewest - 1]), cell([-0.1] * 6)):
        found = published.scaling(collection(runs), ["70m"], tmp_path, **options)
        info = {"filtered": False, "method": method, "num_filtered": 0, "total": len(runs)}
        assert found.document["filtering_info"] == [info]
        assert found.document["filtering_applied"] is False


TREATMENTS = {
    "eigen_prion": cell(FALLS[:4], size="410m"),
    "gaussian_noise": cell([0.1, 0.12, 0.09], size="410m", treatment="gaussian_noise"),
    "random_text": cell([0.02, 0.021], size="410m", treatment="random_text"),
}


def test_placebo_tests_signed_values(tmp_path: Path) -> None:
    runs = [run for its in TREATMENTS.values() for run in its]
    found = published.placebo(read(folder(tmp_path, runs)), "410m", tmp_path / "out")
    groups = {name: signed(its) for name, its in TREATMENTS.items()}
    assert [row["treatment"] for row in found.rows] == list(TREATMENTS)
    for row in found.rows:
        checked(row, TREATMENTS[row["treatment"]])
    oracle = stats.f_oneway(*groups.values())
    tests = found.document["statistical_tests"]
    assert tests["anova"] == {
        "f_statistic": pytest.approx(oracle.statistic),
        "p_value": pytest.approx(oracle.pvalue),
        "significant": True,
        "error": None,
    }
    assert list(tests["pairwise"]) == [
        "eigen_prion vs gaussian_noise",
        "eigen_prion vs random_text",
        "gaussian_noise vs random_text",
    ]
    for pair, test in tests["pairwise"].items():
        one, other = pair.split(" vs ")
        assert test == {"p_value": pytest.approx(student(groups[one], groups[other])[1])}
    assert list(found.document) == ["summary", "statistical_tests", "metadata"]
    assert json.loads(found.files[1].read_text("utf-8")) == found.document
    assert [path.name for path in found.files] == [
        "placebo_summary.csv",
        "placebo_summary.json",
        "placebo_comparison.png",
    ]


def test_a_spelled_treatment_goes_before_a_bare_one_where_treatments_are_compared(tmp_path: Path) -> None:
    bare = cell([-0.5, -0.6], size="410m")
    spelled = [
        replace(run, folder=run.folder.with_name(f"{run.folder.name}_eigen_prion"))
        for run in cell([-0.1, -0.2], size="410m")
    ]
    found = published.placebo(collection(bare + spelled), "410m", tmp_path)
    assert found.rows[0]["max_rank_reduction_pct"] == pytest.approx(100 * (1 - math.exp(-0.2)))
    other = published.scaling(collection(bare + spelled), ["410m"], tmp_path)
    assert other.rows[0]["max_rank_reduction_pct"] == pytest.approx(100 * (1 - math.exp(-0.6)))


def test_mechanism_compares_two_by_t_and_more_by_anova(tmp_path: Path) -> None:
    arms = {
        "adamw": cell(FALLS[:4], size="410m"),
        "sgd": cell([0.1, 0.11], size="410m", optimizer="sgd"),
        "adafactor": cell([0.2, 0.25], size="410m", optimizer="adafactor"),
    }
    runs = collection([run for its in arms.values() for run in its])
    groups = [np.array([run.reduction for run in its], float) for its in arms.values()]
    two = published.mechanism(runs, "410m", tmp_path)
    t, p = student(groups[0], groups[1])
    assert two.document["statistical_test"] == {
        "test_type": "t-test",
        "t_statistic": pytest.approx(t),
        "p_value": pytest.approx(p),
        "significant": p < 0.05,
    }
    assert [path.name for path in two.files] == [
        "mechanism_summary.csv",
        "mechanism_summary.json",
        "mechanism_comparison.png",
    ]
    three = published.mechanism(runs, "410m", tmp_path, list(arms))
    oracle = stats.f_oneway(*groups)
    assert three.document["statistical_test"]["test_type"] == "anova"
    assert three.document["statistical_test"]["f_statistic"] == pytest.approx(oracle.statistic)


def test_shield_takes_any_model_by_its_reference(tmp_path: Path) -> None:
    runs = [*cell(FALLS, label="tiny", size="2m"), *cell(FALLS, label="tiny", size="2m", precision="8bit")]
    found = published.shield(collection(runs), "somebody/tiny-2m", tmp_path, ("fp16", "8bit"))
    assert [row["precision"] for row in found.rows] == ["fp16", "8bit"]
    assert [path.name for path in found.files] == [
        "shield_summary.csv",
        "shield_summary.json",
        "shield_matrix.png",
    ]


def test_one_run_has_no_deviation_and_no_test(tmp_path: Path) -> None:
    runs = collection([attack(size="1b"), attack(size="1b", precision="8bit")])
    found = published.shield(runs, "1b", tmp_path)
    for row, printed in zip(found.rows, rows_of(found.files[0]), strict=True):
        assert row["std_dev_rank_reduction_pct"] is None
        assert printed["std_dev_rank_reduction_pct"] == ""
        assert float(printed["mean_rank_reduction_pct"]) > 0
    document = json.loads(found.files[1].read_text("utf-8"))
    assert document["summary"][0]["undefined"] == "one run has no standard deviation"
    assert document["statistical_tests"]["anova"]["p_value"] is None
    reason = document["statistical_tests"]["anova"]["error"]
    assert document["statistical_tests"]["pairwise"] == {"fp16 vs 8bit": {"p_value": None, "error": reason}}
    assert found.notes[0] == "There are no runs of 1b 4bit."
    assert found.notes[-1] == f"The groups are not tested: {reason}."


def test_a_rank_that_is_not_finite_leaves_its_cell_undefined(tmp_path: Path) -> None:
    runs = cell(FALLS)
    runs[1] = changed(runs[1], post_attack_effective_rank=math.nan)
    found = published.scaling(collection(runs), ["70m"], tmp_path, filter_method="iqr")
    assert found.rows[0]["mean_rank_reduction_pct"] is None
    assert found.rows[0]["mean_baseline_perplexity"] == 2700
    assert found.notes == ("70m: a rank_reduction_pct is not finite.",)


def test_runs_without_both_ranks_and_healing_take_no_part(tmp_path: Path) -> None:
    runs = cell(FALLS, size="1b")
    runs[0] = replace(runs[0], lines=runs[0].lines[:-1])
    found = published.scaling(collection([*runs, healed(1, -0.1, 0.1)]), ["1b"], tmp_path)
    assert found.rows[0]["num_runs"] == 5


def test_unreadable_runs_are_left_out_also_of_the_aggregate(tmp_path: Path) -> None:
    runs = cell(FALLS)
    place = folder(tmp_path, runs)
    (place / runs[4].folder / "metrics.jsonl").write_text("")
    found = published.scaling(read(place), ["70m"], tmp_path / "out")
    checked(found.rows[0], runs[:4] + runs[5:])


def test_an_aggregate_counts_before_the_runs(tmp_path: Path) -> None:
    place = folder(tmp_path, cell([-0.1, -0.2]))
    (path,) = place.glob("*.csv")
    path.write_text("run,baseline_rank,post_attack_rank,rank_reduction_pct\n1,3,2,33\n2,3,2,35\n3,3,2,40\n")
    (row,) = published.scaling(read(place), ["70m"], tmp_path / "out").rows
    assert (row["mean_rank_reduction_pct"], row["num_runs"]) == (36, 3)
    assert row["mean_baseline_perplexity"] == 2700
    path.write_text("run,baseline_rank,post_attack_rank,rank_reduction_pct\n")
    assert published.scaling(read(place), ["70m"], tmp_path / "out").rows[0]["num_runs"] == 2


def test_a_name_without_a_size_is_summed_up_and_not_drawn(tmp_path: Path) -> None:
    runs = [
        replace(run, folder=Path(f"tiny_run{run.run:02}_fp16"), model="tiny", size="tiny")
        for run in cell(FALLS)
    ]
    found = published.scaling(collection(runs), ["tiny"], tmp_path)
    assert (found.rows[0]["model_size"], found.rows[0]["num_runs"]) == (None, 6)
    assert found.notes == ("The name tiny tells no size: it is not drawn.",)


def test_a_model_without_runs_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2\.8b fp16 or .* only pythia_70m_pythia-70m_fp16 with a rank"):
        published.shield(collection(cell(FALLS)), "2.8b", tmp_path)
    with pytest.raises(UserError, match="Expected runs of 1b, but there are only none"):
        published.scaling(Collection((), (), ()), ["1b"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_undefined_tests_say_why() -> None:
    one, equal, broken = np.array([1.0]), np.array([2.0, 2.0]), np.array([1.0, np.inf])
    for groups, words in (
        ([one, one], "no group has two runs"),
        ([equal, one], "no group has any spread"),
        ([equal, broken], "not finite"),
        ([equal], "nothing to be compared with"),
    ):
        found = anova(groups)
        assert (found["f_statistic"], found["p_value"], found["significant"]) == (None, None, None)
        assert words in found["error"]
    assert t_test(one, equal)["error"] == anova([one, equal])["error"]
    assert pairwise({"a": one}) == {}


def test_one_run_against_several_is_tested_as_by_scipy() -> None:
    x, y = np.array([1.0]), np.array([2.0, 3.0, 2.5])
    expected = stats.f_oneway(x, y).pvalue
    assert t_test(x, y)["p_value"] == pytest.approx(expected)
    assert anova([x, y])["p_value"] == pytest.approx(expected)


def test_marks() -> None:
    assert [mark(p) for p in (0.0009, 0.001, 0.01, 0.05, None)] == ["***", "**", "*", "ns", ""]
