"""What runs on the nodes of a Ray cluster: a worker that opens a bench once and measures unit after unit."""

import os
import secrets
import socket
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from microtome.base.errors import UserError
from microtome.base.files import TEMPORARY
from microtome.lab.engines import Failed, Result
from microtome.lab.engines.attempt import attempt
from microtome.lab.failures import RunFailure
from microtome.lab.packing import Source
from microtome.lab.provenance import package_versions
from microtome.lab.study import Bench, Study, Unit
from microtome.lab.threads import limited

Terms = tuple[Study, Any, int, dict[str, str]]
"""The study, its config, the threads of a unit, and the versions of the packages in the leading process."""


class Actor:
    """The class of the Ray actor. Mistakes and failures are returned, since Ray would wrap what is raised."""

    def open(self, terms: Terms, store: Path | None) -> UserError | RunFailure | None:
        """Open the bench.

        Args:
            terms: what is measured, and how.
            store: the run's folder, if this worker is to read and write there itself.
        """
        study, config, self._threads, versions = terms
        node = _here()
        here = package_versions()
        if differing := [name for name in versions if name in here and here[name] != versions[name]]:
            name = differing[0]
            return UserError(
                f"expected {name} {versions[name]} {node}, as in the process that started the run; got {here[name]}: "
                "results may depend on it. Install the same versions everywhere"
            )
        if store and not store.is_dir():
            return UserError(
                f"expected the store's folder {store} {node}, since the store was said to be shared; it is not there. "
                "Mount it under the same path on every node, or leave out --shared-store"
            )
        try:
            with limited(self._threads):
                self._bench: Bench = study.open(config)
        except UserError as mistake:
            return UserError(f"{mistake} ({node})")
        except Exception:
            return RunFailure(f"the bench could not be opened {node}:\n{traceback.format_exc()}")
        return None

    def measure(self, unit: Unit, needed: Mapping[str, Source], place: Path | None) -> Result | UserError:
        """Measure one unit.

        Args:
            unit: what to measure.
            needed: the measurements of the units it needs, by id.
            place: the folder into which the files go, under temporary names; by default they are returned.
        """
        try:
            result = attempt(self._bench, unit, needed, self._threads)
        except UserError as mistake:
            return UserError(str(mistake))
        result = replace(result, log=f"measured {_here()}\n{result.log}")
        if place is None or isinstance(result, Failed):
            return result
        try:
            return replace(result, files=_leave(place, result.files))
        except OSError as error:
            return Failed(unit.id, f"{type(error).__name__}: {error}", f"{traceback.format_exc()}{_here()}\n")


class Sent(Mapping[str, Mapping[str, bytes]]):
    """Files of stored units as objects of the cluster; each is fetched when asked for, and stays on the node."""

    def __init__(self, references: Mapping[str, Any]) -> None:
        self._references = references

    def __getitem__(self, unit_id: str) -> Mapping[str, bytes]:
        import ray

        return ray.get(self._references[unit_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._references)

    def __len__(self) -> int:
        return len(self._references)


def _leave(folder: Path, files: Mapping[str, bytes | Path]) -> dict[str, bytes | Path]:
    """Write files into ``folder`` under temporary names, which the leading process moves into place or sweeps."""
    folder.mkdir(parents=True, exist_ok=True)
    left: dict[str, bytes | Path] = {}
    for name, content in files.items():
        assert isinstance(content, bytes)
        path = folder / f"{TEMPORARY}{secrets.token_hex(4)}-{name}"
        with path.open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        left[name] = path
    return left


def _here() -> str:
    return f"on node {socket.gethostname()}"
