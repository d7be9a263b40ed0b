"""Documents out of files: text, JSON lines, Parquet, folders of text."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from microtome.base.errors import UserError

FIELD = "text"
"""The field or column that holds a document."""


def read_path(name: str) -> Sequence[str]:
    """Return the documents of a file, or of the ``.txt`` files below a folder in the order of their paths.

    Raises:
        UserError: if the path does not exist, its format is not known, or it cannot be read.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise UserError(f"Corpus file '{path}' does not exist (looked from {Path.cwd()}). Check the path.")
    if path.suffix.lower() not in READERS:
        raise UserError(
            f"Corpus file '{path}' must end in {', '.join(READERS)}, got '{path.suffix}'. "
            f"Save it as one of these, or as a folder of .txt files."
        )
    return READERS[path.suffix.lower()](path)


def read_text(path: Path) -> Sequence[str]:
    """Return the documents of a text file: the pieces between blank lines."""
    return [document.strip("\n") for document in re.split(r"\n[^\S\n]*\n", _text(path)) if document.strip()]


def read_jsonl(path: Path) -> Sequence[str]:
    """Return the ``text`` of each line's object; empty lines are passed over."""
    documents = list[str]()
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"Line {number} of '{path}' is not JSON ({error}). Mend the line.") from error
        if not isinstance(row, dict):
            raise UserError(f'Line {number} of \'{path}\' must be an object like {{"{FIELD}": "..."}}.')
        documents.append(_document(row.get(FIELD), row, f"Line {number} of '{path}'"))
    return documents


def read_parquet(path: Path) -> Sequence[str]:
    """Return the column ``text``."""
    import polars

    try:
        schema = polars.read_parquet_schema(path)
        if schema.get(FIELD) != polars.String:
            column = f"'{FIELD}' of type {schema[FIELD]}" if FIELD in schema else f"no column '{FIELD}'"
            raise UserError(
                f"'{path}' must have a column '{FIELD}' of strings; it has {column}. "
                f"Its columns are: {', '.join(schema)}. Rename the one that holds the documents to '{FIELD}'."
            )
        column = polars.read_parquet(path, columns=[FIELD])[FIELD]
    except polars.exceptions.PolarsError as error:
        raise UserError(f"'{path}' cannot be read as Parquet ({error}). Write the file again.") from error
    return column.drop_nulls().to_list()


READERS: dict[str, Callable[[Path], Sequence[str]]] = {
    ".txt": read_text,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}
"""The reader of each format by the ending of the file's name."""


def _read_folder(folder: Path) -> Sequence[str]:
    paths = sorted(folder.rglob("*.txt"))
    if not paths:
        raise UserError(f"Corpus folder '{folder}' has no .txt file. For other formats name the file itself.")
    return [_text(path) for path in paths]


def _document(value: object, row: dict[str, object], where: str) -> str:
    if not isinstance(value, str):
        found = f"'{FIELD}' holding a {type(value).__name__}" if FIELD in row else f"no field '{FIELD}'"
        raise UserError(
            f"{where} must have a field '{FIELD}' with a string; it has {found}. Its fields are: "
            f"{', '.join(row) or 'none'}. Rename the one that holds the document to '{FIELD}'."
        )
    return value


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"'{path}' is not UTF-8 text (at byte {error.start}: {error.reason}). Convert it, for example "
            f"with iconv -f latin1 -t utf-8."
        ) from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}.") from error
