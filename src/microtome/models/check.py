"""Whether a model is what its anatomy says: one forward pass, compared with itself.

What the sites' names promise is checked by arithmetic: the residual stream that leaves a layer is the one
that entered it plus what attention and MLP add, attention probabilities sum to one and weigh the values, the
neurons are what the MLP projects down. A hook in the wrong place breaks at least one of these equations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from microtome.models.anatomy import Anatomy
from microtome.models.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

    from microtome.models.load import Model

TEXT = "The quick brown fox jumps over the lazy dog, 12 times."
ROUNDINGS = 16
"""How many relative roundings of the model's dtype the two sides of an equation may be apart."""


@dataclass(frozen=True)
class SiteCheck:
    """What one forward pass showed at the sites of one kind, over all layers."""

    kind: str
    layers: int
    shape: tuple[int, ...]
    """The expected shape: ``[batch, position, ...]``."""
    compared: tuple[str, ...]
    """The equations that were checked; where there is none, only shape and finiteness were."""
    problem: str | None
    """The first thing that is wrong, with expected and got; ``None`` if nothing is."""


@dataclass(frozen=True)
class ModelCheck:
    """A model's vital figures and what one forward pass showed."""

    reference: str
    fingerprint: str
    anatomy: Anatomy
    parameters: int
    tokenizer: str
    vocabulary: int
    """How many tokens the tokenizer knows."""
    dtype: str
    device: str
    memory: int
    """Bytes of the weights."""
    sites: tuple[SiteCheck, ...]

    @property
    def sound(self) -> bool:
        """Whether every site is as it should be."""
        return all(site.problem is None for site in self.sites)


class _Equation(NamedTuple):
    """What the values at some sites of a layer must satisfy."""

    text: str
    sites: tuple[Site, ...]
    error: Callable[..., Tensor]
    """The largest relative difference of its sides, from the values at ``sites``."""


def check(
    reference: str, *, dtype: str = "float32", device: str = "auto", trust_remote_code: bool = False
) -> ModelCheck:
    """Load a model and verify every site that its anatomy offers with one forward pass.

    At each site the shape must be the anatomy's and every value finite; then the equations between the sites
    of each layer must hold to the rounding of the dtype.

    Raises:
        UserError: As ``load_model``.
    """
    from microtome.models.load import load_model

    model = load_model(
        reference, dtype=dtype, device=device, attention="eager", trust_remote_code=trust_remote_code
    )
    return ModelCheck(
        reference=reference,
        fingerprint=model.fingerprint,
        anatomy=model.anatomy,
        parameters=model.parameters,
        tokenizer=type(model.tokenizer).__name__,
        vocabulary=len(model.tokenizer),
        dtype=model.dtype,
        device=model.device,
        memory=sum(weight.numel() * weight.element_size() for weight in model.module.parameters()),
        sites=_check_sites(model),
    )


def _check_sites(model: Model) -> tuple[SiteCheck, ...]:
    import torch

    seen = _one_pass(model)
    batch, positions = next(iter(seen.values())).shape[:2] if seen else (1, 0)
    sites = model.anatomy.sites()
    shapes = {site: model.anatomy.shape(site, batch, positions) for site in sites}
    problems = {site: text for site in sites if (text := _problem(site, seen.get(site), shapes[site]))}
    compared: dict[str, dict[str, None]] = {kind: {} for kind in model.anatomy.kinds}
    tolerance = ROUNDINGS * torch.finfo(getattr(torch, model.dtype)).eps
    for equation in _equations(model):
        if any(site in problems or site not in shapes for site in equation.sites):
            continue  # with a value that is known to be wrong, an equation says nothing of the others
        error = float(equation.error(*(seen[site] for site in equation.sites)))
        for site in equation.sites:
            compared[site.kind][equation.text] = None
            if not error <= tolerance:
                problems.setdefault(
                    site, f"{site}: expected {equation.text}, got a difference of {error:.1e}"
                )
    return tuple(
        SiteCheck(
            kind=kind,
            layers=len(ours := model.anatomy.sites([kind])),
            shape=shapes[ours[0]],
            compared=tuple(compared[kind]),
            problem=next((problems[site] for site in ours if site in problems), None),
        )
        for kind in model.anatomy.kinds
    )


def _one_pass(model: Model) -> dict[Site, Tensor]:
    """Return what every site shows while the model reads a sentence."""
    import torch

    seen: dict[Site, Tensor] = {}

    def keep(site: Site, value: Tensor) -> None:
        seen[site] = value.detach().clone()

    tokens = model.tokenizer(TEXT, return_tensors="pt").to(model.device)
    decoder = model.module.get_submodule(model.anatomy.decoder)
    handles = [
        model.anatomy.point(site).attach(model.module, lambda value, site=site: keep(site, value))
        for site in model.anatomy.sites()
    ]
    try:
        with torch.no_grad():
            decoder(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _problem(site: Site, value: Tensor | None, expected: tuple[int, ...]) -> str | None:
    if value is None:
        return f"{site}: expected a tensor, the pass never came by"
    if tuple(value.shape) != expected:
        return f"{site}: expected shape {expected}, got {tuple(value.shape)}"
    if not value.isfinite().all():
        return f"{site}: expected finite values, got NaN or infinity"
    return None


def _equations(model: Model) -> Iterator[_Equation]:
    """Yield what the sites' names promise, layer by layer; sites that a model lacks are named too."""
    anatomy = model.anatomy
    for layer in range(anatomy.layers):

        def at(*kinds: str, layer: int = layer) -> tuple[Site, ...]:
            return tuple(Site(kind, layer) for kind in kinds)

        if layer:
            before = Site("resid_post", layer - 1)
            yield _Equation("resid_pre = resid_post before", (*at("resid_pre"), before), _sum)
        elif anatomy.rotary:  # else positions are added in between
            yield _Equation("resid_pre.0 = embed", (*at("resid_pre"), Site("embed")), _sum)
        if "resid_mid" in anatomy.points:
            yield _Equation(
                "resid_mid = resid_pre + attn_out", at("resid_mid", "resid_pre", "attn_out"), _sum
            )
            if anatomy.after_mlp is None:
                yield _Equation(
                    "resid_post = resid_mid + mlp_out", at("resid_post", "resid_mid", "mlp_out"), _sum
                )
        else:
            sites = at("resid_post", "resid_pre", "attn_out", "mlp_out")
            yield _Equation("resid_post = resid_pre + attn_out + mlp_out", sites, _sum)
        yield _Equation("attn_pattern sums to 1", at("attn_pattern"), lambda p: (p.sum(-1) - 1).abs().max())
        yield _Equation("z = attn_pattern · v", at("z", "attn_pattern", "v"), _weighted)
        yield _Equation("mlp_out = W_out mlp_post", at("mlp_out", "mlp_post"), _projected(model, layer))


def _sum(total: Tensor, *terms: Tensor) -> Tensor:
    """Return how far ``total`` is from the sum of ``terms``, relative to the sum of their magnitudes."""
    import torch

    stacked = torch.stack(terms).double()
    return _relative(total.double() - stacked.sum(0), stacked.abs().sum(0))


def _weighted(z: Tensor, pattern: Tensor, v: Tensor) -> Tensor:
    """Return how far ``z`` is from the values ``[n, keys, kv_heads, d]`` under ``[n, heads, queries, keys]``."""
    import torch

    shared = v.double().repeat_interleave(pattern.shape[1] // v.shape[2], dim=2)
    expected, magnitude = (
        torch.einsum("nhqk,nkhd->nqhd", pattern.double(), values) for values in (shared, shared.abs())
    )
    return _relative(z.double() - expected, magnitude)


def _projected(model: Model, layer: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Return how far an MLP's output is from what its last projection, and norm, make of the neurons."""
    path = model.anatomy.norms.get("mlp_post")
    down: Any = model.anatomy.point(Site("mlp_post", layer)).find(model.module)
    norm: Any = model.module.get_submodule(path.format(layer)) if path else lambda value: value

    def error(out: Tensor, neurons: Tensor) -> Tensor:
        import torch

        with torch.no_grad():
            expected = norm(down(neurons)).double()
        return _relative(out.double() - expected, expected.abs().max())

    return error


def _relative(difference: Tensor, magnitude: Tensor) -> Tensor:
    """Return the largest ``|difference| / magnitude``, where 0 / 0 is 0."""
    ratio = difference.abs() / magnitude
    return ratio.nan_to_num(0.0, posinf=float("inf")).max()
