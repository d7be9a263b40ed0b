"""The architectures that microtome knows, one file for each family."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

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


def anatomy_of(config: Any) -> Anatomy:
    """Return the anatomy that a transformers configuration describes.

    Raises:
        UserError: If microtome does not know the architecture.
    """
    if config.model_type not in ANATOMIES:
        raise unsupported(config.model_type, ANATOMIES)
    return ANATOMIES[config.model_type](config)
