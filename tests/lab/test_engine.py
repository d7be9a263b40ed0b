"""The schedule of units, and measurements as bytes."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lab.conftest import Toys

from microtome.lab.engines import Failed, Measured, Schedule
from microtome.lab.failures import RunFailure
from microtome.lab.packing import Stored, pack
from microtome.lab.study import Measurement, Unit


def plan_of(needs: list[set[int]]) -> list[Unit]:
    """A plan in which unit i needs the units ``needs[i]``, all of which come before it."""
    units: list[Unit] = []
    for i, earlier in enumerate(needs):
        ids = tuple(units[j].id for j in sorted(earlier))
        units.append(Unit(study="s", version=1, kind="k", label=str(i), spec={"i": i}, needs=ids))
    return units


@st.composite
def plans(draw: st.DrawFn) -> list[Unit]:
    size = draw(st.integers(1, 8))
    return plan_of([draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set() for i in range(size)])


@given(plans(), st.data())
def test_any_order_of_results_keeps_needs_first_and_leaves_out_dependants(
    units: list[Unit], data: st.DataObject
) -> None:
    schedule, running, measured, failed = Schedule(units), [], set(), set()
    while not schedule.finished:
        while unit := schedule.take():
            assert measured.issuperset(unit.needs)
            running.append(unit)
        unit = running.pop(data.draw(st.integers(0, len(running) - 1)))
        if data.draw(st.booleans()):
            measured.add(unit.id)
            schedule.settle(Measured(unit.id, {}, "", 0))
        else:
            failed.add(unit.id)
            schedule.settle(Failed(unit.id, "", ""))
    assert not running
    broken = set(failed)
    for unit in units:
        if broken.intersection(unit.needs):
            broken.add(unit.id)
    assert measured == {unit.id for unit in units} - broken


def test_needs_that_are_not_in_the_plan_are_in_the_store() -> None:
    first, second = plan_of([set(), {0}])
    schedule = Schedule([second])
    assert schedule.take() == second
    assert first.id in second.needs


def test_a_measurement_comes_back_as_it_was(tmp_path: Path) -> None:
    wide = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = {"view": wide[:, ::2], "scalar": np.asarray(2.5), "none": np.zeros((0, 3)), "flags": wide > 3}
    rows = pl.DataFrame({"a": [1, None], "b": ["x", "<y>"], "c": [[1.5], []]})
    for name, content in pack(Measurement(rows, arrays)).items():
        (tmp_path / name).write_bytes(content)
    back = Stored({"u": tmp_path})["u"]
    assert back.rows.equals(rows)
    assert back.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(back.arrays[name], array, strict=True)


def test_the_same_measurement_is_the_same_bytes_however_it_is_laid_out() -> None:
    wide = np.arange(12.0).reshape(3, 4)
    whole = pl.DataFrame({"a": [1, 2, 3]})
    pieces = pl.concat([whole[:1], whole[1:]], rechunk=False)
    one = pack(Measurement(whole, {"x": wide.T, "y": wide}))
    other = pack(Measurement(pieces, {"y": np.asfortranarray(wide), "x": wide.T.copy()}))
    assert one == other
    assert pack(Measurement(whole)).keys() == {"rows.parquet"}


def test_a_worker_that_dies_while_it_opens_says_what_to_look_at(toys: Toys) -> None:
    with pytest.raises(RunFailure, match=r"a worker ended with code 4 before it was ready; .*if __name__"):
        toys.run(trouble="death at the door", workers=2)
