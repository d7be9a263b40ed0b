"""The architectures that microtome knows, one file for each family, and those that other packages add."""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from microtome.base.plugins import load_entry
from microtome.models.anatomies import gemma, gpt2, gpt_neox, llama, own
from microtome.models.anatomy import Anatomy, unsupported

ANATOMIES: Mapping[str, Callable[[Any], Anatomy]] = MappingProxyType(
    {
        "gpt2": gpt2.anatomy,
        "gpt_neox": gpt_neox.anatomy,
        "llama": llama.anatomy,
        "mistral": llama.anatomy,
        "qwen2": llama.anatomy,
        "qwen3": llama.anatomy,
        "gemma2": gemma.anatomy,
        "gemma3": gemma.anatomy,
        "gemma3_text": gemma.anatomy,
        "microtome_standard": own.anatomy,
        "microtome_band": own.anatomy,
    }
)
"""The anatomy of each ``model_type``, as a function of the configuration."""

GROUP = "microtome.anatomies"
"""The entry-point group: another package adds an anatomy under its ``model_type``; those above cannot be replaced."""


def added() -> dict[str, EntryPoint]:
    """Return the anatomies that other packages add, by ``model_type``; imports none of them."""
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    return {name: entries[name] for name in sorted(entries.keys() - ANATOMIES)}


def anatomy_of(config: Any) -> Anatomy:
    """Return the anatomy that a transformers configuration describes.

    Raises:
        UserError: If neither microtome nor an installed package knows the architecture, or that package cannot be
            imported.
    """
    model_type = config.model_type
    if model_type in ANATOMIES:
        return ANATOMIES[model_type](config)
    others = added()
    if model_type not in others:
        raise unsupported(model_type, {**ANATOMIES, **others})
    return load_entry(others[model_type])(config)
