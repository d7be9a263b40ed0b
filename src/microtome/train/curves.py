"""The curves of a run as rows, and their files.

- ``metrics``: ``step``, ``tokens`` read, ``loss`` (mean over the steps since the row before, nats per token), ``rate``
  (the share of the full learning rate), ``grad_norm`` (before clipping);
- ``bands``: ``step``, ``band``, ``grad_norm``, ``update_ratio`` ``|dw| / |w|`` of that step;
- ``evaluations``: ``step``, ``held_out`` and ``train`` in nats per token;
- ``observations``: what the caller's observer saw, with ``step``;
- ``timing``: ``step``, ``seconds`` of training, ``tokens_per_second``; the only one that differs between equal runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from microtome.base.files import atomic

NAMES = ("metrics", "bands", "evaluations", "observations", "timing")


class Curves:
    """Rows by the name of their file."""

    def __init__(self, frames: Mapping[str, pl.DataFrame] | None = None) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {
            name: frames[name].to_dicts() if frames and name in frames else [] for name in NAMES
        }

    def add(self, name: str, **row: Any) -> None:
        """Add a row."""
        self.rows[name].append(row)

    def frames(self) -> dict[str, pl.DataFrame]:
        """Return the files that have rows."""
        return {
            name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in self.rows.items() if rows
        }

    def write(self, folder: Path) -> None:
        """Write the files that have rows."""
        for name, frame in self.frames().items():
            with atomic(folder / f"{name}.parquet") as temporary:
                frame.write_parquet(temporary)


def read(folder: Path) -> dict[str, pl.DataFrame]:
    """Return the curves in a folder; those without rows are empty."""
    paths = {name: folder / f"{name}.parquet" for name in NAMES}
    return {name: pl.read_parquet(path) if path.is_file() else pl.DataFrame() for name, path in paths.items()}
