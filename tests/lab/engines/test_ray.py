"""Units on a Ray cluster of two nodes: the bytes of the local engine, and nothing lost with a worker or a node."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster
from tests.lab.conftest import REPOSITORY, Toys, contents
from tests.lab.toy import STUDY, ToyConfig
from tests.studies.task_vectors.conftest import SHORT

from microtome.base.errors import UserError
from microtome.base.files import TEMPORARY
from microtome.cli import main
from microtome.lab import registry
from microtome.lab.engines.ray import RayEngine
from microtome.lab.failures import RunFailure
from microtome.lab.run import Run
from microtome.lab.runner import execute
from microtome.lab.verify import verify

SCRIPT = """
import json, sys
from microtome.lab.engines.ray import RayEngine
from microtome.lab.failures import Interrupted
from microtome.lab.runner import execute
from tests.lab.toy import STUDY, ToyConfig
try:
    execute(STUDY, ToyConfig(**json.loads(sys.argv[3])), store=sys.argv[2], engine=RayEngine(sys.argv[1]))
except Interrupted as stop:
    print(stop, file=sys.stderr)
    sys.exit(130)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one processor each, on which the tests' modules can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.add_node(num_cpus=1)
        yield made
        made.shutdown()


@pytest.fixture
def address(cluster: Cluster) -> str:
    """Where the cluster's head answers."""
    return str(cluster.address)


@pytest.fixture
def on_cluster(address: str, toys: Toys) -> Callable[..., Run]:
    """A function that runs the toy on the cluster."""

    def run(*, store: Path | None = None, engine: dict[str, Any] | None = None, **options: Any) -> Run:
        config = ToyConfig(diary=str(toys.diary), **options)
        made = RayEngine(address, tell=toys.said.append, **(engine or {}))
        return execute(STUDY, config, store=store or toys.store, engine=made, tell=toys.said.append)

    return run


OnCluster = Callable[..., Run]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox"])
def test_task_vectors_come_out_as_with_one_worker(
    address: str, tiny_model: Callable[..., Path], tmp_path: Path, family: str
) -> None:
    study = registry.load("task-vectors")
    options = {**SHORT, "layers": (1,), "model": str(tiny_model(family)), "seeds": (0, 1)}
    config = study.config.model_validate(options)
    here = execute(study, config, store=tmp_path / "here", threads=1)
    there = execute(study, config, store=tmp_path / "there", engine=RayEngine(address))
    assert measured_files(there) == measured_files(here)
    assert there.rows.equals(here.rows)
    assert verify(there) == []


def measured_files(run: Run) -> dict[str, bytes]:
    """The bytes of the units' rows and arrays."""
    files = sorted(path for path in run.path.glob("units/*/*") if path.suffix in (".parquet", ".safetensors"))
    return {str(path.relative_to(run.path)): path.read_bytes() for path in files}


@pytest.mark.parametrize("shared", [False, True])
def test_two_nodes_give_the_same_bytes_as_this_process(
    toys: Toys,
    on_cluster: OnCluster,
    tmp_path: Path,
    shared: bool,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("microtome.base.progress.LONG", 0)
    run = on_cluster(engine={"shared_store": shared}, pause=0.1)
    said = capfd.readouterr().err
    assert re.search(r"^toy: 8 units: \d+% done by [12] of 2 workers, about .* left", said, re.MULTILINE), (
        said
    )
    assert toys.said == ["2 workers on the cluster, each with 1 CPU"]
    assert len(toys.pids()) == 2
    assert os.getpid() not in toys.pids()
    assert len(toys.measured()) == 8
    assert contents(run) == contents(toys.run(store=tmp_path / "here"))
    assert list(run.path.rglob(f"{TEMPORARY}*")) == []
    assert verify(run) == []
    assert run.record.provenance["threads"] == 1
    assert run.record.provenance["engine"] == "ray"
    log = run.path / "units" / run.record.units[0].id / "log.txt"
    assert log.read_text().startswith("measured on node ")


def test_a_killed_node_loses_nothing(
    cluster: Cluster, toys: Toys, on_cluster: OnCluster, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()

    def kill() -> None:
        while not toys.diary.exists() or len(toys.pids()) < 3:
            time.sleep(0.02)
        cluster.remove_node(node, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    run = on_cluster(pause=0.5, seeds=tuple(range(8)))
    killer.join()
    cluster.wait_for_nodes()
    assert any("its worker was lost" in line and "attempt 1 of 3" in line for line in toys.said), toys.said
    assert contents(run) == contents(toys.run(store=tmp_path / "here", seeds=tuple(range(8))))
    assert verify(run) == []


@pytest.mark.parametrize(
    ("trouble", "error"),
    [("exception", "ZeroDivisionError: the toy broke"), ("death", "its worker was lost")],
)
def test_a_unit_that_always_fails_is_reported_after_its_retries_while_the_rest_completes(
    toys: Toys, on_cluster: OnCluster, trouble: str, error: str
) -> None:
    with pytest.raises(
        RunFailure, match=rf"(?s)1 of 8 units failed:.*{error}.*\(attempt 2 of 2\)\n1 that .* skipped"
    ):
        on_cluster(trouble=trouble, engine={"retries": 1})
    measured = toys.measured()
    assert len(measured) == 8, "seven units, and two attempts at one of which the eighth needs"
    assert sum("(attempt 1 of 2); it is tried again" in line for line in toys.said) == 1
    (path,) = toys.store.glob("toy/*")
    assert Run(path).status == "failed"
    assert len(list(path.glob("units/*/unit.json"))) == 6
    assert toys.run().status == "finished"
    assert len(toys.measured()) == 2


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("no bench", r"(?s)the bench could not be opened on node .*RuntimeError: no bench today"),
        (
            "death at the door",
            r"3 workers in turn were lost before they were ready; the last: ActorDiedError: ",
        ),
    ],
)
def test_a_bench_that_does_not_open_is_a_failure(on_cluster: OnCluster, trouble: str, message: str) -> None:
    with pytest.raises(RunFailure, match=message):
        on_cluster(trouble=trouble, engine={"retries": 1})


def test_what_no_node_has_is_said_at_once(on_cluster: OnCluster) -> None:
    with pytest.raises(
        UserError, match="expected a cluster with a node that has 64 CPUs, which one unit of toy"
    ):
        on_cluster(engine={"threads": 64})


def test_exit_codes_are_those_of_the_local_engine(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    toy = EntryPoint("toy", "tests.lab.toy:STUDY", registry.GROUP)
    monkeypatch.setattr(registry, "_entries", lambda: {"toy": toy})
    monkeypatch.setenv("RAY_ADDRESS", address)
    words = ["run", "toy", "--store", str(tmp_path), "--engine", "ray"]
    assert main([*words, "--trouble", "death", "--retries", "0"]) == 1
    assert "1 of 8 units failed" in capfd.readouterr().err
    assert main([*words, "--trouble", "mistake", "--address", address]) == 2
    assert "expected a ball, got a brick; give it a ball" in capfd.readouterr().err
    assert main(words) == 0
    out = capfd.readouterr().out
    assert "shifted" in out
    assert "raylet" not in out


def test_ctrl_c_cancels_and_keeps_what_is_finished(address: str, toys: Toys) -> None:
    options = json.dumps({"diary": str(toys.diary), "pause": 0.4})
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, address, str(toys.store), options],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(toys.store.glob("toy/*/units/*/unit.json")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "units are finished and kept in" in said
    assert "Traceback" not in said
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in toys.pids()):
        assert time.monotonic() < deadline, "a worker outlived the run"
        time.sleep(0.05)
    (path,) = toys.store.glob("toy/*")
    assert Run(path).status == "interrupted"
    kept = len(list(path.glob("units/*/unit.json")))
    toys.measured()
    assert toys.run().status == "finished"
    assert len(toys.measured()) == 8 - kept
