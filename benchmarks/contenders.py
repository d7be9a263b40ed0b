"""The contenders: each takes a workload and returns the wanted residual streams, one tensor for each layer.

Each is written as its own documentation would have it, and gets the same tokens, threads and precision. The
bridge always runs eager attention; the others run PyTorch's fused attention.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.workloads import Workload
from microtome.capture import capture
from microtome.models import Model, load_model
from microtome.models.reference import resolve

REFERENCE = "embedded:smollm2-135m"
Contender = Callable[[Workload], list[Tensor]]


def microtome(model: Model, share_prefix: bool = False) -> Contender:
    """Microtome's capture, as it is by default or with the shared beginning of the inputs computed once."""

    def run(work: Workload) -> list[Tensor]:
        sites = [f"resid_post.{layer}" for layer in work.layers]
        positions = "last" if work.last else "all"
        found = capture(model, work.sequences, sites, positions=positions, share_prefix=share_prefix)
        return [found[site] for site in sites]

    return run


class _Seen(Exception):
    pass


def raw_hooks(module: Any, stop: bool) -> Contender:
    """Hand-written hooks on the decoder, so that the head is skipped; with ``stop``, the last one ends it."""

    @torch.no_grad()
    def run(work: Workload) -> list[Tensor]:
        kept: list[Tensor] = []

        def keep(_: Any, __: Any, output: Tensor) -> None:
            kept.append(work.wanted(output))
            if stop and len(kept) == len(work.layers):
                raise _Seen

        layers = module.model.layers
        handles = [layers[layer].register_forward_hook(keep) for layer in work.layers]
        try:
            module.model(**work.padded, use_cache=False)
        except _Seen:
            pass
        finally:
            for handle in handles:
                handle.remove()
        return kept

    return run


def bridge(model: Any, filtered: bool, stop: bool = False) -> Contender:
    """TransformerLens' bridge: ``run_with_cache``, whole or with ``names_filter`` (and ``stop_at_layer``)."""

    @torch.no_grad()
    def run(work: Workload) -> list[Tensor]:
        names = [f"blocks.{layer}.hook_resid_post" for layer in work.layers]
        options: dict[str, Any] = {"names_filter": names} if filtered else {}
        if stop:
            options["stop_at_layer"] = max(work.layers) + 1
        _, cache = model.run_with_cache(work.tokens, attention_mask=work.mask, **options)
        return [work.wanted(cache[name]) for name in names]

    return run


def nnsight(model: Any, stop: bool) -> Contender:
    """Nnsight's trace; with ``stop``, the trace ends after the last layer."""

    @torch.no_grad()
    def run(work: Workload) -> list[Tensor]:
        if stop:
            with model.trace(work.padded) as tracer:
                kept = [].save()  # type: ignore[attr-defined]
                for layer in work.layers:
                    kept.append(model.model.layers[layer].output)
                tracer.stop()
        else:
            with model.trace(work.padded):
                kept = [].save()  # type: ignore[attr-defined]
                for layer in work.layers:
                    kept.append(model.model.layers[layer].output)
        return [work.wanted(stream) for stream in kept]

    return run


def load_bridge() -> Any:
    """Boot TransformerLens' bridge on the embedded model, with its weights as they are."""
    from transformer_lens.model_bridge import TransformerBridge

    folder = resolve(REFERENCE).folder()
    return TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32)


def contenders() -> tuple[Model, dict[str, Contender]]:
    """Load every model and return microtome's, and the contenders by name, microtome first."""
    from nnsight import TransformersModel

    model = load_model(REFERENCE, device="cpu")
    folder = str(resolve(REFERENCE).folder())
    lens = load_bridge()
    sight = TransformersModel(folder, task="text-generation", dispatch=True, dtype=torch.float32)
    return model, {
        "microtome": microtome(model),
        "microtome, share_prefix": microtome(model, share_prefix=True),
        "raw hooks": raw_hooks(model.module, stop=False),
        "raw hooks, stopped": raw_hooks(model.module, stop=True),
        "TransformerLens bridge": bridge(lens, filtered=False),
        "TransformerLens bridge, names_filter": bridge(lens, filtered=True),
        "TransformerLens bridge, names_filter, stop_at_layer": bridge(lens, filtered=True, stop=True),
        "nnsight": nnsight(sight, stop=False),
        "nnsight, stopped": nnsight(sight, stop=True),
    }
