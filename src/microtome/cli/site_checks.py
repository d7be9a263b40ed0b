"""Whether each site of a model holds what its name says: one forward pass, compared with itself.

What the names promise is checked by arithmetic: the residual stream that leaves a layer is the one that
entered it plus what attention and MLP add; what leaves a layer enters the next; attention probabilities sum
to one and weigh the values into ``z``. Where nothing can be compared, shape and finiteness are checked.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from microtome.models import Model
    from microtome.models.sites import Site

TEXT = "A microtome cuts slices thin enough to look through."
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 0.02, "bfloat16": 0.1}
"""Largest difference by dtype, relative to the largest value: sums differ in their last digits."""


@dataclass(frozen=True)
class SiteCheck:
    """What was found for one kind of site, over all layers."""

    kind: str
    sites: int
    shape: tuple[int, ...]
    promise: str
    """What the values were compared with."""
    problems: tuple[str, ...]
    """What is wrong; empty when every site of the kind keeps the promise."""


def check_sites(model: "Model") -> list[SiteCheck]:
    """Capture every site of ``model`` (loaded with eager attention) in one forward pass and check each."""
    from microtome.capture import capture

    sites = model.anatomy.sites()
    values = {
        name: tensor.double() for name, tensor in capture(model, [TEXT], sites, positions="all").items()
    }
    return [
        _check(model, [site for site in sites if site.kind == kind], values)
        for kind in dict.fromkeys(site.kind for site in sites)
    ]


def _check(model: "Model", sites: "list[Site]", values: "Mapping[str, Tensor]") -> SiteCheck:
    problems = []
    kind = sites[0].kind
    shape = tuple(values[str(sites[0])].shape)
    promise = "its shape"
    for site in sites:
        found = values[str(site)]
        expected = model.anatomy.shape(site, found.shape[0], found.shape[1])
        if kind == "attn_pattern":  # captured position by position: [inputs, positions, heads, keys]
            expected = tuple(expected[axis] for axis in (0, 2, 1, 3))
        if tuple(found.shape) != expected:
            problems.append(f"{site}: expected the shape {expected}, got {tuple(found.shape)}")
        elif not bool(found.isfinite().all()) and kind != "attn_pattern":
            problems.append(f"{site}: values that are not finite")
        elif (promised := _promise(site, values)) is not None:
            promise, difference = promised
            if not difference <= TOLERANCE[model.dtype]:
                problems.append(f"{site}: differs from {promise} by {difference:.1e} of the largest value")
    return SiteCheck(kind, len(sites), shape, promise, tuple(problems))


def _promise(site: "Site", values: "Mapping[str, Tensor]") -> tuple[str, float] | None:
    """Return what the site's name promises, and how far the values are from it; None without a promise."""

    def at(kind: str, shift: int = 0) -> "Tensor":
        return values[f"{kind}.{(site.layer or 0) + shift}"]

    match site.kind:
        case "resid_post" | "mlp_out" | "attn_out":
            total = at("resid_pre") + at("attn_out") + at("mlp_out")
            return "resid_post = resid_pre + attn_out + mlp_out", _relative(at("resid_post"), total)
        case "resid_mid":
            return "resid_pre + attn_out", _relative(at("resid_mid"), at("resid_pre") + at("attn_out"))
        case "resid_pre" if site.layer:
            return "resid_post of the layer before", _relative(at("resid_pre"), at("resid_post", -1))
        case "attn_pattern":
            return "probabilities that sum to 1", float((at("attn_pattern").nansum(-1) - 1).abs().max())
        case "z" | "v":
            return "z = attn_pattern · v", _relative(at("z"), _weighted(at("attn_pattern"), at("v")))
    return None


def _weighted(pattern: "Tensor", v: "Tensor") -> "Tensor":
    """Weigh the values ``v`` ``[n, keys, kv_heads, d]`` by ``pattern`` ``[n, queries, heads, keys]``."""
    import torch

    shared = v.repeat_interleave(pattern.shape[2] // v.shape[2], dim=2)
    return torch.einsum("nqhk,nkhd->nqhd", pattern.nan_to_num(), shared)


def _relative(values: "Tensor", expected: "Tensor") -> float:
    return float((values - expected).abs().max() / expected.abs().max())
