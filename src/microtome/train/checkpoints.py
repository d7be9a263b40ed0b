"""Checkpoints: all that training needs to go on as if it had not stopped; whole, or not there.

``checkpoints/step-00000500`` holds ``model.safetensors``, ``optimizer.safetensors`` (with the states of the random
generators), the curves so far, and ``state.json`` with the step and the checksums of all. A folder is written
under another name and moved into place.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microtome.base.files import TEMPORARY, digest, sha256_file, write_json

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds."""

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    curves: Mapping[str, pl.DataFrame]
    extra: Mapping[str, Any]
    """Whatever else, as JSON holds it."""


def save(output: Path, checkpoint: Checkpoint, keep: int) -> None:
    """Write a checkpoint, then remove all but the newest ``keep``."""
    from safetensors.torch import save_file

    place = output / FOLDER / f"step-{checkpoint.step:08d}"
    temporary = place.with_name(f"{TEMPORARY}{secrets.token_hex(4)}")
    temporary.mkdir(parents=True)
    try:
        save_file({k: v.contiguous() for k, v in checkpoint.weights.items()}, temporary / "model.safetensors")
        save_file(
            {k: v.contiguous() for k, v in checkpoint.optimizer.items()}, temporary / "optimizer.safetensors"
        )
        for name, curve in checkpoint.curves.items():
            curve.write_parquet(temporary / f"{name}.parquet")
        for file in temporary.iterdir():
            _to_disk(file)
        sums = {file.name: sha256_file(file) for file in sorted(temporary.iterdir())}
        state = {"step": checkpoint.step, "extra": dict(checkpoint.extra), "sha256": sums}
        write_json(temporary / "state.json", {**state, "digest": digest(state)})
        shutil.rmtree(place, ignore_errors=True)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _folders(output)[:-keep]:
        shutil.rmtree(old)


def newest(output: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is whole; one that is damaged is named on stderr and passed over."""
    for folder in reversed(_folders(output)):
        try:
            return _read(folder)
        except Exception as error:  # whatever is wrong with it, the one before may be whole
            print(
                f"microtome: checkpoint '{folder}' is damaged ({error}); going on from the one before",
                file=sys.stderr,
                flush=True,
            )
    return None


def _read(folder: Path) -> Checkpoint:
    import polars as pl
    from safetensors.torch import load_file

    state = json.loads((folder / "state.json").read_text("utf-8"))
    if state.pop("digest") != digest(state):
        raise ValueError("state.json is not what was written")
    for name, expected in state["sha256"].items():
        if sha256_file(folder / name) != expected:
            raise ValueError(f"{name} is not what was written")
    curves = {file.stem: pl.read_parquet(file) for file in sorted(folder.glob("*.parquet"))}
    return Checkpoint(
        state["step"],
        load_file(folder / "model.safetensors"),
        load_file(folder / "optimizer.safetensors"),
        curves,
        state["extra"],
    )


def _folders(output: Path) -> list[Path]:
    return sorted((output / FOLDER).glob("step-*"))


def _to_disk(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())
