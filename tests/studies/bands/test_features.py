"""Which neurons have a counterpart: copies do, noise does not; bands of planted frequencies are found in order."""

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from microtome.studies.bands.controls import NOTHING, RECOVERED, planted_bands
from microtome.studies.bands.features import layer_features
from microtome.studies.bands.summaries import order

DOCUMENTS, ROWS, NEURONS = 20, 32, 24


def noise(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(DOCUMENTS, ROWS, NEURONS, generator=generator)


def mean(frame: pl.DataFrame, column: str) -> float:
    return float(frame[column].to_numpy().mean())


def test_a_permuted_noisy_copy_is_matched() -> None:
    x, order = noise(0), np.random.default_rng(0).permutation(NEURONS)
    found = layer_features(x, x[..., order] + 0.3 * noise(1), rotations=3, seed=0)
    assert found["neuron"].to_list() == list(range(NEURONS))
    assert order[found["match"].to_numpy()].tolist() == list(range(NEURONS))
    assert mean(found, "r") == pytest.approx(1 / np.sqrt(1.09), abs=0.02)
    assert found["excess"].min() > 0.3  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
    np.testing.assert_allclose(found["excess"], found["r"] - found["rotated"])


def test_noise_has_no_counterpart_held_out_but_one_after_procrustes() -> None:
    found = layer_features(noise(0), noise(1), rotations=3, seed=0)
    assert abs(mean(found, "excess")) <= 0.05
    assert abs(mean(found, "r")) <= 0.05
    expected = 8 / (3 * np.pi) * np.sqrt(NEURONS / (DOCUMENTS * ROWS))  # of a rotation fitted to noise
    assert mean(found, "aligned") == pytest.approx(expected, rel=0.15)


def test_a_slow_loop_gives_the_same_matches() -> None:
    x, y = noise(0), noise(1) + 0.5 * noise(0)
    found = layer_features(x, y, rotations=1, seed=0)
    half = DOCUMENTS // 2
    sides = [[part.reshape(-1, NEURONS).double().numpy() for part in (z[:half], z[half:])] for z in (x, y)]
    for i, row in enumerate(found.select("match", "r").to_dicts()):
        r = [np.corrcoef(sides[0][0][:, i], sides[1][0][:, j])[0, 1] for j in range(NEURONS)]
        assert row["match"] == int(np.argmax(r))
        expected = np.corrcoef(sides[0][1][:, i], sides[1][1][:, row["match"]])[0, 1]
        assert row["r"] == pytest.approx(expected)


def test_a_constant_neuron_has_no_match_and_no_numbers() -> None:
    x = noise(0)
    x[..., 3] = 2.0
    row = layer_features(x, noise(1), rotations=1, seed=0).row(3, named=True)
    assert row["match"] == -1
    assert [row[name] for name in ("r", "excess", "centroid")] == [None] * 3


def test_what_was_not_asked_for_is_missing() -> None:
    wide = torch.cat([noise(1), noise(2)], -1)
    found = layer_features(noise(0), wide, rotations=1, seed=0, published=False, spectra=False)
    for name in ("aligned", "centroid", "centroid_published"):
        assert found[name].null_count() == NEURONS
    assert len(found) == NEURONS


@pytest.mark.parametrize("bands", [2, 3, 7])
def test_bands_of_planted_frequencies_are_found_in_order_and_shuffled_ones_are_not(bands: int) -> None:
    rng = np.random.default_rng(0)
    x, band = planted_bands(bands, rng)
    found = layer_features(torch.from_numpy(x), torch.from_numpy(x), rotations=1, seed=0)
    for name in ("centroid", "centroid_published"):
        centroid = found[name].to_numpy()
        means = [centroid[band == one].mean() for one in range(bands)]
        assert means == sorted(means)
        assert order(band, centroid) >= RECOVERED
        shuffled = [order(rng.permutation(band), centroid) for _ in range(200)]
        assert np.quantile(np.abs(shuffled), 0.95) <= NOTHING
        assert abs(np.mean(shuffled)) <= 0.05
