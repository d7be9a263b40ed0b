"""What models are at hand: embedded in packages, converted before, and in Hugging Face's cache."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from microtome.base.files import cache_folder
from microtome.models.embedded import EMBEDDED
from microtome.models.gguf import NOTE


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
    """A model in a cache: a GGUF file that was converted, or what was downloaded from the hub."""

    name: str
    """The file's name when it was converted, or the hub id."""
    folder: Path
    bytes: int


def embedded_rows() -> list[EmbeddedRow]:
    """Return a row for each embedded model, installed or not."""
    return [
        EmbeddedRow(m.reference, m.about, m.installed, m.size, m.licence, m.terms, m.remedy) for m in EMBEDDED
    ]


def converted_rows() -> list[CachedRow]:
    """Return a row for each GGUF file whose conversion lies in microtome's cache."""
    rows = []
    for note in sorted(cache_folder("models").glob(f"*/{NOTE}")):
        size = sum(file.stat().st_size for file in note.parent.iterdir())
        rows.append(CachedRow(json.loads(note.read_text("utf-8"))["source"], note.parent, size))
    return rows


def hub_rows() -> list[CachedRow]:
    """Return a row for each model in Hugging Face's cache, sorted by name."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.constants import HF_HUB_CACHE

    if not Path(HF_HUB_CACHE).is_dir():
        return []
    repos = [repo for repo in scan_cache_dir(HF_HUB_CACHE).repos if repo.repo_type == "model"]
    rows = [CachedRow(repo.repo_id, repo.repo_path, repo.size_on_disk) for repo in repos]
    return sorted(rows, key=lambda row: row.name)
