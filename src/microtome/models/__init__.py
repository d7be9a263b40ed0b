"""Models: a reference in, a ready causal language model out, with its anatomy and a fingerprint.

The names below are imported when they are first used, so that importing this room costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microtome.models.anatomy import Anatomy, AttentionWeights, MLPWeights, Rotary
    from microtome.models.fingerprints import fingerprint
    from microtome.models.hookpoint import HookPoint
    from microtome.models.load import Model, load_anatomy, load_model, load_tokenizer
    from microtome.models.permuted import permuted_copy
    from microtome.models.sites import Site, parse_site
    from microtome.models.untrained import untrained_twin

__all__ = [
    "Anatomy",
    "AttentionWeights",
    "HookPoint",
    "MLPWeights",
    "Model",
    "Rotary",
    "Site",
    "fingerprint",
    "load_anatomy",
    "load_model",
    "load_tokenizer",
    "parse_site",
    "permuted_copy",
    "untrained_twin",
]

_HOMES = {
    "Anatomy": "anatomy",
    "AttentionWeights": "anatomy",
    "HookPoint": "hookpoint",
    "MLPWeights": "anatomy",
    "Model": "load",
    "Rotary": "anatomy",
    "Site": "sites",
    "fingerprint": "fingerprints",
    "load_anatomy": "load",
    "load_model": "load",
    "load_tokenizer": "load",
    "parse_site": "sites",
    "permuted_copy": "permuted",
    "untrained_twin": "untrained",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
