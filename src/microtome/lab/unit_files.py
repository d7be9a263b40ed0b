"""The folder of one unit: ``unit.json`` is written last, checksums are checked, hard links share it."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtome.base.files import atomic, sha256_file
from microtome.lab.packing import ARRAYS, ROWS
from microtome.lab.record import Damaged, now, read_sealed, write_sealed
from microtome.lab.study import Unit

RECORD = "unit.json"
LOG = "log.txt"


@dataclass(frozen=True)
class Provider:
    """Under what circumstances a unit is measured."""

    run: str
    predictions_hash: str
    threads: int


def write_unit(
    folder: Path, unit: Unit, files: Mapping[str, bytes | Path], log: str, seconds: float, provider: Provider
) -> dict[str, Any]:
    """Write a unit's files, its record last, and return the record; the unit is done when this returns.

    A file is given as its bytes, or as a temporary file in ``folder`` that is moved into place.

    A unit that was done before is undone first: no moment has an old record beside new files.
    """
    for old in (RECORD, ROWS, ARRAYS, LOG):
        (folder / old).unlink(missing_ok=True)
    contents = {**files, LOG: log.encode()}
    for name, content in contents.items():
        if isinstance(content, Path):
            content.replace(folder / name)
            continue
        with atomic(folder / name) as temporary:
            temporary.write_bytes(content)
    record = {
        **unit.model_dump(mode="json"),
        "id": unit.id,
        "seconds": seconds,
        "finished": now(),
        "run": provider.run,
        "predictions_hash": provider.predictions_hash,
        "threads": provider.threads,
        "checksums": {name: _sha256(folder / name, content) for name, content in contents.items()},
    }
    write_sealed(folder / RECORD, record)
    return record


def _sha256(path: Path, content: bytes | Path) -> str:
    return sha256_file(path) if isinstance(content, Path) else hashlib.sha256(content).hexdigest()


def write_failure(folder: Path, log: str) -> None:
    """Write the log of a unit that failed; it stays not done."""
    (folder / RECORD).unlink(missing_ok=True)
    with atomic(folder / LOG) as temporary:
        temporary.write_text(log, "utf-8")


def check_unit(folder: Path) -> dict[str, Any] | None:
    """Return the record of a finished, intact unit, or None when the unit is not done.

    Raises:
        Damaged: when the unit was done but a file is missing or does not match its checksum.
    """
    try:
        record = read_sealed(folder / RECORD)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{RECORD} cannot be read: {error.strerror}") from None
    if record.get("id") != folder.name:
        raise Damaged(f"{RECORD} belongs to another unit")
    check_files(folder, record["checksums"])
    return record


def adopt_unit(source: Path, target: Path) -> dict[str, Any] | None:
    """Make the finished unit in ``source`` also that of ``target``, by hard links where the disk allows.

    Returns:
        The unit's record, or None when ``source`` is not done or not intact. What is checked is what arrived.
    """
    try:
        record = read_sealed(source / RECORD)
        for name in record["checksums"]:
            _share(source / name, target / name)
        check_files(target, record["checksums"])
        _share(source / RECORD, target / RECORD)
        return check_unit(target)
    except (Damaged, FileNotFoundError):
        (target / RECORD).unlink(missing_ok=True)
        return None


def check_files(folder: Path, checksums: Mapping[str, str]) -> None:
    """Compare files with their checksums.

    Raises:
        Damaged: at the first file that is missing, unreadable or different.
    """
    for name, expected in checksums.items():
        try:
            got = sha256_file(folder / name)
        except FileNotFoundError:
            raise Damaged(f"{name} is missing") from None
        except OSError as error:
            raise Damaged(f"{name} cannot be read: {error.strerror}") from None
        if got != expected:
            raise Damaged(f"{name} does not match its checksum")


def _share(source: Path, target: Path) -> None:
    """Put ``source`` also at ``target``: a hard link, or a copy where the disk has no links."""
    with atomic(target) as temporary:
        try:
            os.link(source, temporary)
        except FileNotFoundError:
            raise
        except OSError:
            shutil.copyfile(source, temporary)
