"""The filter bank: causal, complete, its bands in the order of their frequencies; and the MLP that reads through it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from microtome.models.architectures.filter_bank import filters, responses
from tests.models.architectures.variants import built, stream


@pytest.mark.parametrize("bands", [1, 2, 3, 7])
def test_responses_sum_to_the_impulse(bands: int) -> None:
    found = responses(bands, 64)
    assert found.shape == (bands, 64)
    torch.testing.assert_close(found.sum(0), F.one_hot(torch.tensor(0), 64).double(), rtol=0, atol=1e-15)


def test_slow_bands_are_averages_with_half_lives_of_powers_of_two() -> None:
    averages = responses(5, 64).cumsum(0)[:-1]
    for average, half_life in zip(averages, (16, 8, 4, 2), strict=True):
        torch.testing.assert_close(average[half_life:], average[:-half_life] / 2)
        weight = 1 - 0.5 ** (1 / half_life)
        torch.testing.assert_close(average[0].item(), weight)


def test_a_bands_matrix_is_its_response_and_reads_no_later_position() -> None:
    bank, found = filters(4, 9), responses(4, 9)
    assert bank.dtype == torch.float64
    for t in range(9):
        assert (bank[:, t, t + 1 :] == 0).all()
        assert torch.equal(bank[:, t, : t + 1], found[:, : t + 1].flip(-1))


def test_the_frequency_that_a_band_passes_most_rises_with_the_band() -> None:
    gain = torch.fft.rfft(responses(7, 4096)).abs()  # [bands, frequencies]
    peaks = gain.argmax(1)
    assert (peaks.diff() > 0).all()
    assert peaks[0] == 0
    assert peaks[-1] == gain.shape[1] - 1
    frequencies = torch.arange(gain.shape[1]).double()
    centroids = (gain.square() * frequencies).sum(1) / gain.square().sum(1)
    assert (centroids.diff() > 0).all()


def test_the_mlp_is_projections_of_the_filtered_stream() -> None:
    mlp: Any = built("filter bank").model.layers[0].mlp
    x = stream()
    normed, bank = mlp.norm(x), responses(3, x.shape[1])
    neurons = []
    for band, up in enumerate(mlp.up.weights):
        filtered = torch.zeros_like(normed)
        for t in range(x.shape[1]):
            for lag in range(t + 1):
                filtered[:, t] += bank[band, lag] * normed[:, t - lag]
        neurons.append(F.gelu(filtered @ up.T + mlp.up.biases[band]))
    expected = sum(part @ down.T for part, down in zip(neurons, mlp.down.weights, strict=True))
    torch.testing.assert_close(mlp(x), expected + mlp.down.biases[0], rtol=1e-5, atol=1e-6)
