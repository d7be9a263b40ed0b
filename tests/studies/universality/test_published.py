"""The original's numbers against its procedures written as loops over numpy arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ot
import polars as pl
import pytest
import torch

from microtome.lab.seeds import stream
from microtome.measure.rotations import random_rotation
from microtome.studies.universality import published
from microtome.studies.universality.config import UniversalityConfig
from microtome.studies.universality.protocol import aligned_words, evidence_words, level_words
from microtome.studies.universality.readings import published_reading
from microtome.studies.universality.thresholds import action_quanta, basic_quanta

SAMPLES, LENGTH, A, B = 30, 16, 12, 15


@pytest.fixture(scope="module")
def activations() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((SAMPLES, LENGTH, 4))

    def side(neurons: int) -> torch.Tensor:
        noise = rng.standard_normal((SAMPLES, LENGTH, neurons)) * rng.uniform(0.5, 2, neurons)
        return torch.from_numpy(shared @ rng.standard_normal((4, neurons)) + noise + 0.5).float()

    return side(A), side(B)


def flat(x: torch.Tensor) -> np.ndarray:
    return x.flatten(0, 1).double().numpy()


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def test_the_basic_version(activations: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = activations
    frame = published.neurons_of(x, y, np.full(A, 0.5), rotations=3, seed=7, layer=4)
    a, b = flat(x), flat(y)[:, :A]
    for i in range(A):
        rotated = []
        for draw in range(3):
            q = random_rotation(A, stream(7, "same index", 4, draw)).numpy()
            rotated.append(correlation(a[:, i], (b @ q)[:, i]))
        r = correlation(a[:, i], b[:, i])
        assert frame["r"][i] == pytest.approx(r, abs=1e-6)
        assert frame["excess"][i] == pytest.approx(r - np.mean(rotated), abs=1e-6)


def test_the_aligned_version(activations: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = activations
    found, aligned = published.numbers_of(x, y, held_out=True)
    a, b = flat(x), flat(y)
    ca, cb = a - a.mean(0), b - b.mean(0)
    cka = np.linalg.norm(ca.T @ cb) ** 2 / np.linalg.norm(ca.T @ ca) / np.linalg.norm(cb.T @ cb)
    assert found.cka == pytest.approx(cka, abs=1e-8)
    u, _, v = np.linalg.svd(ca.T @ cb[:, :A])
    rotated = ca @ (u @ v)
    expected = [correlation(rotated[:, j], cb[:, j]) for j in range(A)]
    np.testing.assert_allclose(aligned, expected, atol=1e-8)
    assert found.procrustes_mean == pytest.approx(np.mean(expected), abs=1e-8)
    error = np.linalg.norm(rotated - cb[:, :A]) / np.linalg.norm(cb[:, :A])
    assert found.procrustes_error == pytest.approx(error, abs=1e-8)
    r = np.array([[abs(correlation(a[:, i], b[:, j])) for j in range(B)] for i in range(A)])
    cost = ot.emd2(np.full(A, 1 / A), np.full(B, 1 / B), 1 - r)
    assert found.transport_cost == pytest.approx(cost, abs=1e-8)


def test_held_out_numbers_are_left_out_where_they_are_not_asked_for(
    activations: tuple[torch.Tensor, torch.Tensor],
) -> None:
    found, _ = published.numbers_of(*activations, held_out=False)
    assert np.isnan([found.held_out_mean, found.held_out_r2, found.ridge_mean, found.ridge_r2]).all()


def test_spectra_are_the_originals(activations: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = activations
    frame = published.neurons_of(x, y, np.full(A, 0.5), rotations=1, seed=0, layer=0)
    for name, side in (("a", x), ("b", y)):
        for i in range(A):
            power = np.mean([np.abs(np.fft.fft(sample)) ** 2 for sample in side[..., i].double().numpy()], 0)
            half, f = power[: LENGTH // 2], np.fft.fftfreq(LENGTH)[: LENGTH // 2]
            assert frame[f"centroid_{name}"][i] == pytest.approx((f * half).sum() / half.sum(), rel=1e-6)


def test_the_three_threshold_rules() -> None:
    rng = np.random.default_rng(0)
    r = rng.random(200)
    frame = pl.DataFrame({"layer": np.repeat([3, 5], 100), "aligned": r, "excess": r - 0.4})
    config = UniversalityConfig(fixed=0.6, percentile=90, aq_threshold=0.25)
    halves = r.reshape(2, 100)
    rules: dict[str, Callable[[np.ndarray], Any]] = {
        "statistical": lambda x: x > x.mean() + 2 * x.std(),
        "percentile": lambda x: x > np.percentile(x, 90),
        "fixed": lambda x: x > 0.6,
    }
    for kind, rule in rules.items():
        expected = np.concatenate([rule(half) for half in halves])
        np.testing.assert_array_equal(action_quanta(config, frame, kind), expected)
    np.testing.assert_array_equal(basic_quanta(config, frame), r - 0.4 > 0.25)


def test_the_originals_words() -> None:
    assert [evidence_words(p).split(" evidence")[0] for p in (25, 13.4, 7, 3)] == [
        "VERY STRONG", "STRONG", "MODERATE", "WEAK",
    ]  # fmt: skip
    assert [level_words(x) for x in (0.718, 0.529, 0.3)] == ["HIGH", "MODERATE", "LOW"]
    verdicts = [
        aligned_words(0.6, 0.06),
        aligned_words(0.6, 0.04),
        aligned_words(0.2, 0.03),
        aligned_words(0.2, 0.01),
    ]
    assert verdicts == ["STRONG", "MODERATE", "MODERATE", "WEAK"]


def test_random_tokens_leave_out_both_ends_of_the_vocabulary(
    tiny_model: Callable[..., Path], pair_options: dict[str, Any]
) -> None:
    config = UniversalityConfig(**pair_options)
    reading = published_reading(config, "planted", "random")
    assert len(reading) == 20
    assert reading.rows == 16
    assert reading.positions[0][0, 0] == 0, "the original keeps position 0"
    again = published_reading(config, "planted", "random")
    np.testing.assert_array_equal(reading.tokens[0], again.tokens[0])
    text = published_reading(config, "planted", "text")
    assert {len(ids) for ids in text.tokens[0]} == {16}
