"""Are spectra rescaled copies of one? Shapes and scalar fits of ``[L, H, K]``: layers, heads, singular values."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from microtome.measure.similarity import cosine_matrix, mean_off_diagonal

Spectra = Float[np.ndarray, "layers heads values"]
Map = Float[np.ndarray, "layers heads"]
Anchor = Literal["last", "middle", "best"]
TIE = 1e-12
"""Relative difference that is rounding."""


class ScalarFit(NamedTuple):
    """The best multiple of one vector for another."""

    scale: Float[np.ndarray, "*m"]
    """``T = <x, y> / |y|^2``; nan where y is zero."""
    residual: Float[np.ndarray, "*m"]
    """``|x - T y| / |x|``; nan where x or y is zero."""


def pad(spectra: list[list[list[float]]]) -> Spectra:
    """Return spectra of unequal length as one array, filled up with zeros."""
    longest = max(len(values) for row in spectra for values in row)
    padded = [[[*values, *[0.0] * (longest - len(values))] for values in row] for row in spectra]
    return np.array(padded, np.float64)


def scalar_fit(x: Float[np.ndarray, "*m k"], y: Float[np.ndarray, "*m k"]) -> ScalarFit:
    """Return T that minimises ``|x - T y|``, and what it leaves, along the last axis."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (x * y).sum(-1) / np.square(y).sum(-1)
        left = np.linalg.norm(x - scale[..., None] * y, axis=-1)
        return ScalarFit(scale, left / np.linalg.norm(x, axis=-1))


def cosines_over_layers(spectra: Spectra) -> Float[np.ndarray, "heads layers layers"]:
    """Return, for each head, the cosine of its spectra at every two layers; a cosine knows no scale."""
    return cosine_matrix(spectra.swapaxes(0, 1))


def cosines_over_heads(spectra: Spectra) -> Float[np.ndarray, "layers heads heads"]:
    """Return, for each layer, the cosine of the spectra of every two heads."""
    return cosine_matrix(spectra)


def mean_of_pairs(cosines: Float[np.ndarray, "n m m"]) -> Float[np.ndarray, "n"]:
    """Return the mean over all pairs of different members; nan where there is only one."""
    return mean_off_diagonal(cosines) if cosines.shape[-1] > 1 else np.full(len(cosines), np.nan)


def anchor_layer(spectra: Spectra, choice: Anchor) -> int:
    """Return the layer that the others are fitted to.

    ``last``; ``middle``: layer ``L // 2``; ``best``: the layer with the highest sum, over heads and other layers, of
    cosines to it, the first of equals. A zero spectrum, which has no cosine, adds nothing to any sum.
    """
    layers = len(spectra)
    if choice != "best":
        return layers - 1 if choice == "last" else layers // 2
    scores = np.nansum(cosines_over_layers(spectra) * (1 - np.eye(layers)), (0, 2))
    return int(np.flatnonzero(scores >= scores.max() - TIE * np.abs(scores).max())[0])


def fit_to_layer(spectra: Spectra, anchor: int) -> ScalarFit:
    """Return the fit of every head at every layer to the same head at the anchor layer."""
    return scalar_fit(spectra, np.broadcast_to(spectra[anchor], spectra.shape))


def correlation(x: Map, y: Map) -> float:
    """Return Pearson's correlation over all entries; nan where one of them is constant."""
    centred = [np.ravel(z) - np.mean(z) for z in (x, y)]
    norms = [np.linalg.norm(z) for z in centred]
    if any(norm <= TIE * np.abs(z).max() for norm, z in zip(norms, (x, y), strict=True)):
        return float("nan")
    return float(np.clip(centred[0] @ centred[1] / (norms[0] * norms[1]), -1, 1))
