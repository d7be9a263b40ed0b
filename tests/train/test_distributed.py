"""Two processes: the curves of one with the same batch, and one that writes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.conftest import Tiny

from microtome.base.errors import UserError
from microtome.train.curves import read
from microtome.train.distributed import World, device_of
from microtome.train.loop import Run, train

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("distributed_train.py")


@pytest.fixture
def together(tiny: Tiny, tmp_path: Path) -> tuple[Path, list[Any]]:
    """A folder in which two processes have trained, and what each of them said."""
    folder = tmp_path / "two"
    folder.mkdir()
    for model in ("standard", "band"):
        config = tiny(model, steps=8, accumulate=2, batch_size=8, save_every=4, eval_every=4)
        (folder / f"{model}.json").write_text(config.model_dump_json())
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    command = [sys.executable, *launcher, str(SCRIPT), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launched = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        assert launched.wait(timeout=100) == 0
    except subprocess.TimeoutExpired:
        os.killpg(launched.pid, signal.SIGTERM)  # also what it has launched
        raise
    return folder, [json.loads((folder / f"process-{rank}.txt").read_text()) for rank in (0, 1)]


def test_two_processes_train_as_one_does(
    tiny: Tiny, tmp_path: Path, together: tuple[Path, list[Any]]
) -> None:
    folder, said = together
    for model in ("standard", "band"):
        config = tiny(model, steps=8, accumulate=2, batch_size=8, save_every=4, eval_every=4)
        alone = train(config, tmp_path / model)
        curves = read(folder / model)
        for name, column in (("metrics", "loss"), ("metrics", "grad_norm"), ("evaluations", "held_out")):
            assert curves[name][column].to_list() == pytest.approx(
                alone.curves[name][column].to_list(), abs=1e-5
            )
        expected, found = (load_file(place / model / "model.safetensors") for place in (tmp_path, folder))
        for name, weights in expected.items():
            torch.testing.assert_close(found[name], weights, atol=1e-4, rtol=0)
    (held_out, again, refused, written), (others_held_out, others_again, others_refused, others_written) = (
        said
    )
    assert held_out == again == others_held_out == others_again
    assert "steps: 8 there, 99 here" in refused == others_refused
    assert (written > 0, others_written) == (True, 0)


def test_a_batch_that_processes_cannot_share_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    config, cpu, nothing = tiny(batch_size=6, accumulate=2), torch.device("cpu"), object()
    parts: Any = (config, tmp_path, nothing, nothing, cpu, World(0, 2), None, print)
    with pytest.raises(
        UserError, match=r"that 2 processes can share in 2 parts, got 6\. Use a multiple of 4\."
    ):
        Run(*parts)


def test_one_process_waits_for_nobody() -> None:
    value = torch.tensor([1.0])
    assert World().mean(value) is value
    assert World().wrap(value, torch.device("cpu")) is value
    with World().first_ahead():
        World().wait()
    assert World().first
    assert not World(1, 2).first


def test_devices() -> None:
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(
        UserError, match=r"Expected a device that this machine has, got 'abacus' .* Use 'auto' or 'cpu'"
    ):
        device_of("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"got 'cuda:3'"):
            device_of("cuda:3")
