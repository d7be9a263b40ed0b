"""Sizes are compared by layer: what a norm vector cannot hold, its layer does not show."""

import pytest

from microtome.studies.stability.matching import mismatch, remarks

WANTED = {
    "gpt_neox.embed_in.weight": 3.0,
    "gpt_neox.layers.0.mlp.weight": 4.0,
    "gpt_neox.layers.0.norm.weight": 0.003,
    "gpt_neox.layers.1.mlp.weight": 2.0,
    "gpt_neox.layers.10.mlp.weight": 1.0,
}


def test_the_worst_layer_counts() -> None:
    assert mismatch(WANTED, WANTED) == 0
    got = WANTED | {"gpt_neox.layers.10.mlp.weight": 1.1, "gpt_neox.layers.1.mlp.weight": 1.9}
    assert mismatch(got, WANTED) == pytest.approx(0.1)
    outside = WANTED | {"gpt_neox.embed_in.weight": 2.4}
    assert mismatch(outside, WANTED) == pytest.approx(0.2)


def test_a_small_tensor_that_missed_is_said() -> None:
    got = WANTED | {"gpt_neox.layers.0.norm.weight": 0.006}
    assert mismatch(got, WANTED) < 1e-6
    assert list(remarks(got, WANTED)) == [
        "the precision holds no step of that size in 1 tensor of few weights"
    ]
    assert list(remarks(WANTED, WANTED)) == []


def test_tensors_that_do_not_move_are_said_and_not_counted() -> None:
    got = WANTED | {"gpt_neox.embed_in.weight": 0.0}
    assert mismatch(got, WANTED) == 0
    assert list(remarks(got, WANTED)) == ["the input leaves 1 tensor unmoved"]
    assert list(remarks(got, got)) == []  # neither moves


def test_an_arm_that_moves_nothing_matches_nothing() -> None:
    assert mismatch(dict.fromkeys(WANTED, 0.0), WANTED) == 1.0
