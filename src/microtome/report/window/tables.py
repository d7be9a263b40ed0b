"""A table as the window draws it, column by column, and as CSV."""

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS = 20_000
"""Rows that a page gets; more would make it slow, and the whole table can be taken away as a file."""


def packed(frame: "pl.DataFrame") -> dict[str, Any]:
    """Return a table's first ``MOST_ROWS`` rows by column, each with its kind; undefined numbers are None.

    Kinds: ``number`` (fractions), ``whole`` (integers), ``text`` (everything else, as text).
    """
    shown = frame.head(MOST_ROWS)
    columns = [{"name": name, **_column(shown[name])} for name in shown.columns]
    return {"rows": frame.height, "shown": shown.height, "columns": columns}


def _column(values: "pl.Series") -> dict[str, Any]:
    import polars as pl

    if values.dtype.is_float():
        finite = values.is_finite().fill_null(False)
        return {"kind": "number", "values": pl.select(pl.when(finite).then(values)).to_series().to_list()}
    if values.dtype.is_integer():
        return {"kind": "whole", "values": values.to_list()}
    return {"kind": "text", "values": [None if x is None else _text(x) for x in values.to_list()]}


def as_csv(frame: "pl.DataFrame") -> bytes:
    """Return a table as CSV in UTF-8; lists and records inside a cell are written as JSON."""
    import polars as pl

    nested = [
        pl.Series(name, [None if x is None else _text(x) for x in frame[name].to_list()], pl.String)
        for name, kind in frame.schema.items()
        if kind.is_nested()
    ]
    return frame.with_columns(nested).write_csv().encode()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
    )
