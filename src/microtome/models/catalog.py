"""What models are at hand, and whether a model is what its anatomy says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from microtome.base.files import cache_folder
from microtome.models.anatomy import Anatomy
from microtome.models.embedded import EMBEDDED
from microtome.models.gguf import NOTE
from microtome.models.sites import Site

if TYPE_CHECKING:
    from torch import Tensor

    from microtome.models.load import Model

TEXT = "The quick brown fox jumps over the lazy dog, 12 times."


@dataclass(frozen=True)
class EmbeddedRow:
    """An embedded model as ``microtome models`` lists it."""

    reference: str
    about: str
    installed: bool
    bytes: int
    licence: str
    terms: str
    remedy: str
    """The command that installs it."""


@dataclass(frozen=True)
class CachedRow:
    """A GGUF file that was converted before."""

    source: str
    """The file's name when it was converted."""
    folder: Path
    bytes: int


@dataclass(frozen=True)
class SiteCheck:
    """What one forward pass showed at the sites of one kind, over all layers."""

    kind: str
    layers: int
    shape: tuple[int, ...]
    """The expected shape: ``[batch, position, ...]``."""
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
    residual_error: float
    """The largest ``|resid_pre + attn_out + mlp_out - resid_post|`` over the largest ``|resid_post|``."""

    @property
    def sound(self) -> bool:
        """Whether every site is as it should be, and the blocks' outputs add up to the residual stream."""
        whole = all(site.problem is None for site in self.sites)
        return whole and self.residual_error < tolerance(self.dtype)


def tolerance(dtype: str) -> float:
    """Return how far a sum of three terms in a dtype may be from the model's own, relative to the stream."""
    import torch

    return 16 * torch.finfo(getattr(torch, dtype)).eps


def embedded_rows() -> list[EmbeddedRow]:
    """Return a row for each embedded model, installed or not."""
    return [
        EmbeddedRow(m.reference, m.about, m.installed, m.size, m.licence, m.terms, m.remedy) for m in EMBEDDED
    ]


def cached_rows() -> list[CachedRow]:
    """Return a row for each GGUF file whose conversion lies in the cache."""
    rows = []
    for note in sorted(cache_folder("models").glob(f"*/{NOTE}")):
        size = sum(file.stat().st_size for file in note.parent.iterdir())
        rows.append(CachedRow(json.loads(note.read_text("utf-8"))["source"], note.parent, size))
    return rows


def check(
    reference: str, *, dtype: str = "float32", device: str = "auto", trust_remote_code: bool = False
) -> ModelCheck:
    """Load a model and verify every site that its anatomy offers with one forward pass.

    At each site the shape must be the anatomy's and every value finite; then in each layer
    ``resid_pre + attn_out + mlp_out`` must be ``resid_post``, which no misplaced hook would satisfy.

    Raises:
        UserError: As ``load_model``.
    """
    from microtome.models.load import load_model

    model = load_model(
        reference, dtype=dtype, device=device, attention="eager", trust_remote_code=trust_remote_code
    )
    seen = _one_pass(model)
    weights = list(model.module.parameters())
    return ModelCheck(
        reference=reference,
        fingerprint=model.fingerprint,
        anatomy=model.anatomy,
        parameters=model.parameters,
        tokenizer=type(model.tokenizer).__name__,
        vocabulary=len(model.tokenizer),
        dtype=model.dtype,
        device=model.device,
        memory=sum(weight.numel() * weight.element_size() for weight in weights),
        sites=tuple(_check_kind(model, kind, seen) for kind in model.anatomy.kinds),
        residual_error=_residual_error(model.anatomy.layers, seen),
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


def _check_kind(model: Model, kind: str, seen: dict[Site, Tensor]) -> SiteCheck:
    sites = model.anatomy.sites([kind])
    batch, positions = next(iter(seen.values())).shape[:2] if seen else (1, 0)
    expected = model.anatomy.shape(sites[0], batch, positions)
    problems = (_problem(site, seen.get(site), expected) for site in sites)
    return SiteCheck(kind, len(sites), expected, next((text for text in problems if text), None))


def _problem(site: Site, value: Tensor | None, expected: tuple[int, ...]) -> str | None:
    if value is None:
        return f"{site}: expected a tensor, the pass never came by"
    if tuple(value.shape) != expected:
        return f"{site}: expected shape {expected}, got {tuple(value.shape)}"
    if not value.isfinite().all():
        return f"{site}: expected finite values, got NaN or infinity"
    return None


def _residual_error(layers: int, seen: dict[Site, Tensor]) -> float:
    """Return how far the blocks' outputs are from adding up to the residual stream."""
    worst = 0.0
    for layer in range(layers):
        before, attention, mlp, after = (
            seen[Site(kind, layer)].double() for kind in ("resid_pre", "attn_out", "mlp_out", "resid_post")
        )
        worst = max(worst, float((before + attention + mlp - after).abs().max() / after.abs().max()))
    return worst
