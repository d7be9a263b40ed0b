"""A measurement as the bytes of its files, and back: every engine packs the same way, so bytes agree."""

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


def unpack(folder: Path) -> Measurement:
    """Return the measurement that a unit's folder holds; arrays are read into memory."""
    import polars as pl

    arrays = {}
    if (folder / ARRAYS).exists():
        from safetensors.numpy import load_file

        arrays = load_file(folder / ARRAYS)
    return Measurement(pl.read_parquet(folder / ROWS), arrays)
