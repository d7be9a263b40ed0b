"""The file of spectra: what is written can be read, here and by the original; what is wrong is named by its place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome.base.errors import UserError
from microtome.studies.head_spectra.spectra_file import SpectraFile, read, write

LAYERS, HEADS, VALUES = 4, 8, 3
SPECTRA, ENTROPY = "metric_singvals_per_head", "mean_attention_entropy_per_head"
Content = dict[str, Any]


def content() -> Content:
    """A sound file's content."""
    return {
        "num_layers": LAYERS,
        "num_heads": HEADS,
        "static": [{SPECTRA: [[3.0 + h, 2.0, 0.5] for h in range(HEADS)]} for _ in range(LAYERS)],
        "dynamic": [{ENTROPY: [i + h / 10 for h in range(HEADS)]} for i in range(LAYERS)],
    }


def file(seed: int = 0, **more: Any) -> SpectraFile:
    rng = np.random.default_rng(seed)
    spectra = -np.sort(-rng.lognormal(size=(LAYERS, HEADS, VALUES)), axis=-1)
    return SpectraFile(spectra, rng.uniform(0, 3, (LAYERS, HEADS)), **more)


def saved(folder: Path, value: Any) -> Path:
    path = folder / "spectra.json"
    path.write_text(json.dumps(value), "utf-8")
    return path


def original(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file as the original's script does."""
    data = json.loads(path.read_text())
    longest = max(len(s) for row in data["static"] for s in row["metric_singvals_per_head"])
    sigma = np.zeros((data["num_layers"], data["num_heads"], longest))
    for layer, row in enumerate(data["static"]):
        for head, s in enumerate(row["metric_singvals_per_head"]):
            sigma[layer, head, : len(s)] = s
    return sigma, np.array([row["mean_attention_entropy_per_head"] for row in data["dynamic"]])


MORE = [
    {},
    {"d_model": 16, "kv_heads": 2, "d_head": VALUES},
    {"normalised": np.full((LAYERS, HEADS), 0.5)},
    {"normalised": np.full((LAYERS, HEADS), 0.5), "first_token": np.eye(LAYERS, HEADS)},
]


@pytest.mark.parametrize("more", MORE, ids=lambda more: ", ".join(more) or "the original's keys alone")
def test_what_is_written_is_read_bit_for_bit(more, tmp_path):
    one = file(**more)
    write(tmp_path / "made" / "one.json", one, metric={"offset": 0})
    again = read(tmp_path / "made" / "one.json")
    for name, value in vars(one).items():
        np.testing.assert_array_equal(getattr(again, name), value, strict=isinstance(value, np.ndarray))
    assert json.loads((tmp_path / "made" / "one.json").read_text())["metric"] == {"offset": 0}


@pytest.mark.parametrize("more", MORE, ids=lambda more: ", ".join(more) or "the original's keys alone")
def test_the_original_reads_what_is_written(more, tmp_path):
    one = file(**more)
    write(tmp_path / "one.json", one)
    spectra, entropy = original(tmp_path / "one.json")
    np.testing.assert_array_equal(spectra, one.spectra)
    np.testing.assert_array_equal(entropy, one.entropy)


def test_spectra_of_unequal_rank_are_filled_with_zeros(tmp_path):
    value = content()
    value["static"][1][SPECTRA][2] = [5]
    value["static"][3][SPECTRA][0] = [4.0, 3.0, 2.0, 1.0]
    path = saved(tmp_path, value)
    found = read(path)
    spectra, entropy = original(path)
    np.testing.assert_array_equal(found.spectra, spectra)
    np.testing.assert_array_equal(found.entropy, entropy)
    assert found.spectra[1, 2].tolist() == [5, 0, 0, 0]


def test_rounding_in_the_last_digits_is_no_disorder(tmp_path):
    value = content()
    value["static"][0][SPECTRA][0] = [2.0, 1.0, 1.0 + 1e-7]
    assert read(saved(tmp_path, value)).spectra[0, 0, 2] == 1.0 + 1e-7


def test_optional_sizes_may_be_null(tmp_path):
    found = read(saved(tmp_path, content() | {"d_model": None}))
    assert (found.d_model, found.kv_heads, found.d_head) == (None, None, None)
    assert (found.normalised, found.first_token) == (None, None)


def put(*path: Any, to: Any) -> Callable[[Content], Any]:
    """Return what sets an entry of the content."""

    def change(value: Content) -> Content:
        holder: Any = value
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = to
        return value

    return change


def drop(*path: Any) -> Callable[[Content], Any]:
    """Return what removes an entry of the content."""

    def change(value: Content) -> Content:
        holder: Any = value
        for key in path[:-1]:
            holder = holder[key]
        del holder[path[-1]]
        return value

    return change


HEAD = ("static", 3, SPECTRA, 7)
THERE = f"static[3].{SPECTRA}[7]"
BAD: dict[str, tuple[Callable[[Content], Any], str]] = {
    "a list": (lambda value: [value["num_heads"]], "at the file: expected an object; got [8]"),
    "null": (lambda value: None, "at the file: expected an object; got null"),
    "no layers": (
        drop("num_layers"),
        'at num_layers: expected this key; got ["num_heads", "static", "dynamic"]',
    ),
    "no heads": (
        drop("num_heads"),
        'at num_heads: expected this key; got ["num_layers", "static", "dynamic"]',
    ),
    "no keys": (lambda value: {}, "at num_layers: expected this key; got []"),
    "no static": (
        drop("static"),
        'at static: expected this key; got ["num_layers", "num_heads", "dynamic"]',
    ),
    "no dynamic": (
        drop("dynamic"),
        'at dynamic: expected this key; got ["num_layers", "num_heads", "static"]',
    ),
    "no spectra": (drop("static", 3, SPECTRA), f"at static[3].{SPECTRA}: expected this key; got []"),
    "no entropy": (drop("dynamic", 0, ENTROPY), f"at dynamic[0].{ENTROPY}: expected this key; got []"),
    "one layer": (
        put("num_layers", to=1),
        "at num_layers: expected at least 2 layers, since layers are compared; got 1",
    ),
    "layers as text": (put("num_layers", to="4"), 'at num_layers: expected a whole number from 1; got "4"'),
    "half a head": (put("num_heads", to=7.5), "at num_heads: expected a whole number from 1; got 7.5"),
    "true heads": (put("num_heads", to=True), "at num_heads: expected a whole number from 1; got true"),
    "zero heads": (put("num_heads", to=0), "at num_heads: expected a whole number from 1; got 0"),
    "too few layers": (drop("static", 1), "at static: expected 4 layers, as num_layers says; got 3"),
    "too many layers": (
        put("num_layers", to=3),
        "at static: expected 3 layers, as num_layers says; got 4",
    ),
    "too few heads": (
        drop(*HEAD),
        f"at static[3].{SPECTRA}: expected 8 heads, as num_heads says; got 7",
    ),
    "static is an object": (put("static", to={}), "at static: expected a list; got {}"),
    "a layer is a list": (put("static", 2, to=[1]), "at static[2]: expected an object; got [1]"),
    "a layer's spectra are a number": (
        put("static", 2, SPECTRA, to=5),
        f"at static[2].{SPECTRA}: expected a list; got 5",
    ),
    "a spectrum is a number": (put(*HEAD, to=5), f"at {THERE}: expected a list of singular values; got 5"),
    "empty": (put(*HEAD, to=[]), f"at {THERE}: expected at least one singular value; got []"),
    "zero": (
        put(*HEAD, to=[0, 0.0]),
        f"at {THERE}: expected some singular value above 0: a zero spectrum has no shape; got [0.0, 0.0]",
    ),
    "negative": (put(*HEAD, 2, to=-0.25), f"at {THERE}[2]: expected a finite number from 0; got -0.25"),
    "unsorted": (
        put(*HEAD, 1, to=99.5),
        f"at {THERE}[1]: expected descending values, so at most 10; got 99.5",
    ),
    "NaN": (put(*HEAD, 0, to=float("nan")), f"at {THERE}[0]: expected a finite number from 0; got NaN"),
    "infinity": (
        put(*HEAD, 0, to=float("inf")),
        f"at {THERE}[0]: expected a finite number from 0; got Infinity",
    ),
    "a string": (put(*HEAD, 1, to="2"), f'at {THERE}[1]: expected a finite number from 0; got "2"'),
    "null in it": (put(*HEAD, 1, to=None), f"at {THERE}[1]: expected a finite number from 0; got null"),
    "false in it": (put(*HEAD, 2, to=False), f"at {THERE}[2]: expected a finite number from 0; got false"),
    "a list in it": (put(*HEAD, 2, to=[1]), f"at {THERE}[2]: expected a finite number from 0; got [1]"),
    "beyond a float": (
        put(*HEAD, 0, to=10**400),
        f"at {THERE}[0]: expected a finite number from 0; got 1{'0' * 79}...",
    ),
    "entropy of too few layers": (
        drop("dynamic", 0),
        "at dynamic: expected 4 layers, as num_layers says; got 3",
    ),
    "entropy of too many heads": (
        put("dynamic", 1, ENTROPY, to=[1.0] * 9),
        f"at dynamic[1].{ENTROPY}: expected 8 heads, as num_heads says; got 9",
    ),
    "negative entropy": (
        put("dynamic", 1, ENTROPY, 2, to=-1),
        f"at dynamic[1].{ENTROPY}[2]: expected a finite number from 0; got -1",
    ),
    "undefined entropy": (
        put("dynamic", 1, ENTROPY, 2, to=float("nan")),
        f"at dynamic[1].{ENTROPY}[2]: expected a finite number from 0; got NaN",
    ),
    "infinite entropy": (
        put("dynamic", 1, ENTROPY, 2, to=float("-inf")),
        f"at dynamic[1].{ENTROPY}[2]: expected a finite number from 0; got -Infinity",
    ),
    "a share of one layer alone": (
        put("dynamic", 2, "first_token_share_per_head", to=[0.5] * HEADS),
        f'at dynamic[0].first_token_share_per_head: expected this key; got ["{ENTROPY}"]',
    ),
    "groups that do not divide": (
        put("kv_heads", to=3),
        "at kv_heads: expected a number that divides num_heads, 8; got 3",
    ),
    "another d_head": (
        put("d_head", to=64),
        "at d_head: expected the number of singular values, 3; got 64",
    ),
    "d_model too small": (
        put("d_model", to=2),
        "at d_model: expected at least the number of singular values, 3; got 2",
    ),
    "d_model as text": (put("d_model", to="x"), 'at d_model: expected a whole number from 1; got "x"'),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_named_by_its_place(case, tmp_path):
    change, message = BAD[case]
    path = saved(tmp_path, change(content()))
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Expecting value: line 1 column 1"),
        (b"num_layers: 4", "Expecting value: line 1 column 1"),
        (b'{"num_layers": 4', "Expecting ',' delimiter"),
        (b'{"num_layers": "\xff"}', "can't decode byte 0xff in position 16"),
        (b"[" * 100_000, "recursion"),
        (b"1" * 5000, "Exceeds the limit"),
    ],
    ids=["empty", "no JSON", "cut off", "no UTF-8", "too deep", "too many digits"],
)
def test_what_is_no_json_is_one_error(data, message, tmp_path):
    path = tmp_path / "spectra.json"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read(path)
    start = f"expected a JSON file in '{path}', as `microtome spectra extract` makes them; got: "
    assert str(caught.value).startswith(start)
    assert message in str(caught.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(UserError, match=r"expected a JSON file in '.*'.*; got: .*directory"):
        read(tmp_path)


def test_a_file_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(UserError) as caught:
        read(tmp_path / "none.json")
    assert (
        str(caught.value)
        == f"there is no file '{tmp_path / 'none.json'}'; `microtome spectra extract` makes one"
    )
