"""Hashes of large files, remembered by path, size and modification time."""

import contextlib
import json
import os
from pathlib import Path

from microtome.base.files import cache_folder, digest, sha256_file, write_json

_known: dict[str, str] = {}


def file_hash(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes; a file that did not change is not read again.

    A file counts as unchanged while its path, size and modification time in nanoseconds are the same. The
    hash is remembered in this process and in microtome's cache.
    """
    path = path.resolve()
    stat = path.stat()
    key = digest([os.fspath(path), stat.st_size, stat.st_mtime_ns])
    if key not in _known:
        _known[key] = _remembered(key) or _remember(key, path)
    return _known[key]


def _note(key: str) -> Path:
    return cache_folder("hashes", f"{key[:32]}.json")


def _remembered(key: str) -> str | None:
    try:
        note = json.loads(_note(key).read_text("utf-8"))
        return note["sha256"] if note["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(key: str, path: Path) -> str:
    value = sha256_file(path)
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs time
        write_json(_note(key), {"key": key, "file": path.name, "sha256": value})
    return value
