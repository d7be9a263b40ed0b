"""The original's JSON file: spectra and attention entropies of every head, checked place by place when read.

``num_layers``, ``num_heads``, ``static[L].metric_singvals_per_head[h]`` and
``dynamic[L].mean_attention_entropy_per_head[h]`` are the original's keys. What ``microtome spectra extract`` writes
beside them (``d_model``, normalised entropies, the options) is read where it is there.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from microtome.base.errors import UserError
from microtome.base.files import write_json
from microtome.measure.rescale import Map, Spectra, pad

SINGULAR_VALUES = "metric_singvals_per_head"
ENTROPY = "mean_attention_entropy_per_head"
NORMALISED = "normalised_attention_entropy_per_head"
FIRST_TOKEN = "first_token_share_per_head"
SIZES = ("d_model", "kv_heads", "d_head")
ROUNDING = 1e-6
"""How much larger than the one before a singular value may be written, relative to the largest."""
SHOWN = 80
"""Characters of a wrong entry that a message shows."""


@dataclass(frozen=True)
class SpectraFile:
    """What a file holds."""

    spectra: Spectra
    """Singular values, descending, filled up with zeros."""
    entropy: Map
    """Mean attention entropy, nats."""
    normalised: Map | None = None
    """The same over the log of the number of visible keys."""
    first_token: Map | None = None
    """Mean share of attention on the first token."""
    d_model: int | None = None
    kv_heads: int | None = None
    d_head: int | None = None


def read(path: Path | str) -> SpectraFile:
    """Read and check a file.

    Raises:
        UserError: the file cannot be read, or something in it is missing or wrong; the message names the place.
    """
    try:
        content = json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file '{path}'; `microtome spectra extract` makes one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"expected a JSON file in '{path}', as `microtome spectra extract` makes them; got: {error}"
        ) from None
    return _Reader(str(path), content).file()


def write(path: Path | str, file: SpectraFile, **more: Any) -> None:
    """Write a file that the original's script reads; ``more`` goes beside its keys."""
    layers, heads, _ = file.spectra.shape
    dynamic: list[dict[str, Any]] = [
        {"layer": i, ENTROPY: row.tolist()} for i, row in enumerate(file.entropy)
    ]
    for name, values in ((NORMALISED, file.normalised), (FIRST_TOKEN, file.first_token)):
        if values is not None:
            dynamic = [row | {name: of.tolist()} for row, of in zip(dynamic, values, strict=True)]
    write_json(
        Path(path),
        {
            "num_layers": layers,
            "num_heads": heads,
            **{name: value for name in SIZES if (value := getattr(file, name)) is not None},
            **more,
            "static": [{"layer": i, SINGULAR_VALUES: row.tolist()} for i, row in enumerate(file.spectra)],
            "dynamic": dynamic,
        },
    )


class _Reader:
    """Checks one file's content; every complaint names its place."""

    def __init__(self, path: str, content: Any) -> None:
        self.path = path
        self.content = self.instance(content, dict, "the file", "an object")

    def file(self) -> SpectraFile:
        layers, heads = (self.count(name) for name in ("num_layers", "num_heads"))
        if layers < 2:
            self.fail("num_layers", "at least 2 layers, since layers are compared", layers)
        static = self.rows("static", layers, heads, SINGULAR_VALUES)
        spectra = [
            [
                self.spectrum(values, self.place("static", i, SINGULAR_VALUES, h))
                for h, values in enumerate(row)
            ]
            for i, row in enumerate(static)
        ]
        file = SpectraFile(
            pad(spectra),
            self.map(layers, heads, ENTROPY),
            self.optional_map(layers, heads, NORMALISED),
            self.optional_map(layers, heads, FIRST_TOKEN),
            **{name: self.optional_count(name) for name in SIZES},
        )
        self.check_sizes(file)
        return file

    def check_sizes(self, file: SpectraFile) -> None:
        """Refuse sizes of which no random model with spectra like the file's could be drawn."""
        _, heads, values = file.spectra.shape
        if heads % (file.kv_heads or 1):
            self.fail("kv_heads", f"a number that divides num_heads, {heads}", file.kv_heads)
        if file.d_head not in (None, values):
            self.fail("d_head", f"the number of singular values, {values}", file.d_head)
        if file.d_model is not None and file.d_model < values:
            self.fail("d_model", f"at least the number of singular values, {values}", file.d_model)

    def rows(self, part: str, layers: int, heads: int, name: str) -> list[list[Any]]:
        """Return ``part[L].name`` of every layer, with a member for each head."""
        rows = self.instance(self.key(self.content, part), list, part, "a list")
        self.length(rows, layers, part, "layers", "num_layers")
        found = []
        for i, row in enumerate(rows):
            there = f"{part}[{i}]"
            values = self.key(self.instance(row, dict, there, "an object"), name, there)
            place = f"{there}.{name}"
            self.length(self.instance(values, list, place, "a list"), heads, place, "heads", "num_heads")
            found.append(values)
        return found

    def spectrum(self, values: Any, place: str) -> list[float]:
        self.instance(values, list, place, "a list of singular values")
        if not values:
            self.fail(place, "at least one singular value", values)
        numbers = [self.number(value, f"{place}[{i}]") for i, value in enumerate(values)]
        for i, value in enumerate(numbers):
            before = numbers[i - 1] if i else value
            if value > before + ROUNDING * numbers[0]:
                self.fail(f"{place}[{i}]", f"descending values, so at most {before:g}", value)
        if not numbers[0]:
            self.fail(place, "some singular value above 0: a zero spectrum has no shape", numbers)
        return numbers

    def map(self, layers: int, heads: int, name: str) -> Map:
        rows = self.rows("dynamic", layers, heads, name)
        numbers = [
            [self.number(value, self.place("dynamic", i, name, h)) for h, value in enumerate(row)]
            for i, row in enumerate(rows)
        ]
        return np.array(numbers, np.float64)

    def optional_map(self, layers: int, heads: int, name: str) -> Map | None:
        anywhere = any(name in row for row in self.content["dynamic"])
        return self.map(layers, heads, name) if anywhere else None

    def optional_count(self, name: str) -> int | None:
        return self.count(name) if self.content.get(name) is not None else None

    def count(self, name: str) -> int:
        value = self.key(self.content, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.fail(name, "a whole number from 1", value)
        return value

    def key(self, holder: dict[str, Any], name: str, place: str = "") -> Any:
        if name not in holder:
            self.fail(f"{place}.{name}".lstrip("."), "this key", list(holder))
        return holder[name]

    def instance(self, value: Any, kind: type, place: str, what: str) -> Any:
        if not isinstance(value, kind):
            self.fail(place, what, value)
        return value

    def number(self, value: Any, place: str) -> float:
        """Return a number from 0 to the largest float; NaN, a whole number too large for one, true and "1" are none."""
        if type(value) not in (int, float) or not 0 <= value <= sys.float_info.max:
            self.fail(place, "a finite number from 0", value)
        return float(value)

    def length(self, values: list[Any], expected: int, place: str, what: str, source: str) -> None:
        if len(values) != expected:
            self.fail(place, f"{expected} {what}, as {source} says", len(values))

    @staticmethod
    def place(part: str, layer: int, name: str, head: int) -> str:
        return f"{part}[{layer}].{name}[{head}]"

    def fail(self, place: str, expected: str, got: Any) -> NoReturn:
        shown = json.dumps(got, ensure_ascii=False)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
        raise UserError(f"{self.path}: at {place}: expected {expected}; got {shown}")
