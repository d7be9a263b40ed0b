"""The site: one content, served or written out; data that no text can break out of; tables as they are stored."""

import io
import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from tests.report.window.conftest import HOSTILE, Stored

from microtome.base.errors import UserError
from microtome.report.window import export
from microtome.report.window import tables as packing
from microtome.report.window.site import Site, script
from microtome.report.window.tables import as_csv, packed


def value(body: bytes) -> object:
    """Return what a script hands to the page, as the browser reads it."""
    name, it = json.loads(body.decode().removeprefix("microtome.receive(...").removesuffix(");\n"))
    assert isinstance(name, str)
    return it


def test_an_export_is_what_is_served(stored: Stored, tmp_path: Path) -> None:
    site = Site(stored.root)
    assert export(stored.root, tmp_path / "site") == tmp_path / "site" / "index.html"
    written = {
        p.relative_to(tmp_path / "site").as_posix() for p in (tmp_path / "site").rglob("*") if p.is_file()
    }
    assert written == set(site.paths())
    for path in written:
        served = site.get(path)
        assert served is not None
        assert served.body == (tmp_path / "site" / path).read_bytes(), path
    assert f"files/layered-toy/{stored.first.id}/tables/heads.csv" in written
    export(stored.root, tmp_path / "site")  # again, over itself


def test_no_file_asks_for_another_place(stored: Stored, tmp_path: Path) -> None:
    export(stored.root, tmp_path / "site")
    for file in (tmp_path / "site").glob("*"):
        if file.is_file():
            assert "http://" not in file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
            assert "https://" not in file.read_text("utf-8")


@pytest.mark.parametrize("folder", ["store", "file"])
def test_an_export_that_cannot_be_is_refused(stored: Stored, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"other than the store|cannot write the site"):
        export(stored.root, stored.root if folder == "store" else tmp_path / "file")


def test_no_text_ends_the_script(stored: Stored) -> None:
    text = HOSTILE + "\u2028\u2029<!--]]>"
    body = script("x", {text: text})
    assert not set(b"<>&") & set(body)
    assert body.isascii()
    assert value(body) == {text: text}


def test_a_run_is_said_in_full(stored: Stored) -> None:
    found = Site(stored.root).get(f"data/layered-toy/{stored.first.id}/run.js")
    assert found is not None
    said = value(found.body)
    assert isinstance(said, dict)
    assert said["tables"] == ["means", "heads", "layers", "notes", "rows"]
    assert [v["outcome"] for v in said["verdicts"]] == [str(v.outcome) for v in stored.first.verdicts]
    assert said["published"] == [
        {
            "rule": "mean-above",
            "prediction": "shifted",
            "text": "the mean is above 0",
            "outcome": "above",
            "kind": "agree",
            "relation": "agrees",
        }
    ]
    assert said["predictions"][0]["supported"] == {"text": "> 0.5", "spans": [[0.5, None]]}


def test_a_packed_table_keeps_kinds_and_says_the_undefined() -> None:
    frame = pl.DataFrame(
        {
            "x": [1.5, float("nan"), float("inf"), None],
            "n": [1, None, 3, 4],
            "word": ["a", HOSTILE, None, ""],
            "flag": [True, False, None, True],
            "list": [[1], [], None, [2, 3]],
            "day": [date(2026, 1, 2)] * 4,
        }
    )
    found = packed(frame)
    assert (found["rows"], found["shown"]) == (4, 4)
    assert {column["name"]: (column["kind"], column["values"]) for column in found["columns"]} == {
        "x": ("number", [1.5, None, None, None]),
        "n": ("whole", [1, None, 3, 4]),
        "word": ("text", ["a", HOSTILE, None, ""]),
        "flag": ("text", ["yes", "no", None, "yes"]),
        "list": ("text", ["[1]", "[]", None, "[2, 3]"]),
        "day": ("text", ["2026-01-02"] * 4),
    }


def test_a_long_table_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST_ROWS", 3)
    found = packed(pl.DataFrame({"x": range(10)}))
    assert (found["rows"], found["shown"], found["columns"][0]["values"]) == (10, 3, [0, 1, 2])


def test_csv_reads_back(stored: Stored) -> None:
    found = Site(stored.root).get(f"files/layered-toy/{stored.first.id}/rows.csv")
    assert found is not None
    assert pl.read_csv(io.BytesIO(found.body)).equals(stored.first.rows)
    nested = pl.DataFrame({"word": [HOSTILE, "b,\n"], "list": [[1, 2], None]})
    assert pl.read_csv(io.BytesIO(as_csv(nested))).to_dict(as_series=False) == {
        "word": [HOSTILE, "b,\n"],
        "list": ["[1, 2]", None],
    }


def test_a_damaged_table_is_not_there(stored: Stored) -> None:
    path = stored.third.path / "tables" / "heads.parquet"
    kept = path.read_bytes()
    path.write_bytes(kept[:50])
    try:
        assert Site(stored.root).get(f"data/layered-toy/{stored.third.id}/tables/heads.js") is None
    finally:
        path.write_bytes(kept)
