"""Fingerprints: one hash for one model, wherever its files are."""

from __future__ import annotations

import json
from typing import Any

from microtome.base.errors import UserError
from microtome.base.files import digest
from microtome.models.hashing import file_hash
from microtome.models.reference import Source, resolve

NOT_ARCHITECTURE = frozenset(
    {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "attn_implementation"}
)
"""Entries of config.json that say how a model was saved or is run, not what it computes."""


def fingerprint(reference: str) -> str:
    """Return the hash (hex) that identifies a model: its architecture, weights and tokenizer.

    It does not depend on the path, and torch is not needed. Files that did not change since they were last
    hashed are not read again. A GGUF file is identified by its own bytes.

    Raises:
        UserError: If the model cannot be found.
    """
    return fingerprint_of(resolve(reference))


def fingerprint_of(source: Source) -> str:
    """Return the fingerprint of a model whose files are at hand; see ``fingerprint``."""
    if source.path.is_file():
        return digest({"gguf": file_hash(source.path)})
    try:
        config: dict[str, Any] = json.loads((source.path / "config.json").read_text("utf-8"))
    except ValueError as error:
        raise UserError(
            f"Expected JSON in config.json of '{source.reference}', but: {error}. "
            "Save or download the model again."
        ) from error
    weights = {file.name: file_hash(file) for file in sorted(source.path.glob("*.safetensors"))}
    tokenizer = source.path / "tokenizer.json"
    return digest(
        {
            "config": {key: value for key, value in config.items() if key not in NOT_ARCHITECTURE},
            "weights": sorted(weights.values()),
            "tokenizer": file_hash(tokenizer) if tokenizer.is_file() else None,
        }
    )
