import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from microtome.measure.variance import one_way, two_way

shapes = st.tuples(st.integers(2, 5), st.integers(2, 5), st.integers(2, 6))
seeds = st.integers(0, 2**32 - 1)


@given(shapes, seeds)
def test_parts_add_up_to_the_sum_of_squares_about_the_mean(shape, seed):
    x = np.random.default_rng(seed).normal(size=shape) + 10
    parts = two_way(x)
    total = np.square(x - x.mean((0, 1))).sum()
    np.testing.assert_allclose(parts.total, total)
    np.testing.assert_allclose(parts.label_share + parts.pair_share + parts.interaction_share, 1)
    labels = np.tile(np.arange(shape[1]), shape[0])
    simple = one_way(x.reshape(-1, shape[2]), labels)
    np.testing.assert_allclose([simple.total, simple.between], [total, parts.label])


@given(shapes, seeds)
def test_shares_do_not_change_under_rotation_shift_and_scale(shape, seed):
    x = np.random.default_rng(seed).normal(size=shape)
    turned = 3 * x @ ortho_group.rvs(shape[2], random_state=seed) + 7
    for part in ("label_share", "pair_share", "interaction_share"):
        np.testing.assert_allclose(getattr(two_way(turned), part), getattr(two_way(x), part), atol=1e-10)


def test_sums_of_squares_are_those_of_statsmodels():
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    x = np.random.default_rng(0).normal(size=(4, 3, 1))
    p, t = np.indices((4, 3)).reshape(2, -1)
    data = pd.DataFrame({"y": x.ravel(), "t": t, "p": p})
    table = np.asarray(anova_lm(ols("y ~ C(t) + C(p)", data).fit())["sum_sq"])
    parts = two_way(x)
    np.testing.assert_allclose([parts.label, parts.pair, parts.interaction], table)


def test_planted_effects_are_found_where_they_are():
    rng = np.random.default_rng(1)
    label, pair = rng.normal(size=(1, 4, 5)), rng.normal(size=(6, 1, 5))
    assert two_way(label + np.zeros((6, 1, 1))).label_share == pytest.approx(1)
    assert two_way(pair + np.zeros((1, 4, 1))).pair_share == pytest.approx(1)
    assert two_way(label + pair).interaction_share == pytest.approx(0, abs=1e-12)


def test_share_by_chance_is_what_noise_shows():
    parts = two_way(np.random.default_rng(2).normal(size=(4000, 6, 4, 3)))
    assert parts.label_share.mean() == pytest.approx(parts.label_share_by_chance, rel=0.02)
    assert parts.label_share_by_chance == 3 / 23


def test_equal_vectors_have_no_shares():
    x = np.full((3, 2, 4), 0.1)
    assert np.isnan(two_way(x).label_share)
    assert np.isnan(one_way(x.reshape(6, 4), np.arange(6) % 2).between_share)


def test_one_way_of_unequal_groups_agrees_with_a_loop_in_each_layer():
    rng = np.random.default_rng(3)
    x, labels = rng.normal(size=(2, 7, 3)), np.array([5, 1, 1, 5, 5, 8, 5])
    parts = one_way(x, labels)
    for layer in range(2):
        within = sum(
            np.square(x[layer, labels == g] - x[layer, labels == g].mean(0)).sum() for g in np.unique(labels)
        )
        assert parts.within[layer] == pytest.approx(within)
        assert parts.total[layer] == pytest.approx(np.square(x[layer] - x[layer].mean(0)).sum())


def test_labels_must_match():
    with pytest.raises(ValueError, match=r"one group for each of 4 items, got groups of the shape \(3,\)"):
        inspect.unwrap(one_way)(np.zeros((4, 2)), np.arange(3))
