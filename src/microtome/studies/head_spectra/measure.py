"""Measuring: spectra, entropies, operator fits and the null, one unit at a time."""

from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from microtome.base.errors import UserError
from microtome.lab.seeds import stream
from microtome.lab.study import Bench, Measurement, Unit
from microtome.measure.alignment import aligned_cosine, core, random_bases
from microtome.measure.gaussian import gaussian_products
from microtome.measure.operators import correction_curve, head_cosines, ranks_needed, scalar_fit
from microtome.measure.rescale import Anchor, anchor_layer, fit_to_layer
from microtome.measure.spectra import product_singular_values
from microtome.models import Model, fingerprint, load_model, untrained_twin
from microtome.studies.head_spectra import spectra_file
from microtome.studies.head_spectra.config import HeadSpectraConfig
from microtome.studies.head_spectra.entropy import attention_entropy
from microtome.studies.head_spectra.inputs import blocks_of, file_fingerprint
from microtome.studies.head_spectra.plan import Shape
from microtome.studies.head_spectra.weights import factors, for_each_head


class HeadSpectraBench(Bench):
    """Models, loaded when a unit asks for one and kept until another is asked for."""

    def __init__(self, config: HeadSpectraConfig) -> None:
        self.config = config
        self.references = {fingerprint(reference): reference for reference in config.model}
        self.files = {file_fingerprint(path): path for path in config.input}
        self.loaded: tuple[tuple[str, int | None], Model] | None = None

    def measure(self, unit: Unit, needed: Mapping[str, Measurement]) -> Measurement:
        """Measure one unit of any of the five kinds."""
        match unit.kind:
            case "file":
                return _of_file(spectra_file.read(self.files[unit.spec["file"]]), unit.spec["shape"])
            case "spectra":
                return self.spectra(unit.spec, *needed.values())
            case "entropy":
                return self.entropy(unit.spec)
            case "operators":
                (spectra,) = needed.values()
                return self.operators(unit.spec, spectra)
        assert unit.kind == "null", unit.kind
        return null(unit.spec)

    def model(self, spec: Mapping[str, Any]) -> Model:
        """Return the model of a spec; planted copies are made of the model itself."""
        seed = spec["seed"] if spec["role"] == "untrained" else None
        key = (spec["model"], seed)
        if self.loaded is None or self.loaded[0] != key:
            self.loaded = None  # so that two models are never in memory
            reference = self.references[spec["model"]]
            model = load_model(reference, device=self.config.device, attention="eager")
            self.loaded = key, model if seed is None else untrained_twin(model, seed)
        return self.loaded[1]

    def spectra(self, spec: Mapping[str, Any], trained: Measurement | None = None) -> Measurement:
        """Return all singular values and the bounds of their errors; planted copies need the trained model's."""
        model = self.model(spec)
        planted_at = None if trained is None else anchor_layer(trained.arrays["spectra"], spec["anchor"])
        found, shape = [], None
        for layer in range(model.anatomy.layers):
            own = factors(model, spec, layer, planted_at)
            found.append(product_singular_values(own.q, own.k))
            shape = Shape(model.anatomy.layers, len(own.q), len(own.k), *own.q.shape[1:])
        assert shape is not None
        values, bound = (
            torch.stack([getattr(one, x) for one in found]).cpu().numpy() for x in ("values", "bound")
        )
        if not values[..., 0].all():
            layer, head = (int(places[0]) for places in np.nonzero(values[..., 0] == 0))
            raise UserError(
                f"expected heads whose metric is not zero; head {head} of layer {layer} in '{model.reference}' has no "
                "singular value above 0, so its spectrum has no shape (was it pruned?)"
            )
        rows = by_head(values.shape[:2]).with_columns(
            operator_norm=values[..., 0].ravel(),
            frobenius_norm=np.linalg.norm(values, axis=-1).ravel(),
            error_bound=bound.ravel(),
            gram=torch.stack([one.certified for one in found]).cpu().numpy().ravel(),
        )
        arrays = {"spectra": values, "shape": np.array(astuple(shape))}
        return Measurement(rows, arrays if planted_at is None else arrays | {"anchor": np.array(planted_at)})

    def entropy(self, spec: Mapping[str, Any]) -> Measurement:
        """Return each head's attention entropy on the spec's blocks."""
        model = self.model(spec)
        first, last = spec["blocks"]
        tokens = torch.from_numpy(blocks_of(self.config, model.tokenizer).tokens[first:last]).long()
        found = attention_entropy(model, tokens, batch_size=self.config.batch_size)
        rows = by_head(found.mean.shape).with_columns(
            entropy=found.mean.ravel(),
            normalised=found.normalised.ravel(),
            first_token=found.first_token.ravel(),
            blocks=pl.lit(last - first),
        )
        return Measurement(rows)

    def operators(self, spec: Mapping[str, Any], spectra: Measurement) -> Measurement:
        """Fit the layer's operators by the anchor's: as they are, rotated, and with corrections of every rank."""
        model, layer, anchor = self.model(spec), spec["layer"], anchor_of(spectra, spec["anchor"])
        own = for_each_head(factors(model, spec, layer, anchor))
        of_anchor = for_each_head(factors(model, spec, anchor, anchor))
        same = scalar_fit(*own, *of_anchor)
        _, match = linear_sum_assignment(-head_cosines(*own, *of_anchor).cpu().numpy())
        other = (of_anchor[0][match], of_anchor[1][match])
        fit = scalar_fit(*own, *other)
        alone = correction_curve(*own, *other, torch.zeros_like(fit.scale))
        best = torch.minimum(correction_curve(*own, *other, fit.scale), alone)
        values = torch.from_numpy(spectra.arrays["spectra"]).to(own[0])
        rng = stream(spec["seed"], "random bases", spec["role"], layer)
        random, random_other = (
            random_bases(sigma, own[0].shape[-1], rng) for sigma in (values[layer], values[anchor][match])
        )
        columns = {
            "match": torch.from_numpy(match),
            "scale_same": same.scale,
            "residual_same": same.residual,
            "scale": fit.scale,
            "residual": fit.residual,
            "random_residual": scalar_fit(*random, *random_other).residual,
            "aligned_residual": _aligned_residual(own, other),
            "random_aligned_residual": _aligned_residual(random, random_other),
            "rank": ranks_needed(best, spec["tolerance"]),
            "own_rank": ranks_needed(alone, spec["tolerance"]),
        }
        rows = pl.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
        places = pl.DataFrame(
            {"layer": [layer] * len(rows), "anchor": [anchor] * len(rows), "head": range(len(rows))}
        )
        arrays = {"curve": best.cpu().numpy(), "own_curve": alone.cpu().numpy()}
        return Measurement(places.hstack(rows), arrays)


Operators = tuple[Tensor, Tensor]
"""Queries and keys of all heads, ``[heads, d_head, d]``."""


def _aligned_residual(own: Operators, other: Operators) -> Tensor:
    cosine = aligned_cosine(core(*own), core(*other)).double()
    return (1 - cosine.square()).clamp(min=0).sqrt()


def null(spec: Mapping[str, Any]) -> Measurement:
    """Draw random models and fit their spectra; the first of all draws is kept whole, as one untrained model."""
    layers, heads, first, last = spec["layers"], spec["heads"], *spec["draws"]
    residuals, total, example = [], 0.0, None
    for draw in range(first, last):
        sizes = (heads, spec["kv_heads"], spec["d_head"], spec["d"])
        rng = stream(spec["seed"], "Gaussian products", draw)
        spectra = gaussian_products(*sizes, layers, rng).numpy()
        example = spectra if example is None else example
        anchor = anchor_layer(spectra, spec["anchor"])
        residuals.append(without(fit_to_layer(spectra, anchor).residual, anchor).mean())
        total = total + (spectra / np.linalg.norm(spectra, axis=-1, keepdims=True)).mean((0, 1))
    rows = pl.DataFrame({"draw": range(first, last), "residual": residuals})
    assert example is not None
    return Measurement(rows, {"example": example, "shape": total / (last - first)})


def anchor_of(spectra: Measurement, choice: Anchor) -> int:
    """Return the anchor layer of measured spectra; planted copies name the layer that they are copies of."""
    given = spectra.arrays.get("anchor")
    return anchor_layer(spectra.arrays["spectra"], choice) if given is None else int(given)


def without(values: np.ndarray, layer: int) -> np.ndarray:
    """Return the rows of all layers but one."""
    return np.delete(values, layer, axis=0)


def by_head(shape: tuple[int, ...]) -> pl.DataFrame:
    """Return a row for each head of each layer, in order."""
    layer, head = np.indices(shape)
    return pl.DataFrame({"layer": layer.ravel(), "head": head.ravel()})


def _of_file(file: spectra_file.SpectraFile, shape: Mapping[str, int] | None) -> Measurement:
    maps = {"entropy": file.entropy, "normalised": file.normalised, "first_token": file.first_token}
    rows = by_head(file.entropy.shape).with_columns(
        operator_norm=file.spectra[..., 0].ravel(),
        frobenius_norm=np.linalg.norm(file.spectra, axis=-1).ravel(),
        **{name: pl.lit(None, pl.Float64) if x is None else x.ravel() for name, x in maps.items()},
    )
    arrays = {"spectra": file.spectra}
    return Measurement(rows, arrays if shape is None else arrays | {"shape": np.array(list(shape.values()))})
