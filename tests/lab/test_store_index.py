"""The index of a store says what the runs' own files say, through every change, and however it is damaged."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.lab.toy import STUDY

from microtome.lab import store_index
from microtome.lab.config import build_config
from microtome.lab.run import Run
from microtome.lab.runner import execute
from microtome.lab.store_index import INDEX, Summary, models_of, summaries


def toy(store: Path, **options: Any) -> Run:
    return execute(STUDY, build_config(STUDY, options), store=store, threads=1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of runs that were read, rather than taken from the index."""
    names: list[str] = []
    original = store_index._summary

    def noted(path: Path) -> Summary:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(store_index, "_summary", noted)
    return names


def test_a_summary_says_what_the_run_says(tmp_path: Path) -> None:
    run = toy(tmp_path, shift=2.0)
    (found,) = summaries(tmp_path)
    assert (found.study, found.id, found.status, found.created) == (
        "toy",
        run.id,
        "finished",
        run.record.created,
    )
    assert found.given == {"shift": 2.0}
    for summary, verdict in zip(found.verdicts, run.verdicts, strict=True):
        assert verdict.interval is not None
        assert summary._asdict() == {
            "prediction": verdict.prediction,
            "outcome": verdict.outcome,
            "value": verdict.estimate.value,
            "low": verdict.interval.low,
            "high": verdict.interval.high,
        }


def test_only_what_changed_is_read_again(tmp_path: Path, read: list[str]) -> None:
    first, second = toy(tmp_path, shift=2.0), toy(tmp_path, shift=5.0)
    summaries(tmp_path)
    read.clear()
    summaries(tmp_path)
    assert read == []
    verdicts = second.path / "verdicts.json"
    os.utime(verdicts, ns=(0, 0))
    summaries(tmp_path)
    assert read == [second.id]
    verdicts.unlink()
    assert {s.id: s.status for s in summaries(tmp_path)} == {first.id: "finished", second.id: "damaged"}
    (second.path / "run.json").unlink()
    assert [s.id for s in summaries(tmp_path)] == [first.id]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"toy/1": {"stamp": "x"}}', b"\xff\x00"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, content: bytes) -> None:
    toy(tmp_path)
    expected = summaries(tmp_path)
    whole = (tmp_path / INDEX).read_bytes()
    (tmp_path / INDEX).write_bytes(content)
    assert summaries(tmp_path) == expected
    assert (tmp_path / INDEX).read_bytes() == whole


def test_damaged_runs_are_listed_with_what_is_wrong(tmp_path: Path) -> None:
    run = toy(tmp_path)
    (run.path / "run.json").write_text("{}")
    (found,) = summaries(tmp_path)
    assert found.status == "damaged"
    assert "run.json is not whole" in str(found.problem)


def test_a_killed_run_is_stopped(tmp_path: Path) -> None:
    from microtome.lab.store import RunFolder

    run = toy(tmp_path)
    folder = RunFolder(run.path)
    folder.write(run.record.model_copy(update={"status": "measuring"}))
    assert summaries(tmp_path)[0].status == "stopped"
    with folder.locked():
        assert summaries(tmp_path)[0].status == "measuring"
    assert summaries(tmp_path)[0].status == "stopped"


def test_writers_at_once_leave_a_whole_index(tmp_path: Path) -> None:
    toy(tmp_path, shift=2.0)
    toy(tmp_path, shift=5.0)
    expected = summaries(tmp_path)

    def anew(_: int) -> list[Summary]:
        (tmp_path / INDEX).unlink(missing_ok=True)
        return summaries(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        assert all(found == expected for found in pool.map(anew, range(20)))
    assert summaries(tmp_path) == expected
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_store_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    toy(tmp_path)
    monkeypatch.setattr(store_index, "atomic", refuse)
    assert len(summaries(tmp_path)) == 1
    assert not (tmp_path / INDEX).exists()


def test_an_empty_store_gets_no_index(tmp_path: Path) -> None:
    assert summaries(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()


def test_models_are_found_by_the_names_of_their_fields() -> None:
    config = {"model": ["a", "b"], "model_b": "c", "reference_model": None, "d_model": 4, "modelled": "x"}
    assert models_of(config) == ("a", "b", "c")
