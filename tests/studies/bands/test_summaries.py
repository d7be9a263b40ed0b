"""What each model comes to, against closed forms and slow loops."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from microtome.studies.bands import summaries
from microtome.studies.bands.config import BandsConfig
from microtome.studies.bands.data import Data, best_scale
from microtome.studies.bands.estimates import Contrast, values_of
from microtome.studies.bands.plan import partner, seeds

WORTHS = arrays.arrays(float, st.tuples(st.integers(1, 4), st.integers(2, 6)), elements=st.floats(-0.1, 0.3))


def slow_settled(worth: np.ndarray) -> list[float]:
    found = []
    for row in worth:
        first = len(row) - 1
        while first > 0 and abs(row[first - 1] - row[-1]) <= summaries.NEAR * abs(row[-1]):
            first -= 1
        found.append(float(first) if row[-1] > summaries.WORTH else float("nan"))
    return found


@given(WORTHS)
def test_settled_is_the_start_of_the_last_stretch_near_the_last_value(worth: np.ndarray) -> None:
    np.testing.assert_array_equal(summaries.settled(worth), slow_settled(worth))


def test_settled_in_words() -> None:
    rows = [[0.1] * 4, [0, 0.1, 0.1, 0.1], [0.1, 0, 0.1, 0.1], [0, 0, 0, 0.1], [0.1, 0.1, 0, 0.004]]
    np.testing.assert_array_equal(summaries.settled(np.array(rows)), [0, 1, 2, 3, np.nan])


def test_a_band_groks_if_held_out_text_takes_twice_as_long() -> None:
    after = {k: [0.0] * k + [0.1] * (8 - k) for k in range(8)}
    train = np.array([after[0], after[0], after[2], after[2], after[3], [0.0] * 8])
    held_out = np.array([after[1], after[2], after[3], after[4], after[3], after[2]])
    np.testing.assert_array_equal(summaries.grokked(train, held_out), [0, 1, 0, 1, 0, np.nan])


def test_roughness_is_that_of_the_noise_whatever_the_slope() -> None:
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.standard_normal(20_000)
    for slope in (0.0, -1e-3, 2e-3):
        assert summaries.roughness(slope * np.arange(20_000) + noise) == pytest.approx(0.05, rel=0.03)
    assert summaries.roughness(np.array([9.0, 9.0, 1.0, 2.0, 4.0])) == pytest.approx(0.5)  # of steps 1 and 2
    assert np.isnan(summaries.roughness(np.array([1.0, 2.0, 3.0, 4.0])))


def test_order_is_spearmans_and_undefined_of_nothing_to_order() -> None:
    band = np.repeat(np.arange(4), 5)
    assert summaries.order(band, band / 10) == pytest.approx(1)
    assert summaries.order(band, -(band**3.0)) == pytest.approx(-1)
    rng = np.random.default_rng(0)
    centroid = rng.random(20)
    ranks = [np.mean([(x > band).sum() + ((x == band).sum() + 1) / 2]) for x in band]
    expected = np.corrcoef(ranks, centroid.argsort().argsort())[0, 1]
    assert summaries.order(band, centroid) == pytest.approx(expected)
    missing = np.append(centroid, [np.nan] * 3)
    assert summaries.order(np.append(band, [0, 0, 0]), missing) == pytest.approx(expected)
    for undefined in (np.full(20, np.nan), np.full(20, 0.2)):
        assert np.isnan(summaries.order(band, undefined))
    assert np.isnan(summaries.order(np.zeros(20), centroid))


@pytest.mark.parametrize(("bands", "low"), [(2, 1), (3, 1), (4, 2), (5, 2), (7, 3), (14, 6)])
def test_slow_bands_are_the_originals_share(bands: int, low: int) -> None:
    assert summaries.low_bands(bands) == low


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_jaccard(a: set[int], b: set[int]) -> None:
    masks = (np.isin(np.arange(10), list(one)) for one in (a, b))
    expected = len(a & b) / len(a | b) if a | b else float("nan")
    assert summaries._jaccard(*masks) == pytest.approx(expected, nan_ok=True)


def losses(rows: Sequence[tuple[int, float, float | None]]) -> pl.DataFrame:
    """A table of one arm's ``(seed, scale, loss)``; no loss where the model diverged."""
    curves = []
    for seed, scale, loss in rows:
        keys = {"arm": "full", "seed": seed, "scale": scale, "band": None}
        values = {"held_out": loss, "train": loss and loss - 0.25}
        curves += [
            {**keys, "table": "evaluations", "step": step, "name": name, "value": value}
            for step in (0, 9)
            for name, value in (values if step else {"held_out": 7.0, "train": 7.0}).items()
            if value is not None
        ]
        if loss is None:
            curves.append({**keys, "table": "status", "step": 5, "name": "diverged", "value": 1.0})
    return pl.DataFrame(curves, infer_schema_length=None).cast({"band": pl.Int64})


SWEEP = [(0, 1.0, 3.0), (1, 1.0, 3.2), (2, 1.0, 1.0), (0, 2.0, 2.9), (1, 2.0, 3.0), (2, 2.0, 2.8)]


def test_a_seeds_loss_is_read_at_the_scale_that_the_others_choose() -> None:
    data = Data(losses(SWEEP), pl.DataFrame(), pl.DataFrame())
    assert data.chosen == {"full": 1.0}, "the mean over all seeds"
    found = {(seed, name): value for _, seed, name, value in summaries._losses(data)}
    assert [found[seed, "loss"] for seed in range(3)] == [3.0, 3.2, 2.8]  # without seed 2, scale 2 is best
    assert found[0, "gap"] == pytest.approx(0.25)


def test_a_scale_at_which_a_model_diverged_is_passed_over() -> None:
    frame = Data(losses([*SWEEP[:2], (2, 1.0, None), *SWEEP[3:]]), pl.DataFrame(), pl.DataFrame())
    assert best_scale(frame.losses) == 2.0
    assert frame.losses.filter("diverged")["held_out"].to_list() == [None]
    assert best_scale(Data(losses([(0, 1.0, None)]), pl.DataFrame(), pl.DataFrame()).losses) is None


def test_a_contrast_is_paired_by_seed() -> None:
    rows = [("full", 0, 3.0), ("full", 1, None), ("full", 2, 5.0), ("baseline", 2, 4.0), ("baseline", 1, 1.0)]
    table = pl.DataFrame(
        [(arm, seed, "loss", value) for arm, seed, value in rows],
        schema=["arm", "seed", "name", "value"],
        orient="row",
    )
    assert values_of(table, Contrast("loss", "full", "baseline")).tolist() == [1.0]
    assert values_of(table, Contrast("loss", "full")).tolist() == [3.0, 5.0]
    assert values_of(table, Contrast("loss", "full", "baseline", log=True)) == pytest.approx([np.log(5 / 4)])


def test_models_are_paired_in_a_ring() -> None:
    config = BandsConfig(seeds=3, seed=40)
    assert list(seeds(config)) == [40, 41, 42]
    assert [partner(config, seed) for seed in seeds(config)] == [41, 42, 40]
