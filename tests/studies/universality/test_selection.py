"""A pass that is interrupted goes on from its checkpoint, and ends as one that was not."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from microtome.base.files import cache_folder
from microtome.studies.universality import selection
from tests.studies.universality.conftest import Experiment
from tests.studies.universality.test_matches import shared


class _Killed(Exception):
    pass


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Experiment:
    monkeypatch.setattr(selection, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(selection, "DOCUMENTS_A_STEP", 3)
    activations, _ = shared(np.random.default_rng(0), 30, 10, documents=24, rows=8)
    return Experiment(activations)


def run(experiment: Experiment, blocks: Any) -> Any:
    half = experiment.comparison.halves[0]
    return selection.select(experiment.comparison, range(1), blocks, experiment.spec, half, "select-test")


def test_a_killed_pass_resumes_bit_for_bit(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def failing(
        spec: Mapping[str, Any], documents: Sequence[int]
    ) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        if len(seen) == 2:
            raise _Killed
        seen.append(list(documents))
        yield from experiment.blocks(spec, documents)

    with pytest.raises(_Killed):
        run(experiment, failing)
    (checkpoint,) = cache_folder("universality").iterdir()
    seen.clear()

    def watched(
        spec: Mapping[str, Any], documents: Sequence[int]
    ) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
        seen.append(list(documents))
        yield from experiment.blocks(spec, documents)

    resumed = run(experiment, watched)
    assert seen == [[12, 14, 16], [18, 20, 22]], "the first six documents are not read again"
    assert not checkpoint.exists()
    monkeypatch.setattr(selection, "CHECKPOINT_SECONDS", 1e9)
    whole = run(experiment, experiment.blocks)
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[name], array, err_msg=name)


def test_a_damaged_checkpoint_is_measured_anew(experiment: Experiment) -> None:
    folder = cache_folder("universality")
    folder.mkdir(parents=True)
    (folder / "select-test.safetensors").write_bytes(b"not a checkpoint")
    found = run(experiment, experiment.blocks)
    assert np.isfinite(found.arrays["top_r"]).all()
    assert not any(folder.iterdir())
