"""Verdicts: a table of cases, and Holm's procedure on intervals against p-values."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from microtome.lab.estimate import Estimate, Interval, Null, alphas
from microtome.lab.prediction import Prediction, Region, above, below, between, outside, predictions_hash
from microtome.lab.verdict import ControlResult, Outcome, decide


@pytest.fixture(scope="module", autouse=True)
def quick_collection() -> Iterator[None]:
    """``multipletests`` collects garbage at each call; what is there before needs no second look."""
    gc.freeze()
    yield
    gc.unfreeze()


def prediction(name: str = "p", **changes: object) -> Prediction:
    fields: dict[str, object] = {
        "id": name,
        "claim": "it is large",
        "estimand": "the mean",
        "scale": "nats",
        "supported_if": above(1),
        "falsified_if": below(1),
        "source": "added",
    }
    return Prediction.model_validate({**fields, **changes})


def estimate(low: float, high: float, *, n: int = 10, null: Null | None = None, m: int = 1) -> Estimate:
    return Estimate.with_intervals(
        (low + high) / 2, lambda _: (low, high), alphas(m), n=n, unit="pairs", method="given", null=null
    )


def null(p: float, smallest: float = 0.001, enough: str | None = None) -> Null:
    return Null(description="shuffled", p=p, smallest_p=smallest, enough=enough)


@pytest.mark.parametrize(
    ("estimated", "outcome", "reason"),
    [
        (estimate(1.1, 2), "SUPPORTED", "the 95 % interval [1.1, 2] lies in the supported region (> 1)"),
        (estimate(0, 0.9), "FALSIFIED", "the 95 % interval [0, 0.9] lies in the falsified region (< 1)"),
        (estimate(0.9, 1.1), "INCONCLUSIVE", "the 95 % interval [0.9, 1.1] lies in neither region"),
        (estimate(1.0, 2), "INCONCLUSIVE", "the 95 % interval [1, 2] lies in neither region"),
        (estimate(1.1, 2, null=null(0.01)), "SUPPORTED", "(> 1)"),
        (estimate(1.1, 2, null=null(0.06)), "INCONCLUSIVE", "but the null gives as much with p = 0.06"),
        (estimate(0, 0.9, null=null(0.9)), "FALSIFIED", "(< 1)"),
        (
            estimate(1.1, 2, null=null(1 / 6, 1 / 6)),
            "INSUFFICIENT",
            "the smallest p that can be reached is 0.167, above 0.05; "
            "a null with at least 20 arrangements would be enough",
        ),
        (estimate(1.1, 2, null=null(1 / 6, 1 / 6, "five tasks")), "INSUFFICIENT", "0.05; five tasks"),
        (estimate(1.1, 2, n=2), "INSUFFICIENT", "2 of the 3 pairs that would be enough"),
        (
            Estimate.missing("all items were wrong", n=9, unit="pairs", method="none"),
            "INSUFFICIENT",
            "all items were wrong",
        ),
        (Estimate(value=2, n=9, unit="pairs", method="m"), "INCONCLUSIVE", "the interval is undefined"),
    ],
)
def test_one_prediction(estimated: Estimate, outcome: str, reason: str) -> None:
    (verdict,) = decide([prediction(min_units=3)], {"p": estimated}, {})
    assert verdict.outcome == outcome
    assert verdict.reason.endswith(reason)
    assert verdict.estimate is estimated


def test_a_failed_control_makes_every_outcome_invalid() -> None:
    controls = {
        "sane": ControlResult(name="sane", passed=True, detail="fine"),
        "exact": ControlResult(name="exact", passed=False, detail="off by 2"),
    }
    claims = [
        prediction("needs-it", controls=("sane", "exact")),
        prediction("needs-another", controls=("sane",)),
        prediction("needs-none"),
    ]
    found = decide(claims, {p.id: estimate(1.1, 2, m=3) for p in claims}, controls)
    assert [v.outcome for v in found] == ["INVALID", "SUPPORTED", "SUPPORTED"]
    assert found[0].reason == "control failed: exact (off by 2)"
    assert found[0].controls == (controls["sane"], controls["exact"])


def test_a_missing_estimate_or_control_is_an_error_and_no_verdict() -> None:
    with pytest.raises(KeyError, match="'p'"):
        decide([prediction()], {}, {})
    with pytest.raises(KeyError, match="exact"):
        decide([prediction(controls=("exact",))], {"p": estimate(1.1, 2)}, {})


def test_a_null_too_coarse_for_the_corrected_level_is_insufficient_not_inconclusive() -> None:
    """With two predictions the first is read at 0.025; a null that reaches 0.04 cannot support it there."""
    coarse = estimate(1.1, 2, null=null(0.04, 0.04), m=2)
    claims = [prediction("coarse"), prediction("open")]
    found = decide(claims, {"coarse": coarse, "open": estimate(0, 2, m=2)}, {})
    assert [v.outcome for v in found] == ["INSUFFICIENT", "INCONCLUSIVE"]
    assert "0.04, above 0.025; a null with at least 40 arrangements would be enough" in found[0].reason
    # Once the other is decided, the level is 0.05 and the same null is fine enough.
    found = decide(claims, {"coarse": coarse, "open": estimate(0, 0.5, m=2)}, {})
    assert [v.outcome for v in found] == ["SUPPORTED", "FALSIFIED"]
    assert [v.alpha for v in found] == [0.05, 0.025]


def test_barred_predictions_keep_the_level_strict() -> None:
    claims = [prediction("few", min_units=99), prediction("fine")]
    found = decide(claims, {p.id: estimate(1.1, 2, m=2) for p in claims}, {})
    assert (found[1].outcome, found[1].alpha) == (Outcome.SUPPORTED, 0.025)


@settings(max_examples=40)
@given(st.lists(st.floats(-6, 6), min_size=1, max_size=8))
def test_intervals_at_holms_levels_decide_as_sorted_p_values_do(z: list[float]) -> None:
    """A normal estimate's interval excludes zero at level a exactly when its two-sided p is below a."""
    claims = [prediction(str(i), supported_if=above(0), falsified_if=below(0)) for i in range(len(z))]

    def of(value: float) -> Estimate:
        def interval(level: float) -> tuple[float, float]:
            width = float(stats.norm.isf((1 - level) / 2))
            return value - width, value + width

        return Estimate.with_intervals(value, interval, alphas(len(z)), n=9, unit="draws", method="normal")

    found = decide(claims, {str(i): of(value) for i, value in enumerate(z)}, {})
    p = 2 * stats.norm.sf(np.abs(z))
    rejected = multipletests(p, alpha=0.05, method="holm")[0]
    assert [v.outcome is not Outcome.INCONCLUSIVE for v in found] == rejected.tolist()
    for verdict, value, is_rejected in zip(found, z, rejected, strict=True):
        if is_rejected:
            assert verdict.outcome is (Outcome.SUPPORTED if value > 0 else Outcome.FALSIFIED)


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_support_needs_the_null_at_the_corrected_level_too(ps: list[float]) -> None:
    """When every interval supports, what decides is Holm's procedure on the nulls' p-values."""
    claims = [prediction(str(i)) for i in range(len(ps))]
    estimates = {str(i): estimate(1.1, 2, null=null(p, 0.0), m=len(ps)) for i, p in enumerate(ps)}
    found = [v.outcome is Outcome.SUPPORTED for v in decide(claims, estimates, {})]
    # p at a level counts as reached; statsmodels agrees (<=).
    assert found == multipletests(ps, alpha=0.05, method="holm")[0].tolist()


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (above(1), below(1), False),
        (above(1), below(1.01), True),
        (between(-1, 1), outside(-1, 1), False),
        (between(-1, 1), outside(-1, 0.9), True),
    ],
)
def test_regions_of_a_prediction_may_touch_but_not_overlap(one: Region, other: Region, overlap: bool) -> None:
    assert one.overlaps(other) is other.overlaps(one) is overlap
    if overlap:
        with pytest.raises(ValueError, match="overlap; expected two separate regions"):
            prediction(supported_if=one, falsified_if=other)
    else:
        prediction(supported_if=one, falsified_if=other)


def test_region_in_words_and_what_it_contains() -> None:
    assert (str(above(2)), str(below(-1)), str(outside(-1, 1))) == ("> 2", "< -1", "< -1 or > 1")
    assert outside(-1, 1).contains(1.5, 9)
    assert not outside(-1, 1).contains(-2, 2), "the interval must lie in one span"
    with pytest.raises(ValueError, match="low < high"):
        between(2, 1)


def test_an_estimate_is_finite_or_missing_with_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Estimate(value=None, n=1, unit="pairs", method="m")
    with pytest.raises(ValueError, match="expected a finite value"):
        Estimate(value=float("nan"), n=1, unit="pairs", method="m")
    with pytest.raises(ValueError, match="finite number"):
        Interval(alpha=0.05, low=float("-inf"), high=1)
    spread = Estimate.with_intervals(
        1, lambda level: (0, float("inf") if level > 0.97 else 2), alphas(2), n=1, unit="pairs", method="m"
    )
    assert spread.at(0.025) is None
    assert spread.at(0.05) == Interval(alpha=0.05, low=0, high=2)


def test_the_hash_of_predictions_sees_every_edit() -> None:
    first = predictions_hash((prediction(),))
    assert first == predictions_hash((prediction(),))
    assert first != predictions_hash((prediction(supported_if=above(1.5)),))
    assert first != predictions_hash((prediction(claim="it is larger"),))
    assert first != predictions_hash((prediction(), prediction("q")))
