import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.measure.choice import correctness
from microtome.measure.steering import (
    calibrated,
    echo_correctness,
    forced_choice,
    share_of_ceiling,
    specific_effect,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_specific_effect_leaves_out_what_moves_all_answers():
    base, elsewhere = rng(0).normal(size=(2, 6, 4))
    np.testing.assert_allclose(specific_effect(base + 3, base, elsewhere + 3, elsewhere), 0, atol=1e-12)
    np.testing.assert_allclose(specific_effect(base + 3, base, elsewhere + 1, elsewhere), 2)
    assert (specific_effect(base, base, elsewhere, elsewhere) == 0).all()


def test_share_of_ceiling_is_a_ratio_of_means_over_pairs():
    g = rng(1)
    ceiling = g.normal(4, 1, size=(12, 3))
    effect = 0.25 * ceiling + 0.01 * g.normal(size=(12, 3))
    result = share_of_ceiling(effect, ceiling, g)
    assert result.n == 12
    assert result.value == pytest.approx(effect.mean() / ceiling.mean())
    low, high = result.interval()
    assert 0.24 < low < 0.25 < high < 0.26  # effect and ceiling vary together, so their ratio hardly varies


def test_a_share_of_a_ceiling_that_is_not_there_is_undefined():
    g = rng(2)
    result = share_of_ceiling(g.normal(1, 1, 12), g.normal(0, 1, 12), g)
    assert "the ceiling is positive in only" in str(result.undefined)
    assert np.isnan(result.interval()).all()
    assert "97.5%" in str(share_of_ceiling(g.normal(1, 1, 12), g.normal(-5, 1, 12), g).undefined)


def test_calibration_removes_what_favours_an_answer_under_every_prompt():
    logp = rng(3).normal(size=(2, 5, 4, 4))
    favour = 10 * rng(4).normal(size=(2, 5, 1, 4))
    np.testing.assert_allclose(calibrated(logp + favour), calibrated(logp), atol=1e-12)
    np.testing.assert_allclose(calibrated(logp).mean(-2), 0, atol=1e-12)


def test_forced_choice_sees_through_a_favourite_number():
    logp = rng(5).normal(size=(30, 4, 4)) * 0.1 + np.eye(4) - 8 * (np.arange(4) != 2)
    assert correctness(forced_choice(logp, calibrate=False)).mean() == 0.25  # always the favourite
    assert correctness(forced_choice(logp)).mean() == 1


def test_forced_choice_is_exactly_chance_when_the_prompt_does_not_matter():
    logp = np.broadcast_to(rng(6).normal(size=(7, 1, 5)), (7, 5, 5)).copy()
    np.testing.assert_array_equal(correctness(forced_choice(logp)), 0.2)


def test_forced_choice_is_at_chance_on_noise():
    right = correctness(forced_choice(rng(7).normal(size=(3000, 5, 5)))).mean(1)
    assert abs(right.mean() - 0.2) < 4 * right.std() / np.sqrt(3000)


def test_two_tasks_with_one_answer_share_the_vote():
    smallest_is_largest = np.array([[[-1.0, -1, -6], [-1, -1, -6], [-6, -6, -2]]])
    assert correctness(forced_choice(smallest_is_largest))[0].tolist() == [0.5, 0.5, 1]


def test_an_undefined_answer_is_not_offered():
    logp = rng(9).normal(size=(4, 3, 3)) * 0.1 + np.eye(3)
    logp[1, 0, 2] = np.nan
    cast = forced_choice(logp)
    assert np.isnan(cast[1, :, 2]).all()
    assert correctness(cast)[1, :2].tolist() == [1, 1]
    assert np.isnan(correctness(cast)[1, 2])
    assert (correctness(cast)[[0, 2, 3]] == 1).all()


@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_echo_is_right_where_the_answer_is_that_operand(pairs, seed):
    operands = rng(seed).integers(0, 6, size=(pairs, 2))
    answers = np.stack([operands.min(1), operands.max(1), operands.sum(1)], 1)
    for position in (0, 1):
        slow = [[float(answer == operands[p, position]) for answer in answers[p]] for p in range(pairs)]
        np.testing.assert_array_equal(echo_correctness(operands, answers, position), slow)
    assert (echo_correctness(operands, answers)[:, :2].sum(1) >= 1).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: inspect.unwrap(specific_effect)(np.ones(3), np.ones(3), np.ones(2), np.ones(3)),
            r"four arrays of one shape, got \[\(3,\), \(3,\), \(2,\), \(3,\)\]",
        ),
        (lambda: share_of_ceiling(np.ones(3), np.ones(2), rng()), r"of one shape, got \(3,\) and \(2,\)"),
        (
            lambda: forced_choice(np.ones((4, 3, 2))),
            r"labels, labels\] with at least 2 labels, got \(4, 3, 2\)",
        ),
        (lambda: forced_choice(np.ones((4, 1, 1))), r"at least 2 labels, got \(4, 1, 1\)"),
        (
            lambda: echo_correctness(np.ones((3, 2), int), np.ones((2, 4), int)),
            "operands and answers of the same pairs, got 3 and 2",
        ),
        (
            lambda: echo_correctness(np.ones((3, 2), int), np.ones((3, 4), int), 2),
            "an operand position from 0 to 1, got 2",
        ),
    ],
)
def test_bad_input_is_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
