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


Source = Path | Mapping[str, bytes]
"""Where a measurement is: in a unit's folder, or in the bytes of its files by name."""


class Stored(Mapping[str, Measurement]):
    """The measurements of stored units; each is read when asked for, so that not all are in memory."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def __getitem__(self, unit_id: str) -> Measurement:
        return unpack(self._sources[unit_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the files of the measurement that a unit's folder holds."""
    return {name: (folder / name).read_bytes() for name in (ROWS, ARRAYS) if (folder / name).exists()}


def unpack(source: Source) -> Measurement:
    """Return the measurement of a source; arrays are read into memory."""
    import polars as pl
    from safetensors.numpy import load, load_file

    if isinstance(source, Path):
        arrays = load_file(source / ARRAYS) if (source / ARRAYS).exists() else {}
        return Measurement(pl.read_parquet(source / ROWS), arrays)
    arrays = load(source[ARRAYS]) if ARRAYS in source else {}
    return Measurement(pl.read_parquet(BytesIO(source[ROWS])), arrays)
