"""Engines by name, what a user may get wrong about a cluster, and what a worker checks before it opens a bench."""

import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import ray
from tests.lab.conftest import Toys
from tests.lab.test_engine import plan_of
from tests.lab.toy import STUDY, ToyConfig

import microtome
from microtome.base.errors import UserError
from microtome.lab import registry
from microtome.lab.engines import Failed, Measured, Schedule, cluster
from microtome.lab.engines.actor import Actor
from microtome.lab.engines.choice import choose
from microtome.lab.engines.local import LocalEngine
from microtome.lab.engines.ray import RayEngine
from microtome.lab.packing import pack, unpack
from microtome.lab.provenance import package_versions
from microtome.lab.resources import Resources


def silent(message: str) -> None:
    pass


def test_engines_by_name_and_their_defaults() -> None:
    local = choose("local", STUDY, ToyConfig(), workers=2, threads=3, tell=silent)
    assert isinstance(local, LocalEngine)
    assert (local.workers, local.threads) == (2, 3)
    there = choose("ray", STUDY, ToyConfig(), address="head:6379", tell=silent)
    assert isinstance(there, RayEngine)
    assert (there.address, there.workers, there.threads, there.retries, there.shared_store) == (
        "head:6379",
        None,
        1,
        2,
        False,
    )


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("rays", {}, r"unknown engine 'rays'. Did you mean 'ray'\? Expected one of local, ray"),
        ("local", {"address": "head:6379"}, "--address is for a cluster: expected `--engine ray` with it"),
        ("local", {"shared_store": True}, "--shared-store is for a cluster"),
        ("local", {"retries": 0}, "--retries is for a cluster"),
        ("local", {"workers": 0}, "workers: expected at least 1, got 0"),
        ("ray", {"workers": 0}, "workers: expected at least 1, got 0"),
        ("ray", {"threads": 0}, "threads: expected at least 1, got 0"),
        ("ray", {"retries": -1}, "retries: expected at least 0, got -1"),
    ],
)
def test_what_does_not_fit_is_a_mistake(name: str, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose(name, STUDY, ToyConfig(), tell=silent, **more)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None if name == "ray" else find_spec(name))
    with pytest.raises(UserError, match=r"pip install 'microtome\[ray\]'"):
        choose("ray", STUDY, ToyConfig(), tell=silent)


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_an_address_at_which_nothing_answers_is_said_at_once(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "load", lambda name: STUDY)
    address = f"127.0.0.1:{unused_port()}"
    with pytest.raises(
        UserError, match=rf"expected a Ray cluster at '{address}', but nothing .*`ray start --head`"
    ):
        microtome.run("toy", store=toys.store, engine="ray", address=address)
    with pytest.raises(UserError, match="the address of a Ray cluster as HOST:PORT, got 'head'"):
        microtome.run("toy", store=toys.store, engine="ray", address="head")


def test_without_a_cluster_one_is_started_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, said = [], []

    def init(address: str, **options: Any) -> None:
        asked.append(address)
        if address == "auto":
            raise ConnectionError

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: asked.append("shutdown"))
    with cluster.connected(None, said.append):
        assert asked == ["auto", "local"]
    assert asked.pop() == "shutdown"
    assert "one is started on this machine for this run" in said[0]
    with (
        pytest.raises(UserError, match="expected a Ray cluster at 'auto'"),
        cluster.connected("auto", said.append),
    ):
        pass


def test_room_is_what_the_scarcest_resource_of_each_live_node_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0, "memory": 32e9}},
        {"Alive": True, "Resources": {"CPU": 4.0, "memory": 64e9}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0, "memory": 1e12}},
        {"Alive": True, "Resources": {}},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert cluster.room(Resources()) == 12
    assert cluster.room(Resources(cpus=3)) == 3
    assert cluster.room(Resources(cpus=2, memory=10 * 10**9)) == 3 + 2
    assert cluster.room(Resources(gpus=0.5)) == 4
    assert cluster.room(Resources(cpus=9)) == 0


def test_a_study_reserves_a_gpu_only_where_its_config_names_one() -> None:
    study = registry.load("task-vectors")
    assert study.resources(study.config.model_validate({"device": "cuda"})) == Resources(cpus=1, gpus=1)
    assert study.resources(study.config()) == Resources()
    assert str(Resources(4, 0.5, 3 * 2**30)) == "4 CPUs, 0.5 GPU, 3 GiB of memory"


def test_a_worker_refuses_other_versions_and_a_store_that_is_not_there(tmp_path: Path) -> None:
    other = {**package_versions(), "numpy": "0.1"}
    refused = Actor().open((STUDY, ToyConfig(), 1, other), None)
    assert isinstance(refused, UserError)
    assert "expected numpy 0.1 on node" in str(refused)
    missing = Actor().open((STUDY, ToyConfig(), 1, {}), tmp_path / "away")
    assert isinstance(missing, UserError)
    assert f"expected the store's folder {tmp_path / 'away'} on node" in str(missing)


def test_a_worker_returns_bytes_or_leaves_files_and_says_when_it_cannot(tmp_path: Path) -> None:
    actor, unit = Actor(), STUDY.units(ToyConfig(), {})[0]
    assert actor.open((STUDY, ToyConfig(), 1, package_versions()), tmp_path) is None
    returned, left = actor.measure(unit, {}, None), actor.measure(unit, {}, tmp_path / "unit")
    assert isinstance(returned, Measured)
    assert isinstance(left, Measured)
    assert {
        name: path.read_bytes() for name, path in left.files.items() if isinstance(path, Path)
    } == returned.files
    (tmp_path / "file").touch()
    failed = actor.measure(unit, {}, tmp_path / "file")
    assert isinstance(failed, Failed)
    assert "FileExistsError" in failed.error


def test_a_measurement_is_the_same_from_bytes_as_from_a_folder(tmp_path: Path) -> None:
    from microtome.lab.engines.attempt import attempt

    done = attempt(STUDY.open(ToyConfig()), STUDY.units(ToyConfig(), {})[0], {}, 1)
    assert isinstance(done, Measured)
    files = {name: content for name, content in done.files.items() if isinstance(content, bytes)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert pack(unpack(files)) == pack(unpack(tmp_path)) == files


def test_a_unit_that_is_given_back_waits_behind_all_others() -> None:
    first, second, third = plan_of([set(), set(), {0}])
    schedule = Schedule([first, second, third])
    assert schedule.take() == first
    schedule.give_back(first)
    assert not schedule.finished
    assert [schedule.take(), schedule.take(), schedule.take()] == [second, first, None]


def test_choosing_the_local_engine_does_not_import_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert choose("local", STUDY, ToyConfig(), tell=silent).threads >= 1
