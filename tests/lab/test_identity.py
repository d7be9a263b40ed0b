"""What names a run and its random streams, and what does not."""

import hashlib
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, Field
from tests.lab.toy import ASIDE, ToyConfig

from microtome.lab.identity import identity_of, run_id
from microtome.lab.seeds import stream
from microtome.lab.study import Unit

BASE = run_id("toy", 1, ToyConfig(), {"model": "abc"})


class Inner(BaseModel):
    width: int = 3
    device: str = Field(default="cpu", json_schema_extra=ASIDE)


class Outer(BaseModel):
    one: Inner = Inner()
    many: tuple[Inner, ...] = (Inner(), Inner(width=4))
    named: dict[str, Inner] = Field(default_factory=lambda: {"a": Inner()})
    batch_size: int = Field(default=8, json_schema_extra=ASIDE)


def test_the_id_is_a_hash_of_canonical_json() -> None:
    canonical = '["toy",1,{"seeds":[0,1,2,3],"shift":1.0,"size":12},{"model":"abc"}]'
    assert hashlib.sha256(canonical.encode()).hexdigest()[:16] == BASE


@pytest.mark.parametrize(
    "aside", [{"pause": 3.0}, {"trouble": "x"}, {"diary": "/elsewhere"}, {"seeds": (0, 1, 2, 3)}]
)
def test_what_cannot_change_results_has_no_part(aside: dict[str, object]) -> None:
    assert run_id("toy", 1, ToyConfig.model_validate(aside), {"model": "abc"}) == BASE


@pytest.mark.parametrize(
    "other",
    [
        run_id("tot", 1, ToyConfig(), {"model": "abc"}),
        run_id("toy", 2, ToyConfig(), {"model": "abc"}),
        run_id("toy", 1, ToyConfig(seeds=(0, 1, 2)), {"model": "abc"}),
        run_id("toy", 1, ToyConfig(shift=1.5), {"model": "abc"}),
        run_id("toy", 1, ToyConfig(), {"model": "abd"}),
        run_id("toy", 1, ToyConfig(), {"corpus": "abc"}),
    ],
)
def test_what_can_change_results_changes_the_id(other: str) -> None:
    assert other != BASE


def test_nested_configs_leave_out_their_own_fields() -> None:
    assert identity_of(Outer()) == {
        "one": {"width": 3},
        "many": [{"width": 3}, {"width": 4}],
        "named": {"a": {"width": 3}},
    }


def test_a_units_id_comes_from_what_is_measured() -> None:
    def unit(**changes: object) -> str:
        fields = {"study": "toy", "version": 1, "kind": "draw", "label": "draw 0", "spec": {"a": 1, "b": 2}}
        return Unit.model_validate({**fields, **changes}).id

    assert unit() == unit(label="another label", cost=9.0, spec={"b": 2, "a": 1})
    assert unit().startswith("draw-")
    changed = [{"version": 2}, {"kind": "mean"}, {"spec": {"a": 1}}, {"needs": ("x",)}, {"study": "t"}]
    assert len({unit(), *(unit(**change) for change in changed)}) == 6


def test_streams_are_named_and_independent_of_order() -> None:
    numpys: Any = np.int64  # what comes out of an array of seeds
    first = stream(0, "draw", 1).normal(size=4)
    stream(0, "other").normal(size=100)
    np.testing.assert_array_equal(first, stream(0, "draw", 1).normal(size=4))
    np.testing.assert_array_equal(first, stream(numpys(0), "draw", numpys(1)).normal(size=4))
    others = [stream(1, "draw", 1), stream(0, "draw", 2), stream(0, "draw", "1"), stream(0, "draw1")]
    assert all((first != other.normal(size=4)).all() for other in others)


def test_a_stream_is_the_same_on_every_machine() -> None:
    """The numbers are part of every result; a change of the derivation must be seen."""
    entropy = int(hashlib.sha256(b'[0,"draw",1]').hexdigest(), 16)
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
    drawn = stream(0, "draw", 1).integers(0, 1000, 5)
    np.testing.assert_array_equal(drawn, expected.integers(0, 1000, 5))
    assert drawn.tolist() == [296, 741, 721, 735, 513]


def test_streams_leave_the_global_generator_alone() -> None:
    np.random.seed(3)
    expected = np.random.random(3).tolist()
    np.random.seed(3)
    stream(7, "x").normal(size=10)
    assert np.random.random(3).tolist() == expected
