"""Checkpoints: what is read is what was written, a failure leaves nothing, and only the newest are kept."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from microtome.train import checkpoints
from microtome.train.checkpoints import Checkpoint, newest, save


def at(step: int) -> Checkpoint:
    return Checkpoint(
        step,
        {"weight": torch.full((2, 3), float(step)), "turned": torch.arange(6.0).view(2, 3).T},
        {"weight/step": torch.tensor(float(step)), "generator.cpu": torch.get_rng_state()},
        {"metrics": pl.DataFrame({"step": [step], "loss": [float("nan")]})},
        {"scaler": {"scale": 65536.0}},
    )


def folders(output: Path) -> list[str]:
    return sorted(path.name for path in (output / "checkpoints").iterdir())


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    written = at(5)
    save(tmp_path, written, keep=1)
    found = newest(tmp_path)
    assert found is not None
    assert (found.step, found.extra) == (5, written.extra)
    for ours, theirs in ((found.weights, written.weights), (found.optimizer, written.optimizer)):
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert found.curves["metrics"].equals(written.curves["metrics"])


def test_the_newest_are_kept(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for step in (9, 10, 100, 101):  # in the order of numbers, not of letters
        save(tmp_path, at(step), keep=2)
    assert folders(tmp_path) == ["step-00000100", "step-00000101"]
    found = newest(tmp_path)
    assert found is not None
    assert found.step == 101


def test_a_step_that_is_written_again_replaces_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, at(3), keep=2)
    (tmp_path / "checkpoints" / "step-00000003" / "state.json").write_text("{}")
    save(tmp_path, at(3), keep=2)
    found = newest(tmp_path)
    assert found is not None
    assert found.step == 3


def test_a_failure_leaves_the_old_and_no_part_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, at(1), keep=1)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, at(2), keep=1)
    assert folders(tmp_path) == ["step-00000001"]
    assert newest(tmp_path) is not None
