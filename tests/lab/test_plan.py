"""The plan of a run: which units are done, and how long the rest may take."""

import pytest
from tests.lab.conftest import Toys
from tests.lab.toy import STUDY, Toy, ToyConfig

from microtome.base.files import sha256_file
from microtome.lab.plan import plan
from microtome.lab.record import read_sealed, write_sealed


def states(toys: Toys, **options: object) -> list[str]:
    return [one.state for one in plan(STUDY, ToyConfig.model_validate(options), toys.store).units]


def test_states_of_units(toys: Toys) -> None:
    assert states(toys) == ["to do"] * 8
    assert not toys.store.exists(), "a plan writes nothing"
    run = toys.run()
    assert states(toys) == ["done"] * 8
    assert states(toys, seeds=(3, 9)) == ["elsewhere", "to do", "elsewhere", "to do"]
    (run.path / "units" / run.record.units[1].id / "rows.parquet").unlink()
    assert states(toys) == ["done", "damaged", *["done"] * 6]
    before = {path: sha256_file(path) for path in run.path.rglob("*") if path.is_file()}
    planned = plan(STUDY, run.config, toys.store)
    assert [unit.label for unit in planned.to_do] == ["draw 1"]
    assert (planned.run_id, planned.path) == (run.id, run.path)
    assert {path: sha256_file(path) for path in run.path.rglob("*") if path.is_file()} == before


def test_time_is_unknown_without_measurements_and_then_scales_with_cost(toys: Toys) -> None:
    assert plan(STUDY, ToyConfig(), toys.store).seconds is None
    run = toys.run(seeds=(0, 1))
    assert plan(STUDY, run.config, toys.store).seconds == 0
    for unit in run.record.units:
        path = run.path / "units" / unit.id / "unit.json"
        write_sealed(path, {**read_sealed(path), "seconds": 6.0 if unit.kind == "draw" else 0.5})
    # A draw costs 3: six seconds are its own pace. Three new seeds: three draws and three means.
    assert plan(STUDY, ToyConfig(seeds=(7, 8, 9)), toys.store).seconds == pytest.approx(3 * 6.5)
    assert plan(STUDY, ToyConfig(seeds=(7, 8, 9)), toys.store, workers=2).seconds == pytest.approx(9.75)
    assert plan(STUDY, ToyConfig(seeds=(7,)), toys.store, workers=64).seconds == pytest.approx(3.25)


class Twice(Toy):
    def units(self, config, fingerprints):  # type: ignore[no-untyped-def, override]
        return [*super().units(config, fingerprints)] * 2


class Backwards(Toy):
    def units(self, config, fingerprints):  # type: ignore[no-untyped-def, override]
        return super().units(config, fingerprints)[::-1]


@pytest.mark.parametrize(("study", "told"), [(Twice(), "twice"), (Backwards(), "before what it needs")])
def test_a_study_whose_plan_is_wrong_is_caught(toys: Toys, study: Toy, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        plan(study, ToyConfig(), toys.store)
