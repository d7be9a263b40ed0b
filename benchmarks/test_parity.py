"""Parity with TransformerLens: `pytest benchmarks` in the environment that `make bench` makes."""

import pytest

from benchmarks.parity import TOLERANCE, differences

pytestmark = pytest.mark.filterwarnings("default")


def test_every_site_equals_the_bridges_hook_to_rounding() -> None:
    pytest.importorskip("transformer_lens", exc_type=ImportError)
    from benchmarks.contenders import REFERENCE, load_bridge
    from microtome.models import load_model

    found = differences(load_model(REFERENCE, device="cpu", attention="eager"), load_bridge())
    assert {kind: error for kind, error in found.items() if not error <= TOLERANCE} == {}
