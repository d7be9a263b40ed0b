"""The package's face: quick to import, studies by name, run and report as one call."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import microtome
from microtome import face
from microtome.base.errors import UserError
from microtome.lab import registry
from microtome.lab.run import Run

ENTRY = EntryPoint(name="toy", value="tests.lab.toy:STUDY", group=registry.GROUP)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: (ENTRY,) if group == registry.GROUP else ())


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs whose report was written, by a report room of this test."""
    written: list[str] = []

    def write_report(run: Run) -> Path:
        written.append(run.id)
        page = run.path / "report.html"
        page.write_text("page")
        return page

    room: Any = ModuleType("microtome.report")
    room.write_report = write_report
    monkeypatch.setitem(sys.modules, "microtome.report", room)
    return written


@pytest.mark.usefixtures("toy")
def test_run_writes_the_report_once(tmp_path: Path, pages: list[str]) -> None:
    run = microtome.run("toy", store=tmp_path, seeds=[0, 1, 2], shift=2)
    assert run.status == "finished"
    command = f"microtome.run('toy', store='{tmp_path}', seeds=[0, 1, 2], shift=2)"
    assert run.record.provenance["command"] == command
    assert microtome.run("toy", store=tmp_path, seeds=(0, 1, 2), shift=2).id == run.id
    assert pages == [run.id]
    (run.path / "report.html").write_text("scribbled")
    microtome.run("toy", store=tmp_path, seeds=(0, 1, 2), shift=2)
    face.report(microtome.open_run(run.id, tmp_path), anew=True)
    assert pages == [run.id] * 3
    assert [one.id for one in microtome.runs(tmp_path)] == [run.id]
    assert microtome.open_run(run.id[:6], tmp_path).figures().keys() == {"means"}


@pytest.mark.usefixtures("toy")
def test_plan_and_power_take_the_same_options(tmp_path: Path) -> None:
    file = tmp_path / "toy.toml"
    file.write_text("seeds = [1, 2, 3]")
    assert len(face.plan("toy", store=tmp_path, config_file=file).units) == 6
    table = microtome.power("toy", draws=5, size=30, config_file=file)
    assert table["draws"].to_list() == [5, 5]
    with pytest.raises(UserError, match="Did you mean 'seeds'"):
        face.plan("toy", seed=1)


@pytest.mark.usefixtures("toy")
def test_an_unknown_study_is_told_the_nearest_and_all() -> None:
    assert microtome.studies() == ("toy",)
    with pytest.raises(UserError, match=r"unknown study 'tyo'\. Did you mean 'toy'\? Studies: toy"):
        microtome.run("tyo")


def test_no_study_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: ())
    with pytest.raises(UserError, match="Studies: none is installed"):
        registry.load("toy")


def test_an_entry_point_must_name_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = EntryPoint(name="toy", value="tests.lab.toy:PREDICTIONS", group=registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: (wrong,))
    with pytest.raises(AssertionError, match=r"entry point 'toy' in microtome.studies must name an instance"):
        registry.load("toy")


def in_fresh_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_and_listing_load_nothing_heavy() -> None:
    code = """
import microtome, sys
microtome.studies(), microtome.run, microtome.runs
print({"torch", "transformers", "polars", "scipy", "matplotlib", "numpy", "datasets"} & set(sys.modules))
"""
    assert in_fresh_python(code) == "set()"


def test_a_room_that_shares_its_name_with_a_function_can_be_called() -> None:
    """Whichever is imported first, the room or the function, both stay within reach."""
    code = """
import microtome, microtome.studies
assert microtome.studies() == microtome.studies.__call__(), "called as a function"
assert microtome.studies.__path__, "still the room"
from microtome import capture
import microtome.capture as room
assert room is capture and callable(capture)
print("fine")
"""
    assert in_fresh_python(code) == "fine"


def test_names_of_the_package() -> None:
    assert set(microtome.__all__) <= set(dir(microtome))
    assert microtome.UserError is UserError
    assert microtome.__version__
    with pytest.raises(AttributeError, match="module 'microtome' has no attribute 'rum'"):
        _ = microtome.rum  # type: ignore[attr-defined]
