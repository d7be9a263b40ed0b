"""Capture: forward passes that keep only the sites asked for; interventions; scores of continuations.

The names below are imported when they are first used, so that importing this room costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microtome.capture.activations import Captured, capture
    from microtome.capture.interventions import Ablate, Add, Intervention, Patch, intervene
    from microtome.capture.neurons import Effects, NeuronEdit, edit_effects
    from microtome.capture.prefix import SharedPrefix, shared_prefix
    from microtome.capture.reductions import Accumulator
    from microtome.capture.scoring import logprobs, nats_per_token
    from microtome.capture.steering import steered_logprobs

__all__ = [
    "Ablate",
    "Accumulator",
    "Add",
    "Captured",
    "Effects",
    "Intervention",
    "NeuronEdit",
    "Patch",
    "SharedPrefix",
    "capture",
    "edit_effects",
    "intervene",
    "logprobs",
    "nats_per_token",
    "shared_prefix",
    "steered_logprobs",
]

_HOMES = {
    "Ablate": "interventions",
    "Accumulator": "reductions",
    "Add": "interventions",
    "Captured": "activations",
    "Effects": "neurons",
    "Intervention": "interventions",
    "NeuronEdit": "neurons",
    "Patch": "interventions",
    "SharedPrefix": "prefix",
    "capture": "activations",
    "edit_effects": "neurons",
    "intervene": "interventions",
    "logprobs": "scoring",
    "nats_per_token": "scoring",
    "shared_prefix": "prefix",
    "steered_logprobs": "steering",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
