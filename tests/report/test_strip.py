import pytest

from microtome.lab.estimate import Estimate, Null
from microtome.lab.prediction import Prediction, Region, above, below, between, outside
from microtome.lab.verdict import decide
from microtome.report.strip import Strip, strip


def lay_out(supported: Region, falsified: Region, estimate: Estimate) -> Strip:
    prediction = Prediction(
        id="p",
        claim="c",
        estimand="e",
        scale="nats",
        supported_if=supported,
        falsified_if=falsified,
        source="added",
    )
    (verdict,) = decide([prediction], {"p": estimate}, {})
    return strip(prediction, verdict)


def estimate(value: float, low: float, high: float, center: float | None = None) -> Estimate:
    null = None if center is None else Null(description="n", p=0.01, smallest_p=0.01, center=center)
    return Estimate.with_intervals(
        value,
        lambda _: (low, high),
        [0.05],
        n=9,
        unit="pairs",
        method="m",
        null=null,
    )


def test_positions_keep_the_order_of_the_numbers() -> None:
    drawn = lay_out(above(2.0), below(1.0), estimate(3.0, 2.5, 3.5, center=0.0))
    assert drawn.interval is not None
    assert drawn.value is not None
    assert drawn.null is not None
    (supported,), (falsified,) = drawn.supported, drawn.falsified
    assert (
        0
        == falsified.left
        < drawn.null
        < falsified.left + falsified.width
        < supported.left
        < drawn.interval.left
    )
    assert drawn.interval.left < drawn.value < drawn.interval.left + drawn.interval.width < 100
    assert supported.left + supported.width == pytest.approx(100)


def test_a_linear_scale_by_hand() -> None:
    drawn = lay_out(between(0.0, 1.0), outside(-1.0, 2.0), estimate(0.5, 0.25, 0.75))
    scale = 100 / (3 * 1.36)  # edges from -1 to 2, and 18 % of room on both sides
    assert drawn.value == pytest.approx((0.5 + 1 + 0.54) * scale)
    assert drawn.interval is not None
    assert drawn.interval.width == pytest.approx(0.5 * scale)
    assert len(drawn.falsified) == 2
    assert [t.label for t in drawn.ticks] == ["−1", "0", "1", "2"]


def test_an_undefined_estimate_still_shows_its_regions() -> None:
    drawn = lay_out(above(0.0), below(0.0), Estimate.missing("all constant", n=3, unit="pairs", method="m"))
    assert drawn.interval is None
    assert drawn.value is None
    assert drawn.supported
    assert drawn.falsified
    assert drawn.label == "No interval; supported if > 0; falsified if < 0."


def test_ticks_that_would_print_over_each_other_are_left_out() -> None:
    drawn = lay_out(above(0.0001), below(0.0), estimate(5.0, 4.0, 6.0))
    assert [t.label for t in drawn.ticks] == ["0"]
