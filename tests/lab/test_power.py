"""Power: the null is supported at most as often as the level says, the effect at least as often as stated."""

import pytest
from statsmodels.stats.proportion import proportion_confint
from tests.lab.toy import STUDY, ToyConfig

from microtome.lab.power import clopper_pearson, power

DRAWS = 100


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (17, 400)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_exact_bounds_against_statsmodels(k: int, n: int, level: float) -> None:
    assert clopper_pearson(k, n, level) == pytest.approx(proportion_confint(k, n, 1 - level, method="beta"))


def test_power_of_the_toy() -> None:
    table = power(STUDY, ToyConfig(), draws=DRAWS)
    shifted, large = table.iter_rows(named=True)
    assert shifted["planted"] == "a mean of 1.5"
    assert shifted["draws"] == DRAWS
    # Under the null the mean is 0.5, at the edge of both regions: each side in at most half of 5 %.
    assert shifted["low_null"] <= 0.05
    assert shifted["supported_null"] + shifted["falsified_null"] <= 0.05 + 0.06
    assert shifted["supported_effect"] > 0.95
    assert shifted["low_effect"] < shifted["power"] < shifted["supported_effect"] <= shifted["high_effect"]
    # A mean of 1.5 is not above 3: falsified, whatever is planted for the other claim.
    assert (large["supported_effect"], large["falsified_effect"], large["power"]) == (0, 1, 0)


def test_a_fresh_simulation_reaches_the_power_that_is_stated() -> None:
    stated = power(STUDY, ToyConfig(size=2), draws=DRAWS)["power"][0]
    fresh = power(STUDY, ToyConfig(size=2), draws=DRAWS, root_seed=1)["supported_effect"][0]
    assert 0.3 < stated <= fresh < 1


def test_the_same_seed_gives_the_same_table() -> None:
    first = power(STUDY, ToyConfig(size=2), draws=10)
    assert first.equals(power(STUDY, ToyConfig(size=2), draws=10))
    assert not first.equals(power(STUDY, ToyConfig(size=2), draws=10, root_seed=5))


def test_a_stricter_level_supports_less() -> None:
    loose = power(STUDY, ToyConfig(size=4), draws=50, alpha=0.2)["supported_effect"][0]
    strict = power(STUDY, ToyConfig(size=4), draws=50, alpha=0.001)["supported_effect"][0]
    assert strict < loose
