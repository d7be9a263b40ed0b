"""Short names of models, from their references."""

from collections.abc import Sequence
from pathlib import Path


def short(reference: str) -> str:
    """Return the last part of a model's reference: ``pythia-70m`` of ``EleutherAI/pythia-70m``."""
    return Path(reference.partition(":")[2] or reference).name or reference


def distinct(references: Sequence[str]) -> tuple[str, ...]:
    """Return the short names of models, and the whole reference of those that share one."""
    names = [short(reference) for reference in references]
    return tuple(
        name if names.count(name) == 1 else reference
        for name, reference in zip(names, references, strict=True)
    )
