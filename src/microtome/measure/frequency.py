"""How fast neurons change along tokens: power spectra, their centroids, and shares of frequency bands.

As published, a spectrum keeps its constant part (DC) and has no window, and its centroid is then mostly a measure of
the mean. White noise with mean m and deviation 1 has ``1 + n m^2`` in DC for each 1 of the other bins: over n = 64
positions the centroid is .25 for m = 0, .16 for m = .5 and .08 for m = 1, though all three are equally fast. The
controlled spectrum removes each sample's mean and takes a Hann window, its centroid leaves DC out, and the share of DC
is reported beside it.

A spectrum is a torch tensor, because the activations are large and may lie on a GPU; everything after it is numpy.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from microtome.measure.variance import share

ROUNDING = 1e-28
"""Power of a bin below this share of the whole is rounding of float64."""
CHUNK = 1 << 22
"""Values taken to float64 together."""


def power_spectrum(
    x: Float[Tensor, "samples positions neurons"],
    window: Literal["hann"] | None = None,
    remove_mean: bool = False,
) -> Float[Tensor, "bins neurons"]:
    """Return the mean over samples of ``|sum_t w_t x_t exp(-2 pi i k t / positions)|^2``, in float64.

    The bins are the original experiment's, ``k = 0 .. positions // 2 - 1``: DC is kept and the highest, of an even
    number of positions the Nyquist frequency, left out. The spectrum of all samples is the mean of those of equal
    batches. Power that is only rounding is 0, so that a constant has none outside DC.

    Args:
        x: Activations of any floating type.
        window: ``"hann"`` is ``w_t = sin^2(pi t / positions)``, which keeps drifts out of the fast bins; None is 1.
        remove_mean: Subtract the mean of each sample first. A window brings some of the slow bins back into DC.

    Raises:
        ValueError: no samples, fewer than 2 positions, or an unknown window.
    """
    samples, positions, neurons = x.shape
    if not samples or positions < 2:
        raise ValueError(f"expected at least 1 sample of 2 positions, got {samples} of {positions}")
    if window not in ("hann", None):
        raise ValueError(f"expected the window 'hann' or None, got '{window}'")
    taper = torch.hann_window(positions, dtype=torch.float64, device=x.device)[:, None] if window else 1.0
    power = torch.zeros(positions // 2, neurons, dtype=torch.float64, device=x.device)
    whole = torch.zeros_like(power[0])
    for part in x.split(max(1, CHUNK // max(1, positions * neurons))):
        part = part.double()
        whole += positions * part.square().sum((0, 1))
        if remove_mean:
            part = part - part.mean(1, keepdim=True)
        transform = torch.fft.rfft(part * taper, dim=1)[:, : len(power)]
        power += torch.view_as_real(transform).square().sum((0, -1))
    return power.masked_fill(power <= ROUNDING * whole, 0) / samples


def frequencies(bins: int, positions: int | None = None) -> Float[np.ndarray, "bins"]:
    """Return the frequencies of a spectrum's bins, ``k / positions``, in cycles per token.

    Without ``positions`` their number is taken to be even, ``2 bins``.

    Raises:
        ValueError: a spectrum of so many positions has another number of bins.
    """
    positions = 2 * bins if positions is None else positions
    if positions // 2 != bins:
        raise ValueError(f"expected {positions // 2} bins for {positions} positions, got {bins}")
    return np.arange(bins) / positions


def spectral_centroid(
    power: Float[Tensor, "bins neurons"], without_dc: bool, positions: int | None = None
) -> Float[np.ndarray, "neurons"]:
    """Return ``sum_k f_k power_k / sum_k power_k`` in cycles per token (0 to .5); nan without power.

    Published with DC. Without it, a flat spectrum of an even number of positions has exactly .25.

    Raises:
        ValueError: another number of bins than ``positions`` have (see :func:`frequencies`).
    """
    f, p = frequencies(len(power), positions), power.cpu().numpy()
    first = 1 if without_dc else 0
    return share(f[first:] @ p[first:], p[first:].sum(0))


def dc_share(power: Float[Tensor, "bins neurons"]) -> Float[np.ndarray, "neurons"]:
    """Return the share of DC in the power of all bins; nan without power."""
    p = power.cpu().numpy()
    return share(p[0], p.sum(0))


def band_shares(
    power: Float[Tensor, "bins neurons"], edges: Sequence[float | int], positions: int | None = None
) -> Float[np.ndarray, "bands neurons"]:
    """Return the shares of the power without DC in the bands ``edges[i] <= f < edges[i + 1]``, in cycles per token.

    The shares add up to 1 if the bands cover all bins. nan without power, and for a band that holds no bin.

    Raises:
        ValueError: fewer than 2 edges, edges that do not ascend, or another number of bins than ``positions`` have.
    """
    bounds = np.asarray(edges, np.float64)
    if len(bounds) < 2 or not (np.diff(bounds) > 0).all():
        raise ValueError(f"expected at least 2 ascending edges, got {list(edges)}")
    f, p = frequencies(len(power), positions)[1:], power.cpu().numpy()[1:]
    band = np.searchsorted(bounds, f + 1e-12, side="right") - 1  # an edge may be a rounding above its bin
    member = (band == np.arange(len(bounds) - 1)[:, None]).astype(np.float64)
    shares = share(member @ p, np.tile(p.sum(0), (len(member), 1)))
    shares[~member.any(1)] = np.nan
    return shares


def septiles(centroids: Float[np.ndarray, "neurons"]) -> Int[np.ndarray, "neurons"]:
    """Return the original's seven bands, 0 the lowest: between the septiles of the centroids; -1 for nan.

    They hold a seventh of the neurons each, whatever the frequencies are, so a band's number is a rank and not a
    frequency: compare :func:`band_shares`. The original gives neurons without power the centroid 0.
    """
    bands, defined = np.full(len(centroids), -1), ~np.isnan(centroids)
    if defined.any():
        edges = np.percentile(centroids[defined], np.linspace(0, 100, 8)[1:-1])
        bands[defined] = np.digitize(centroids[defined], edges)
    return bands
