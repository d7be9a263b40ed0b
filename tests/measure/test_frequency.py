"""Spectra of activations: against loops, scipy and closed forms (sinusoids, noise, Parseval); constants; bands."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import periodogram

from microtome.measure import frequency
from microtome.measure.frequency import (
    band_shares,
    dc_share,
    frequencies,
    power_spectrum,
    septiles,
    spectral_centroid,
)

seeds = st.integers(0, 2**32 - 1)


def drawn(seed=0, samples=3, positions=8, neurons=4, mean=0.0):
    x = np.random.default_rng(seed).normal(size=(samples, positions, neurons))
    return torch.from_numpy(x + mean)


def sinusoid(cycles, positions=32):
    """Neurons that are one pure wave each, with so many cycles in all positions, in two phases."""
    t = torch.arange(positions, dtype=torch.float64)[:, None]
    angle = 2 * math.pi * t * torch.tensor(cycles) / positions
    return torch.stack([torch.cos(angle), torch.sin(angle + 1)])


def slow_power(x, window, remove_mean):
    """The mean of |X_k|^2 from the definition, one number at a time."""
    samples, positions, neurons = x.shape
    power = np.zeros((positions // 2, neurons))
    for s in range(samples):
        for j in range(neurons):
            values = [float(x[s, t, j]) for t in range(positions)]
            mean = sum(values) / positions if remove_mean else 0.0
            for k in range(positions // 2):
                total = 0j
                for t, value in enumerate(values):
                    weight = math.sin(math.pi * t / positions) ** 2 if window else 1.0
                    total += weight * (value - mean) * np.exp(-2j * math.pi * k * t / positions)
                power[k, j] += abs(total) ** 2 / samples
    return power


@pytest.mark.parametrize("positions", [2, 7, 8])
@pytest.mark.parametrize("window", [None, "hann"])
@pytest.mark.parametrize("remove_mean", [False, True])
def test_power_is_that_of_a_loop(positions, window, remove_mean):
    x = drawn(positions=positions, mean=0.5)
    found = power_spectrum(x, window, remove_mean)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, slow_power(x, window, remove_mean), atol=1e-12)


@pytest.mark.parametrize("window", [None, "hann"])
def test_power_is_scipys_periodogram(window):
    x = drawn(positions=32, mean=3.0)
    _, density = periodogram(
        x.numpy(), window=window or "boxcar", detrend="constant", scaling="spectrum", axis=1
    )
    gain = {None: 32, "hann": 16}[window] ** 2
    sides = np.where(np.arange(16) == 0, 1, 2)[:, None]
    expected = density[:, :16].mean(0) * gain / sides
    np.testing.assert_allclose(power_spectrum(x, window, remove_mean=True), expected, atol=1e-9)


@given(seeds, st.integers(1, 12))
def test_power_of_all_bins_is_the_sum_of_squares(seed, half):
    """Parseval: every bin but DC and Nyquist counts twice."""
    x = drawn(seed, positions=2 * half)
    power = power_spectrum(x).numpy()
    nyquist = np.square(np.einsum("stn,t->sn", x.numpy(), (-1.0) ** np.arange(2 * half))).mean(0)
    whole = 2 * half * x.square().sum(1).mean(0).numpy()
    np.testing.assert_allclose(2 * power.sum(0) - power[0] + nyquist, whole)


@pytest.mark.parametrize("chunk", [1, 64, 1 << 22])
def test_chunks_change_nothing(chunk, monkeypatch):
    x = drawn(samples=7)
    whole = power_spectrum(x)
    monkeypatch.setattr(frequency, "CHUNK", chunk)
    torch.testing.assert_close(power_spectrum(x), whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_activations_are_summed_in_float64(dtype):
    x = drawn(positions=64).to(dtype)
    torch.testing.assert_close(power_spectrum(x), power_spectrum(x.double()), rtol=0, atol=0)


@given(seeds, st.floats(-30, 30))
def test_shares_and_centroids_do_not_depend_on_the_scale(seed, exponent):
    x = drawn(seed, mean=0.3)
    power, scaled = power_spectrum(x), power_spectrum(x * 10**exponent)
    for measure in (lambda p: spectral_centroid(p, True), lambda p: band_shares(p, (0, 0.2, 0.5)), dc_share):
        np.testing.assert_allclose(measure(scaled), measure(power))


@given(seeds, st.floats(-100, 100))
def test_an_offset_changes_nothing_once_the_mean_is_removed(seed, offset):
    x = drawn(seed)
    found, shifted = (power_spectrum(y, "hann", remove_mean=True) for y in (x, x + offset))
    torch.testing.assert_close(shifted, found, rtol=1e-6, atol=1e-9)


def test_a_pure_wave_has_its_own_frequency():
    cycles = [1, 5, 12, 15]
    power = power_spectrum(sinusoid(cycles))
    expected = np.zeros((16, 4))
    expected[cycles, range(4)] = 16**2  # (positions / 2)^2
    np.testing.assert_allclose(power, expected, atol=1e-20)
    for without_dc in (False, True):
        np.testing.assert_allclose(spectral_centroid(power, without_dc), np.array(cycles) / 32)
    np.testing.assert_array_equal(dc_share(power), 0)


def test_hann_gives_a_wave_a_half_amplitude_and_its_neighbours_a_quarter():
    power = power_spectrum(sinusoid([5]), "hann")[:, 0]
    np.testing.assert_allclose(power[3:8] / power[5], [0, 1 / 4, 1, 1 / 4, 0], atol=1e-12)
    assert float(power[5]) == pytest.approx(8**2)


def test_hann_keeps_a_drift_out_of_the_fast_bins():
    drift = torch.linspace(-1, 1, 64).double()[None, :, None]
    fast = [
        band_shares(power_spectrum(drift, window, remove_mean=True), (0, 0.1, 0.5))[1, 0]
        for window in (None, "hann")
    ]
    assert fast[0] > 0.08
    assert fast[1] < 1e-3


@pytest.mark.parametrize("bins", [2, 3, 32])
def test_a_flat_spectrum_has_its_centroid_at_a_quarter(bins):
    flat = torch.ones(bins, 1, dtype=torch.float64)
    assert spectral_centroid(flat, True) == pytest.approx(0.25)
    assert spectral_centroid(flat, False) == pytest.approx((bins - 1) / (4 * bins))


def test_white_noise_is_flat():
    power = power_spectrum(drawn(samples=2000, positions=16, neurons=3))
    np.testing.assert_allclose(power, 16, rtol=0.15)
    np.testing.assert_allclose(spectral_centroid(power, True), 0.25, atol=0.005)


def test_the_published_centroid_measures_the_mean():
    """White noise with mean m: DC has m^2 n + 1 for each 1 of the other n / 2 - 1 bins."""
    n, means = 64, torch.tensor([0.0, 0.5, 1.0, 3.0])
    x = drawn(samples=1000, positions=n, neurons=4) + means
    power = power_spectrum(x)
    others, dc = n / 2 - 1, 1 + n * means.numpy() ** 2
    np.testing.assert_allclose(spectral_centroid(power, False), 0.25 * others / (others + dc), rtol=0.02)
    np.testing.assert_allclose(spectral_centroid(power, True), 0.25, atol=0.005)
    np.testing.assert_allclose(dc_share(power), dc / (others + dc), rtol=0.1)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9, 1e-30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_has_no_power_but_dc(value, dtype):
    x = torch.full((3, 60, 1), value, dtype=dtype)
    assert not power_spectrum(x, remove_mean=True).any()
    power = power_spectrum(x)
    assert not power[1:].any()
    assert np.isnan(spectral_centroid(power, True))
    assert np.isnan(band_shares(power, (0, 0.5))).all()
    if value:
        assert dc_share(power) == pytest.approx(1)
        assert spectral_centroid(power, False) == pytest.approx(0)
    else:
        assert np.isnan(dc_share(power))


def test_a_small_wave_on_a_large_constant_is_not_taken_for_rounding():
    x = 1e6 + 1e-3 * sinusoid([5])
    assert spectral_centroid(power_spectrum(x), True) == pytest.approx(5 / 32, rel=1e-3)


def test_an_odd_number_of_positions_needs_to_be_said():
    x = sinusoid([4], positions=33)
    power = power_spectrum(x)
    assert len(power) == 16, "bin 16 of 0..16 is left out"
    assert spectral_centroid(power, True, positions=33) == pytest.approx(4 / 33)
    assert band_shares(power, (0, 4 / 33, 0.5), positions=33).ravel() == pytest.approx([0, 1])
    np.testing.assert_array_equal(frequencies(16, 33), np.arange(16) / 33)
    with pytest.raises(ValueError, match="expected 17 bins for 34 positions, got 16"):
        spectral_centroid(power, True, positions=34)


def test_band_shares_are_those_of_a_loop():
    power = power_spectrum(drawn(positions=20, mean=2.0))
    edges = (0.05, 0.15, 0.3, 0.45)  # 0.15 and 0.3 are bins; 0.45 is one that is left out
    expected = np.zeros((3, 4))
    for k in range(1, 10):
        for band in range(3):
            if round(20 * edges[band]) <= k < round(20 * edges[band + 1]):
                expected[band] += power[k].numpy()
    np.testing.assert_allclose(band_shares(power, edges), expected / power[1:].sum(0).numpy())


@given(seeds, st.lists(st.floats(0.01, 0.49), max_size=5, unique=True))
def test_bands_that_cover_all_add_up_to_one(seed, inner):
    found = band_shares(power_spectrum(drawn(seed, mean=1.0)), [0.0, *sorted(inner), 0.5])
    np.testing.assert_allclose(np.nansum(found, 0), 1)


def test_rounded_edges_are_their_bins():
    power = power_spectrum(sinusoid([3], positions=10))
    assert band_shares(power, (0.0, 0.1 + 0.2, 0.5)).ravel() == pytest.approx([0, 1])


def test_a_band_without_a_bin_is_undefined():
    found = band_shares(power_spectrum(drawn(positions=8)), (0.0, 0.1, 0.5))
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], 1)


@given(seeds, st.integers(1, 200))
def test_septiles_are_the_classes_between_numpys_percentiles(seed, n):
    centroids = np.random.default_rng(seed).uniform(0, 0.5, n)
    found = septiles(centroids)
    edges = [np.percentile(centroids, 100 * k / 7) for k in range(1, 7)]
    if (n - 1) % 7:  # else an edge is a value, but for rounding
        assert found.tolist() == [sum(c >= edge for edge in edges) for c in centroids]
    assert (np.diff(found[centroids.argsort()]) >= 0).all()
    if n >= 7:
        assert np.ptp(np.bincount(found, minlength=7)) <= 2


def test_undefined_centroids_have_no_band():
    found = septiles(np.array([np.nan, *np.arange(14.0), np.nan]))
    assert found.tolist() == [-1, *np.repeat(np.arange(7), 2), -1]
    assert septiles(np.array([np.nan])).tolist() == [-1]
    assert septiles(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("shape", [(0, 8, 2), (3, 1, 2)])
def test_nothing_to_transform_is_refused(shape):
    with pytest.raises(ValueError, match="expected at least 1 sample of 2 positions, got"):
        power_spectrum(torch.zeros(shape))


@pytest.mark.usefixtures("unchecked")
def test_unknown_windows_are_refused():
    with pytest.raises(ValueError, match="expected the window 'hann' or None, got 'bartlett'"):
        power_spectrum(torch.zeros(1, 4, 1), "bartlett")  # type: ignore[arg-type]


@pytest.mark.parametrize("edges", [(), (0.1,), (0.0, 0.2, 0.2), (0.3, 0.1), (0.0, math.nan)])
def test_edges_must_ascend(edges):
    with pytest.raises(ValueError, match="expected at least 2 ascending edges, got"):
        band_shares(torch.ones(4, 1), edges)
