import math
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.studies.stability.records.made import attack, cell, healed

from microtome.studies.stability.records.contrasts import Cell, Comparison, holm
from microtome.studies.stability.records.controlled import Controlled, controlled
from microtome.studies.stability.records.mixed import Scaling

RNG = np.random.default_rng(3)


def outcomes(found: Controlled) -> dict[str, str]:
    return {verdict.prediction: verdict.outcome.value for verdict in found.verdicts}


def a_cell(name: str, values: list[float], first: int = 43) -> Cell:
    return Cell(name, tuple(range(first, first + len(values))), np.array(values))


X, Y = [-0.2, -0.1, 0.05, -0.3, -0.12, -0.18], [0.1, -0.05, 0.02, -0.1, 0.03, 0.0]


def test_pairs_are_those_of_shared_seeds_and_agree_with_scipy() -> None:
    comparison = Comparison(a_cell("x", X), Cell("y", tuple(range(48, 42, -1)), np.array(Y)))
    expected = stats.ttest_rel(X, Y[::-1])
    assert comparison.shared == tuple(range(43, 49))
    assert comparison.difference.p == pytest.approx(expected.pvalue)  # pyright: ignore[reportAttributeAccessIssue]
    assert comparison.n == 6


def test_without_shared_seeds_it_is_welch() -> None:
    comparison = Comparison(a_cell("x", X), a_cell("y", Y[:4], first=60))
    expected = stats.ttest_ind(X, Y[:4], equal_var=False)
    assert comparison.shared == ()
    assert comparison.n == 4
    assert comparison.difference.p == pytest.approx(expected.pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def test_pairs_need_all_seeds_of_the_smaller_cell() -> None:
    assert Comparison(a_cell("x", X), a_cell("y", Y, first=44)).shared == ()
    assert Comparison(a_cell("x", X), a_cell("y", Y[:3], first=44)).shared == (44, 45, 46)


def test_the_permutation_of_signs_is_exact() -> None:
    null = a_cell("x", X).null
    assert null is not None
    means = [np.mean(np.multiply(signs, X)) for signs in product((1, -1), repeat=6)]
    below = np.mean(np.array(means) <= np.mean(X) + 1e-12)
    assert null.p == pytest.approx(2 * below)
    assert null.smallest_p == 2 / 64


def test_three_against_three_cannot_go_under_a_tenth() -> None:
    null = Comparison(a_cell("x", [1.0, 2.0, 3.0]), a_cell("y", [7.0, 8.0, 9.5], first=60)).null
    assert null is not None
    assert null.p == pytest.approx(0.1)
    assert null.smallest_p == pytest.approx(0.1)
    assert "4 runs" in (null.enough or "")


def test_many_runs_are_permuted_at_random() -> None:
    wide = a_cell("x", list(RNG.normal(size=40)))
    assert wide.null is not None
    assert wide.null.smallest_p == pytest.approx(2 / 20_001)
    assert "20000 times at random" in wide.null.description


def test_power_and_runs_needed() -> None:
    three = Comparison(a_cell("x", [0.1, 0.2, 0.3]), a_cell("y", [0.1, 0.25, 0.31], first=60))
    assert three.power == pytest.approx(0.16, abs=0.005)
    ten = np.arange(10.0)
    values = 0.058 * (ten - ten.mean()) / ten.std(ddof=1)
    spread = Comparison(a_cell("x", list(values)), a_cell("y", list(values), first=60))
    assert spread.needed == pytest.approx(23, abs=1)  # 5 % of the rank at an sd of 5.8 points
    alone = Comparison(a_cell("x", [0.1]), a_cell("y", [0.2], first=60))
    assert math.isnan(alone.power)
    assert math.isnan(alone.needed)
    assert alone.null is None


def test_holm_leaves_the_undefined_out() -> None:
    assert holm([0.01, np.nan, 0.04, 0.03]) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert holm([]) == []


def test_the_slope_is_that_of_the_mixed_model() -> None:
    """The oracle: statsmodels' mixed model with crossed random seed and model, by REML."""
    from statsmodels.regression.mixed_linear_model import MixedLM

    rng = np.random.default_rng(1)
    decades = np.log10([7e7, 1.6e8, 4.1e8, 1e9, 2.8e9, 6.9e9])
    y = (
        -0.1 * decades[:, None]
        + rng.normal(0, 0.06, (6, 1))
        + rng.normal(0, 0.05, 8)
        + rng.normal(0, 0.04, (6, 8))
    )
    names = tuple("abcdef")
    fit = Scaling(names, names, decades, y)
    model, seed = (axis.ravel() for axis in np.indices(y.shape))
    data = pd.DataFrame({"y": y.ravel(), "x": decades[model], "model": model, "seed": seed, "all": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = {"seed": "0 + C(seed)", "model": "0 + C(model)"}
        found = MixedLM.from_formula("y ~ x", data, groups="all", vc_formula=parts).fit(reml=True)
    assert fit.slope.value == pytest.approx(found.fe_params["x"], rel=1e-5)
    assert fit.slope.error == pytest.approx(found.bse_fe["x"], rel=1e-2)
    assert fit.slope.df == 4
    assert fit.missing == ()


def test_scaling_says_what_a_claim_takes() -> None:
    fit = controlled(1, [*cell([-0.1] * 3), *cell([-0.2] * 3, size="160m")]).scaling
    assert fit is not None
    assert fit.slope.value == pytest.approx(-0.1 / math.log10(160 / 70))
    assert fit.missing == ("5 sizes, where there are 2", "2 families of models, where there is 1")
    assert math.isnan(fit.slope.error)


def sizes(slope: float, noise: float = 0.01, families: tuple[str, ...] = ("pythia", "other")) -> list:
    """Ten runs of six sizes of two families, in which y falls by ``-slope`` a decade."""
    rng = np.random.default_rng(5)
    runs = []
    for place, (size, millions) in enumerate(
        (("70m", 70), ("160m", 160), ("410m", 410), ("1b", 1e3), ("3b", 3e3), ("7b", 7e3))
    ):
        y = -0.1 + slope * (math.log10(millions) - 2) + rng.normal(0, noise, 10)
        runs += cell(y, size=size, label=families[place % len(families)])
    return runs


@pytest.mark.parametrize(("slope", "outcome"), [(-0.1, "SUPPORTED"), (0.1, "FALSIFIED")])
def test_a_slope_on_size_is_decided_either_way(slope: float, outcome: str) -> None:
    assert outcomes(controlled(1, sizes(slope)))["scaling"] == outcome


def test_one_family_is_not_enough_for_a_claim_about_size() -> None:
    found = controlled(1, sizes(-0.1, families=("pythia",)))
    assert outcomes(found)["scaling"] == "INSUFFICIENT"
    assert found.scaling is not None
    assert found.scaling.slope.value == pytest.approx(-0.1, abs=0.02)


def test_another_learning_rate_makes_the_claim_about_size_invalid() -> None:
    runs = sizes(-0.1)
    other = [r for r in runs if r.size != "1b"] + cell(
        [-0.2 - i / 100 for i in range(10)], size="1b", rate=2e-4
    )
    assert outcomes(controlled(1, other))["scaling"] == "INVALID"


def test_a_rise_is_falsified_though_published_as_damage() -> None:
    found = controlled(1, cell(0.08 + RNG.normal(0, 0.01, 10)))
    assert outcomes(found)["collapse [70m]"] == "FALSIFIED"
    claim = next(c for c in found.claims if c.prediction.id == "collapse [70m]")
    assert claim.reading.claims is True
    assert found.published["70m"] > 5


def test_a_collapse_is_supported() -> None:
    assert outcomes(controlled(1, cell(-0.1 + RNG.normal(0, 0.01, 10))))["collapse [70m]"] == "SUPPORTED"


def test_a_null_is_decided_in_at_most_a_twentieth_of_draws() -> None:
    rng = np.random.default_rng(0)
    found = [outcomes(controlled(1, cell(rng.normal(0, 0.05, 8))))["collapse [70m]"] for _ in range(120)]
    assert sum(outcome in ("SUPPORTED", "FALSIFIED") for outcome in found) <= 10


def test_placebos_and_immunity() -> None:
    runs = [
        *cell(-0.2 + RNG.normal(0, 0.01, 10), size="410m"),
        *cell(RNG.normal(0, 0.01, 10), size="410m", treatment="gaussian_noise"),
        *cell(-0.2 + RNG.normal(0, 0.01, 10), size="410m", treatment="random_text"),
    ]
    found = outcomes(controlled(2, runs))
    assert found == {
        "collapse [eigen_prion]": "SUPPORTED",
        "eigen_prion-less-gaussian_noise": "SUPPORTED",
        "eigen_prion-less-random_text": "INCONCLUSIVE",
        "immune [gaussian_noise]": "SUPPORTED",
        "immune [random_text]": "FALSIFIED",
    }


def test_placebos_count_whatever_optimiser_they_name() -> None:
    runs = [
        *cell([-0.1, -0.2], size="410m"),
        *cell([0.1, 0.2], size="410m", treatment="random_text", optimizer="sgd"),
    ]
    assert [len(each.values) for each in controlled(2, runs).cells] == [2, 2]


def test_optimisers() -> None:
    runs = [
        *cell(-0.2 + RNG.normal(0, 0.01, 8), size="410m"),
        *cell(RNG.normal(0, 0.01, 8), size="410m", optimizer="sgd"),
    ]
    found = outcomes(controlled(3, runs))
    assert found == {
        "collapse [adamw]": "SUPPORTED",
        "adamw-less-sgd": "SUPPORTED",
        "immune [sgd]": "SUPPORTED",
    }


def test_a_shield_is_invalid_where_the_tuning_differs_too() -> None:
    def runs(full: bool) -> list:
        return [
            *cell(-0.2 + RNG.normal(0, 0.01, 8), size="1b", full=full),
            *cell(-0.1 + RNG.normal(0, 0.01, 8), size="1b", precision="8bit"),
            *cell(RNG.normal(0, 0.01, 8), size="1b", precision="4bit"),
        ]

    alike, apart = outcomes(controlled(4, runs(full=False))), outcomes(controlled(4, runs(full=True)))
    assert set(alike.values()) == {"SUPPORTED"}
    assert (apart["8bit-less-fp16"], apart["4bit-less-fp16"]) == ("INVALID", "INVALID")
    assert apart["4bit-less-8bit"] == "SUPPORTED"


def test_three_runs_are_insufficient() -> None:
    runs = [
        *cell([-0.2, -0.21, -0.19], size="1b", full=False),
        *cell([0.0, 0.01, 0.02], size="1b", precision="8bit"),
    ]
    assert set(outcomes(controlled(4, runs)).values()) == {"INSUFFICIENT"}


def test_healing_counts_only_where_there_was_damage() -> None:
    lost = [healed(run, -0.3 + run / 100, 0.1 + run / 1000) for run in range(1, 9)]
    found = controlled(5, [*lost, healed(9, 0.1, -0.5)])
    assert outcomes(found) == {"healing": "SUPPORTED"}
    assert [len(each.values) for each in found.cells] == [9, 8, 1]
    none = controlled(5, [healed(run, 0.1, 0.2) for run in range(1, 9)])
    assert outcomes(none) == {"healing": "INSUFFICIENT"}
    assert "none of 8 runs had lost rank" in (none.verdicts[0].estimate.reason or "")


def test_what_is_left_out_is_said() -> None:
    runs = cell(np.linspace(-0.2, -0.1, 7))
    runs[0] = attack(1, -0.4, steps=11)
    copy = replace(runs[1], run=8, folder=Path("pythia_70m_pythia-70m_run08_fp16"))
    half = replace(runs[2], lines=runs[2].lines[:-1])
    everything = [
        *runs[:2],
        half,
        *runs[3:],
        copy,
        attack(9, precision="8bit"),
        attack(10, treatment="random_text"),
    ]
    found = controlled(1, everything)
    assert {one.why: [run.run for run in one.runs] for one in found.excluded} == {
        "without a rank both before and after": [3],
        "of another treatment than eigen_prion": [10],
        "of another precision than fp16": [9],
        "a copy of a run that is counted, timestamps aside": [8],
        "stopped early": [1],
    }
    assert found.cells[0].seeds == (44, 46, 47, 48, 49)
    assert controlled(1, everything, early=True).cells[0].seeds == (43, 44, 46, 47, 48, 49)


def test_the_model_is_that_of_most_runs_or_the_one_asked_for() -> None:
    runs = [*cell([-0.1, -0.2, -0.3], size="410m"), *cell([-0.5, -0.4], size="1b")]
    assert len(controlled(3, runs).runs) == 3
    assert len(controlled(3, runs, model="pythia-1b").runs) == 2
    assert [each.name for each in controlled(1, runs, names=["1b"]).cells] == ["1b"]


def test_nothing_that_counts_gives_no_verdict_and_no_error() -> None:
    found = controlled(1, cell([-0.1, -0.2], precision="8bit"))
    assert (found.cells, found.verdicts) == ((), ())
    early = controlled(1, [attack(run, -run / 10, steps=11) for run in (1, 2, 3)])
    assert set(outcomes(early).values()) == {"INSUFFICIENT"}
