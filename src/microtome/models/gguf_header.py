"""The header of a GGUF file: which tensors it must hold, and so how long it must be.

Layout (little-endian): magic ``GGUF``, version, tensor count and key count; then the keys with their values;
then name, shape, type and offset of each tensor; then, aligned, the tensors. Specification:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from microtome.base.errors import UserError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class Header:
    """What a GGUF file says about itself."""

    architecture: str
    tensors: int
    size: int
    """The fewest bytes that a file with these tensors can have."""


def read_header(path: Path) -> Header:
    """Read the header of a GGUF file and check that the file is long enough for its tensors.

    Raises:
        UserError: If the file is not GGUF, or is truncated or damaged.
    """
    actual = path.stat().st_size
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = _Reader(data).header()
    except (struct.error, IndexError, KeyError, ValueError, OverflowError, UnicodeDecodeError) as error:
        raise UserError(
            f"Expected a whole GGUF file, got '{path}' ({actual:,} bytes), whose header cannot be read: "
            f"{error or type(error).__name__}. Download or copy it again."
        ) from error
    if actual < header.size:
        raise UserError(
            f"Expected a GGUF file of at least {header.size:,} bytes for its {header.tensors} tensors, got "
            f"'{path}' of {actual:,} bytes: it is truncated. Download or copy it again."
        )
    return header


class _Reader:
    """A cursor over the bytes of a header."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def header(self) -> Header:
        if self.data[:4] != b"GGUF":
            raise ValueError(f"it begins with {bytes(self.data[:4])!r}, not with b'GGUF'")
        self.at = 4
        version = self.number("I")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not 2 or 3")
        tensors, keys = self.number("Q"), self.number("Q")
        values = {}
        for _ in range(keys):
            name = self.text()
            values[name] = self.value(self.number("I"))
        end = max((self.tensor_end() for _ in range(tensors)), default=0)
        alignment = values.get("general.alignment", 32)
        start = -(-self.at // alignment) * alignment
        return Header(str(values.get("general.architecture", "unknown")), tensors, start + end)

    def number(self, code: str) -> int:
        (value,) = struct.unpack_from(f"<{code}", self.data, self.at)
        self.at += struct.calcsize(f"<{code}")
        return value

    def text(self) -> str:
        length = self.number("Q")
        if self.at + length > len(self.data):
            raise ValueError(f"a text at byte {self.at:,} reaches beyond the end")
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        """Read a value; arrays are passed over, since no array is needed."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_SCALARS[kind])
        inner, count = self.number("I"), self.number("Q")
        if inner in _SCALARS:
            self.at += count * struct.calcsize(f"<{_SCALARS[inner]}")
        else:
            for _ in range(count):
                self.value(inner)
        return None

    def tensor_end(self) -> int:
        """Read one tensor's entry and return the byte after its data, counted from the first tensor."""
        self.text()
        shape = [self.number("Q") for _ in range(self.number("I"))]
        block, width = GGML_QUANT_SIZES[GGMLQuantizationType(self.number("I"))]
        return self.number("Q") + prod(shape) // block * width
