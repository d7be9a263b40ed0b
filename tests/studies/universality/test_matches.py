"""What selection and scoring find in activations whose truth is known."""

import numpy as np
import pytest
import torch

from microtome.measure.pearson import paired_pearson, pearson
from microtome.studies.universality.controls import false_alarms
from microtome.studies.universality.data import Matched
from microtome.studies.universality.selection import rotation
from tests.studies.universality.conftest import Activations, Experiment


class _Config:
    fdr = 0.05
    threshold_excess = 0.5


def correlated_noise(
    rng: np.random.Generator, documents: int, rows: int, neurons: int, topics: int = 30
) -> torch.Tensor:
    """Return noise as activations have it: neurons share directions of falling variance, documents have topics, and
    neighbouring rows are alike."""
    spread = 1 / np.sqrt(1 + np.arange(topics))
    mixing = rng.standard_normal((topics, neurons)) * spread[:, None]
    steps = rng.standard_normal((documents, rows, topics))
    for t in range(1, rows):
        steps[:, t] = 0.6 * steps[:, t - 1] + 0.8 * steps[:, t]
    latent = steps + 0.5 * rng.standard_normal((documents, 1, topics))
    return torch.from_numpy(latent @ mixing + rng.standard_normal((documents, rows, neurons))).float()


def shared(
    rng: np.random.Generator, neurons: int, count: int, documents: int = 60, rows: int = 32
) -> tuple[Activations, np.ndarray]:
    """Return two models' noise, in which ``count`` neurons of each are one sparse signal, and A's partners in B."""
    a, b = (correlated_noise(rng, documents, rows, neurons) for _ in range(2))
    signal = rng.exponential(size=(documents, rows, count)) * (rng.random((documents, rows, count)) < 0.1)
    places = rng.permutation(neurons)[:count], rng.permutation(neurons)[:count]
    for side, own in zip((a, b), places, strict=True):
        scale = side[..., own].std((0, 1))
        side[..., own] += torch.from_numpy(signal / signal.std((0, 1))).float() * 3 * scale
    partners = np.full(neurons, -1)
    partners[places[0]] = places[1]
    return (a, b), partners


def test_200_shared_neurons_among_2000_are_recovered() -> None:
    activations, partners = shared(np.random.default_rng(0), 2000, 200)
    _, _, frame = Experiment(activations).run()
    universal = frame["universal"].to_numpy()
    right = universal & (frame["neuron_b"].to_numpy() == partners)
    assert right.sum() / universal.sum() >= 0.95
    assert right.sum() / 200 >= 0.9


def test_numbers_equal_those_of_direct_computation() -> None:
    rng = np.random.default_rng(1)
    (a, b), _ = shared(rng, 40, 10, documents=24, rows=16)
    selected, scores, frame = Experiment((a, b), layers=2).run(shifts=11)
    half_a, half_b = (side[::2].flatten(0, 1).double().numpy() for side in (a, b))
    r = pearson(half_a, half_b)
    np.testing.assert_array_equal(selected.index[:, 0], r.argmax(1))
    np.testing.assert_allclose(selected.r[:, 0], r.max(1), atol=1e-5)
    np.testing.assert_array_equal(selected.index[:, :3], np.argsort(-r, 1)[:, :3])
    np.testing.assert_array_equal(selected.mutual, r.argmax(0)[r.argmax(1)] == np.arange(40))
    other_a, other_b = (side[1::2].double().numpy() for side in (a, b))
    best = selected.index[:, 0]
    flat = [side.reshape(-1, 40) for side in (other_a, other_b)]
    np.testing.assert_allclose(scores.r, paired_pearson(flat[0], flat[1][:, best]), atol=1e-5)
    for shift in range(1, 12):
        moved = np.roll(other_b, shift, 0).reshape(-1, 40)[:, best]
        np.testing.assert_allclose(scores.null[shift - 1], paired_pearson(flat[0], moved), atol=1e-5)
    for draw in range(2):
        turned = [side @ rotation(0, draw, 20).double().numpy() for side in np.split(half_b, 2, 1)]
        of_half = pearson(half_a, np.hstack(turned))
        np.testing.assert_array_equal(selected.turned[draw], of_half.argmax(1))
        other = np.hstack([side @ rotation(0, draw, 20).double().numpy() for side in np.split(flat[1], 2, 1)])
        np.testing.assert_allclose(
            scores.rotated[draw], paired_pearson(flat[0], other[:, of_half.argmax(1)]), atol=1e-5
        )
    whole = scores.over(lambda excess: float(excess.mean()))(np.arange(len(scores.rows))[None])
    np.testing.assert_allclose(whole, scores.excess.mean(), atol=1e-6)
    firing = (np.abs(flat[0]) > np.sqrt((half_a**2).mean(0))).mean(0)
    np.testing.assert_allclose(frame["firing"], firing, atol=0.02)


def test_residuals_equal_a_regression_on_words_and_positions() -> None:
    (a, b), _ = shared(np.random.default_rng(2), 20, 5, documents=20, rows=16)
    selected, scores, _ = Experiment((a, b)).run(shifts=9)
    x, y = (side[1::2].flatten(0, 1).double().numpy() for side in (a, b))
    n = len(x)
    design = np.hstack([np.eye(5)[np.arange(n) % 5], np.eye(16)[np.arange(n) % 16]])

    def left(z: np.ndarray) -> np.ndarray:
        return z - design @ np.linalg.lstsq(design, z, rcond=None)[0]

    expected = paired_pearson(left(x), left(y[:, selected.index[:, 0]]))
    np.testing.assert_allclose(scores.residual, expected, atol=1e-5)


def test_exchanged_documents_give_at_most_the_declared_rate() -> None:
    """Two models with nothing in common but their statistics: 50 draws."""
    found = 0
    for draw in range(50):
        rng = np.random.default_rng([3, draw])
        activations = tuple(correlated_noise(rng, 40, 16, 150) for _ in range(2))
        _, _, frame = Experiment(activations).run()  # type: ignore[arg-type]
        found += bool(frame["matched"].any())
    assert found <= 6, "5 % of 50, and three standard deviations more"


def test_each_shift_alone_raises_no_alarm_beside_the_others() -> None:
    activations, _ = shared(np.random.default_rng(4), 300, 60)
    selected, scores, frame = Experiment(activations).run()
    assert frame["universal"].sum() > 40
    alarms = false_alarms(_Config(), Matched(frame, selected, scores, frame))  # type: ignore[arg-type]
    assert (alarms == 0).all()


def test_dead_neurons_are_reported_and_never_matched() -> None:
    (a, b), _ = shared(np.random.default_rng(5), 30, 10)
    a[..., 3] = 0.25
    b[..., 7] = 0.0
    selected, _, frame = Experiment((a, b)).run(shifts=14)
    assert np.flatnonzero(frame["dead"]).tolist() == [3]
    assert frame["r"][3] is None
    assert frame["layer_b"][3] is None
    assert not frame["matched"][3]
    assert 7 not in selected.index[:, 0]
    assert 7 not in selected.assigned
    assert selected.assigned[3] == -1


@pytest.mark.parametrize("at_once", [1, 2])
def test_stripes_join_to_what_one_pass_finds(at_once: int) -> None:
    activations, _ = shared(np.random.default_rng(6), 60, 20, documents=24, rows=16)
    experiment = Experiment(activations, layers=3)
    whole, parts = experiment.select(), experiment.select(at_once)
    for name in ("index", "mutual", "assigned"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), err_msg=name)
    for name in ("r", "rotated", "turned", "turned_sd", "mean_a", "sd_a", "mean_b", "sd_b"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-6, err_msg=name)
