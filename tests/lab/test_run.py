"""Opening stored runs: by folder, by id, by part of an id; what they show, and what a damaged one says."""

import shutil
import types
from pathlib import Path

import polars as pl
import pytest
from tests.lab.conftest import Toys
from tests.lab.toy import PREDICTIONS, STUDY, Toy, ToyConfig

from microtome.base.errors import UserError
from microtome.lab.record import read_record, write_record
from microtome.lab.run import Run, open_run, runs
from microtome.lab.verdict import Outcome
from microtome.lab.verify import publish, report_is_whole, verify


@pytest.fixture
def run(toys: Toys) -> Run:
    return toys.run(seeds=(0, 1, 2), shift=1.25)


def test_a_run_opens_without_its_study_for_all_but_its_figures(run: Run, toys: Toys) -> None:
    opened = open_run(run.id, toys.store)
    assert opened.record == run.record
    assert opened.rows.equals(run.rows)
    assert [v.outcome for v in opened.verdicts] == [Outcome.SUPPORTED, Outcome.FALSIFIED]
    assert opened.verdicts == run.verdicts
    assert opened.predictions == PREDICTIONS
    assert opened.controls["finite"].detail == "3 means"
    assert opened.published["mean-above"].claims is True
    assert opened.tables.keys() == {"means"}
    with pytest.raises(UserError, match="unknown study 'toy'"):
        opened.figures()


def test_the_config_comes_back_as_it_was(run: Run) -> None:
    assert isinstance(run.config, ToyConfig)
    assert run.config.seeds == (0, 1, 2)
    assert run.record.given.keys() == {"seeds", "shift", "diary"}
    assert run.figures().keys() == {"means"}


def test_the_verdict_table_has_both_answers(run: Run) -> None:
    table = run.verdict_table
    assert table["verdict"].to_list() == ["SUPPORTED", "FALSIFIED"]
    assert table["published"].to_list() == ["above", None]
    assert table["estimate"][0] == run.rows["mean"].drop_nulls().mean()
    assert (table["low"] < table["estimate"]).all()
    assert table["alpha"].to_list() == [0.025, 0.025]
    assert table.schema["p"] == pl.Float64


def test_how_a_run_shows_itself(run: Run) -> None:
    assert repr(run).splitlines()[1:] == ["  SUPPORTED     shifted", "  FALSIFIED     large"]
    html = run._repr_html_()
    assert "above &lt;zero&gt;" in html
    assert "<zero>" not in html
    assert html.count("<tr>") == 3


def test_a_prefix_is_enough_when_it_is_unique(run: Run, toys: Toys) -> None:
    assert open_run(run.id[:5], toys.store).id == run.id
    other = run.path.with_name(run.id[:5] + "00000000000")
    shutil.copytree(run.path, other)
    with pytest.raises(UserError) as caught:
        open_run(run.id[:5], toys.store)
    assert str(caught.value).startswith(f"'{run.id[:5]}' is the start of 2 runs: ")
    assert f"toy/{run.id}" in str(caught.value)
    assert open_run(run.path).id == run.id
    assert open_run(str(other)).id == other.name


def test_an_unknown_run_names_the_nearest(run: Run, toys: Toys) -> None:
    wrong = run.id[:-1] + ("0" if run.id[-1] != "0" else "1")
    with pytest.raises(
        UserError, match=rf"there is no run '{wrong}' in the store .* Did you mean '{run.id}'\?"
    ):
        open_run(wrong, toys.store)
    with pytest.raises(UserError, match=r"the store '.*nowhere' holds no runs"):
        open_run(wrong, toys.store / "nowhere")
    with pytest.raises(UserError, match="there is no run ''"):
        open_run("", toys.store)


def test_runs_lists_a_store(run: Run, toys: Toys) -> None:
    other = toys.run(seeds=(0, 1, 2, 3), shift=1.25)
    assert {one.id for one in runs(toys.store)} == {run.id, other.id}
    assert runs(toys.store / "nowhere") == []


def test_a_run_of_another_version_can_be_read_but_not_redrawn(run: Run) -> None:
    newer = type("Newer", (Toy,), {"version": 2})()
    old = Run(run.path, newer)
    assert len(old.verdicts) == 2
    with pytest.raises(UserError, match="was made by version 1 of study toy, and version 2 is installed"):
        _ = old.config


@pytest.mark.parametrize("name", ["rows.parquet", "verdicts.json"])
def test_a_missing_result_is_told(run: Run, name: str) -> None:
    (run.path / name).unlink()
    fresh = Run(run.path, STUDY)
    with pytest.raises(
        UserError, match=f"{name} is missing or damaged; the command that made the run computes"
    ):
        _ = (fresh.rows, fresh.verdicts)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no run at .*: expected a folder with a run.json"):
        _ = Run(tmp_path).record


def test_a_record_of_another_format_is_told(run: Run) -> None:
    path = run.path / "run.json"
    record = read_record(path)
    write_record(path, types.SimpleNamespace(model_dump=lambda mode: {"units": 3}))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"run.json is not a record that this version .*reads"):
        _ = Run(run.path).record
    write_record(path, record)
    assert Run(run.path).record == record


def write_page(run: Run) -> Path:
    (run.path / "figures").mkdir(exist_ok=True)
    (run.path / "figures" / "means.svg").write_text("<svg/>")
    page = run.path / "report.html"
    page.write_text("<html>")
    return page


def test_a_report_is_recorded_and_checked(run: Run) -> None:
    assert not report_is_whole(run)
    published = publish(run, write_page)
    assert published.record.report.keys() == {"report.html", "figures/means.svg"}
    assert report_is_whole(published)
    assert verify(published) == []
    (run.path / "figures" / "means.svg").write_text("<svg></svg>")
    assert not report_is_whole(published)
    assert verify(published) == ["figures/means.svg does not match its checksum"]


def test_new_results_outdate_the_report(run: Run, toys: Toys) -> None:
    publish(run, write_page)
    anew = toys.run(seeds=(0, 1, 2), shift=1.25, again=True)
    assert not report_is_whole(anew)


def test_verify_without_a_record(tmp_path: Path) -> None:
    assert verify(Run(tmp_path)) == ["run.json is missing"]
