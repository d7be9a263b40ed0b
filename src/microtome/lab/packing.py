"""A measurement as the bytes of its files, and back: every engine packs the same way, so bytes agree."""

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

from microtome.lab.study import Measurement

ROWS = "rows.parquet"
ARRAYS = "arrays.safetensors"


def pack(measurement: Measurement) -> dict[str, bytes]:
    """Return the files of a measurement: ``rows.parquet``, and ``arrays.safetensors`` if it has arrays."""
    buffer = BytesIO()
    measurement.rows.rechunk().write_parquet(buffer)
    files = {ROWS: buffer.getvalue()}
    if measurement.arrays:
        import numpy as np
        from safetensors.numpy import save

        files[ARRAYS] = save(
            {name: np.asarray(array, order="C") for name, array in measurement.arrays.items()}
        )
    return files


class Stored(Mapping[str, Measurement]):
    """The measurements of units in the store; each is read when asked for, so that not all are in memory."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def __getitem__(self, unit_id: str) -> Measurement:
        return unpack(self._folders[unit_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders)

    def __len__(self) -> int:
        return len(self._folders)


def unpack(folder: Path) -> Measurement:
    """Return the measurement that a unit's folder holds; arrays are read into memory."""
    import polars as pl

    arrays = {}
    if (folder / ARRAYS).exists():
        from safetensors.numpy import load_file

        arrays = load_file(folder / ARRAYS)
    return Measurement(pl.read_parquet(folder / ROWS), arrays)
