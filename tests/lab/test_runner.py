"""What a run does: measures what is missing, registers before it measures, and says what stopped it."""

import json
import re
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.lab.conftest import Toys, contents
from tests.lab.toy import PREDICTIONS, STUDY, Toy, ToyConfig

from microtome.base.errors import UserError
from microtome.lab.engines import Result
from microtome.lab.engines.local import LocalEngine
from microtome.lab.failures import RunFailure
from microtome.lab.prediction import above, predictions_hash
from microtome.lab.record import read_record
from microtome.lab.run import Run
from microtome.lab.runner import execute
from microtome.lab.study import Study, Unit
from microtome.lab.verify import verify


def test_a_run_measures_each_unit_once_and_decides(toys: Toys) -> None:
    run = toys.run()
    assert len(toys.measured()) == 8
    assert [(v.prediction, str(v.outcome)) for v in run.verdicts] == [
        ("shifted", "SUPPORTED"),
        ("large", "FALSIFIED"),
    ]
    assert run.status == "finished"
    assert run.rows["unit"].unique(maintain_order=True).to_list() == [unit.id for unit in run.record.units]
    assert run.rows.columns == ["unit", "seed", "index", "draw", "mean", "gram"]
    assert run.published["mean-above"].numbers["lost"] is None
    assert toys.said == []
    assert verify(run) == []


def test_a_finished_run_is_left_alone(toys: Toys) -> None:
    run = toys.run()
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.name != ".lock"}
    toys.measured()
    again = toys.run()
    assert toys.measured() == []
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.name != ".lock"} == before
    assert again.id == run.id


def test_again_decides_anew_without_measuring(toys: Toys) -> None:
    run = toys.run()
    old = run.record
    toys.measured()
    again = toys.run(again=True)
    assert toys.measured() == []
    assert again.record.created == old.created
    assert again.record.earlier_provenance == (old.provenance,)
    assert contents(again) == contents(run)


def test_two_workers_give_the_same_bytes_as_one(toys: Toys, tmp_path: Path) -> None:
    one = toys.run()
    toys.diary.unlink()
    two = toys.run(workers=2, store=tmp_path / "other", pause=0.2)
    assert len(toys.pids()) == 2
    assert contents(one) == contents(two)
    assert len(contents(one)) == 8 + 4 + 3
    assert two.record.provenance["workers"] == 2


def test_one_more_seed_measures_only_that_seed(toys: Toys, tmp_path: Path) -> None:
    first = toys.run(seeds=(0, 1, 2))
    toys.measured()
    more = toys.run(seeds=(0, 1, 2, 7))
    assert more.id != first.id
    new = [unit.id for unit in more.record.units if unit.label in ("draw 7", "mean 7")]
    assert toys.measured() == sorted(new)
    assert toys.said == ["6 of 8 units were measured by other runs and are reused"]
    assert {unit.id: unit.origin for unit in more.record.units} == {
        unit.id: more.id if unit.id in new else first.id for unit in more.record.units
    }
    alone = toys.run(seeds=(0, 1, 2, 7), store=tmp_path / "other")
    assert contents(alone) == contents(more)


def test_a_damaged_unit_of_another_run_is_not_taken_over(toys: Toys) -> None:
    first = toys.run(seeds=(0, 1, 2))
    rows = first.path / "units" / first.record.units[0].id / "rows.parquet"
    rows.write_bytes(rows.read_bytes()[:-1])
    toys.measured()
    toys.run(seeds=(0, 1, 2, 7))
    assert first.record.units[0].id in toys.measured()


def test_reused_units_survive_damage_to_the_run_they_came_from(toys: Toys) -> None:
    """Hard links share bytes: an edit in place damages both runs, and both see it."""
    first = toys.run(seeds=(0, 1, 2))
    second = toys.run(seeds=(0, 1, 2, 7))
    before = contents(second)
    rows = first.path / "units" / first.record.units[0].id / "rows.parquet"
    rows.write_bytes(b"edited in place")
    toys.measured()
    assert contents(toys.run(seeds=(0, 1, 2, 7))) == before
    assert toys.measured() == [first.record.units[0].id]
    assert rows.read_bytes() == b"edited in place", "the redone unit replaced its link, not the shared file"


class Inspector(LocalEngine):
    """An engine that looks at the store before it measures."""

    def measure(
        self, study: Study, config: Any, units: Sequence[Unit], folder: Callable[[str], Path]
    ) -> Generator[Result, None, None]:
        self.seen = read_record(folder(units[0].id).parents[1] / "run.json")
        self.units_on_disk = list(folder(units[0].id).parent.glob("*")) if folder("").exists() else []
        yield from super().measure(study, config, units, folder)


def test_predictions_are_in_the_record_before_the_first_unit(toys: Toys) -> None:
    inspector = Inspector()
    execute(STUDY, ToyConfig(), store=toys.store, engine=inspector)
    assert inspector.seen.predictions == PREDICTIONS
    assert inspector.seen.predictions_hash == predictions_hash(PREDICTIONS)
    assert inspector.seen.status == "measuring"
    assert inspector.units_on_disk == []


class Edited(Toy):
    predictions = (PREDICTIONS[0].model_copy(update={"supported_if": above(0.6)}), PREDICTIONS[1])


def test_predictions_edited_after_the_data_are_marked(toys: Toys) -> None:
    run = toys.run()
    assert run.record.registered == "before the data"
    edited = execute(Edited(), ToyConfig(), store=toys.store, tell=toys.said.append)
    assert edited.id == run.id
    assert edited.record.registered == "after the data"
    assert json.loads((edited.path / "verdicts.json").read_text())["registered"] == "after the data"
    assert [earlier.predictions for earlier in edited.record.earlier_predictions] == [PREDICTIONS]
    assert edited.predictions == Edited.predictions
    assert toys.said == ["the predictions were edited since this run finished; it is decided anew"]
    assert "after the data" in edited._repr_html_()
    # The original predictions were there before the data, and are so again.
    assert toys.run().record.registered == "before the data"


def test_reuse_does_not_launder_edited_predictions(toys: Toys) -> None:
    """A new run that takes over measured units has seen the data, although its record is new."""
    toys.run(seeds=(0, 1, 2))
    fresh = execute(Edited(), ToyConfig(seeds=(0, 1, 2, 7)), store=toys.store, tell=toys.said.append)
    assert fresh.record.registered == "after the data"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_unit_that_raises_fails_alone(toys: Toys, workers: int) -> None:
    with pytest.raises(RunFailure) as caught:
        toys.run(trouble="exception", workers=workers)
    failed, skipped = (f"{kind} 2" for kind in ("draw", "mean"))
    message = str(caught.value)
    assert "1 of 8 units failed:" in message
    assert f"({failed}): ZeroDivisionError: the toy broke" in message
    assert "1 that need them were skipped" in message
    assert "6 of 8 units are finished and kept" in message
    assert message.count("finished and kept") == 1
    (path,) = toys.store.glob("toy/*")
    run = Run(path, STUDY)
    ids = {unit.label: unit.id for unit in run.record.units}
    assert run.status == "failed"
    assert run.record.failed == {ids[failed]: "ZeroDivisionError: the toy broke"}
    log = (path / "units" / ids[failed] / "log.txt").read_text()
    assert log.startswith("Traceback (most recent call last)")
    assert "_make_trouble" in log
    assert verify(run) == [f"units/{ids[name]}: not measured" for name in (failed, skipped)]
    # Mended, the same run goes on: trouble has no part in its identity.
    toys.measured()
    assert toys.run().status == "finished"
    assert toys.measured() == sorted([ids[failed], ids[skipped]])
    assert Run(path).record.failed == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_users_mistake_in_a_unit_stops_the_run_with_its_words(toys: Toys, workers: int) -> None:
    with pytest.raises(UserError) as caught:
        toys.run(trouble="mistake", workers=workers)
    assert str(caught.value) == "the toy expected a ball, got a brick; give it a ball"
    assert "units are finished and kept in" in caught.value.__notes__[0]
    assert toys.run().status == "finished"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bench_that_does_not_open_is_a_failure(toys: Toys, workers: int) -> None:
    with pytest.raises(RunFailure, match=r"(?s)the bench could not be opened.*RuntimeError: no bench today"):
        toys.run(trouble="no bench", workers=workers)


def test_a_worker_that_dies_is_named_with_its_unit(toys: Toys) -> None:
    with pytest.raises(RunFailure) as caught:
        toys.run(trouble="death", workers=2)
    message = (
        r"a worker ended with code 3 while it measured unit draw-\w+ \(draw 2\)\n\d of 8 units are finished"
    )
    assert re.match(message, str(caught.value))
    toys.measured()
    resumed = toys.run()
    assert 1 <= len(toys.measured()) <= 7
    assert resumed.status == "finished"


def test_an_operating_system_error_of_the_study_is_not_taken_for_a_full_disk(toys: Toys) -> None:
    with pytest.raises(FileNotFoundError, match="no corpus today"):
        toys.run(trouble="no corpus")


def test_an_error_in_the_analysis_is_an_error_and_no_verdict(toys: Toys) -> None:
    with pytest.raises(ArithmeticError, match="no analysis today") as caught:
        toys.run(trouble="analysis")
    assert caught.value.__notes__[0].startswith("8 of 8 units are finished and kept")
    (path,) = toys.store.glob("toy/*")
    assert Run(path).status == "failed"
    with pytest.raises(UserError, match="is failed: it has no results yet"):
        _ = Run(path).verdicts
    toys.measured()
    assert toys.run().status == "finished"
    assert toys.measured() == []


@pytest.mark.filterwarnings("default")
def test_warnings_of_a_unit_are_in_its_log(toys: Toys) -> None:
    run = toys.run(trouble="warning")
    logs = {unit.label: (run.path / "units" / unit.id / "log.txt").read_text() for unit in run.record.units}
    assert logs["draw 2"] == "RuntimeWarning: the toy is worn\n"
    assert logs["draw 1"] == ""


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"threads": 0}])
def test_workers_and_threads_are_at_least_one(toys: Toys, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected at least 1, got 0"):
        execute(STUDY, ToyConfig(), store=toys.store, **wrong)
