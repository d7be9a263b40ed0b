"""Units are shared whenever they measure the same: a larger config plans only what is new."""

import pytest

from microtome.studies.task_vectors.config import TaskVectorsConfig
from microtome.studies.task_vectors.plan import controlled_pairs, plan

PRINTS = {"model": "m", "corpus": "c"}
SMALL = TaskVectorsConfig(operands=8)


def new(options: dict) -> list[str]:
    """Return the kinds of the units that a changed config adds."""
    before = {unit.id for unit in plan(SMALL, PRINTS)}
    return sorted(
        unit.kind for unit in plan(SMALL.model_copy(update=options), PRINTS) if unit.id not in before
    )


def test_units_come_after_what_they_need() -> None:
    seen: set[str] = set()
    for unit in plan(SMALL, PRINTS):
        assert set(unit.needs) <= seen
        seen.add(unit.id)


def test_one_more_operand_pair_adds_its_own_prompts_alone() -> None:
    assert new({"pairs": (*SMALL.pairs, (50, 20))}) == ["prompts"] * 2


def test_one_more_seed_adds_its_own_units_alone() -> None:
    kinds = new({"seeds": (0, 1)})
    assert kinds.count("sweep") == kinds.count("steer") == 4
    assert kinds.count("side-effect") == 1
    assert len(kinds) <= 9 + 8 * 2


def test_other_doses_redo_the_scoring_alone() -> None:
    assert new({"alphas": (0.0, 1.0)}) == ["side-effect", *["steer"] * 4]


@pytest.mark.parametrize(
    "options", [{"permutations": 99}, {"resamples": 300}, {"published_layer": 3}, {"device": "x"}]
)
def test_what_only_the_analysis_reads_redoes_nothing(options: dict) -> None:
    assert new(options) == []


def test_another_model_redoes_everything() -> None:
    before = {unit.id for unit in plan(SMALL, PRINTS)}
    after = {unit.id for unit in plan(SMALL, {**PRINTS, "model": "another"})}
    assert not before & after


def test_a_pair_is_never_both_chosen_with_and_scored() -> None:
    pairs, fit = controlled_pairs(TaskVectorsConfig(seeds=(0, 1, 2)))
    assert len(pairs) == len(set(pairs)) == len(fit)


def test_directions_come_from_the_other_fit_pairs() -> None:
    units = {unit.id: unit for unit in plan(SMALL, PRINTS)}
    for unit in units.values():
        if unit.kind in ("sweep", "steer"):
            read = [units[i].spec["pair"] for i in unit.needs if units[i].kind == "prompts"]
            assert read.count(unit.spec["pair"]) == 1
            assert read[0] == unit.spec["pair"]
